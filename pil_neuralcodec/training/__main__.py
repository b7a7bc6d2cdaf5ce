"""``python -m pil_neuralcodec.training photo --data DIR --out DIR``: train, or go on, and export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import models
from ..bitswap.architecture import BitswapArchitecture
from ..flow.architecture import PatchArchitecture, PhotoArchitecture
from ..nets.spec import ConvSpec
from ..nets.training import TrainableNet
from .bitswap import TrainableBitswapNet
from .card import PHOTO_TASK, model_card
from .data import Crops, Patches
from .loop import Schedule, evaluate, train
from .patch import TrainablePatchNet
from .photo import TrainablePhotoNet
from .reports import curves, likelihood, plot_curves

Numbers = tuple[tuple[int, ...], ...]
"""By level, or by row."""


@click.group()
def main() -> None:
    """Train models for pil_neuralcodec."""


def _running(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all models share."""
    for option in reversed(
        [
            click.option(
                "--data",
                "folders",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                multiple=True,
                required=True,
                help="A folder of photographs, searched recursively; may be given more than once.",
            ),
            click.option(
                "--out",
                type=click.Path(file_okay=False, path_type=Path),
                required=True,
                help="Run folder: checkpoint, curve.csv, curve.png, the model. An interrupted run goes on.",
            ),
            click.option(
                "--minutes", type=float, default=60.0, show_default=True, help="Optimisation time over all runs."
            ),
            click.option("--steps", type=int, help="Optimisation steps over all runs, instead of a time."),
            click.option(
                "--start", type=str, help="Begin with a released model (its name, hash or path) instead of afresh."
            ),
            click.option("--batch", type=int, default=Schedule.batch, show_default=True, help="Crops per step."),
            click.option(
                "--crop", type=int, default=Schedule.crop, show_default=True, help="Side of a crop, a power of two."
            ),
            click.option("--learning-rate", type=float, default=Schedule.learning_rate, show_default=True),
            click.option(
                "--rounded",
                type=float,
                default=Schedule.rounded,
                show_default=True,
                help="The last share of the time, trained with rounding.",
            ),
            click.option(
                "--grain",
                type=float,
                default=0.0,
                show_default=True,
                help="The share of crops that get noise as films and sensors make it.",
            ),
            click.option("--device", default="cpu", show_default=True),
            click.option(
                "--half/--full",
                default=None,
                help="Convolutions in bfloat16; by default where that is much faster: on GPUs and CPUs with AMX.",
            ),
            click.option(
                "--compile/--eager", "compiled", default=False, help="Run what torch.compile makes of the network."
            ),
            click.option("--seed", type=int, default=0, show_default=True),
            click.option(
                "--note", "notes", multiple=True, help="A line for the model card: a data set and its licence, say."
            ),
        ]
    ):
        command = option(command)
    return command


_MIXTURES = click.option("--mixtures", type=int, default=4, show_default=True, help="Logistics in each mixture.")
_WIDTH = click.option("--width", type=int, default=96, show_default=True, help="Channels of every hidden layer.")


def read_blocks(text: str) -> Numbers:
    """Numbers with commas between them, levels split by "/". Raises ``ValueError``."""
    return tuple(tuple(int(n) for n in level.split(",")) for level in text.split("/"))


def _blocks(context: click.Context, parameter: click.Parameter, value: str) -> Numbers:
    try:
        return read_blocks(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}: numbers with commas between them, levels split by '/'") from None


_PHOTO_BLOCKS = click.option(
    "--blocks",
    default="2,1,1/2,1,1/1,1,1",
    show_default=True,
    callback=_blocks,
    help="Residual blocks per stage, levels split by '/', the finest first.",
)
_ENSEMBLE = click.option(
    "--self-ensemble/--no-self-ensemble",
    default=False,
    show_default=True,
    help="The released model averages over four mirror images; training is the same.",
)
_GROWN = click.option(
    "--grow",
    callback=lambda *of: of[2] and _blocks(*of),
    help="As --blocks, of a model that starts as --start does, with more blocks that change nothing "
    "before they are trained.",
)


