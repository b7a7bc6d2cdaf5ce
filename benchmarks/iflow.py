"""What iFlow's parts cost and gain: ``python benchmarks/iflow.py COMMAND``.

``scaling``    bits lost where an MST's fraction is rounded
``precision``  code length by fractional bits, against the network's own likelihood
``sets``       sets of small images as whole files, by this package and by others
``chain``      seconds of a set as one chain, and which parts take them
"""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from pil_neuralcodec import benchmark, models, native
from pil_neuralcodec.coders.engine import engine
from pil_neuralcodec.coders.stack import Stack, StackWriter, height
from pil_neuralcodec.colour.past import ColourHeader
from pil_neuralcodec.container import read_chunk, read_header
from pil_neuralcodec.flow import mst
from pil_neuralcodec.flow.adaptation import SideInformation
from pil_neuralcodec.flow.architecture import PatchArchitecture
from pil_neuralcodec.flow.layers import FactorOut
from pil_neuralcodec.flow.monotone import Dequantiser, MixtureMap
from pil_neuralcodec.flow.patch import MixtureKey, PatchFlow
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.methods.bitsback import ChainReader
from pil_neuralcodec.methods.patch import block_areas, decode_chain, encode_chain, read_blocks, side_information
from pil_neuralcodec.training.reports import bits_by_network, tall_stack, twin

BATCH = 64


@click.group()
def main() -> None:
    """Measure iFlow's parts."""


@main.command()
@click.option("--values", "count", default=200_000, show_default=True)
def scaling(count: int) -> None:
    """Logistic values of random scales, brought to scale 1 by an MST and factored out: bits beyond their likelihood."""
    rng = np.random.default_rng(1)
    octaves, noise = rng.uniform(-2, 2, count), rng.logistic(size=count)
    ideal = float((octaves + (noise + 2 * np.log1p(np.exp(-noise))) / np.log(2)).mean())
    print(f"bits a value lost of {ideal:.3f} + k; k fractional bits, the fraction's denominator S\n")
    denominators = (4, 6, 8, 10, 12)
    print("| k | " + " | ".join(f"S = 2^{s}" for s in denominators) + " |\n|---|" + "---|" * len(denominators))
    for frac in (4, 6, 8, 10, 12):
        values = np.rint(noise * 2.0 ** (frac + octaves)).astype(np.int64)
        cells = []
        for bits in denominators:
            lanes = tall_stack(2**18)
            before = height(lanes)
            up = np.maximum(np.rint(2.0 ** (bits - octaves)), 1).astype(np.int64)
            FactorOut(values.shape, frac).forward(mst.forward(values, up, 1 << bits, Stack(lanes)), Stack(lanes))
            cells.append(f"{(height(lanes) - before) / count - frac - ideal:+.4f}")
        print(f"| {frac} | " + " | ".join(cells) + " |")


def net_bits(
    images: np.ndarray,
    model: models.Model,
    architecture: PatchArchitecture,
    side: Mapping[MixtureKey, SideInformation] | None = None,
    *,
    bits_back: bool = True,
) -> float:
    """Bits that images (N, h, w, C) add to a stack that can lend, in batches; without bits-back, the mixtures alone."""
    total = 0.0
    for low in range(0, len(images), BATCH):
        planes = to_planes(images[low : low + BATCH])
        flow = PatchFlow(architecture, model.network(), planes.shape, side or {})
        lanes, writer = tall_stack(2**20), StackWriter()
        before = height(lanes)
        if bits_back:
            flow.forward(planes, Stack(lanes))
        else:
            flow.put(planes, writer)
            writer.push(lanes)
        total += height(lanes) - before
    return total


def likelihood(images: np.ndarray, model: models.Model, *, rounds: int = 1) -> float:
    """Bits of images by the network in floating point, rounded weights: the negative ELBO."""
    net = twin(model)
    batches = [to_planes(images[low : low + BATCH]) for low in range(0, len(images), BATCH)]
    return sum(bits_by_network(net, planes) for planes in batches for _ in range(rounds)) / rounds


