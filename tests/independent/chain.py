"""Blocks on one stack. Page: Chains."""

from __future__ import annotations

from collections.abc import Callable

from .colours import Colours, read_colours
from .numbers import Fields, check
from .samples import crc_of
from .streams import Lanes, read_lanes

Shape = tuple[int, int, int]


class Chain:
    """A payload of planes: what the method says of its blocks is read from ``fields``, then the lanes."""

    def __init__(self, payload: bytes) -> None:
        self.fields = Fields(payload)
        self.lanes = Lanes([], [])
        self.lattice = 0
        """The conversion whose lattice is a prior."""
        self.is_plain = True
        """Whether colours are neither converted nor on such a lattice."""

    def read_lanes(self, widenings: int) -> None:
        """What follows the description of the blocks."""
        self.lanes = read_lanes(self.fields.rest(), widenings)

    def pop_bytes(self, size: int) -> bytes:
        """A block of bytes."""
        words = [self.lanes.words.pop() for _ in range((size + 1) // 2)][::-1]
        data = b"".join(word.to_bytes(2, "little") for word in words)
        check(not any(data[size:]), "padding is not zero")
        return data[:size]


def decode_chunk(
    payload: bytes, shape: Shape, decode: Callable[[Chain, Shape], list[list[list[int]]]], lattices: bool
) -> list[int]:
    """Samples (H, W, B) of 8 bits: ``decode`` gives the pixels of the planes; ``lattices``: one may be a prior."""
    fields = Fields(payload)
    crc = None
    colours = read_colours(fields, lattices) if shape[2] == 3 else Colours()
    if colours.conversion:
        crc = fields.u32()
    chain = Chain(fields.rest())
    chain.lattice = colours.lattice
    chain.is_plain = not (colours.conversion or colours.lattice)
    pixels = decode(chain, shape)
    flat = [sample for line in pixels for pixel in line for sample in pixel]
    check(crc_of(flat) == chain.lanes.told(), "the CRC of planes is wrong")
    if crc is not None:
        flat = [sample for line in colours.to_rgb(pixels) for pixel in line for sample in pixel]
        check(crc_of(flat) == crc, "the CRC of pixels is wrong")
    return flat


def pixels_of(planes: list[list[list[int]]]) -> list[list[list[int]]]:
    """Pixels of planes in coding order."""
    ordered = [planes[1], planes[0], planes[2]] if len(planes) == 3 else planes
    return [[list(samples) for samples in zip(*lines, strict=True)] for lines in zip(*ordered, strict=True)]
