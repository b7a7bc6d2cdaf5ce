"""Geometric self-ensemble: the average of the predictions for an image and for its mirror images.

A network predicts something else for each mirror image, even if it was trained on all orientations, and the average is
better. So the networks run four times at every level, mirrored about the first sample of the rows, the columns or both,
and the mixtures of all members together are the distribution of a band. This takes four times the work, and no weights.

Mirrored about sample 0, even rows remain even rows and odd rows remain odd ones. A component of ``n`` rows becomes one
of ``n + 1`` rows in reverse order: even rows with the last one repeated at the beginning, odd rows with the first one
repeated at the end. So every sample keeps its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from ..nets.positions import Positions
from .bands import BandParameters, Mixture
from .block_phase import BlockPhase, mirrored_code, position_encoding
from .network_bands import NetworkBands
from .outputs import as_centres
from .polyphase import OFFSETS, extend

_AXES = (-2, -1)


class Transform(NamedTuple):
    """Which axes a member of the ensemble mirrors."""

    rows: bool
    columns: bool

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Size of transformed components, from that of the components."""
        return height + self.rows, width + self.columns

    def start(self, height: int, width: int) -> tuple[int, int]:
        """First row and column of upsampled features that belong to components of this size."""
        return height & self.rows, width & self.columns

    def apply(self, part: np.ndarray, index: int) -> np.ndarray:
        """Transform component ``index`` (..., h, w)."""
        for axis, mirrored, odd in zip(_AXES, self, OFFSETS[index], strict=True):
            if mirrored:
                widths = [(0, 0)] * part.ndim
                widths[axis] = (odd, 1 - odd)
                part = np.flip(np.pad(part, widths, mode="edge"), axis)
        return np.ascontiguousarray(part)

    def invert(self, part: np.ndarray, index: int) -> np.ndarray:
        """The inverse of ``apply``."""
        for axis, mirrored, odd in zip(_AXES, self, OFFSETS[index], strict=True):
            if mirrored:
                part = np.flip(part, axis).take(np.arange(odd, part.shape[axis] - 1 + odd), axis)
        return part

    def positions(self, phases: Sequence[BlockPhase], size: tuple[int, int], stride: int) -> Positions:
        """Position encoding of the transformed components of images, by the phase of each.

        ``size`` is that of the components, whose samples are ``stride`` pixels apart.
        """
        encodings: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for phase in phases:
            last = phase.moved(*(n * stride for n in size))
            for found, mirrored, code, end, count in zip(encodings, self, phase, last, size, strict=True):
                first = mirrored_code(end) if mirrored else code
                found.append(position_encoding(first, count + mirrored, stride))
        return Positions(*map(np.stack, encodings))


TRANSFORMS = (Transform(False, False), Transform(True, True), Transform(False, True), Transform(True, False))
"""The transforms of the members, the image itself first."""


@dataclass(frozen=True, eq=False)
class AveragedParameters(BandParameters):
    """Parameters of the image itself, averaged with the mixtures of the ``others``.

    Offsets move all centres by as much as they move those of the image itself.
    """

    others: tuple[Mixture, ...] = ()

    @staticmethod
    def of(first: BandParameters, others: Sequence[Mixture]) -> AveragedParameters:
        """The average of ``first`` and ``others``, in the image's own orientation."""
        known = {field.name: getattr(first, field.name) for field in fields(first)}
        return AveragedParameters(**known, others=tuple(others))

    def at(self, rows: slice, columns: slice) -> BandParameters:
        """See ``BandParameters``."""
        others = tuple(other.each(lambda part: part[:, rows, columns]) for other in self.others)
        return replace(super().at(rows, columns), others=others)  # type: ignore[call-arg]

    def _mixture(self, offsets: np.ndarray | None) -> Mixture:
        own = super()._mixture(offsets)
        others = [other.centres for other in self.others]
        if offsets is not None:
            moved = own.centres[:1].astype(np.int64) - self.plain.centres[:1]
            others = [as_centres(centres + moved) for centres in others]
        count = 1 + len(self.others)
        weights = np.concatenate([mixture.weights // count for mixture in (own, *self.others)])
        weights[0] += (1 << 16) - weights.sum(axis=0)
        return Mixture(
            weights,
            np.concatenate([own.centres, *others]),
            np.concatenate([own.scales, *(other.scales for other in self.others)]),
            own.top,
        )


class AveragedBands:
    """``Bands`` of component ``index``, of size ``sides``, from the predictions of all ``members``, in the order of
    ``TRANSFORMS``."""

    def __init__(self, members: Sequence[NetworkBands], index: int, sides: tuple[int, int]) -> None:
        self._members, self._index, self._sides = members, index, sides

    def parameters(self, band: int) -> list[AveragedParameters]:
        """See ``Bands``."""
        averaged = []
        for first, *others in zip(*(member.parameters(band) for member in self._members), strict=True):
            mixtures = [
                other.plain.each(lambda part, transform=transform: transform.invert(part, self._index))
                for transform, other in zip(TRANSFORMS[1:], others, strict=True)
            ]
            averaged.append(AveragedParameters.of(first, mixtures))
        return averaged

    def accept(self, band: int, values: np.ndarray) -> None:
        """See ``Bands``."""
        whole = extend(values, np.empty((len(values), *self._sides), values.dtype))
        for transform, member in zip(TRANSFORMS, self._members, strict=True):
            member.accept(band, transform.apply(whole, self._index))
