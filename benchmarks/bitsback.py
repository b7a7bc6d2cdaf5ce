"""What bits-back costs: ``python benchmarks/bitsback.py chain --model MODEL FILE...``, or ``images``, ``sides`` or
``times``.

``chain`` codes blocks from the middle of the files, 64 x 64 pixels each, one after the other on one stack, by both
orderings with each model: the bits that have to lie on the stack before the first block (what is borrowed at most
while it is coded, with the first layer of latents alone, the first two, ...), and the bits after 1, 10, 100 blocks,
with these and without. Beside it the model's negative ELBO of the same blocks in floating point. The stack begins with
random words.

``images`` codes the tiles of whole images as ``.bsw`` files hold them, and says what they spend on starting: bytes of
chains, less what the network takes for whole tiles on a stack that is tall enough.

``times`` codes whole images as ``.bsw`` and as ``.ifl``, in turn, and says how long both take.

``sides`` codes the middle 512 x 512 of each file in independent blocks of several sizes, start not counted.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from pil_neuralcodec import benchmark, models
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.bitswap.coder import ORDERINGS, BlockCoder, Move
from pil_neuralcodec.coders.stack import height
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.flow.tile import TileCoder, tile_size
from pil_neuralcodec.methods.bitsback import ChainReader
from pil_neuralcodec.methods.bitswap import encode_chain, read_blocks
from pil_neuralcodec.methods.tiles import tile_areas
from pil_neuralcodec.training.data import read_rgb
from pil_neuralcodec.training.reports import bits_by_network, tall_stack, twin

COUNTS = (1, 10, 100)
SIDE = 64
BATCH = 20
"""Blocks of which the ELBO is computed at once: weights are rounded anew for each batch, which takes as long."""
FILES = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def main() -> None:
    """What bits-back coding costs."""


def _load(name: str) -> tuple[models.Model, BitswapArchitecture]:
    model = models.load(name)
    if not isinstance(model.architecture, BitswapArchitecture):
        raise click.UsageError(f"{name} is no Bit-Swap model")
    return model, model.architecture


def _blocks(files: tuple[Path, ...]) -> list[np.ndarray]:
    """As many blocks as the largest count, in turn from the middle rows of each file."""
    rows = []
    for path in files:
        pixels = read_rgb(path)
        top = (pixels.shape[0] - SIDE) // 2
        rows.append([pixels[top : top + SIDE, x : x + SIDE] for x in range(0, pixels.shape[1] - SIDE + 1, SIDE)])
    blocks = [row[i] for i in range(max(map(len, rows))) for row in rows if i < len(row)][: max(COUNTS)]
    if len(blocks) < max(COUNTS):
        raise click.UsageError(f"these files hold {len(blocks)} blocks, not {max(COUNTS)}")
    return [to_planes(block[None])[0] for block in blocks]


@main.command()
@click.option("--model", "names", multiple=True, required=True, help="May be given more than once.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw bits per subpixel here.")
@FILES
def chain(names: tuple[str, ...], plot: Path | None, files: tuple[Path, ...]) -> None:
    """A chain of blocks, by both orderings."""
    blocks = _blocks(files)
    subpixels = blocks[0].size
    print(
        f"| model | L | ordering | before the first block with 1 .. L layers, bits | "
        f"{' | '.join(f'after {n}: with these / without, bits per subpixel' for n in COUNTS)} | negative ELBO |"
    )
    print("|---|---|---|---|" + "---|" * (len(COUNTS) + 1))
    curves = {}
    for name in names:
        model, architecture = _load(name)
        coder = BlockCoder(architecture, model.network())
        net = twin(model)
        batches = [np.stack(blocks[at : at + BATCH]) for at in range(0, len(blocks), BATCH)]
        elbo = sum(bits_by_network(net, batch) for batch in batches)
        for ordering in ORDERINGS:
            starts, heights = _chain(coder, blocks, ordering)
            start = starts[-1]
            cells = (
                f"{(start + heights[n - 1]) / n / subpixels:.3f} / {heights[n - 1] / n / subpixels:.3f}" for n in COUNTS
            )
            borrowed = ", ".join(f"{bits:,.0f}" for bits in starts)
            print(
                f"| {name} | {len(architecture.latents)} | {ordering} | {borrowed} | {' | '.join(cells)} | "
                f"{elbo / len(blocks) / subpixels:.3f} |",
                flush=True,
            )
            counts = np.arange(1, len(blocks) + 1)
            curves[f"{name}, {ordering}"] = counts, (start + np.array(heights)) / counts / subpixels
    if plot is not None:
        _draw(plot, curves)


def _chain(coder: BlockCoder, blocks: list[np.ndarray], ordering: str) -> tuple[list[float], list[float]]:
    """Bits borrowed at most by the first block, with the first 1 .. L layers, and net bits after each block."""
    lanes = tall_stack(2**16, lanes=16)
    begin, heights = height(lanes), []
    layers = len(coder.architecture.latents)
    lowest = [begin] * layers

    def watch(move: Move) -> None:
        kind, layer = move
        if not heights and kind == "q":
            # What the moves of further layers do comes later, so it does not matter to these.
            lowest[layer - 1 :] = [min(low, height(lanes)) for low in lowest[layer - 1 :]]

    for block in blocks:
        coder.push(lanes, block, ordering, watch=watch)
        heights.append(height(lanes) - begin)
    return [begin - low for low in lowest], heights


def _draw(path: Path, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="blocks of 64 x 64 in the chain", ylabel="bits per subpixel, start included", xscale="log"
    )
    for label, (counts, bits) in curves.items():
        axes.plot(counts, bits, label=label, linestyle="--" if "bb-ans" in label else "-")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=120)


@main.command()
@click.option("--model", default="bitswap", show_default=True)
@click.option("--crop", type=int, default=1, show_default=True, help="Crop right and bottom to a multiple of this.")
@FILES
def images(model: str, crop: int, files: tuple[Path, ...]) -> None:
    """Whole images: the bytes that go into starting."""
    loaded, architecture = _load(model)
    coder, flow = BlockCoder(architecture, loaded.network()), TileCoder(architecture.likelihood, loaded.network())
    total, whole, direct, chains = 0, 0.0, 0, 0
    for path in files:
        pixels = read_rgb(path)
        high, wide = (side // crop * crop for side in pixels.shape[:2])
        for top, left, rows, columns in tile_areas(high, wide, tile_size(high), tile_size(wide)):
            tile = np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
            payload = encode_chain(tile, loaded.network(), architecture)
            _, _, _, blocks = read_blocks(ChainReader(payload), rows, columns)
            total, chains = total + len(payload), chains + 1
            direct += sum(told // 2 for _, told in blocks if told is not None)
            planes, lanes = to_planes(tile[None])[0], tall_stack(2**16, lanes=16)
            before = height(lanes)
            coder.push(lanes, planes, phase=flow.phase_of(planes))
            whole += (height(lanes) - before) / 8
    print(
        f"{len(files)} images, {chains} chains, {total:,} bytes; coded directly {direct:,} ({direct / total:.2%}); "
        f"spent on starting {total - whole:,.0f} ({1 - whole / total:.2%})"
    )


@main.command()
@click.option("--model", default="bitswap", show_default=True)
@FILES
def sides(model: str, files: tuple[Path, ...]) -> None:
    """Blocks of several sizes."""
    loaded, architecture = _load(model)
    coder = BlockCoder(architecture, loaded.network())
    print("| block | bits per subpixel |\n|---|---|")
    for side in (32, 64, 128, 256, 512):
        bits = subpixels = 0.0
        for path in files:
            pixels = read_rgb(path)
            top, left = ((n - 512) // 2 for n in pixels.shape[:2])
            lanes = tall_stack(2**16, lanes=16)
            before = height(lanes)
            for y in range(top, top + 512, side):
                for x in range(left, left + 512, side):
                    coder.push(lanes, to_planes(pixels[None, y : y + side, x : x + side])[0])
            bits += height(lanes) - before
            subpixels += 512 * 512 * 3
        print(f"| {side} x {side} | {bits / subpixels:.4f} |", flush=True)


@main.command()
@click.option("--repeats", default=3, show_default=True)
@FILES
def times(repeats: int, files: tuple[Path, ...]) -> None:
    """Seconds of ``.bsw`` against ``.ifl``: the best of some runs of each, and their ratio."""
    codecs = {name: benchmark.ours(name) for name in ("ifl", "bsw")}
    print("| file | .ifl encode, decode s | .bsw encode, decode s | .bsw / .ifl |\n|---|---|---|---|")
    for path in files:
        pixels = read_rgb(path)
        best = {name: [float("inf")] * 2 for name in codecs}
        for run in range(repeats + 1):  # the first one is not counted
            for name, codec in codecs.items():
                row, _ = benchmark.measure(codec, benchmark.Sample(path.name, pixels))
                if run:
                    best[name] = list(map(min, best[name], (row.encode_seconds, row.decode_seconds)))
        cells = [f"{encode:.2f}, {decode:.2f}" for encode, decode in best.values()]
        ratios = ", ".join(f"{b / a:.2f}" for a, b in zip(best["ifl"], best["bsw"], strict=True))
        print(f"| {path.name} | " + " | ".join([*cells, ratios]) + " |", flush=True)


if __name__ == "__main__":
    main()
