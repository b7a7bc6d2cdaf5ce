"""The patch flow: small images by iFlow in full, many of them at once, on one stack.

An image is split like one of the photo flow: components are coded given those before them and coarser levels, and the
same networks say what to expect. But a component is not coded value by value. It is dequantised with bits from the
stack, and a flow turns it into independent logistic noise: band by band through the distribution function of its
mixture, then all bands by a matrix, and last by couplings that see the noise of neighbours, coded at the same time,
which mixtures do not. The noise is factored out. What was popped to dequantise one component comes from what others
left on the stack (Ho et al. 2019, local bits-back coding).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..coders.logistic import power_of_two
from ..coders.stack import Stack
from ..coders.symbols import SymbolSink, SymbolSource
from ..nets.backends import Network
from ..nets.spec import ACT_FRAC, ConvSpec
from .architecture import CHANNELS, MEAN_FRAC, SCALE_FRAC, STAGES, PatchArchitecture
from .bands import Bands, Mixture
from .layers import AffineCoupling, Convolution1x1, FactorOut, Flow, StackLayer
from .monotone import Dequantiser, Knots, MixtureMap
from .mst import MAX_FACTOR
from .photo import refine_all
from .polyphase import component, component_shape, extend, level_shape
from .tuning import Tuning, tune

_SCALE_BITS = 10
_TUNED_LEVELS = 2
_OCTAVES_MAX = 2 << SCALE_FRAC
_SCALES = np.array([power_of_two(n, _SCALE_BITS) for n in range(-_OCTAVES_MAX, _OCTAVES_MAX + 1)], np.int64)
"""2**(n / 16) in 2**-_SCALE_BITS, at _OCTAVES_MAX + n."""

Transfer = Callable[[int, int, Bands, Any], np.ndarray]
"""``transfer(level, stage, described, features)``: as ``photo.ComponentTransfer``, of a level."""

Place = tuple[int, int, int]
"""Level, stage and band of a mixture."""


def places(bands: int) -> list[Place]:
    """Those that may be tuned, in the order in which files have them."""
    return [(level, stage, band) for level in range(_TUNED_LEVELS) for stage in range(STAGES) for band in range(bands)]


@dataclass(frozen=True)
class PatchFlow:
    """A ``Layer`` for images of one size that are coded together, int32 of ``shape`` (N, bands, h, w), bands 1 or 3 in
    coding order. Holds no state between calls; safe to use from several threads."""

    architecture: PatchArchitecture
    network: Network[Any]
    shape: tuple[int, int, int, int]
    tunings: Mapping[Place, Tuning] = field(default_factory=dict)

    def forward(self, planes: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``; nothing remains."""
        moves: list[tuple[Flow, list[Knots], np.ndarray]] = []

        def transfer(level: int, stage: int, described: Bands, features: Any) -> np.ndarray:
            target = component(planes[..., :: 1 << level, :: 1 << level], stage + 1)
            knots = []
            for band in range(target.shape[1]):
                knots.append(self._knots((level, stage, band), described, target))
                described.accept(band, target[:, band])
            moves.append((self._flow(level, stage, features), knots, target))
            return target

        self._walk(planes[..., :1, :1], transfer)
        for flow, knots, target in reversed(moves):
            noise = np.empty(target.shape, np.int64)
            for band in reversed(range(target.shape[1])):
                places = Dequantiser(knots[band]).forward(target[:, band].reshape(-1).astype(np.int64), stack)
                noise[:, band] = MixtureMap(knots[band]).forward(places, stack).reshape(noise[:, band].shape)
            flow.forward(noise, stack)
        stack.put_uniform(planes[:, :, 0, 0].reshape(-1), 256)
        return np.empty(0, np.int32)

    def inverse(self, nothing: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""

        def transfer(level: int, stage: int, described: Bands, features: Any) -> np.ndarray:
            noise = self._flow(level, stage, features).inverse(np.empty(0, np.int64), stack)
            target = np.empty_like(noise, np.int32)
            for band in range(target.shape[1]):
                knots = self._knots((level, stage, band), described, target)
                places = MixtureMap(knots).inverse(noise[:, band].reshape(-1), stack)
                target[:, band] = Dequantiser(knots).inverse(places, stack).reshape(target[:, band].shape)
                described.accept(band, target[:, band])
            return target

        return self._walk(self._top(stack), transfer)

    def put(self, planes: np.ndarray, sink: SymbolSink) -> None:
        """Put images without bits-back: value by value, by the mixtures alone."""

        def transfer(level: int, stage: int, described: Bands, features: Any) -> np.ndarray:
            target = component(planes[..., :: 1 << level, :: 1 << level], stage + 1)
            for band in range(target.shape[1]):
                mixture = self._mixture((level, stage, band), described, target).coder()
                values = target[:, band].reshape(-1).astype(np.int64)
                start, freq = mixture.intervals(values >> mixture.shift)
                sink.put(start, freq, 24)
                sink.put_uniform(values & ((1 << mixture.shift) - 1), 1 << mixture.shift)
                described.accept(band, target[:, band])
            return target

        sink.put_uniform(planes[:, :, 0, 0].reshape(-1), 256)
        self._walk(planes[..., :1, :1], transfer)

    def get(self, source: SymbolSource) -> np.ndarray:
        """Get the images that ``put`` put."""

        def transfer(level: int, stage: int, described: Bands, features: Any) -> np.ndarray:
            target = np.empty((*self.shape[:2], *component_shape(*self._level(level), stage + 1)), np.int32)
            for band in range(target.shape[1]):
                mixture = self._mixture((level, stage, band), described, target).coder()
                plane = target[:, band]
                values = source.get(plane.size, 24, mixture.find) << mixture.shift
                values |= source.get_uniform(plane.size, 1 << mixture.shift)
                plane[...] = values.reshape(plane.shape)
                described.accept(band, plane)
            return target

        return self._walk(self._top(source), transfer)

    def tuned(self, planes: np.ndarray) -> dict[Place, Tuning]:
        """Tunings that suit some images."""
        found: dict[Place, Tuning] = {}

        def transfer(level: int, stage: int, described: Bands, features: Any) -> np.ndarray:
            target = component(planes[..., :: 1 << level, :: 1 << level], stage + 1)
            like = component(planes[..., :: 1 << level, :: 1 << level], 0)
            for band in range(target.shape[1]):
                parameters = described.parameters(band)[0]
                if level < _TUNED_LEVELS:
                    values = extend(target[:, band], like[:, band]).astype(np.int64)
                    found[level, stage, band] = tune(parameters, values.reshape(-1, values.shape[2]))
                described.accept(band, target[:, band])
            return target

        self._walk(planes[..., :1, :1], transfer)
        return found

    def _top(self, source: SymbolSource) -> np.ndarray:
        """The coarsest pixel of each image, int32 (N, bands, 1, 1)."""
        count, bands = self.shape[:2]
        return source.get_uniform(count * bands, 256).reshape(count, bands, 1, 1).astype(np.int32)

    def _level(self, level: int) -> tuple[int, int]:
        """Sides of the images at a level."""
        return level_shape(self.shape[2], self.shape[3], level)

    def _walk(self, planes: np.ndarray, transfer: Transfer) -> np.ndarray:
        """From the coarsest pixel to whole images."""
        return refine_all(
            self.network,
            self.architecture.context,
            planes,
            self._level(0),
            lambda level: partial(transfer, level),
            together=True,
        )

    def _mixture(self, place: Place, described: Bands, target: np.ndarray) -> Mixture:
        """Of a band of ``target`` (N, bands, h, w), int64 (K, N * h * w) each."""
        count, _, height, width = target.shape
        mixture = self.tunings.get(place, Tuning()).mixture(described.parameters(place[2])[0])
        return mixture.each(
            lambda part: part.reshape(len(part), count, -1, part.shape[-1])[:, :, :height, :width].reshape(
                len(part), -1
            )
        )

    def _knots(self, place: Place, described: Bands, target: np.ndarray) -> Knots:
        weights, centres, scales, _ = self._mixture(place, described, target)
        return Knots(weights, centres, scales, self.architecture.frac)

    def _flow(self, level: int, stage: int, features: Any) -> Flow:
        """Behind a stage, for what its mixtures make of a component: int64 (N, bands, h, w)."""
        arch, net = self.architecture, min(level, self.architecture.context.nets - 1)
        count, bands = self.shape[:2]
        height, width = component_shape(*self._level(level), stage + 1)
        seen = self._level(level + 1)  # networks see all components as large as the first
        numbers = np.tile(np.array(arch.lattice), (-(-height // 2), -(-width // 2)))[:height, :width]

        def coefficients(number: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pixels = np.zeros((count, *seen, CHANNELS), np.int8)
            steps = _rescaled(values + (1 << (arch.frac - 1) >> ACT_FRAC), arch.frac, ACT_FRAC)
            pixels[:, :height, :width, :bands] = np.clip(steps, -128, 127).transpose(0, 2, 3, 1)
            out = self.network.to_numpy(
                arch.coupling(self.network, net, stage, number, self.network.from_pixels(pixels), features)
            )
            out = out[:, :height, :width].transpose(0, 3, 1, 2).astype(np.int64)
            octaves = np.minimum(np.maximum(out[:, CHANNELS : CHANNELS + bands], -_OCTAVES_MAX), _OCTAVES_MAX)
            return _rescaled(out[:, :bands], MEAN_FRAC, arch.frac), _SCALES[octaves + _OCTAVES_MAX]

        matrix, bits = read_matrix(self.network.layers[f"{net}.{stage}.matrix"])
        layers: list[StackLayer] = [Convolution1x1(matrix[:bands, :bands], bits)]
        layers += [_LatticeCoupling(numbers, number, coefficients) for number in arch.couplings]
        return Flow([*layers, FactorOut((count, bands, height, width), arch.frac)])


def read_matrix(spec: ConvSpec) -> tuple[np.ndarray, int]:
    """What ``Convolution1x1`` takes, from a layer ``matrix``. Raises ``ValueError`` for numbers that it does not."""
    exponents = spec.shift.astype(np.int64) - ACT_FRAC
    bits = int(exponents.max())
    if exponents.min() < 0:
        raise ValueError("a matrix has coefficients without fractional bits")
    matrix = spec.weight[:, :, 0, 0].astype(np.int64) << (bits - exponents)[:, None]
    if np.diagonal(matrix).min() < 1 or np.diagonal(matrix).max() > MAX_FACTOR:
        raise ValueError(f"a matrix has factors out of 1..{MAX_FACTOR} on its diagonal")
    return matrix, bits


class _LatticeCoupling:
    """An affine coupling of the positions with one number of a lattice, given those with smaller ones.

    ``numbers``: int (h, w); ``coefficients(number, values)``: shifts and factors in 2**-_SCALE_BITS, int64 (N, C, h,
    w), from values (N, C, h, w) that are 0 where they are not given.
    """

    def __init__(
        self, numbers: np.ndarray, number: int, coefficients: Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> None:
        self._numbers, self._number, self._coefficients = numbers, number, coefficients

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        return self._coupling(values).forward(values, stack)

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        return self._coupling(values).inverse(values, stack)

    def _coupling(self, values: np.ndarray) -> AffineCoupling:
        given = np.where(self._numbers < self._number, values, 0)
        shift, up = self._coefficients(self._number, given)
        return AffineCoupling(self._numbers == self._number, shift, up, 1 << _SCALE_BITS)


def _rescaled(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Integers with other fractional bits, rounded down."""
    return values << (after - before) if after > before else values >> (before - after)