def patch_model(name: str) -> tuple[models.Model, PatchArchitecture]:
    """A model by its name."""
    model = models.load(name)
    if not isinstance(model.architecture, PatchArchitecture):
        raise click.UsageError(f"{name} is no patch model")
    return model, model.architecture


def read_set(path: Path) -> np.ndarray:
    """The images of an .npz file, uint8 (N, h, w, 3)."""
    with np.load(path) as content:
        return np.ascontiguousarray(content["images"])


@main.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="patch", show_default=True)
@click.option("--images", "count", default=256, show_default=True)
def precision(path: Path, model: str, count: int) -> None:
    """The first images of a set in batches of 64, each on a stack that can lend, whatever a model's own k is."""
    loaded, architecture = patch_model(model)
    images = read_set(path)[:count]
    nats = likelihood(images, loaded, rounds=4) / images.size
    writer_bits = net_bits(images, loaded, architecture, bits_back=False)
    print(
        f"likelihood {nats:.4f} bits per subpixel; without bits-back, by the mixtures alone, "
        f"{writer_bits / images.size:.4f}\n"
    )
    print("| k | code length | beyond the likelihood |\n|---|---|---|")
    for frac in range(2, 15):
        bits = net_bits(images, loaded, replace(architecture, frac=frac)) / images.size
        print(f"| {frac} | {bits:.4f} | {100 * (bits / nats - 1):+.2f} % |")


@main.command()
@click.argument("paths", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="patch", show_default=True)
@click.option("--photo", default="photo", show_default=True, help="A model to compare with; empty for none.")
@click.option("--peers/--ours", default=True, show_default=True)
@click.option("--each/--together", default=True, show_default=True, help="Our own codecs on each image alone, too.")
def sets(paths: tuple[Path, ...], model: str, photo: str, peers: bool, each: bool) -> None:
    """Whole files: bits per subpixel, and seconds to encode and decode the set."""
    loaded, architecture = patch_model(model)
    for path in paths:
        images = read_set(path)
        print(f"\n{path.name}: {len(images)} images of {images.shape[2]} x {images.shape[1]}\n")
        print("| | bits per subpixel | encode s | decode s |\n|---|---|---|---|")
        names = [name for name in (model, photo) if name]
        codecs = {name: benchmark.ours("ifl", model=name) for name in names}
        for codec in codecs.values():
            codec.encode(images[:9])  # the network's start is not the set's
        files = [_row(f"{name}, one file", codecs[name], [images], images.size) for name in names]
        for name in names if each else ():
            _row(f"{name}, each image", codecs[name], list(images), images.size)
        for codec in benchmark.peers(2) if peers else ():
            if codec.name in ("jxl-e9", "webp-max", "png"):
                _row(f"{codec.label}, each image", codec, list(images), images.size)
                _row(f"{codec.label}, one sheet", codec, [_sheet(images)], images.size)
        ideal, plain = likelihood(images, loaded), net_bits(images, loaded, architecture)
        sheet = images.reshape(-1, *images.shape[2:])
        areas = block_areas(*sheet.shape[:2], *images.shape[1:3])
        side = side_information(sheet, areas, loaded.network(), architecture)
        net = net_bits(images, loaded, architecture, side)
        payload = files[0]
        header = read_header(io.BytesIO(payload))
        chunk = read_chunk(io.BytesIO(payload), header.frames[0].segments[0].chunks[0])
        chunk = bytes(ColourHeader.unpack(memoryview(chunk))[1])  # such sets have no past
        blocks = read_blocks(ChainReader(chunk), *sheet.shape)
        direct = len(blocks.direct)
        start = net_bits(images[:direct], loaded, architecture, side, bits_back=False)
        start -= net_bits(images[:direct], loaded, architecture, side)
        print(
            f"\nlikelihood {ideal / images.size:.4f}, code length on a stack that can lend {plain / images.size:.4f}"
            f" ({100 * (plain / ideal - 1):+.2f} %), adapted {net / images.size:.4f}, file "
            f"{8 * len(payload) / images.size:.4f} ({100 * (8 * len(payload) / ideal - 1):+.2f} %)"
        )
        print(
            f"start: {direct} images without bits-back cost {start / 8:.0f} bytes more; the rest of the chain "
            f"{(8 * len(chunk) - net - start) / 8:.0f} bytes "
            f"({100 * (8 * len(chunk) - net - start) / net:+.3f} %); {len(blocks.batches)} batches"
        )


