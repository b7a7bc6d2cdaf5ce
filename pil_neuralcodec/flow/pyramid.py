"""The walk of a pyramid of networks: from one pixel to an image, level by level, stage by stage.

What is done with a component, once networks have described it, is left to a ``ComponentCoder``: an encoder has the
component and codes it, a decoder decodes it. So both take the same walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..nets.backends import Network
from .architecture import STAGES, Pyramid
from .bands import Bands, NetworkBands
from .block_phase import NO_PHASE, BlockPhase
from .planes import three_bands
from .polyphase import baseline, component, component_shape, extend, level_count, level_shape, network_input
from .range_mapping import RangeMapping, seen_as
from .self_ensemble import VIEWS, AveragedBands, View


class Stage(NamedTuple):
    """A stage of a level; stage -1 is the component ``a``, which is coded where there is no coarser level."""

    level: int
    number: int

    @property
    def is_coarse(self) -> bool:
        """Whether it is component ``a`` itself."""
        return self.number < 0

    def cut(self, planes: np.ndarray) -> np.ndarray:
        """The stage's component of planes (..., h, w)."""
        return component(planes[..., :: 1 << self.level, :: 1 << self.level], self.number + 1)

    def shape(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Size of the stage's component of planes of a size."""
        return component_shape(*level_shape(*sides, self.level), self.number + 1)


class ComponentCoder(Protocol):
    """Codes components, or decodes them."""

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """The stage's component, integers (N, bands, h, w), having told ``bands`` of each of its bands in turn.
        ``features`` are the stage's own."""


class Walk:
    """Through a pyramid of networks, with all that they are told.

    Parameters
    ----------
    network, pyramid : the networks, and their description.
    sides : (height, width) of the images.
    mappings : for each image how networks see its samples, if not as they are.
    phases : the JPEG block phase of each image, for networks that are told it; none where not given.
    together : as of ``NetworkBands``.
    """

    def __init__(
        self,
        network: Network[Any],
        pyramid: Pyramid,
        sides: tuple[int, int],
        *,
        mappings: Sequence[RangeMapping] | None = None,
        phases: Sequence[BlockPhase] | None = None,
        together: bool = False,
    ) -> None:
        self.network, self.pyramid, self.sides = network, pyramid, sides
        self._mappings, self._phases, self._together = mappings, phases, together

    def whole(self, planes: np.ndarray, coder: ComponentCoder, stop: int = 0) -> np.ndarray:
        """From one pixel, ``planes`` int32 (N, bands, 1, 1), to level ``stop`` of the images."""
        streams: Sequence[Any] | None = None
        nets = self.pyramid.nets
        for level in reversed(range(stop, level_count(*self.sides))):
            if level >= nets - 1:
                streams = None  # the coarsest network serves many levels and starts each afresh
            planes, streams = self.level(level, planes, streams, coder)
        return planes

    def level(
        self, level: int, planes: np.ndarray, streams: Sequence[Any] | None, coder: ComponentCoder
    ) -> tuple[np.ndarray, list[Any]]:
        """One level finer.

        Parameters
        ----------
        level : the finer one.
        planes : int32 (N, bands, h, w), the finer level's ``a`` component.
        streams : for each view of the self-ensemble, features of the coarser level's last stage, or others at half the
            size of ``planes``; or None.

        Returns the finer planes, int32 (N, bands, ...), and the last stage's features.
        """
        finer = np.empty((*planes.shape[:2], *level_shape(*self.sides, level)), np.int32)
        component(finer, 0)[...] = planes
        first, sides = three_bands(planes), (planes.shape[2], planes.shape[3])
        views = VIEWS[: self.pyramid.ensemble]
        looks = [_Look(self, level, view, self._positions(view, sides, len(planes), 2 << level)) for view in views]
        for look, stream in zip(looks, streams or [None] * len(looks), strict=True):
            look.show(first, 0)
            if stream is not None:
                look.stream = self.network.upsample(stream, *look.view.size(*sides), *look.view.start(*sides))
        for number in range(STAGES):
            stage = Stage(level, number)
            target = np.empty((*planes.shape[:2], *stage.shape(self.sides)), np.int32)
            if target.size:
                described = [look.describe(number) for look in looks]
                bands = described[0] if len(looks) == 1 else AveragedBands(views, described, number + 1, sides)
                target[...] = coder.component(stage, bands, looks[0].stream)
                component(finer, number + 1)[...] = target
            part = extend(three_bands(target), first)
            for look in looks:
                look.show(part, number + 1)
        return finer, [look.stream for look in looks]

    def _positions(self, view: View, sides: tuple[int, int], count: int, stride: int) -> np.ndarray | None:
        """The position encoding of each image in a view's frame, int8 (N, C, h, w)."""
        if not self.pyramid.side_inputs:
            return None
        phases = self._phases or [NO_PHASE] * count
        return np.stack([view.positions(phase, sides, stride) for phase in phases])


class _Look:
    """One view of a level, as its network is shown it."""

    def __init__(self, walk: Walk, level: int, view: View, positions: np.ndarray | None) -> None:
        self._walk, self._net, self._positions = walk, min(level, walk.pyramid.nets - 1), positions
        self._known: list[np.ndarray] = []
        self._seen: list[np.ndarray] = []
        self.view = view
        self.stream: Any = None

    def show(self, part: np.ndarray, index: int) -> None:
        """Component ``index``, int32 (N, 3, h, w), when it is known."""
        mappings = self._walk._mappings
        part = self.view.seen(part, index)
        self._known.append(part)
        self._seen.append(part if mappings is None else seen_as(mappings, part))

    def describe(self, number: int) -> Bands:
        """What the network predicts of a stage's component, in the view's frame."""
        walk, base = self._walk, baseline(self._seen)
        pixels = walk.network.from_pixels(network_input(self._seen, base, self._positions))
        self.stream = walk.pyramid.features(walk.network, self._net, number, pixels, self.stream)
        return NetworkBands(
            walk.network,
            walk.pyramid,
            self._net,
            number,
            self.stream,
            self._known,
            base,
            walk._mappings,
            walk._together,
        )
