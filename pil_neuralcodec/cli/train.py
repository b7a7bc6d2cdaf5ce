"""``train``: a model for a user's own images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..errors import NeuralCodecError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.option(
    "--data",
    "folders",
    type=_FOLDER,
    multiple=True,
    required=True,
    help="A folder of images, searched recursively; may be given more than once.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The model's file, NAME.safetensors. An interrupted run goes on.",
)
@click.option("--model", "start", default="photo", help="Name, file or hash of the photo model to start with.")
@click.option("--minutes", type=_POSITIVE, default=10.0, help="Optimisation time at most.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimisation steps at most, instead of a time.")
@click.option("--learning-rate", type=_POSITIVE, default=5e-4)
@click.option("--device", default="cpu", help="cpu or cuda.")
@click.option("--seed", default=0)
@click.option("--force", is_flag=True, help="Replace a model file that is there.")
def train(folders: tuple[Path, ...], out: Path, force: bool, **settings: Any) -> None:
    """Train a model further on images of one kind, so that files of such images become smaller.

    About one image in eight is held out: training stops where these gain no more, and they are compared in the end.
    Use the model with ``--model NAME.safetensors``, or put it where models are searched.
    """
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out}: a model's file ends in .safetensors")
    if out.exists() and not force:
        raise click.UsageError(f"--out {out} is there: --force replaces it")
    try:
        from ..training.finetune import Comparison, finetune
    except ImportError as error:
        raise click.UsageError(f"training needs {error.name}: install the extra `train`") from error
    try:
        compared = finetune(list(folders), out, say=click.echo, **settings)
    except (NeuralCodecError, ValueError, FileNotFoundError) as error:
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    table = Table("held-out image", "before", "after", "change", title="Bits per subpixel, whole files")
    for column in table.columns[1:]:
        column.justify = "right"
    before, after = (sum(getattr(one, key) for one in compared) / len(compared) for key in ("before", "after"))
    for one in [*compared, Comparison("mean", before, after)]:
        change = f"{one.after / one.before - 1:+.1%}"
        table.add_row(one.name, f"{one.before:.3f}", f"{one.after:.3f}", change, end_section=one is compared[-1])
    Console().print(table)
    click.echo(f"{out}: use it with --model {out}, or put it into a folder where models are searched")
