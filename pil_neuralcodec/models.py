"""Released and user-made models: find them by name, path or id, verify them, and run them.

A model is one safetensors file: ``<layer>.weight`` int8, ``<layer>.bias`` and ``<layer>.shift`` int32 for every layer
of the architecture, and, as metadata, one JSON text under the key ``model``. Its id, the first 8 bytes of a SHA-256
over everything that can change a coded symbol, is what files carry: models with one id code alike, on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from .bitswap.architecture import BitswapArchitecture
from .coders.logistic import TABLE_HASH
from .errors import FormatError, UnknownModelError
from .flow.architecture import PatchArchitecture, PhotoArchitecture
from .flow.monotone import TABLE_HASH as LOG_HASH
from .flow.patch import read_matrix
from .nets.backends import Network, open_network, self_test_digest
from .nets.numpy_backend import NumpyNetwork
from .nets.spec import ConvSpec

Architecture = PhotoArchitecture | PatchArchitecture | BitswapArchitecture

SEMANTICS = 1
"""Version of what layers (``nets.spec``) and the coder make of a model."""
KINDS: Mapping[str, type[PhotoArchitecture] | type[PatchArchitecture] | type[BitswapArchitecture]] = {
    "photo": PhotoArchitecture,
    "patch": PatchArchitecture,
    "bitswap": BitswapArchitecture,
}
NEWEST = {"photo": "photo-6", "photo-best": "photo-best-4", "patch": "patch-1", "bitswap": "bitswap-1"}
"""The model that a name without a number stands for: of each kind the newest, and variants of other speed."""
FORMAT_KINDS = {"ifl": ("photo", "patch"), "bsw": ("bitswap",)}
"""By format: the kinds of models that it uses, first the one that encodes where none is named."""
ENVIRONMENT = "NEURALCODEC_MODELS"
"""Environment variable: folders with models, separated as in PATH."""

_SUFFIX = ".safetensors"
_HEADER_MAX = 1 << 20
_PARTS = ("weight", "bias", "shift")


@dataclass(frozen=True, eq=False)
class Model:
    """A verified model. ``id`` is 8 bytes; ``card`` says where it comes from; ``digest`` is that of the self-test."""

    id: bytes
    name: str
    architecture: Architecture
    layers: Mapping[str, ConvSpec]
    card: Mapping[str, Any]
    digest: str
    _networks: dict[tuple[str | None, str | None], Network[Any]] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """A key of ``KINDS``."""
        return kind_of(self.architecture)

    def network(self, device: str | None = None, kernel: str | None = None) -> Network[Any]:
        """The model's networks on a device, self-tested once and kept; see ``nets.backends.open_network``."""
        key = (device, kernel)
        # No lock: one held by another thread at a fork would stay locked in the child. At worst two threads open one.
        if key not in self._networks:
            self._networks.setdefault(key, open_network(self.layers, device, kernel=kernel, digest=self.digest))
        return self._networks[key]


_loaded: dict[tuple[Path, int, int], Model] = {}


