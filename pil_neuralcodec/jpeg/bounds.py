"""What is known of samples before their coefficients are: the lowest, the highest and the likeliest values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import colour
from .layout import Layout
from .transform import to_blocks

Ints = npt.NDArray[np.signedinteger[Any]]
Mask = npt.NDArray[np.bool_]

LOWEST, HIGHEST = -colour.OPEN, 255 + colour.OPEN
"""Bounds of samples of which nothing is known."""


class Bounds(NamedTuple):
    """The lowest, the highest and the likeliest samples, int16 of one shape; beyond 0..255 where a sample may have been
    limited. Of blocks: (64, n)."""

    low: Ints
    high: Ints
    likely: Ints

    def some(self, blocks: Ints) -> Bounds:
        """Some of the blocks."""
        return Bounds(*(part[:, blocks] for part in self))

    def whole(self) -> Ints:
        """Of blocks, those whose samples are all known: int (m,)."""
        return np.flatnonzero((self.low == self.high).all(axis=0))


class Task:
    """Pixels, the samples that they came from, int64 (B, H, W), and which of these are ``known``."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels
        if pixels.shape[2] == 3:
            self.planes, self.known = colour.origin(pixels)
        else:
            self.planes = np.moveaxis(pixels, 2, 0).astype(np.int64)
            self.known = np.ones(pixels.shape[:2], bool)

    def bounds(self, component: int, guess: Ints | None) -> Bounds:
        """What each sample of a component can be before chroma is taken together; ``guess`` int64 (B, H, W) of all
        components says more where colours were limited."""
        plane, low, high = (
            self.planes[component],
            np.empty(self.known.shape, np.int64),
            np.empty(self.known.shape, np.int64),
        )
        low[...] = np.where(self.known & (plane > 0), plane, LOWEST)
        high[...] = np.where(self.known & (plane < 255), plane, HIGHEST)
        likely = plane
        if guess is not None:
            limited = ~self.known
            low[limited], high[limited] = colour.bounds(self.pixels[limited], guess[:, limited], component)
            likely = np.where(self.known, plane, np.clip(guess[component], low, high))
        return Bounds(low, high, likely)


def pad(bounds: Bounds, layout: Layout, component: int) -> Bounds:
    """Planes over the image as planes over all samples that it has on the grid; nothing is known outside."""
    v, h = layout.factors(component)
    rows, columns = layout.samples(component)
    pad = (
        (layout.top, rows * v - layout.top - layout.height),
        (layout.left, columns * h - layout.left - layout.width),
    )
    return _filled(bounds, pad)


def split(bounds: Bounds, layout: Layout, component: int) -> Bounds:
    """Planes of samples as blocks (64, n)."""
    rows, columns = layout.blocks(component)
    pad = ((0, 8 * rows - bounds.low.shape[0]), (0, 8 * columns - bounds.low.shape[1]))
    return Bounds(*(to_blocks(part).reshape(64, -1) for part in _filled(bounds, pad)))


def _filled(bounds: Bounds, pad: tuple[tuple[int, int], tuple[int, int]]) -> Bounds:
    low = np.pad(bounds.low, pad, constant_values=LOWEST)
    high = np.pad(bounds.high, pad, constant_values=HIGHEST)
    return Bounds(low, high, np.pad(bounds.likely, pad, mode="edge"))


def pool(bounds: Bounds, vertical: int, horizontal: int) -> Bounds:
    """Samples that are repeated to give these."""
    rows, columns = (n // f for n, f in zip(bounds.low.shape, (vertical, horizontal), strict=True))
    low, high, likely = (part.reshape(rows, vertical, columns, horizontal) for part in bounds)
    lowest, highest = low.max(axis=(1, 3)), high.min(axis=(1, 3))
    return Bounds(np.minimum(lowest, highest), np.maximum(lowest, highest), likely[:, 0, :, 0])
