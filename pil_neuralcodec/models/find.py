"""Find released and user-made models by name, path or id."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from ..errors import FormatError, UnknownModelError, UnsupportedError
from .file import SUFFIX, read, read_description
from .identity import Model

NEWEST = {
    "photo": "photo-9",
    "photo-fast": "photo-fast-3",
    "photo-best": "photo-best-6",
    "patch": "patch-3",
    "bitswap": "bitswap-2",
}
"""The newest model of each kind and variant: what a name without a number means."""
FORMAT_KINDS = {"ifl": ("photo", "patch"), "bsw": ("bitswap",)}
"""The kinds of models that each format uses; the first is the default for encoding."""
ENVIRONMENT = "NEURALCODEC_MODELS"
"""Environment variable with folders of models, separated as in PATH."""

_State = tuple[int, int, int, int]
"""Device, number, time of last modification and size of a file: the key of the caches below."""
_loaded: dict[_State, Model] = {}
_ids: dict[_State, str | None] = {}
"""Ids as files state them; None for files that are not models."""
_places: dict[bytes, Path] = {}
"""Where in the package's own folders the model with an id was found: to look into all of them takes a millisecond."""


def load(model: str | os.PathLike[str] | bytes | None = None, format: str = "ifl") -> Model:
    """Find, verify and cache a model.

    Parameters
    ----------
    model
        A path, a name (``"photo-9"``), a kind (``"patch"``: its newest model), an id (8 bytes or 16 hex digits), or
        None for the default of ``format``. Names and ids are searched in ``search_folders()``, in that order.
    format
        A key of ``FORMAT_KINDS``.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    FormatError
        If the file is damaged or not a model.
    TypeError
        If ``model`` is none of these.
    """
    if model is None:
        model = FORMAT_KINDS[format][0]
    if isinstance(model, bytes):
        return by_id(model)
    if isinstance(model, str):
        model = NEWEST.get(model, model)
    elif not isinstance(model, os.PathLike):
        raise TypeError(f"model={model!r} should be a name, a path or an id")
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
    """Folders with models: those in ``NEURALCODEC_MODELS``, the user's configuration folder, the package's own."""
    import platformdirs

    named = [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    return [*named, platformdirs.user_config_path("pil_neuralcodec") / "models", *_own_folders()]


def known() -> list[Path]:
    """The files of models in ``search_folders()``, the first one of each name, which is what a name means."""
    found: dict[str, Path] = {}
    for folder in search_folders():
        for path in sorted(folder.glob("*" + SUFFIX)) if folder.is_dir() else ():
            found.setdefault(path.stem, path)
    return list(found.values())


def _own_folders() -> list[Path]:
    package = Path(__file__).parents[1]
    return [package / "weights", package.parent / "weights"]  # the last in a checkout, where they are not inside


def by_id(identity: bytes, given: str | os.PathLike[str] | None = None) -> Model:
    """The model with an id of 8 bytes: ``given``, a name or path, if its id is that, else one from the folders.

    Raises ``UnknownModelError``, which names the missing id and the folders searched, and ``UnsupportedError`` for one
    of a newer version.
    """
    offered = None if given is None else load(given)
    if offered is not None and offered.id == identity:
        return offered
    newer: UnsupportedError | None = None
    # An id means the same model wherever it is found: the package's own folders are the fastest to be known.
    for path in _paths(identity):
        try:
            if _id_of(path) == identity.hex():
                found = _open(path)
                if identity not in _places and path.parent in _own_folders():
                    _places[identity] = path
                return found
        except UnsupportedError as error:
            newer = error
        except OSError:
            continue  # damaged or gone: another file may have the model
    if newer is not None:
        raise newer
    other = "" if offered is None else f" and is not {offered.name!r}, which is {offered.id.hex()}"
    raise UnknownModelError(
        f"the model {identity.hex()} is not in {_searched()}{other}: upgrade, since a newer version may "
        f"have it, or get the file that has it, and name it (model=, --model), or put it into one of these folders or "
        f"one named in {ENVIRONMENT}"
    )


def _paths(identity: bytes) -> Iterator[Path]:
    """Where the model with an id may be."""
    if identity in _places:
        yield _places[identity]
    for folder in chain(_own_folders(), _lazily(search_folders)):
        yield from sorted(folder.glob("*" + SUFFIX)) if folder.is_dir() else ()


def _lazily(folders: Callable[[], list[Path]]) -> Iterator[Path]:
    yield from folders()


def _searched() -> str:
    return ", ".join(str(folder) for folder in search_folders())


def _state(path: Path) -> _State:
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _id_of(path: Path) -> str | None:
    """The id that a file states; None if it is not a model file."""
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
        _loaded.setdefault(state, read(path.resolve()))
    return _loaded[state]
