"""``thumbnail`` and ``desktop``: what file managers of Linux desktops need."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from PIL import Image

from ..uncut import foreign_errors
from .deep import upright
from .options import DEVICE, FORMATS

if TYPE_CHECKING:
    from ..samples import Pixels

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MIME: Final = "pil_neuralcodec.xml"
_THUMBNAILER: Final = "pil_neuralcodec.thumbnailer"
_PROGRAM: Final = "neuralcodec"


@click.command()
@click.argument("source", type=_FILE)
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-s", "--size", type=click.IntRange(min=1), default=256, help="Pixels of the longer side at most.")
@DEVICE
def thumbnail(source: Path, target: Path, size: int, device: str | None) -> None:
    """Write a small PNG of a file of ours, decoding no more than it needs.

    The first frame, as its orientation says; samples of more than 8 bits from their smallest to their largest.
    """
    if Image.registered_extensions().get(target.suffix.lower(), "PNG") != "PNG":  # desktops pass names of any suffix
        raise click.UsageError(f"{target} does not end in .png: thumbnails are PNG files")
    try:
        file = io.BytesIO()
        shrunk(source, size, device).save(file, "PNG")
        target.write_bytes(file.getvalue())  # into the very file that is there: tumbler reads it by its descriptor
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        click.echo(f"error: {source}: {error}", err=True)
        raise click.exceptions.Exit(1) from error


def shrunk(source: Path, size: int, device: str | None = None) -> Image.Image:
    """The first frame of a file of ours in at most ``size`` x ``size`` pixels, in mode L, LA, RGB or RGBA.

    Raises ``OSError`` for a file that cannot be read.
    """
    from .. import api
    from ..pillow_plugin import NeuralImageFile

    if not api.read_info(source).mode:
        array = Image.fromarray(_as_bytes(api.decode(source, device=device, frame=0)))
        array.thumbnail((size, size))
        return array
    with Image.open(source, formats=[name.upper() for name in FORMATS]) as opened:
        assert isinstance(opened, NeuralImageFile)
        opened.use(device=device)
        image: Image.Image = opened
        if opened.mode in ("1", "P", "PA") or opened.mode.startswith("I;"):  # which Pillow does not average
            image = _shown(opened)
        image.thumbnail((size, size))
        return upright(_shown(image))


def _shown(image: Image.Image) -> Image.Image:
    """An image in mode L, LA, RGB or RGBA."""
    if image.mode.startswith("I") or image.mode == "F":
        import numpy as np

        shown = Image.fromarray(_as_bytes(np.asarray(image)))
        shown.info = image.info
        return shown
    if image.mode == "LAB":
        return image.getchannel("L")
    modes = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
    with foreign_errors():  # of transparency that means nothing
        return image.convert(modes.get(image.mode, "RGBA" if "transparency" in image.info else "RGB"))


def _as_bytes(array: Pixels) -> Pixels:
    """An array of anything as uint8 (H, W) or (H, W, 3): of more axes the first of each, of more bands the first."""
    import numpy as np

    bands = array.ndim > 2 and array.shape[-1] <= 4
    while array.ndim > 2 + bands:
        array = array[0]
    if bands:
        array = array[..., :3] if array.shape[-1] > 2 else array[..., 0]
    values = np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)


@click.command()
@click.option("--remove", is_flag=True, help="Take them away again.")
def desktop(remove: bool) -> None:
    """Tell the desktop of this user about the formats: MIME types, and thumbnails in file managers.

    Files go to $XDG_DATA_HOME (~/.local/share). For all users, install the package with pip into a prefix whose share/
    the desktop reads.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for path, text in _files(data):
        if remove:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        click.echo(f"{path}: {'removed' if remove else 'written'}")
    update = ["update-mime-database", str(data / "mime")]
    if not (data / "mime" / "packages").is_dir():
        return
    try:
        subprocess.run(update, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        click.echo(f"error: {shlex.join(update)}: {error}: install shared-mime-info, and run it", err=True)
        raise click.exceptions.Exit(1) from error


def _files(data: Path) -> Iterator[tuple[Path, str]]:
    """What is installed: paths and contents. The thumbnailer names the program of this environment."""
    folder = resources.files("pil_neuralcodec") / "desktop"
    yield data / "mime" / "packages" / _MIME, (folder / _MIME).read_text(encoding="utf-8")
    entry = (folder / _THUMBNAILER).read_text(encoding="utf-8")
    yield data / "thumbnailers" / _THUMBNAILER, entry.replace(f"={_PROGRAM}", f"={_program()}")


def _program() -> str:
    """Where this environment's program is; its name, where it is not among the environment's scripts."""
    here = Path(sysconfig.get_path("scripts"), _PROGRAM)
    return str(here) if here.exists() else shutil.which(_PROGRAM) or _PROGRAM
