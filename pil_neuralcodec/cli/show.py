"""``info`` and ``models``: what files and models say of themselves."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from .batch import Outcome
from .options import DEVICE, JSON, MAYBE_INPUTS, OWN_SUFFIXES
from .report import printable, report
from .sources import find_sources, on_disk

if TYPE_CHECKING:
    from ..api import Info

_METHODS: Final = {
    "photo": "a network, tile by tile",
    "patch": "a network, image by image in one chain",
    "bitswap": "a network with latent variables, in a chain for each tile",
    "jpeg": "the coefficients of the JPEG file that it was",
    "webp": "lossless WebP",
    "predictor": "adaptive linear prediction",
    "filtered": "row filters and LZMA",
    "raw": "nothing: samples as they are",
}
"""What methods are, in plain words."""
_TIMES: Final = ("encode_seconds_per_megapixel", "decode_seconds_per_megapixel")
_LINE: Final = 80
"""Characters of a text that are shown."""
_SIDE: Final = 512
"""Pixels across and down of what models are timed with."""


@click.command()
@MAYBE_INPUTS
@JSON
@click.option("--engine", is_flag=True, help="Show what runs networks here, and why.")
@DEVICE
def info(inputs: tuple[str, ...], as_json: bool, engine: bool, device: str | None) -> None:
    """Show what files say of themselves. Nothing is decoded."""
    from .. import api

    if not (inputs or engine):
        raise click.UsageError("name files, or pass --engine")
    if engine:
        _show_engine(device, as_json)
    outcomes = []
    sources = find_sources(inputs, OWN_SUFFIXES)
    for source in sources:
        try:
            with on_disk(source.path) as path:
                found = api.read_info(path)
        except OSError as error:
            outcomes.append(Outcome(source.path, str(error), "failed"))
            continue
        click.echo(json.dumps(_fields(source.path, found)) if as_json else _lines(_words(source.path, found)))
    report(outcomes, len(sources))


def _show_engine(device: str | None, as_json: bool) -> None:
    """Print what runs networks on a device."""
    from .. import engines

    try:
        found = asdict(engines.report(device))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if not as_json:
        found["self_tests"] = [
            f"{one['engine']} {one['problem'] or 'right'} in {one['milliseconds']} ms" for one in found["self_tests"]
        ]
    click.echo(json.dumps(found) if as_json else _lines(found))


@click.command()
@JSON
@click.option("--time", "timed", is_flag=True, help="Encode and decode 512 x 512 pixels with each, on this machine.")
@DEVICE
def models(as_json: bool, timed: bool, device: str | None) -> None:
    """List the models that are found here, with ids and sizes; --time tells how fast they are."""
    from .. import models as library

    rows: list[dict[str, Any]] = []
    newest = {name: short for short, name in library.NEWEST.items()}
    defaults = {library.NEWEST[kinds[0]]: format for format, kinds in library.FORMAT_KINDS.items()}
    for path in library.known():
        try:
            model = library.load(path)
        except OSError as error:
            click.echo(f"error: {path}: {error}", err=True)
            continue
        row: dict[str, Any] = {
            "name": model.name,
            "kind": model.kind,
            "id": model.id.hex(),
            "default_of": defaults.get(model.name),
            "newest_of": newest.get(model.name),
            "bytes": path.stat().st_size,
            "file": str(path),
        }
        rows.append(row | (_speed(path, model.kind, device) if timed else {}))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    columns = ["model", "kind", "id", "MB", "default of"]
    table = Table(*columns, *(["encode s/megapixel", "decode s/megapixel"] if timed else []))
    table.columns[2].no_wrap = True
    for row in rows:
        cells = [row["name"], row["kind"], row["id"], f"{row['bytes'] / 1e6:.1f}", row["default_of"] or ""]
        table.add_row(*cells, *(f"{row[key]:.2f}" for key in _TIMES if timed))
    console = Console()
    if not console.is_terminal:
        console.width = max(100, console.width)
    console.print(table)


def _speed(path: Path, kind: str, device: str | None) -> dict[str, float]:
    """Seconds per megapixel of a photograph's size, in a warm process."""
    import numpy as np

    from .. import api

    format = "bsw" if kind == "bitswap" else "ifl"
    slope = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))[:, :, None] // 4
    noise = np.random.default_rng(0).integers(0, 9, (_SIDE, _SIDE, 3))
    image = (slope + noise).astype(np.uint8)
    for pixels in (image[:64, :64], image):  # the first to warm up
        begin = time.perf_counter()
        data = api.encode(pixels, format, model=path, device=device, fallback=False, past=False)
        middle = time.perf_counter()
        api.decode(data, model=path, device=device)
        end = time.perf_counter()
    scale = 1e6 / _SIDE**2
    return dict(zip(_TIMES, (scale * (middle - begin), scale * (end - middle)), strict=True))


