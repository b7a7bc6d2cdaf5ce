"""Model files: safetensors with the layers, and a JSON description in the metadata.

Each layer of the architecture has three tensors: ``<layer>.weight`` int8, ``<layer>.bias`` and ``<layer>.shift`` int32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NEWER, FormatError, UnsupportedError
from ..nets.backends import self_test_digest
from ..nets.numpy_backend import NumpyNetwork
from ..nets.spec import ConvSpec
from .identity import KINDS, SEMANTICS, Architecture, Model, kind_of, model_id

SUFFIX = ".safetensors"
_HEADER_MAX = 1 << 20
_PARTS = ("weight", "bias", "shift")
_DTYPES: dict[str, np.dtype[Any]] = {"I8": np.dtype(np.int8), "I32": np.dtype("<i4")}


def save(
    path: str | os.PathLike[str],
    architecture: Architecture,
    layers: Mapping[str, ConvSpec],
    card: Mapping[str, Any] | None = None,
) -> Model:
    """Write a model file and return the model. The file is replaced at once: no reader sees a part of it.

    Parameters
    ----------
    path
        ``<name>.safetensors``.
    layers
        Layers by name; those that are not in the architecture are left out.
    card
        Description for readers, as JSON: training data, time, hardware, results.

    Raises
    ------
    ValueError
        If a layer of the architecture is missing or has another shape.
    """
    from safetensors.numpy import save as save_tensors  # not above: who opens images does not need it

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


def read(path: Path) -> Model:
    """Read and verify a model file. Raises ``FormatError`` if it is damaged or not a model, ``UnsupportedError`` for a
    model of a newer version."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = _object(path, data[8:begin])
    description = _description(path, header)
    if description.get("semantics") != SEMANTICS or description.get("kind") not in list(KINDS):
        raise UnsupportedError(f"{path.name!r} is a model of a kind or version that is not known: it was {NEWER}")
    try:
        architecture = KINDS[description["kind"]].from_description(description["architecture"])
        tensors = _tensors(header, memoryview(data)[begin:])
        layers = {
            shape.name: ConvSpec(
                tensors[f"{shape.name}.weight"],
                tensors[f"{shape.name}.bias"],
                tensors[f"{shape.name}.shift"],
                shape.pixel_input,
                shape.is_output,
                shape.positions,
            )
            for shape in architecture.layers()
        }
        if len(tensors) != len(_PARTS) * len(layers):
            raise ValueError("it has tensors that no layer uses")
        _check(architecture, layers)
        digest, card = str(description["self_test"]), dict(description.get("card", {}))
    except UnsupportedError as error:
        raise UnsupportedError(f"{path.name!r} is a model of {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise FormatError(f"{path.name!r} is damaged or not a model: {error}") from error
    identity = model_id(architecture, layers)
    if description.get("id") != identity.hex():
        raise FormatError(f"{path.name!r} is damaged: it claims the id {description.get('id')}, not {identity.hex()}")
    return Model(identity, path.stem, architecture, layers, card, digest)


def _check(architecture: Architecture, layers: Mapping[str, ConvSpec]) -> None:
    """Raise ``ValueError`` unless ``layers`` are what the architecture describes."""
    for shape in architecture.layers():
        if shape.name not in layers:
            raise ValueError(f"layer {shape.name!r} is missing")
        spec = layers[shape.name]
        expected = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        kinds = [(part.pixel_input, part.is_output, part.positions) for part in (spec, shape)]
        if spec.weight.shape != expected or kinds[0] != kinds[1]:
            raise ValueError(f"layer {shape.name!r} does not have the shape that the architecture describes")
        if shape.name.endswith(".matrix"):
            from ..flow.patch import read_matrix

            read_matrix(spec)


def read_description(path: Path) -> dict[str, Any]:
    """The JSON description of a model file, without its layers. Raises ``FormatError``."""
    with path.open("rb") as file:
        head = file.read(8)
        size = int.from_bytes(head, "little")
        if len(head) < 8 or size > _HEADER_MAX:
            raise FormatError(f"{path.name!r} is not a safetensors file")
        return _description(path, _object(path, file.read(size)))


def _description(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The description of a model in a safetensors file's header, which also says of each tensor where it is."""
    metadata = header.get("__metadata__")
    return _object(path, metadata.get("model") if isinstance(metadata, dict) else None)


def _object(path: Path, data: Any) -> dict[str, Any]:
    """A JSON object. Raises ``FormatError``."""
    try:
        found = json.loads(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not a model file: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path.name!r} is not a model file")
    return found


def _tensors(header: Mapping[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    """The tensors of a file by name, not copied where they need not be. Raises ``KeyError``, ``TypeError`` or
    ``ValueError`` where they do not lie one after the other in all of the ``data``."""
    places = {name: place for name, place in header.items() if name != "__metadata__"}
    tensors: dict[str, np.ndarray] = {}
    at = 0
    for name, place in sorted(places.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = place["data_offsets"]
        if begin != at or end < begin:
            raise ValueError(f"the tensor {name!r} is not where it should be")
        dtype = _DTYPES[place["dtype"]]
        tensor = np.frombuffer(data[begin:end], dtype).reshape(place["shape"])
        tensors[name] = tensor.astype(dtype.newbyteorder("="), copy=not tensor.flags.aligned)
        at = end
    if at != len(data):
        raise ValueError("its tensors are not all that it has")
    return tensors
