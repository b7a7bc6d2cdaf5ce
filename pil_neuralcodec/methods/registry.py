"""Every method of the format by its number, and those with a model by the model's kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..container import Method
from . import bitswap, direct, patch, photo
from .base import Decoder, Encoder

DECODERS: Final[Mapping[Method, Decoder]] = {
    **{method: direct.decode_segment for method in Method if not method.needs_model},
    Method.PHOTO: photo.decode_segment,
    Method.BITSWAP: bitswap.decode_segment,
    Method.PATCH: patch.decode_segment,
}
ENCODERS: Final[Mapping[str, Encoder]] = {
    "photo": photo.encode_segment,
    "patch": patch.encode_segment,
    "bitswap": bitswap.encode_segment,
}
"""By kind of model."""
