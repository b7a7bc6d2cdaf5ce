"""Released and user-made models: find them by name, path or id."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ..errors import FormatError, UnknownModelError
from .file import SUFFIX, read, read_description
from .identity import Model

NEWEST = {"photo": "photo-6", "photo-best": "photo-best-4", "patch": "patch-1", "bitswap": "bitswap-1"}
"""The model that a name without a number stands for: of each kind the newest, and variants of other speed."""
FORMAT_KINDS = {"ifl": ("photo", "patch"), "bsw": ("bitswap",)}
"""By format: the kinds of models that it uses, first the one that encodes where none is named."""
ENVIRONMENT = "NEURALCODEC_MODELS"
"""Environment variable: folders with models, separated as in PATH."""

_State = tuple[Path, int, int]
"""A file as it was: path, time of its last change, size."""
_loaded: dict[_State, Model] = {}
_ids: dict[_State, str | None] = {}
"""What files say to be, read once: None for files that are no models."""


def load(model: str | os.PathLike[str] | bytes | None = None, format: str = "ifl") -> Model:
    """Find and verify a model; a file is read once.

    Parameters
    ----------
    model: a path, a name (``"photo-6"``), a kind (``"patch"``: the newest of its models), an id (8 bytes or 16 hex
        digits), or None for the default of ``format``.

    Names and ids are looked up in the folders of ``search_folders()``, first hit first. Raises ``UnknownModelError``
    where there is none, and ``FormatError`` for a file that is not a model.
    """
    if model is None:
        model = FORMAT_KINDS[format][0]
    if isinstance(model, bytes):
        return by_id(model)
    if isinstance(model, str):
        model = NEWEST.get(model, model)
    if isinstance(model, os.PathLike) or model.endswith(SUFFIX) or "/" in model or os.sep in model:
        path = Path(model)
        if not path.is_file():
            raise UnknownModelError(f"no model file {str(path)!r}")
        return _open(path)
    for folder in search_folders():
        path = folder / (model + SUFFIX)
        if path.is_file():
            return _open(path)
    try:
        identity = bytes.fromhex(model)
    except ValueError:
        identity = b""
    if len(identity) == 8:
        return by_id(identity)
    raise UnknownModelError(f"no model named {model!r} in {_searched()}: name a file, or a folder in {ENVIRONMENT}")


def search_folders() -> list[Path]:
    """Where models are looked for: ``NEURALCODEC_MODELS``, the user's own folder, and what the package brings."""
    named = [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    package = Path(__file__).parents[1]
    return [
        *named,
        platformdirs.user_config_path("pil_neuralcodec") / "models",
        package / "weights",
        package.parent / "weights",
    ]  # the last in a checkout, where weights are not inside the package


def by_id(identity: bytes, given: str | os.PathLike[str] | None = None) -> Model:
    """The model with an id of 8 bytes: ``given``, a name or path, if that is it, else what lies in the folders.

    Raises `UnknownModelError`, which says what is missing and where it was searched.
    """
    offered = None if given is None else load(given)
    if offered is not None and offered.id == identity:
        return offered
    for folder in search_folders():
        for path in sorted(folder.glob("*" + SUFFIX)) if folder.is_dir() else ():
            try:
                if _id_of(path) == identity.hex():
                    return _open(path)
            except OSError:
                continue  # damaged: another file may still be the one
    other = "" if offered is None else f" and is not {offered.name!r}, which is {offered.id.hex()}"
    raise UnknownModelError(
        f"the model {identity.hex()} is not in {_searched()}{other}: get the file that has it, and "
        f"name it (model=, --model), or put it into one of these folders or one named in "
        f"{ENVIRONMENT}"
    )


def _searched() -> str:
    return ", ".join(str(folder) for folder in search_folders())


def _state(path: Path) -> _State:
    path = path.resolve()
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


def _id_of(path: Path) -> str | None:
    """The id that a file says to have; None for something else that lies in the folder."""
    state = _state(path)
    if state not in _ids:
        try:
            _ids[state] = read_description(path).get("id")
        except FormatError:
            _ids[state] = None
    return _ids[state]


def _open(path: Path) -> Model:
    state = _state(path)
    if state not in _loaded:
        _loaded.setdefault(state, read(state[0]))
    return _loaded[state]