@main.command()
@_running
@_WIDTH
@_MIXTURES
@_PHOTO_BLOCKS
@_GROWN
@_ENSEMBLE
def photo(
    width: int,
    mixtures: int,
    blocks: Numbers,
    grow: Numbers | None,
    self_ensemble: bool,
    start: str | None,
    **options: Any,
) -> None:
    """Train the photo flow of ``.ifl``."""
    loaded = None if start is None else models.load(start)
    if loaded is None:
        arch = PhotoArchitecture.from_description(
            {"width": width, "blocks": blocks, "mixtures": mixtures, "self_ensemble": self_ensemble}
        )
    elif isinstance(loaded.architecture, PhotoArchitecture):
        arch = loaded.architecture
        if grow is not None:
            arch = PhotoArchitecture.from_description({**arch.describe(), "blocks": grow})
    else:
        raise click.UsageError(f"{start} is no photo model")
    net = TrainablePhotoNet(replace(arch, self_ensemble=self_ensemble))
    if loaded is not None:
        _load_what_fits(net, loaded)
        for shape in net.shapes:
            if shape.name not in loaded.layers and shape.name.endswith(".b"):
                net.layer(shape.name).weight.data.zero_()
    _run(net, PHOTO_TASK, start, **options)


@main.command()
@_running
@_WIDTH
@_MIXTURES
@click.option(
    "--blocks",
    default="2,1,1/2,1,1/1,1,1",
    show_default=True,
    callback=_blocks,
    help="Residual blocks per stage of the likelihood, for as many levels as lie below the latents.",
)
@click.option(
    "--latents",
    default="8,12,12,12",
    show_default=True,
    callback=_blocks,
    help="Channels of each layer of latents, the finest first.",
)
@click.option("--depth", type=int, default=2, show_default=True, help="Residual blocks wherever latents are read.")
@click.option(
    "--coarse",
    type=float,
    default=0.0,
    show_default=True,
    help="Minutes to train the latents alone first, on crops four times as large.",
)
def bitswap(
    width: int,
    mixtures: int,
    blocks: Numbers,
    latents: Numbers,
    depth: int,
    coarse: float,
    start: str | None,
    **options: Any,
) -> None:
    """Train the hierarchical latent variable model of ``.bsw``. ``--start`` may also name a photo model, whose networks
    then begin the likelihood."""
    loaded = None if start is None else models.load(start)
    if loaded is not None and isinstance(loaded.architecture, BitswapArchitecture):
        arch = loaded.architecture
    else:
        arch = BitswapArchitecture.from_description(
            {"width": width, "blocks": blocks, "mixtures": mixtures, "latents": latents[0], "depth": depth}
        )
    net = TrainableBitswapNet(arch)
    if loaded is not None:
        _load_what_fits(net, loaded)
    _run(
        net, "hierarchical latent variable model for .bsw (lossless image compression)", start, coarse=coarse, **options
    )


@main.command()
@_running
@_WIDTH
@_MIXTURES
@_PHOTO_BLOCKS
@click.option(
    "--lattice",
    default="0,2/3,1",
    show_default=True,
    callback=_blocks,
    help="In which order positions are coupled: numbers of a square of four, rows split by '/'.",
)
@click.option("--frac", type=int, default=PatchArchitecture.frac, show_default=True, help="Fractional bits of values.")
@click.option(
    "--array",
    "arrays",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="An .npz file with small images, uint8 (N, side, side, 3) under 'images'; may be given more than once.",
)
@click.option("--share", type=float, default=0.5, show_default=True, help="Part of the batches taken from the arrays.")
def patch(
    width: int, mixtures: int, blocks: Numbers, lattice: Numbers, frac: int, start: str | None, **options: Any
) -> None:
    """Train the patch flow of ``.ifl``, for sets of small images. ``--start`` may also name a photo model, whose
    networks then give the mixtures to begin with."""
    loaded = None if start is None else models.load(start)
    if loaded is not None and isinstance(loaded.architecture, PatchArchitecture):
        arch = loaded.architecture
    else:
        pyramid = {"width": width, "blocks": blocks, "mixtures": mixtures}
        if loaded is not None:
            pyramid = {key: loaded.architecture.describe()[key] for key in pyramid}
        arch = PatchArchitecture.from_description({"pyramid": pyramid, "lattice": lattice, "frac": frac})
    net = TrainablePatchNet(arch)
    if loaded is not None:
        _load_what_fits(net, loaded)
    _run(net, "patch flow for .ifl (lossless compression of small images)", start, **options)