def _fields(path: Path, found: Info) -> dict[str, Any]:
    """What a file says of itself, for programs."""
    fields = asdict(found)
    fields["metadata"] = {key: _plain(value) for key, value in fields["metadata"].items() if value is not None}
    if found.metadata.axes is not None:
        fields["metadata"]["axes"] = found.metadata.axes._asdict()
    return {"file": str(path), **fields, "model_name": _model_name(found)}


def _words(path: Path, found: Info) -> dict[str, str]:
    """What a file says of itself, for people."""
    axes = found.metadata.axes
    size = f"{found.width:,} x {found.height:,}"
    holds = f"an image of mode {found.mode}, {size}" if found.mode else f"an array that is no Pillow image, {size}"
    if axes is not None:
        holds = f"an array with axes {axes.letters}, {' x '.join(f'{side:,}' for side in axes.sizes)}"
    durations = dict.fromkeys(found.durations)
    shown = ", ".join("no time" if one is None else f"{one} ms" for one in durations)
    levels = f"{found.levels}, the coarsest 1 / {2 ** (found.levels - 1)} of each side"
    words = {
        "file": f"{path}: {found.format}, {found.file_size:,} bytes, {found.header_size:,} of them header",
        "holds": f"{holds}, {found.bands} band{'s' * (found.bands != 1)} of {found.dtype}",
        "size": f"{found.bits_per_subpixel:.3f} bits/subpixel",
        "frames": f"{found.n_frames}, shown for {shown} each" if found.n_frames > 1 else "1",
        "coded by": "; ".join(f"{_METHODS.get(one, one)} ({one})" for one in dict.fromkeys(found.methods)),
        "levels": "the whole only" if found.levels == 1 else levels,
    }
    if found.tiles != (1, 1):
        words["tiles"] = f"{found.tiles[0]} x {found.tiles[1]}, each decoded alone"
    if found.model is not None:
        words["model"] = f"{_model_name(found) or 'not found here'} ({found.model})"
    kept = {name: getattr(found.metadata, name) for name in found.metadata.present() if name not in ("axes", "text")}
    if kept:
        words["metadata"] = _text({name: _plain(value) for name, value in kept.items()})
    if found.metadata.text:
        words["texts"] = "; ".join(f"{one.key}: {_shortened(one.value)}" for one in found.metadata.text)
    return words


def _model_name(found: Info) -> str | None:
    """The name of the model that a file needs; None where there is none here."""
    from .. import models as library

    try:
        return None if found.model is None else library.by_id(bytes.fromhex(found.model)).name
    except OSError:
        return None


def _lines(found: dict[str, Any]) -> str:
    """Names and values for reading."""
    width = max(12, *map(len, found))
    lines = (f"{key.replace('_', ' '):<{width}} {printable(_text(value))}" for key, value in found.items())
    return "\n".join(lines) + "\n"


def _shortened(text: str) -> str:
    """A text in a line."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE else f"{line[:_LINE]}... ({len(text):,} characters)"


def _plain(value: Any) -> Any:
    """``value`` for JSON: bytes as their length, in words what is no number."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
