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
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ..errors import FormatError
from ..nets.backends import self_test_digest
from ..nets.numpy_backend import NumpyNetwork
from ..nets.spec import ConvSpec
from .identity import KINDS, SEMANTICS, Architecture, Model, kind_of, model_id

SUFFIX = ".safetensors"
_HEADER_MAX = 1 << 20
_PARTS = ("weight", "bias", "shift")


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
    """Read and verify a model file. Raises ``FormatError`` if it is damaged or not a model."""
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
                shape.is_output,
                shape.positions,
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
        return _parse(path, file.read(size))


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    try:
        description = json.loads(json.loads(header)["__metadata__"]["model"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not a model file: {error}") from error
    if not isinstance(description, dict):
        raise FormatError(f"{path.name!r} is not a model file")
    return description
