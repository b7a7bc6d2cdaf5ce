"""What a trained network promises beside what the coder makes of it, and plots of learning curves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch

from .. import models
from ..bitswap.coder import BlockCoder
from ..coders.lanes import Lanes, WordStack
from ..coders.stack import Stack, height
from ..coders.widths import widen
from ..flow.architecture import CHANNELS, PatchArchitecture, PhotoArchitecture
from ..flow.block_phase import NO_PHASE, BlockPhase
from ..flow.patch import PatchFlow
from ..flow.planes import to_planes
from ..flow.tile import TileCoder, checked_levels
from ..nets.training import TrainableNet
from .bitswap import TrainableBitswapNet
from .data import read_rgb
from .patch import TrainablePatchNet
from .photo import TrainablePhotoNet


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True, help="Name, hash or path of a model.")
def likelihood(files: tuple[Path, ...], model: str) -> None:
    """Compare code length with what the network itself says: its negative log-likelihood, as a mixture in floating
    point, or of a model with bits-back its negative ELBO.

    Each image is cropped to its largest centred square with a power of two as side, at most 512.
    """
    loaded = models.load(model)
    arch = loaded.architecture
    net = twin(loaded)
    total_ideal = total_real = 0.0
    for path in files:
        pixels = read_rgb(path)
        side = min(512, 2 ** (min(pixels.shape[:2]).bit_length() - 1))
        y, x = ((n - side) // 2 for n in pixels.shape[:2])
        crop = np.ascontiguousarray(pixels[y : y + side, x : x + side])
        planes = to_planes(crop[None])
        if isinstance(arch, PhotoArchitecture):
            coder = TileCoder(arch, loaded.network())
            ideal = bits_by_network(net, planes, coder.phase_of(planes[0]))
            real = 8.0 * sum(map(len, coder.encode(crop[None], checked_levels(side, side), past=False)))
        else:
            ideal = bits_by_network(net, planes)
            lanes = tall_stack(2**18)
            before = height(lanes)
            if isinstance(arch, PatchArchitecture):
                PatchFlow(arch, loaded.network(), planes.shape).forward(planes, Stack(lanes))
            else:
                BlockCoder(arch, loaded.network()).push(lanes, planes[0])
            real = height(lanes) - before
        click.echo(f"{path.name}: likelihood {ideal / crop.size:.4f}, code {real / crop.size:.4f} bits per subpixel")
        total_ideal += ideal
        total_real += real
    click.echo(f"code / likelihood = {total_real / total_ideal:.5f}")


def twin(model: models.Model) -> TrainableNet:
    """The network of a model in floating point, with weights and activations rounded as the model's are; the noise
    that it draws begins anew."""
    kinds = {"photo": TrainablePhotoNet, "patch": TrainablePatchNet, "bitswap": TrainableBitswapNet}
    net: TrainableNet = kinds[model.kind](model.architecture)
    net.load(model.layers)
    net.set_rounded(True)
    net.eval()
    torch.manual_seed(0)
    return net


def bits_by_network(net: TrainableNet, planes: np.ndarray, phase: BlockPhase = NO_PHASE) -> float:
    """What a `twin` says that planes (N, 3, H, W), uint8, take: negative log-likelihood, or negative ELBO, in bits."""
    with torch.no_grad():
        bits = float(
            net(torch.as_tensor(planes.astype(np.float32)), CHANNELS, torch.tensor([phase] * len(planes))).sum()
        )
    # The coarsest pixel, which all models but Bit-Swap's code by itself.
    return bits if isinstance(net, TrainableBitswapNet) else bits + 8 * CHANNELS * len(planes)


def tall_stack(words: int, lanes: int = 512) -> Lanes:
    """A stack of random words, of 16 bits each, that can lend bits to what is coded on it."""
    stack = Lanes(1, WordStack(np.random.default_rng(0).integers(0, 2**16, words).astype(np.uint16)))
    widen(stack, lanes)
    return stack


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The figure, .png.")
def curves(files: tuple[Path, ...], out: Path) -> None:
    """Plot learning curves: curve.csv of runs, or copies of them."""
    plot_curves(files, out)


def plot_curves(files: Sequence[Path], out: Path) -> None:
    """A figure for each learning curve: bits per subpixel of training crops and of held-out photographs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4) if len(files) == 1 else (9, 3 * -(-len(files) // 2)), layout="constrained")
    for number, path in enumerate(files):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        name = path.parent.name if path.stem == "curve" else path.stem.removesuffix("-curve")
        columns = min(len(files), 2)
        axes = figure.add_subplot(
            -(-len(files) // columns), columns, number + 1, title=name, xlabel="minutes", ylabel="bits per subpixel"
        )
        minutes = [float(row["minutes"]) for row in rows]
        axes.plot(minutes, [float(row["train"]) for row in rows], label="training crops, running mean")
        axes.plot(minutes, [float(row["held_out"]) for row in rows], label="held out")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(out, dpi=120)
