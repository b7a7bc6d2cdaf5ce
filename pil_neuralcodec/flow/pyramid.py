"""Run a pyramid of networks over an image: from one pixel to the finest level, level by level, stage by stage.

The networks predict each component; a ``ComponentCoder`` then encodes or decodes it. So encoder and decoder share this
module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..nets.backends import Network
from ..nets.positions import Positions
from .architecture import STAGES, Pyramid
from .bands import Bands
from .block_phase import NO_PHASE, BlockPhase
from .network_bands import NetworkBands
from .planes import three_bands
from .polyphase import component, component_shape, extend, level_count, level_shape, network_input
from .range_mapping import RangeMapping, mapped_all
from .self_ensemble import TRANSFORMS, AveragedBands, Transform


class Stage(NamedTuple):
    """A stage of a level; number -1 is the component ``a``, which is coded only at the coarsest level."""

    level: int
    number: int

    def cut(self, planes: np.ndarray) -> np.ndarray:
        """The stage's component of planes (..., h, w)."""
        return component(planes[..., :: 1 << self.level, :: 1 << self.level], self.number + 1)

    def shape(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Size of the stage's component in images of size ``sides``."""
        return component_shape(*level_shape(*sides, self.level), self.number + 1)


class ComponentCoder(Protocol):
    """Encodes or decodes components."""

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """The samples of the stage's component, integers (N, bands, h, w), passed to ``bands.accept`` band by band.

        ``features`` are those of the stage, of the network's own type.
        """


class Walk(NamedTuple):
    """One run over images of the same size.

    Parameters
    ----------
    sides
        (height, width) of the images.
    mappings
        Dynamic-range mapping of each image; None for samples of 8 bits.
    phases
        JPEG block phase of each image; None: no blocks. Ignored by networks that are not told.
    together
        As in ``NetworkBands``.
    """

    network: Network[Any]
    pyramid: Pyramid
    sides: tuple[int, int]
    mappings: Sequence[RangeMapping] | None = None
    phases: Sequence[BlockPhase] | None = None
    together: bool = False

    def whole(self, planes: np.ndarray, coder: ComponentCoder, stop: int = 0) -> np.ndarray:
        """Planes of level ``stop``, from the coarsest pixel, ``planes`` int32 (N, bands, 1, 1)."""
        features: Sequence[Any] | None = None
        for level in reversed(range(stop, level_count(*self.sides))):
            if level >= self.pyramid.nets - 1:
                features = None  # many levels share the coarsest network: each begins without features
            planes, features = self.level(level, planes, features, coder)
        return planes

    def level(
        self, level: int, planes: np.ndarray, features: Sequence[Any] | None, coder: ComponentCoder
    ) -> tuple[np.ndarray, list[Any]]:
        """Planes of a level from those of the next coarser one.

        Parameters
        ----------
        level
            The finer level.
        planes
            Component ``a`` of the finer level, int32 (N, bands, h, w).
        features
            For each member of the self-ensemble, the features of the coarser level's last stage, of half the size of
            ``planes``; or None.
        coder
            Encodes or decodes the other components.

        Returns
        -------
        The finer planes, int32 (N, bands, ...), and the features of the last stage for each member.
        """
        finer = np.empty((*planes.shape[:2], *level_shape(*self.sides, level)), np.int32)
        component(finer, 0)[...] = planes
        first, sides = three_bands(planes), (planes.shape[2], planes.shape[3])
        members = [_Member(self, level, transform, first) for transform in TRANSFORMS[: self.pyramid.ensemble]]
        for member, coarser in zip(members, features or [], strict=features is not None):
            size, start = member.transform.size(*sides), member.transform.start(*sides)
            member.features = self.network.upsample(coarser, *size, *start)
        for number in range(STAGES):
            stage = Stage(level, number)
            target = np.empty((*planes.shape[:2], *stage.shape(self.sides)), np.int32)
            if target.size:
                predicted = [member.predict(number) for member in members]
                bands = predicted[0] if len(members) == 1 else AveragedBands(predicted, number + 1, sides)
                target[...] = coder.component(stage, bands, members[0].features)
                component(finer, number + 1)[...] = target
            part = extend(three_bands(target), first)
            for member in members:
                member.add(part, number + 1)
        return finer, [member.features for member in members]


class _Member:
    """The input and the features of the network for one member of the self-ensemble, at one level."""

    def __init__(self, walk: Walk, level: int, transform: Transform, first: np.ndarray) -> None:
        self._walk, self._net = walk, min(level, walk.pyramid.nets - 1)
        self._positions: Positions | None = None
        self._known: list[np.ndarray] = []
        self._mapped: list[np.ndarray] = []
        self.transform = transform
        self.features: Any = None
        self.add(first, 0)
        if walk.pyramid.positions:
            phases, sides = walk.phases or [NO_PHASE] * len(first), (first.shape[2], first.shape[3])
            self._positions = transform.positions(phases, sides, 2 << level)

    def add(self, part: np.ndarray, index: int) -> None:
        """Add the known component ``index``, int32 (N, 3, h, w)."""
        mappings = self._walk.mappings
        part = self.transform.apply(part, index)
        self._known.append(part)
        self._mapped.append(part if mappings is None else mapped_all(mappings, part))

    def predict(self, number: int) -> NetworkBands:
        """The network's prediction of a stage's component, transformed."""
        walk, net = self._walk, self._net
        base, pixels = network_input(self._mapped)
        seen = walk.network.from_pixels(pixels, self._positions)
        self.features = walk.pyramid.features(walk.network, net, number, seen, self.features)
        return NetworkBands(
            walk.network, walk.pyramid, net, number, self.features, self._known, base, walk.mappings, walk.together
        )
