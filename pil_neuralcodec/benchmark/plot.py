"""The plot of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Summary

_EDGE = 1.25
"""Codecs whose files are more than so many times as large as the smallest ones are drawn at the upper edge."""


def plot(path: Path, title: str, shown: Sequence[Summary], names: Mapping[str, str]) -> None:
    """Size against encode time and against decode time, both axes per pixel, as PNG, SVG or PDF.

    Settings of one codec are joined by a line. ``names`` are those of codecs in the picture.

    Raises
    ------
    ModuleNotFoundError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModuleNotFoundError("matplotlib is missing: install the extra `bench`") from error
    edge = _EDGE * min((s.bits_per_subpixel for s in shown), default=1.0)
    # Labels of codecs next to each other in size are on different sides of their points.
    by_size = sorted(shown, key=lambda s: -s.bits_per_subpixel)
    ranks = {s.codec: rank for rank, s in enumerate(by_size)}
    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, which in zip(figure.subplots(1, 2, sharey=True), ("encode", "decode"), strict=True):
        for _, family in groupby(sorted(shown, key=_family), key=_family):
            points = []
            for s in family:
                seconds, bits = getattr(s, f"{which}_seconds_per_megapixel"), min(s.bits_per_subpixel, edge)
                ink = "tab:red" if names[s.codec].startswith("ours") else "tab:blue"
                name = names[s.codec] + ("" if bits < edge else f": {s.bits_per_subpixel:.2f}")
                points.append((seconds, bits))
                axes.plot(seconds, bits, "o" if bits < edge else "^", color=ink)
                up = 4 if ranks[s.codec] % 2 else -10
                axes.annotate(name, points[-1], (4, up), textcoords="offset points", fontsize=8, color=ink)
            axes.plot(*zip(*sorted(points), strict=True), color=ink, alpha=0.4, zorder=1)
        axes.set_xscale("log")
        axes.margins(x=0.25)
        axes.set_xlabel(f"{which}: seconds per megapixel")
        axes.grid(True, which="both", alpha=0.2)
    figure.axes[0].set_ylabel("bits per subpixel")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _family(summary: Summary) -> str:
    return summary.codec.partition("-")[0]