def load(model: str | os.PathLike[str] | bytes | None = None, format: str = "ifl") -> Model:
    """Find and verify a model; a file is read once.

    Parameters
    ----------
    model: a path, a name (``"photo-2"``), a kind (``"patch"``: the newest of its models), an id (8 bytes or 16 hex
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
    if isinstance(model, os.PathLike) or model.endswith(_SUFFIX) or "/" in model or os.sep in model:
        path = Path(model)
        if not path.is_file():
            raise UnknownModelError(f"no model file {str(path)!r}")
        return _open(path)
    for folder in search_folders():
        path = folder / (model + _SUFFIX)
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
    package = Path(__file__).parent
    return [
        *named,
        platformdirs.user_config_path("pil_neuralcodec") / "models",
        package / "weights",
        package.parent / "weights",
    ]  # the last in a checkout, where weights are not inside the package


def save(
    path: str | os.PathLike[str],
    architecture: Architecture,
    layers: Mapping[str, ConvSpec],
    card: Mapping[str, Any] | None = None,
) -> Model:
    """Write a model file, whole or not at all, and return the model.

    Parameters
    ----------
    path: the file, by custom ``<name>.safetensors``.
    layers: the exact layers of all of ``architecture.layers()``, by name.
    card: what people should know of the model; JSON-able.

    Raises ``ValueError`` for layers that are not the architecture's.
    """
    path, card = Path(path), dict(card or {})
    layers = {shape.name: layers[shape.name] for shape in architecture.layers() if shape.name in layers}
    _check(architecture, layers)
    digest = self_test_digest(NumpyNetwork(layers))
    identity = model_id(architecture, layers)
    tensors = {
        f"{name}.{part}": np.ascontiguousarray(getattr(spec, part)) for name, spec in layers.items() for part in _PARTS
    }
    description = {
        "semantics": SEMANTICS,
        "kind": kind_of(architecture),
        "id": identity.hex(),
        "architecture": architecture.describe(),
        "self_test": digest,
        "card": card,
    }
    data = save_tensors(tensors, metadata={"model": json.dumps(description, sort_keys=True)})
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Model(identity, path.stem, architecture, layers, card, digest)


def kind_of(architecture: Architecture) -> str:
    """The key of ``KINDS`` that an architecture is of."""
    return next(kind for kind, known in KINDS.items() if isinstance(architecture, known))


def model_id(architecture: Architecture, layers: Mapping[str, ConvSpec]) -> bytes:
    """8 bytes of SHA-256 over the semantics' version, the architecture, the coder's tables and every layer."""
    digest = hashlib.sha256()

    def add(item: bytes) -> None:
        digest.update(struct.pack("<Q", len(item)))
        digest.update(item)

    about = {
        "semantics": SEMANTICS,
        "kind": kind_of(architecture),
        "architecture": architecture.describe(),
        "tables": TABLE_HASH,
    }
    if isinstance(architecture, PatchArchitecture):
        about["logarithms"] = LOG_HASH
    add(json.dumps(about, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(layers):
        spec = layers[name]
        add(name.encode())
        add(struct.pack("<4I2?", *spec.weight.shape, spec.pixel_input, spec.head))
        add(spec.weight.tobytes())
        add(spec.bias.astype("<i4").tobytes())
        add(spec.shift.astype("<i4").tobytes())
    return digest.digest()[:8]


def by_id(identity: bytes, given: str | os.PathLike[str] | None = None) -> Model:
    """The model with an id of 8 bytes: ``given``, a name or path, if that is it, else what lies in the folders.

    Raises `UnknownModelError`, which says what is missing and where it was searched.
    """
    offered = None if given is None else load(given)
    if offered is not None and offered.id == identity:
        return offered
    for folder in search_folders():
        for path in sorted(folder.glob("*" + _SUFFIX)) if folder.is_dir() else ():
            try:
                if _description(path).get("id") == identity.hex():
                    return _open(path)
            except (FormatError, OSError):
                continue  # something else in the folder, or damaged: another file may still be the one
    other = "" if offered is None else f" and is not {offered.name!r}, which is {offered.id.hex()}"
    raise UnknownModelError(
        f"the model {identity.hex()} is not in {_searched()}{other}: get the file that has it, and "
        f"name it (model=, --model), or put it into one of these folders or one named in "
        f"{ENVIRONMENT}"
    )


def _searched() -> str:
    return ", ".join(str(folder) for folder in search_folders())


def _description(path: Path) -> dict[str, Any]:
    """The JSON text of a model file, without reading its layers."""
    with path.open("rb") as file:
        head = file.read(8)
        size = int.from_bytes(head, "little")
        if len(head) < 8 or size > _HEADER_MAX:
            raise FormatError(f"{path.name!r} is not a safetensors file")
        return _parse(path, file.read(size))


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    try:
        description = json.loads(json.loads(header)["__metadata__"]["model"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not a model file: {error}") from error
    if not isinstance(description, dict):
        raise FormatError(f"{path.name!r} is not a model file")
    return description


def _open(path: Path) -> Model:
    path = path.resolve()
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _loaded:
        _loaded.setdefault(key, _read(path))
    return _loaded[key]


def _read(path: Path) -> Model:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    description = _parse(path, data[8 : 8 + size])
    if description.get("semantics") != SEMANTICS or description.get("kind") not in KINDS:
        raise FormatError(f"{path.name!r} is a model of a kind or version that this release does not know: upgrade it")
    try:
        architecture = KINDS[description["kind"]].from_description(description["architecture"])
        tensors = load_tensors(data)
        layers = {
            shape.name: ConvSpec(
                tensors[f"{shape.name}.weight"],
                tensors[f"{shape.name}.bias"],
                tensors[f"{shape.name}.shift"],
                shape.pixel_input,
                shape.head,
            )
            for shape in architecture.layers()
        }
        if len(tensors) != len(_PARTS) * len(layers):
            raise ValueError("it has tensors that no layer uses")
        _check(architecture, layers)
        digest, card = str(description["self_test"]), dict(description.get("card", {}))
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path.name!r} is damaged or not a model: {error}") from error
    identity = model_id(architecture, layers)
    if description.get("id") != identity.hex():
        raise FormatError(f"{path.name!r} is damaged: it says to be {description.get('id')} and is {identity.hex()}")
    return Model(identity, path.stem, architecture, layers, card, digest)


def _check(architecture: Architecture, layers: Mapping[str, ConvSpec]) -> None:
    """Raise ``ValueError`` unless ``layers`` are those of the architecture."""
    for shape in architecture.layers():
        if shape.name not in layers:
            raise ValueError(f"layer {shape.name!r} is missing")
        spec = layers[shape.name]
        expected = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        if spec.weight.shape != expected or (spec.pixel_input, spec.head) != (shape.pixel_input, shape.head):
            raise ValueError(f"layer {shape.name!r} is not of the shape that the architecture gives it")
        if shape.name.endswith(".matrix"):
            read_matrix(spec)
