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
import torch
from click import Option

from .. import models
from ..bitswap.architecture import BitswapArchitecture
from ..flow.architecture import PatchArchitecture, PhotoArchitecture
from ..models import Model
from ..nets.spec import ConvSpec
from ..nets.training import TrainableNet
from .bitswap import Listening, TrainableBitswapNet
from .card import model_card
from .data import Crops, Patches
from .loop import Schedule, evaluate, train
from .narrow import narrow
from .patch import TrainablePatchNet
from .photo import TrainablePhotoNet
from .reports import curves, likelihood, plot_curves

Numbers = tuple[tuple[int, ...], ...]
"""By level, or by row."""
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def numbers(text: str) -> Numbers:
    """Numbers with commas between them, levels split by "/"; as a ``type`` of options, it raises their error."""
    try:
        return tuple(tuple(int(n) for n in level.split(",")) for level in text.split("/"))
    except ValueError:
        raise click.BadParameter(f"{text!r}: numbers with commas between them, levels split by '/'") from None


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Train models for pil_neuralcodec."""


RUNNING = [
    Option(
        ["--data", "folders"],
        type=FOLDER,
        multiple=True,
        required=True,
        help="A folder of photographs, searched recursively; may be given more than once.",
    ),
    Option(
        ["--out"],
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        help="Run folder: checkpoint, curve.csv, curve.png, the model. An interrupted run goes on.",
    ),
    Option(["--minutes"], default=60.0, help="Optimisation time over all runs."),
    Option(["--steps"], type=int, help="Optimisation steps over all runs, instead of a time."),
    Option(["--start"], help="Begin with a released model (its name, hash or path) instead of afresh."),
    Option(["--batch"], default=Schedule.batch, help="Crops per step."),
    Option(["--crop"], default=Schedule.crop, help="Side of a crop, a power of two."),
    Option(["--learning-rate"], default=Schedule.learning_rate),
    Option(["--rounded"], default=Schedule.rounded, help="The last share of the time, trained with rounding."),
    Option(["--grain"], default=0.0, help="The share of crops that get noise as films and sensors make it."),
    Option(["--device"], default="cpu"),
    Option(
        ["--half/--full"],
        default=None,
        help="Convolutions in bfloat16; by default where that is much faster: on GPUs and CPUs with AMX.",
    ),
    Option(["--average"], default=0, help="Release the moving average of about so many of the last steps."),
    Option(["--seed"], default=0),
    Option(["--note", "notes"], multiple=True, help="A line for the model card: a data set and its licence, say."),
    Option(["--width"], default=96, help="Channels of every hidden layer."),
    Option(["--mixtures"], default=4, help="Logistics in each mixture."),
    Option(
        ["--blocks"],
        type=numbers,
        default="2,1,1/2,1,1/1,1,1",
        help="Residual blocks per stage, levels split by '/', the finest first.",
    ),
]
"""The options that all models share."""
PAST = click.option(
    "--past",
    type=float,
    help="The share of crops that shows planes before a conversion to RGB, of photographs without one as if they had "
    "been JPEG files; by default photographs are seen as they are coded.",
)


@main.command(params=[*RUNNING])
@click.option(
    "--grow",
    type=numbers,
    help="As --blocks, of a model that starts as --start does: with fewer blocks, or with more that change nothing "
    "before they are trained.",
)
@click.option(
    "--narrow",
    "narrower",
    type=int,
    help="As --width, of a model that starts as --start does: with those of its channels that matter most.",
)
@PAST
@click.option(
    "--self-ensemble/--no-self-ensemble",
    default=False,
    help="The released model averages over four mirror images; training is the same.",
)
def photo(
    width: int,
    mixtures: int,
    blocks: Numbers,
    grow: Numbers | None,
    narrower: int | None,
    self_ensemble: bool,
    start: str | None,
    **options: Any,
) -> None:
    """Train the photo flow of ``.ifl``."""
    loaded = None if start is None else models.load(start)
    if loaded is None:
        arch = PhotoArchitecture.from_description(
            {**PhotoArchitecture().describe(), "width": width, "blocks": blocks, "mixtures": mixtures}
        )
    elif isinstance(loaded.architecture, PhotoArchitecture):
        arch = loaded.architecture
        if grow is not None:
            arch = PhotoArchitecture.from_description({**arch.describe(), "blocks": grow})
    else:
        raise click.UsageError(f"{start} is no photo model")
    net = TrainablePhotoNet(replace(arch, self_ensemble=self_ensemble))
    if loaded is not None:
        for shape in net.shapes:
            if shape.name not in loaded.layers and shape.name.endswith(".b"):
                net.layer(shape.name).weight.data.zero_()
    if narrower is None or loaded is None:
        _run(net, start, loaded, **options)
    else:
        _load_what_fits(net, loaded)
        narrowed = TrainablePhotoNet(replace(net.arch, width=narrower))
        _run(narrowed, start, None, begin=partial(narrow, narrowed, net), **options)


@main.command(params=[*RUNNING])
@click.option("--latents", type=numbers, default="8,8,8", help="Channels of each layer of latents, the finest first.")
@click.option("--depth", default=1, help="Residual blocks wherever latents are read.")
@click.option("--keep-flow", is_flag=True, help="Train the latents' networks alone: the flow stays as --start has it.")
@click.option("--listening", default=0, help="Steps in which the bits of latents cost nothing; it rises for as many.")
@PAST
def bitswap(
    width: int,
    mixtures: int,
    blocks: Numbers,
    latents: Numbers,
    depth: int,
    keep_flow: bool,
    start: str | None,
    **options: Any,
) -> None:
    """Train the hierarchical latent variable model of ``.bsw``. ``--start`` may also name a photo model, whose networks
    are then the likelihood to begin with."""
    loaded = None if start is None else models.load(start)
    if loaded is not None and isinstance(loaded.architecture, BitswapArchitecture):
        arch = loaded.architecture
    else:
        flow = PhotoArchitecture.from_description(
            {**PhotoArchitecture().describe(), "width": width, "blocks": blocks, "mixtures": mixtures}
        )
        if loaded is not None:
            if not isinstance(loaded.architecture, PhotoArchitecture):
                raise click.UsageError(f"{start} is neither a photo nor a Bit-Swap model")
            flow = loaded.architecture
        flow = replace(flow, self_ensemble=False, backward_adaptation=True)
        arch = BitswapArchitecture.from_description(
            {"likelihood": flow.describe(), "latents": latents[0], "depth": depth}
        )
    net = TrainableBitswapNet(arch)
    if keep_flow:
        net.keep_flow()
    _run(net, start, loaded, **options)


@main.command(params=[*RUNNING])
@click.option(
    "--lattice",
    type=numbers,
    default="0,2/3,1",
    help="In which order positions are coupled: numbers of a square of four, rows split by '/'.",
)
@click.option("--frac", default=PatchArchitecture.frac, help="Fractional bits of values.")
@click.option(
    "--array",
    "arrays",
    type=FILE,
    multiple=True,
    help="An .npz file with small images, uint8 (N, side, side, 3) under 'images'; may be given more than once.",
)
@click.option("--share", default=0.5, help="Part of the batches taken from the arrays.")
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
    _run(TrainablePatchNet(arch), start, loaded, **options)


def _load_what_fits(net: TrainableNet, model: Model) -> None:
    """Layers of a model that the network has too; those that see more channels, or fewer, begin as if they did not."""
    known = {shape.name: shape for shape in net.shapes}
    layers: dict[str, ConvSpec] = {}
    for shape in model.architecture.layers():
        wanted, spec = known.get(shape.name), model.layers[shape.name]
        if wanted is not None and wanted._replace(inputs=shape.inputs, positions=shape.positions) == shape:
            more = max(0, wanted.inputs - shape.inputs)
            weight = np.pad(spec.weight, ((0, 0), (0, more), (0, 0), (0, 0)))[:, : wanted.inputs]
            layers[shape.name] = replace(spec, weight=np.ascontiguousarray(weight), positions=wanted.positions)
    net.load(layers, partly=True)


def _run(
    net: TrainablePhotoNet | TrainablePatchNet | TrainableBitswapNet,
    start: str | None,
    loaded: Model | None,
    *,
    folders: tuple[Path, ...],
    out: Path,
    grain: float,
    device: str,
    half: bool | None,
    seed: int,
    notes: tuple[str, ...],
    listening: int = 0,
    arrays: tuple[Path, ...] = (),
    share: float = 0.0,
    past: float | None = None,
    begin: Callable[[torch.Tensor, torch.Tensor], None] | None = None,
    **schedule_options: Any,
) -> None:
    """Train, from what fits of the ``loaded`` model, what ``begin`` makes of the network and of some crops, or a
    checkpoint, and export."""
    if loaded is not None:
        _load_what_fits(net, loaded)
    schedule = Schedule(**schedule_options)
    schedule.warm_up = min(200, (schedule.steps or 2000) // 10)
    drawing: dict[str, Any] = {"seed": seed, "grain": grain, "device": device}
    crops = (
        Patches(list(folders), list(arrays), share=share, **drawing)
        if isinstance(net, TrainablePatchNet)
        else Crops(list(folders), past=past, **drawing)
    )
    click.echo(
        f"{len(crops)} photographs and shrunken copies, {len(crops.validation)} held out; "
        f"{net.arch.macs_per_pixel() / 1e6:.3f} M multiply-adds per pixel"
    )
    settings: dict[str, Any] = {"device": device, "seed": seed, "half": half}
    if begin is not None:
        seen = crops.batch(32, schedule.crop)
        begin(seen.planes.cpu(), seen.phases.cpu())
    if listening:
        assert isinstance(net, TrainableBitswapNet)
        settings["objective"] = Listening(net, listening, device)
    train(crops, out, net, schedule, **settings)
    parts = evaluate(net, crops, device)
    kind = models.kind_of(net.arch)
    card = model_card(
        out.name,
        kind,
        data=(*folders, *arrays),
        start=start or "random weights",
        schedule=schedule,
        crops=crops,
        device=device,
        seed=seed,
        held_out=float(parts.sum()),
        held_out_by_parts=[round(float(part), 4) for part in parts],
        multiply_adds_per_pixel=round(net.arch.macs_per_pixel()),
        notes=list(notes),
    )
    target = out / f"{kind}.safetensors"
    models.save(target, net.arch, net.export(), card)
    plot_curves([out / "curve.csv"], out / "curve.png")
    click.echo(f"{target}: {json.dumps(card, indent=2)}")


main.add_command(likelihood)
main.add_command(curves)


if __name__ == "__main__":
    main()
