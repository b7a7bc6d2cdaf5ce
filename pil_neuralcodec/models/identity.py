"""A model and its id. Models with the same id produce the same bytes on every machine."""

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
"""Version of the arithmetic of layers (``nets.spec``) and coders."""
KINDS: Mapping[str, type[Architecture]] = {
    "photo": PhotoArchitecture,
    "patch": PatchArchitecture,
    "bitswap": BitswapArchitecture,
}


@dataclass(frozen=True, eq=False)
class Model:
    """A verified model.

    Parameters
    ----------
    id
        8 bytes, see ``model_id``.
    name
        File name without suffix.
    card
        How it was trained, and on what.
    digest
        Expected digest of the self-test, see ``nets.backends.self_test_digest``.
    """

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
        """The model's network on a device, self-tested once and cached; see ``nets.backends.open_network``."""
        key = (device, kernel)
        # No lock: in a forked child a lock that another thread held would never be released. At worst two threads open
        # the same network.
        if key not in self._networks:
            self._networks.setdefault(key, open_network(self.layers, device, kernel=kernel, digest=self.digest))
        return self._networks[key]


def kind_of(architecture: Architecture) -> str:
    """The key of ``KINDS`` for an architecture."""
    return next(kind for kind, known in KINDS.items() if isinstance(architecture, known))


def model_id(architecture: Architecture, layers: Mapping[str, ConvSpec]) -> bytes:
    """8 bytes of a SHA-256 over ``SEMANTICS``, the architecture, the coders' tables and every layer."""
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
        add(struct.pack("<4I2?", *spec.weight.shape, spec.pixel_input, spec.is_output))
        add(spec.weight.tobytes())
        add(spec.bias.astype("<i4").tobytes())
        add(spec.shift.astype("<i4").tobytes())
    return digest.digest()[:8]
