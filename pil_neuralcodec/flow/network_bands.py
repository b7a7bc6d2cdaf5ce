"""The bands of a component, predicted by networks one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..coders.logistic import CENTRE_FRAC
from ..nets.backends import Network
from .architecture import CHANNELS, Pyramid
from .bands import BandParameters, Before, int32
from .compiled import compiled
from .polyphase import Near, extend, stacked, to_int8
from .range_mapping import RangeMapping, numbers_of


@dataclass(eq=False)
class NetworkBands:
    """``Bands`` predicted by the output layers of a pyramid.

    Parameters
    ----------
    net, stage
        A level's networks, and a stage of them.
    features
        Features of the stage, of the network's own type.
    known
        The known components, int32 (N, 3, h, w) each.
    base
        The baseline in the network's input, int32 (N, 3, h, w).
    mappings
        Dynamic-range mapping of each tile; None for samples of 8 bits, and with ``together``.
    together
        Whether ``parameters`` are those of all tiles stacked below each other, which is faster for many small tiles.
    """

    network: Network[Any]
    architecture: Pyramid
    net: int
    stage: int
    features: Any
    known: list[np.ndarray]
    base: np.ndarray
    mappings: Sequence[RangeMapping] | None
    together: bool
    _seen: list[np.ndarray] = field(default_factory=list, init=False)
    _found: list[BandParameters] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        count = len(self.base)
        self._groups = [slice(0, count)] if self.together else [slice(i, i + 1) for i in range(count)]
        self._near = [[int32(plane[tiles]) for plane in self.known] for tiles in self._groups]
        self._before: list[list[Before]] = [[] for _ in self._groups]

    def parameters(self, band: int) -> list[BandParameters]:
        """See ``Bands``."""
        network = self.network
        pixels = network.from_pixels(_side_by_side(self._seen)) if band else None
        self.features, out = self.architecture.band_outputs(network, self.net, self.stage, band, self.features, pixels)
        outputs = network.to_numpy(out)
        mappings: Sequence[RangeMapping | None] = self.mappings or [None] * len(self._groups)
        self._found = []
        for tiles, known, before, mapping in zip(self._groups, self._near, self._before, mappings, strict=True):
            near = Near.of(known, band)
            self._found.append(
                BandParameters.predicted(
                    near, outputs[tiles], self.architecture.mixtures, list(before), mapping, self.together
                )
            )
        return self._found

    def accept(self, band: int, values: np.ndarray) -> None:
        """See ``Bands``."""
        if band + 1 == CHANNELS:
            return
        values = int32(extend(values, self.known[0][:, band]))
        seen = []
        for before, found, tiles in zip(self._before, self._found, self._groups, strict=True):
            base, own = np.ascontiguousarray(self.base[tiles, band]), stacked(values[tiles])
            before.append(Before(own, found.near))
            seen.append(accepted(found, own, stacked(base)).reshape(*base.shape, 2))
        self._seen.append(seen[0] if len(seen) == 1 else np.concatenate(seen))


def _side_by_side(seen: list[np.ndarray]) -> np.ndarray:
    """Pairs int8 (..., 2) beside each other, int8 (..., 2 * n)."""
    if len(seen) == 1:
        return seen[0]
    return np.concatenate([pairs.view(np.int16) for pairs in seen], axis=-1).view(np.int8)  # ten times as fast


def accepted(parameters: BandParameters, values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What networks see of a band once its samples are known, from ``values`` and the ``base`` of mapped ones, int32
    (h, w) each: distances from the baseline, and from the mean without side information, int8 (h, w, 2)."""
    plain, mapping, work = parameters.plain, parameters.mapping, compiled()
    if work is not None:
        return work.accepted(values, base, int32(plain.weights), int32(plain.centres), numbers_of(mapping))
    means, half = plain.mean(), 1 << (CENTRE_FRAC - 1)
    if mapping is None:
        missed = ((values.astype(np.int64) << CENTRE_FRAC) - means + half) >> CENTRE_FRAC
    else:
        values = mapping.mapped(values)
        missed = values - mapping.mapped((means + half) >> CENTRE_FRAC)
    return np.stack([to_int8(x) for x in (values - base, missed)], axis=-1)
