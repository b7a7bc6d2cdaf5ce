"""Bytes of symbol streams beside the code length of their symbols: ``python benchmarks/streams.py FILE...``.

Of the middle of each photograph, in tiles of several sizes, as it is and in kinds that are cheap to code; then what is
in a file besides: see docs/engine.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
from PIL import Image, ImageFilter

from pil_neuralcodec.api import encode
from pil_neuralcodec.coders.engine import Group
from pil_neuralcodec.coders.stream import SymbolWriter
from pil_neuralcodec.training.data import read_rgb

SIDES = (16, 64, 128, 256, 512)


def _blurred(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rgb: np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(radius)))


def _gray(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))


def _sixteen_bits(rgb: np.ndarray) -> np.ndarray:
    """Three colours of eight bits added up, as of a sensor with more tones."""
    return (rgb.astype(np.uint16) @ np.array([5, 8, 3], np.uint16)) << 4


def _jpeg(rgb: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda rgb: rgb,
    "gray": _gray,
    "16 bits": _sixteen_bits,
    "a JPEG file": _jpeg,
    "blurred by 3": _blurred(3),
    "blurred by 24": _blurred(24),
    "dark": lambda rgb: rgb // 16,
    "dark, blurred by 24": lambda rgb: _blurred(24)(rgb) // 16,
    "gray, blurred by 24": lambda rgb: _gray(_blurred(24)(rgb)),
    "16 bits, blurred by 24": lambda rgb: _sixteen_bits(_blurred(24)(rgb)),
}


def code_length(groups: list[Group]) -> float:
    """Bits of symbols: the sum of what each interval, or radix, stands for."""
    return sum(
        group.bits * len(group.first) * (group.bits > 0)
        + (-1 if group.bits else 1)
        * float(np.log2(np.broadcast_to(np.asarray(group.second, np.float64), group.first.shape)).sum())
        for group in groups
    )


def streams(pixels: np.ndarray, **options: Any) -> tuple[bytes, float, int]:
    """A file, the code length of its symbols in bits, and the bytes of its symbol streams."""
    finish = SymbolWriter.finish
    made: list[tuple[bytes, float]] = []

    def record(self: SymbolWriter, *told: Any) -> bytes:
        made.append((finish(self, *told), code_length(self.groups)))
        return made[-1][0]

    with patch.object(SymbolWriter, "finish", record):
        file = encode(pixels, **options)
    kept = dict(one for one in made if one[0] in file)  # others were tried
    return file, sum(kept.values()), sum(map(len, kept))


def _middles(files: tuple[Path, ...], side: int) -> Iterator[np.ndarray]:
    for path in files:
        rgb = read_rgb(path)
        top, left = ((n - side) // 2 for n in rgb.shape[:2])
        if min(top, left) >= 0:
            yield np.ascontiguousarray(rgb[top : top + side, left : left + side])


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
def main(files: tuple[Path, ...], model: str) -> None:
    """Compare."""
    click.echo("| kind | side | code length, bytes | streams | over it | beside streams, a file |\n" + "|---" * 6 + "|")
    for name, make in KINDS.items():
        for side in SIDES:
            bits, coded, whole, count = 0.0, 0, 0, 0
            for rgb in _middles(files, side):
                options = {} if name == "a JPEG file" else {"model": model, "fallback": False}
                file, ideal, size = streams(make(rgb), **options)
                bits, coded, whole, count = bits + ideal, coded + size, whole + len(file), count + 1
            if count:
                length = bits / 8
                beside = (whole - coded) / count
                click.echo(f"| {name} | {side} | {length:.0f} | {coded} | {coded / length - 1:+.2%} | {beside:.1f} |")


if __name__ == "__main__":
    main()
