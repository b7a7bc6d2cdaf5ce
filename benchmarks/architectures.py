"""What networks cost: ``python benchmarks/architectures.py FILE [NAME...]``.

Milliseconds per megapixel to decode the middle of the photograph FILE, in one thread, by networks with random weights:
the architectures of ``experiments.py``, and others. CPU time, the least of some runs, under each instruction set asked
for; it is that of a whole tile, with symbols and side information.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

if __name__ == "__main__":  # before the package counts cores
    os.environ["OMP_NUM_THREADS"] = "1"

import click
import numpy as np

from pil_neuralcodec import native
from pil_neuralcodec.benchmark import load_samples, to_rgb
from pil_neuralcodec.flow.architecture import SCALE_FRAC, PhotoArchitecture
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.shapes import LayerShape, Ops
from pil_neuralcodec.nets.spec import ConvSpec

T = TypeVar("T")
Blocks = tuple[tuple[int, int, int], ...]

BASE: Blocks = ((2, 1, 1), (2, 1, 1), (1, 1, 1))
PHOTO: Blocks = ((1, 1, 1), (1, 1, 1), (1, 1, 1))
NONE: Blocks = ((0, 0, 0), (0, 0, 0), (0, 0, 0))
FAST: Blocks = ((0, 0, 0), (1, 1, 1), (1, 1, 1))
LEAST_SECONDS, MOST_RUNS = 1.0, 7


@dataclass(frozen=True)
class Changed(PhotoArchitecture):
    """What no model has yet: ``finest`` channels at the finest level, and bands without a layer of their own (``mixed``
    says whether they have one)."""

    finest: int | None = None
    mixed: bool = True

    def layers(self) -> Iterator[LayerShape]:
        """See ``Pyramid``."""
        for shape in super().layers():
            if not self.mixed and shape.name.endswith(".mix"):
                continue
            if self.finest is not None and shape.name.startswith("0."):
                if not shape.pixel_input:
                    shape = shape._replace(inputs=self.finest)
                if not shape.is_output:
                    shape = shape._replace(outputs=self.finest)
            yield shape
        if self.finest is not None:
            yield LayerShape("0.0.narrow", self.width, self.finest, 1)

    def features(self, ops: Ops[T], net: int, stage: int, pixels: T, before: T | None) -> T:
        """See ``Pyramid``."""
        if self.finest is not None and net == stage == 0 and before is not None:
            before = ops.conv("0.0.narrow", before)
        return super().features(ops, net, stage, pixels, before)

    def band_outputs(self, ops: Ops[T], net: int, stage: int, band: int, features: T, pixels: T | None) -> tuple[T, T]:
        """See ``Pyramid``."""
        if self.mixed or pixels is None:
            return super().band_outputs(ops, net, stage, band, features, pixels)
        p = f"{net}.{stage}.band{band}"
        features = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), features)
        return features, ops.conv(f"{p}.head", features)


ARCHITECTURES: dict[str, PhotoArchitecture] = {
    "base: width 96, blocks 2,1,1/2,1,1/1,1,1": PhotoArchitecture(96, BASE),
    "2 logistics": PhotoArchitecture(96, BASE, 2),
    "8 logistics": PhotoArchitecture(96, BASE, 8),
    "no blocks": PhotoArchitecture(96, NONE),
    "width 64": PhotoArchitecture(64, BASE),
    "width 64, blocks 5,3,3/4,3,3/3,3,3": PhotoArchitecture(64, ((5, 3, 3), (4, 3, 3), (3, 3, 3))),
    "width 128, blocks 1,0,0/1,0,0/1,0,0": PhotoArchitecture(128, ((1, 0, 0),) * 3),
    "one block more everywhere": PhotoArchitecture(96, ((3, 2, 2), (3, 2, 2), (2, 2, 2))),
    "one network for all levels": PhotoArchitecture(96, BASE[:1]),
    "two networks": PhotoArchitecture(96, BASE[:2]),
    "width 96, a block in each stage": PhotoArchitecture(96, PHOTO),
    "photo-9: the same, backward adaptation": PhotoArchitecture(96, PHOTO, backward_adaptation=True),
    "photo-fast-2: width 64, no blocks at the finest level": PhotoArchitecture(64, FAST),
    "the same, backward adaptation": PhotoArchitecture(64, FAST, backward_adaptation=True),
    "the same, 2 logistics": PhotoArchitecture(64, FAST, 2),
    "the same, bands without a layer of their own": Changed(64, FAST, mixed=False),
    "width 48, no blocks at the finest level": PhotoArchitecture(48, FAST),
    "width 80, no blocks at the finest level": PhotoArchitecture(80, FAST),
    "width 96, no blocks at the finest level": PhotoArchitecture(96, FAST),
    "width 128, no blocks at the finest level": PhotoArchitecture(128, FAST),
    "width 96, 48 and no blocks at the finest level": Changed(96, FAST, finest=48),
    "width 96, 64 and no blocks at the finest level": Changed(96, FAST, finest=64),
    "width 128, 64 and no blocks at the finest level": Changed(128, FAST, finest=64),
}


def random_layers(architecture: PhotoArchitecture) -> dict[str, ConvSpec]:
    """Layers whose predictions say nothing, with log-scales of about two octaves."""
    rng = np.random.default_rng(0)
    layers = {}
    for shape in architecture.layers():
        weight = rng.normal(0, 20, (shape.outputs, shape.inputs, shape.kernel, shape.kernel)).clip(-64, 64)
        bias = rng.integers(-2000, 2000, shape.outputs)
        if shape.is_output:
            bias[np.array(shape.frac) == SCALE_FRAC] = 32 << 9
        shift = np.full(shape.outputs, 9, np.int32)
        numbers = np.rint(weight).astype(np.int8), bias.astype(np.int32), shift
        layers[shape.name] = ConvSpec(*numbers, shape.pixel_input, shape.is_output, shape.positions)
    return layers


def seconds(architecture: PhotoArchitecture, pixels: np.ndarray, sets: tuple[str, ...]) -> list[float]:
    """CPU time to decode pixels (1, h, w, 3) under each instruction set."""
    layers = random_layers(architecture)
    (payload,) = TileCoder(architecture, NativeNetwork(layers)).encode(pixels)
    found = []
    for name in sets:
        os.environ[native.ENVIRONMENT] = name
        coder = TileCoder(architecture, NativeNetwork(layers, name))
        spent: list[float] = []
        while not spent or (sum(spent) < LEAST_SECONDS and len(spent) < MOST_RUNS):
            begin = time.thread_time()
            decoded = coder.decode([payload], pixels.shape[1:])
            spent.append(time.thread_time() - begin)
        if not np.array_equal(decoded, pixels):
            raise click.ClickException("other pixels")
        del os.environ[native.ENVIRONMENT]
        found.append(min(spent))
    return found


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("names", nargs=-1, type=click.Choice(list(ARCHITECTURES)))
@click.option("--isa", "sets", multiple=True, default=("avx512vnni", "avx2"), show_default=True)
@click.option("--side", default=384, show_default=True, help="Of the part that is decoded, at most 512.")
def main(file: Path, names: tuple[str, ...], sets: tuple[str, ...], side: int) -> None:
    """Measure the architectures NAMES, by default all."""
    whole: Any = to_rgb(load_samples(file)[0]).pixels
    top, left = ((n - side) // 2 for n in whole.shape[:2])
    pixels = np.ascontiguousarray(whole[None, top : top + side, left : left + side, :3])
    print("| architecture | multiply-adds per pixel | " + " | ".join(f"{one}, ms/Mpx" for one in sets) + " |")
    print("|---|---|" + "---|" * len(sets))
    for name in names or ARCHITECTURES:
        spent = seconds(ARCHITECTURES[name], pixels, sets)
        cells = [f"{1e9 * one / pixels[0, :, :, 0].size:.0f}" for one in spent]
        print(f"| {name} | {ARCHITECTURES[name].macs_per_pixel() / 1e6:.3f} M | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
