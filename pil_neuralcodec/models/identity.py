"""What a model is, and the id that says so: models with one id code alike, on every machine."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..bitswap.architecture import BitswapArchitecture
from ..coders.logistic import TABLE_HASH
from ..flow.architecture import PatchArchitecture, PhotoArchitecture
from ..flow.monotone import TABLE_HASH as LOG_HASH
from ..nets.backends import Network, open_network
from ..nets.spec import ConvSpec

Architecture = PhotoArchitecture | PatchArchitecture | BitswapArchitecture

SEMANTICS = 2
"""Version of what layers (``nets.spec``) and the coder make of a model."""
KINDS: Mapping[str, type[PhotoArchitecture] | type[PatchArchitecture] | type[BitswapArchitecture]] = {
    "photo": PhotoArchitecture,
    "patch": PatchArchitecture,
    "bitswap": BitswapArchitecture,
}


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


def kind_of(architecture: Architecture) -> str:
    """The key of ``KINDS`` that an architecture is of."""
    return next(kind for kind, known in KINDS.items() if isinstance(architecture, known))


def model_id(architecture: Architecture, layers: Mapping[str, ConvSpec]) -> bytes:
    """8 bytes of SHA-256 over the semantics' version, the architecture, the coders' tables and every layer."""
    digest = hashlib.sha256()

    def add(item: bytes) -> None:
        digest.update(struct.pack("<Q", len(item)))
        digest.update(item)

    about = {
        "semantics": SEMANTICS,
        "kind": kind_of(architecture),
        "architecture": architecture.describe(),
        "tables": TABLE_HASH,
        "logarithms": LOG_HASH,
    }
    add(json.dumps(about, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(layers):
        spec = layers[name]
        add(name.encode())
        add(struct.pack("<4I2?", *spec.weight.shape, spec.pixel_input, spec.head))
        add(spec.weight.tobytes())
        add(spec.bias.astype("<i4").tobytes())
        add(spec.shift.astype("<i4").tobytes())
    return digest.digest()[:8]
