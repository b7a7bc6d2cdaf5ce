"""Bit-Swap as a method: an image as one chain of blocks. See `bitswap.image` for the payload."""

from __future__ import annotations

from ..bitswap.architecture import BitswapArchitecture
from ..bitswap.image import decode_image, encode_image
from ..container import Method
from ..models import Architecture, Model
from ..nets.backends import Network
from . import chains
from .base import Coded, Pixels, Request

KIND = "bitswap"
takes = chains.takes
max_level = chains.max_level


def encode(pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str) -> Coded:
    """As of ``Encoder``."""
    assert isinstance(model.architecture, BitswapArchitecture)
    return Coded(Method.BITSWAP, (encode_image(pixels, model.network(device), model.architecture, ordering),))


def decode(request: Request) -> None:
    """As of ``Decoder``."""
    chains.decode(request, KIND, _decode)


def _decode(payload: bytes, shape: tuple[int, int, int], network: Network, architecture: Architecture) -> Pixels:  # type: ignore[type-arg]
    assert isinstance(architecture, BitswapArchitecture)
    return decode_image(payload, *shape, network, architecture)
