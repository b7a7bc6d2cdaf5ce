"""Draw size against time on Kodak, for the README: ``python benchmarks/size_time.py [OUT]``.

The figures are those of docs/benchmarks.md, which names the command, the machine and the versions behind them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click


class Point(NamedTuple):
    """A codec on the 24 images of Kodak: bits per subpixel, seconds per image to encode and to decode."""

    name: str
    bits: float
    encode: float
    decode: float


KODAK = [
    Point("WebP, quality 75, method 4", 3.203, 0.199, 0.008),
    Point("JPEG-LS", 3.237, 0.022, 0.018),
    Point("JPEG XL e7 (libjxl 0.12)", 2.863, 0.482, 0.058),
    Point("JPEG XL e9 (libjxl 0.12)", 2.828, 2.340, 0.063),
    Point(".ifl, photo-fast, without the past", 2.869, 0.375, 0.199),
    Point(".ifl, photo (default), without the past", 2.771, 0.751, 0.585),
]
SUFFIXES = (".png", ".pdf", ".svg")


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, writable=True, path_type=Path), default="docs/size-time.png")
def main(out: Path) -> None:
    """Write the picture to OUT: one panel for encoding, one for decoding."""
    from matplotlib.figure import Figure

    if out.suffix not in SUFFIXES:
        raise click.BadParameter(f"'{out}' does not end in {' or '.join(SUFFIXES)}.", param_hint="OUT")
    if not out.parent.is_dir():
        raise click.BadParameter(f"'{out.parent}' is no folder.", param_hint="OUT")

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, times, title in (
        (panels[0], [point.encode for point in KODAK], "encoding"),
        (panels[1], [point.decode for point in KODAK], "decoding"),
    ):
        for point, seconds, marker in zip(KODAK, times, "^vsDPo", strict=True):
            axes.scatter(seconds, point.bits, marker=marker, s=60, label=point.name, zorder=3)
        axes.set(xscale="log", xlim=(0.005, 4), ylim=(2.75, 3.30), title=title, xlabel="seconds per image")
        axes.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("bits per subpixel, Kodak (24 images)")
    panels[1].legend(fontsize=8, loc="upper right")
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
