"""The patch flow as a method: many small images as one chain. See `flow.chain` for the payload."""

from __future__ import annotations

from ..container import Method
from ..flow.architecture import PatchArchitecture
from ..flow.chain import block_size, decode_chain, encode_chain
from ..models import Architecture, Model
from ..nets.backends import Network
from . import chains
from .base import Coded, Pixels, Request

KIND = "patch"
takes = chains.takes
max_level = chains.max_level


def encode(pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str) -> Coded:
    """As of ``Encoder``."""
    assert isinstance(model.architecture, PatchArchitecture)
    block = block_size(height), block_size(pixels.shape[1])
    return Coded(Method.PATCH, (encode_chain(pixels, block, model.network(device), model.architecture),))


def decode(request: Request) -> None:
    """As of ``Decoder``."""
    chains.decode(request, KIND, _decode)


def _decode(payload: bytes, shape: tuple[int, int, int], network: Network, architecture: Architecture) -> Pixels:  # type: ignore[type-arg]
    assert isinstance(architecture, PatchArchitecture)
    return decode_chain(payload, *shape, network, architecture)
