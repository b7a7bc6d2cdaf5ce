"""Geometric self-ensemble: predictions for an image and for its mirror images, averaged.

A network that was trained on images in all orientations still predicts something else for each; the average is better.
So the same networks look at every level four times, mirrored about the first sample of an axis or of both, and each
band's distribution is the mean of all: the mixtures side by side. That costs four times the work, and no weights.

Mirrored about sample 0 the polyphase components stay what they are: even rows become even rows, odd ones odd. Rows
``0 .. n - 1`` of a component lie in a mirrored frame of ``n + 1`` rows: the even ones last to first after one row that
repeats the edge, the odd ones before such a row, so that both have the neighbours that they have in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from .bands import BandParameters, Bands, Mixture, Parameters
from .block_phase import BlockPhase, mirrored_code, position_encoding, position_planes
from .polyphase import OFFSETS, extend

_AXES = (-2, -1)


class View(NamedTuple):
    """Which axes are mirrored: rows, columns."""

    rows: bool
    columns: bool

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Of the frame for components of a size."""
        return height + self.rows, width + self.columns

    def start(self, height: int, width: int) -> tuple[int, int]:
        """Where in coarser features, every position twice, those begin that belong to components of a size."""
        return height & self.rows, width & self.columns

    def seen(self, part: np.ndarray, index: int) -> np.ndarray:
        """Component ``index`` (..., h, w), all of one size, in the view's frame."""
        for axis, mirrored, odd in zip(_AXES, self, OFFSETS[index], strict=True):
            if mirrored:
                widths = [(0, 0)] * part.ndim
                widths[axis] = (odd, 1 - odd)
                part = np.flip(np.pad(part, widths, mode="edge"), axis)
        return np.ascontiguousarray(part)

    def positions(self, phase: BlockPhase, size: tuple[int, int], stride: int) -> np.ndarray:
        """The position encoding in the frame for components of a ``size``, whose samples are ``stride`` pixels
        apart: int8 (18, h, w)."""
        seen = []
        for code, begun, count, flipped in zip(
            phase, phase.moved(*(n * stride for n in size)), size, self, strict=True
        ):
            seen.append(
                position_encoding(mirrored_code(begun), count + 1, stride)
                if flipped
                else position_encoding(code, count, stride)
            )
        return position_planes(*seen)

    def back(self, part: np.ndarray, index: int) -> np.ndarray:
        """What a plane (..., h, w) in the view's frame says of component ``index``: the inverse of ``seen``."""
        for axis, mirrored, odd in zip(_AXES, self, OFFSETS[index], strict=True):
            if mirrored:
                flipped = np.flip(part, axis)
                inside = np.arange(odd, part.shape[axis] - 1 + odd)
                part = flipped.take(inside, axis)
        return part


VIEWS = (View(False, False), View(True, True), View(False, True), View(True, False))
"""The image as it is, then its mirror images."""


@dataclass(frozen=True)
class AveragedParameters(BandParameters):
    """Those of the image as it is, and what the ``others`` say. Offsets move all centres alike, by what they move those
    of the first."""

    others: tuple[Mixture, ...] = ()

    @staticmethod
    def of(first: BandParameters, others: Sequence[Mixture]) -> AveragedParameters:
        """Of the image as it is, and of the others in the same frame."""
        known = {field.name: getattr(first, field.name) for field in fields(first)}
        return AveragedParameters(**known, others=tuple(others))

    def at(self, rows: slice, columns: slice) -> BandParameters:
        """As ``BandParameters``."""
        others = tuple(other.each(lambda part: part[:, rows, columns]) for other in self.others)
        return replace(super().at(rows, columns), others=others)  # type: ignore[call-arg]

    def _mixture(self, offsets: np.ndarray | None) -> Mixture:
        own = super()._mixture(offsets)
        moved = 0 if offsets is None else own.centres[:1] - self.plain.centres[:1]
        count = 1 + len(self.others)
        weights = np.concatenate([mixture.weights // count for mixture in (own, *self.others)])
        weights[0] += (1 << 16) - weights.sum(axis=0)
        return Mixture(
            weights,
            np.concatenate([own.centres, *(other.centres + moved for other in self.others)]),
            np.concatenate([own.scales, *(other.scales for other in self.others)]),
            own.top,
        )


class AveragedBands:
    """``Bands`` of component ``index``, of size ``shape``, from those that are described in each view's frame, the
    first of which is the image's own."""

    def __init__(self, views: Sequence[View], described: Sequence[Bands], index: int, shape: tuple[int, int]) -> None:
        self._views, self._described, self._index, self._shape = views, described, index, shape

    def parameters(self, band: int) -> list[Parameters]:
        """As ``Bands``."""
        found = []
        for tile in zip(*(bands.parameters(band) for bands in self._described), strict=True):
            first, *others = tile
            assert isinstance(first, BandParameters)
            found.append(
                AveragedParameters.of(
                    first, [self._back(view, other) for view, other in zip(self._views[1:], others, strict=True)]
                )
            )
        return [*found]

    def accept(self, band: int, values: np.ndarray) -> None:
        """As ``Bands``."""
        whole = extend(values, np.empty((len(values), *self._shape), values.dtype))
        for view, bands in zip(self._views, self._described, strict=True):
            bands.accept(band, view.seen(whole, self._index))

    def _back(self, view: View, parameters: Parameters) -> Mixture:
        assert isinstance(parameters, BandParameters)
        return parameters.plain.each(lambda part: view.back(part, self._index))