@main.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="patch", show_default=True)
@click.option("--threads", type=int, help="Of the networks and maps; default: the cores of this process.")
def chain(path: Path, model: str, threads: int | None) -> None:
    """A set as one chain, warm: seconds, and seconds of CPU of networks, maps and lanes; what remains is numpy."""
    if threads is not None:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    loaded, architecture = patch_model(model)
    images = read_set(path)
    sheet = images.reshape(-1, *images.shape[2:])
    block = images.shape[1], images.shape[2]
    network = _Timed(loaded.network(), "networks", ("conv", "conv_at"))
    encode_chain(sheet[: 9 * block[0]], block, network, architecture)
    _time_methods(type(engine()), "lanes", ("push", "pop", "pop_uniform"))
    for layer in (Dequantiser, MixtureMap):
        _time_methods(layer, "maps", ("forward", "inverse"))
    payload = b""
    print(f"{len(images)} images, instruction sets {', '.join(native.instruction_sets())}\n")
    print("| | seconds | CPU | networks | maps | lanes | the rest |\n|---|---|---|---|---|---|---|")
    for name in ("encode", "decode"):
        _SECONDS.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        if name == "encode":
            payload = encode_chain(sheet, block, network, architecture)
        else:
            assert np.array_equal(decode_chain(payload, sheet.shape, network, architecture), sheet)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        parts = [_SECONDS["networks"], _SECONDS["maps"] - _SECONDS["lanes in maps"], _SECONDS["lanes"]]
        print(f"| {name} | " + " | ".join(f"{part:.2f}" for part in (wall, cpu, *parts, cpu - sum(parts))) + " |")


_SECONDS: Counter[str] = Counter()
"""Seconds of CPU by part."""


def _timed(part: str, call: Any) -> Any:
    def run(*arguments: Any, **options: Any) -> Any:
        begin, before = time.process_time(), _SECONDS["lanes"]
        try:
            return call(*arguments, **options)
        finally:
            _SECONDS[part] += time.process_time() - begin
            if part == "maps":
                _SECONDS["lanes in maps"] += _SECONDS["lanes"] - before

    return run


class _Timed:
    """A network whose calls are timed."""

    def __init__(self, network: Any, part: str, names: tuple[str, ...]) -> None:
        self._network, self._calls = network, {name: _timed(part, getattr(network, name)) for name in names}

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._network, name)


def _time_methods(owner: type, part: str, names: tuple[str, ...]) -> None:
    for name in names:
        setattr(owner, name, _timed(part, getattr(owner, name)))


def _sheet(images: np.ndarray) -> np.ndarray:
    """All images in a square, black where there are none."""
    count, h, w, bands = images.shape
    columns = int(np.ceil(count**0.5))
    rows = -(-count // columns)
    full = np.concatenate([images, np.zeros((rows * columns - count, h, w, bands), np.uint8)])
    return np.ascontiguousarray(full.reshape(rows, columns, h, w, bands).swapaxes(1, 2)).reshape(rows * h, -1, bands)


def _row(name: str, codec: benchmark.Codec, arrays: list[np.ndarray], samples: int) -> bytes:
    """Print bits per subpixel of all arrays, a file each, and the seconds that they took; the first file."""
    measured = [benchmark.measure(codec, benchmark.Sample(name, array)) for array in arrays]
    for row, _ in measured:
        if row.error is not None:
            raise click.ClickException(f"{name}: {row.error}")
    bits = 8 * sum(row.bytes for row, _ in measured) / samples
    seconds = [sum(getattr(row, f"{which}_seconds") for row, _ in measured) for which in ("encode", "decode")]
    print(f"| {name} | {bits:.4f} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)
    return measured[0][1]


if __name__ == "__main__":
    main()
