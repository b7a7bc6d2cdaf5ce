"""Every method of the format by its number, and those with a model by the model's kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..container import Method
from . import bitswap, patch, photo
from .base import Decoder, Encoder
from .direct import Direct

DECODERS: Final[Mapping[Method, Decoder]] = {
    **{method: Direct(method) for method in Method if not method.needs_model},
    Method.PHOTO: photo,
    Method.BITSWAP: bitswap,
    Method.PATCH: patch,
}
ENCODERS: Final[Mapping[str, Encoder]] = {module.KIND: module for module in (photo, patch, bitswap)}
"""By kind of model."""
