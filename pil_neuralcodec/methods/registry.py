"""Every method of the format by its number, and those with a model by the model's kind.

What a method needs is imported when it is first used: a file that is opened pays for its own methods alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from ..container import Method
from .base import Coded, Decoder, Encoder, Request


def _decoder(module: str) -> Decoder:
    def decode_segment(request: Request) -> None:
        import_module(f".{module}", __package__).decode_segment(request)

    return decode_segment


def _encoder(module: str) -> Encoder:
    def encode_segment(*args: Any, **options: Any) -> Coded | None:
        coded: Coded | None = import_module(f".{module}", __package__).encode_segment(*args, **options)
        return coded

    return encode_segment


DECODERS: Final[Mapping[Method, Decoder]] = {
    method: _decoder(method.name.lower() if method.needs_model else "direct") for method in Method
}
ENCODERS: Final[Mapping[str, Encoder]] = {kind: _encoder(kind) for kind in ("photo", "patch", "bitswap")}
"""By kind of model."""