def _load_what_fits(net: TrainableNet, model: models.Model) -> None:
    """Layers of a model that the network has too; those that see more channels, or fewer, begin as if they did not."""
    known = {shape.name: shape for shape in net.shapes}
    layers: dict[str, ConvSpec] = {}
    for shape in model.architecture.layers():
        wanted, spec = known.get(shape.name), model.layers[shape.name]
        if wanted is not None and replace(wanted, inputs=shape.inputs) == shape:
            more = max(0, wanted.inputs - shape.inputs)
            weight = np.pad(spec.weight, ((0, 0), (0, more), (0, 0), (0, 0)))[:, : wanted.inputs]
            layers[shape.name] = replace(spec, weight=np.ascontiguousarray(weight))
    net.load(layers, partly=True)


def _run(
    net: TrainablePhotoNet | TrainablePatchNet | TrainableBitswapNet,
    task: str,
    start: str | None,
    *,
    folders: tuple[Path, ...],
    out: Path,
    minutes: float,
    steps: int | None,
    batch: int,
    crop: int,
    learning_rate: float,
    rounded: float,
    grain: float,
    device: str,
    half: bool | None,
    compiled: bool,
    seed: int,
    notes: tuple[str, ...],
    coarse: float = 0.0,
    arrays: tuple[Path, ...] = (),
    share: float = 0.0,
) -> None:
    """Train, or go on, and export."""
    schedule = Schedule(
        minutes,
        steps=steps,
        warm_up=min(200, (steps or 2000) // 10),
        learning_rate=learning_rate,
        rounded=rounded,
        batch=batch,
        crop=crop,
    )
    crops = (
        Patches(list(folders), list(arrays), share=share, seed=seed, grain=grain, device=device)
        if isinstance(net, TrainablePatchNet)
        else Crops(list(folders), seed=seed, grain=grain, device=device)
    )
    click.echo(
        f"{len(crops)} photographs and shrunken copies, {len(crops.validation)} held out; "
        f"{net.arch.macs_per_pixel() / 1e6:.3f} M multiply-adds per pixel"
    )
    settings: dict[str, Any] = {"device": device, "seed": seed, "compiled": compiled, "half": half}
    if coarse:
        first = replace(schedule, minutes=coarse, steps=None, crop=4 * crop, rounded=0.0)
        train(crops, out / "coarse", net, first, objective=partial(net, coarse_only=True), **settings)
    train(crops, out, net, schedule, **settings)
    parts = evaluate(net, crops, device)
    card = model_card(
        out.name,
        task,
        data=(*folders, *arrays),
        start=start or "random weights",
        length=f"{steps} steps" if steps else f"{minutes:g} minutes",
        schedule=schedule,
        crops=crops,
        device=device,
        seed=seed,
        held_out=float(parts.sum()),
        held_out_by_parts=[round(float(part), 4) for part in parts],
        multiply_adds_per_pixel=round(net.arch.macs_per_pixel()),
        notes=list(notes),
    )
    target = out / f"{models.kind_of(net.arch)}.safetensors"
    models.save(target, net.arch, net.export(), card)
    plot_curves([out / "curve.csv"], out / "curve.png")
    click.echo(f"{target}: {json.dumps(card, indent=2)}")


main.add_command(likelihood)
main.add_command(curves)


if __name__ == "__main__":
    main()
