"""The patch flow: small images by iFlow in full, many of them at once, on one stack.

An image is split like one of the photo flow: components are coded given those before them and coarser levels, and the
same networks say what to expect. But a component is not coded value by value. It is dequantised with bits from the
stack, and a flow turns it into independent logistic noise: band by band through the distribution function of its
mixture, then all bands by a matrix, and last by couplings that see the noise of neighbours, coded at the same time,
which mixtures do not. The noise is factored out. What was popped to dequantise one component comes from what others
left on the stack (Ho et al. 2019, local bits-back coding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..coders.logistic import power_of_two
from ..coders.stack import Stack
from ..coders.symbols import SymbolSink, SymbolSource
from ..nets.backends import Network
from ..nets.spec import ACT_FRAC, ConvSpec
from .adaptation import SideInformation, adapt
from .architecture import CHANNELS, MEAN_FRAC, SCALE_FRAC, STAGES, PatchArchitecture
from .band_coder import BandByBand, get_values, put_values
from .bands import BandParameters, Bands, Mixture, Parameters
from .layers import AffineCoupling, Convolution1x1, FactorOut, Flow
from .monotone import Curves, Dequantiser, MixtureMap, curves
from .mst import MAX_FACTOR
from .polyphase import extend, level_shape
from .pyramid import ComponentCoder, Stage, Walk

_SCALE_BITS = 10
_ADAPTED_LEVELS = 2
_OCTAVES_MAX = 2 << SCALE_FRAC
_SCALES = np.array([power_of_two(n, _SCALE_BITS) for n in range(-_OCTAVES_MAX, _OCTAVES_MAX + 1)], np.int64)
"""2**(n / 16) in 2**-_SCALE_BITS, at _OCTAVES_MAX + n."""

MixtureKey = tuple[int, int, int]
"""Level, stage and band of a mixture."""


def adapted_mixtures(bands: int) -> list[MixtureKey]:
    """Those with side information, in the order in which files have them."""
    return [
        (level, stage, band) for level in range(_ADAPTED_LEVELS) for stage in range(STAGES) for band in range(bands)
    ]


@dataclass(frozen=True)
class PatchFlow:
    """A ``Layer`` for images of one size that are coded together.

    Holds no state between calls; safe to use from several threads.

    Parameters
    ----------
    architecture, network : of a patch model.
    shape : (N, bands, h, w) of the images, int32 0..255, bands 1 or 3 in coding order.
    side : side information of some mixtures; the others are as the network has them.
    """

    architecture: PatchArchitecture
    network: Network[Any]
    shape: tuple[int, int, int, int]
    side: Mapping[MixtureKey, SideInformation] = field(default_factory=dict)

    def forward(self, planes: np.ndarray, stack: Stack) -> np.ndarray:
        """Push images by bits-back; nothing remains. Raises ``ExhaustedError`` where the stack holds too little."""
        described = _Describe(self, planes)
        self._walk(planes[..., :1, :1], described)
        for flow, knots, target in reversed(described.moves):
            noise = np.empty(target.shape, np.int64)
            for band in reversed(range(target.shape[1])):
                places = Dequantiser(knots[band]).forward(target[:, band].reshape(-1).astype(np.int64), stack)
                noise[:, band] = MixtureMap(knots[band]).forward(places, stack).reshape(noise[:, band].shape)
            flow.forward(noise, stack)
        stack.put_uniform(planes[:, :, 0, 0].reshape(-1), 256)
        return np.empty(0, np.int32)

    def inverse(self, nothing: np.ndarray, stack: Stack) -> np.ndarray:
        """Pop the images that ``forward`` pushed, int32 of ``shape``. Raises ``FormatError`` for damage."""
        return self._walk(self._top(stack), _Invert(self, stack))

    def put(self, planes: np.ndarray, sink: SymbolSink) -> None:
        """Put images, int32 of ``shape``, without bits-back: value by value, by the mixtures alone."""
        sink.put_uniform(planes[:, :, 0, 0].reshape(-1), 256)
        self._walk(planes[..., :1, :1], BandByBand(_Put(self, planes, sink), planes.shape[1]))

    def get(self, source: SymbolSource) -> np.ndarray:
        """Get the images that ``put`` put, int32 of ``shape``. Raises ``FormatError`` for damage."""
        return self._walk(self._top(source), BandByBand(_Get(self, source), self.shape[1]))

    def adapted(self, planes: np.ndarray) -> dict[MixtureKey, SideInformation]:
        """Find side information that suits images, int32 of ``shape``."""
        coder = _Adapt(planes)
        self._walk(planes[..., :1, :1], BandByBand(coder, planes.shape[1]))
        return coder.found

    def _top(self, source: SymbolSource) -> np.ndarray:
        """The coarsest pixel of each image, int32 (N, bands, 1, 1)."""
        count, bands = self.shape[:2]
        return source.get_uniform(count * bands, 256).reshape(count, bands, 1, 1).astype(np.int32)

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.shape[2], self.shape[3]

    def _walk(self, planes: np.ndarray, coder: ComponentCoder) -> np.ndarray:
        """From the coarsest pixel to whole images."""
        return Walk(self.network, self.architecture.pyramid, self.sides, together=True).whole(planes, coder)

    def _mixture(self, stage: Stage, band: int, parameters: Parameters) -> Mixture:
        """Of a band, int32 (K, N * h * w) each."""
        height, width = stage.shape(self.sides)
        side = self.side.get((stage.level, stage.number, band), SideInformation())
        assert isinstance(parameters, BandParameters)
        return side.mixture(parameters).each(
            lambda part: part.reshape(len(part), self.shape[0], -1, part.shape[-1])[:, :, :height, :width].reshape(
                len(part), -1
            )
        )

    def _knots(self, stage: Stage, band: int, parameters: Parameters) -> Curves:
        weights, centres, scales, _ = self._mixture(stage, band, parameters)
        return curves(weights, centres, scales, self.architecture.frac)

    def _flow(self, stage: Stage, features: Any) -> Flow:
        """Behind a stage, for what its mixtures make of a component: int64 (N, bands, h, w)."""
        arch, net = self.architecture, min(stage.level, self.architecture.pyramid.nets - 1)
        count, bands = self.shape[:2]
        height, width = stage.shape(self.sides)
        seen = level_shape(*self.sides, stage.level + 1)  # networks see all components as large as the first
        numbers = np.tile(np.array(arch.lattice), (-(-height // 2), -(-width // 2)))[:height, :width]

        def coefficients(number: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pixels = np.zeros((count, *seen, CHANNELS), np.int8)
            steps = _rescaled(values + (1 << (arch.frac - 1) >> ACT_FRAC), arch.frac, ACT_FRAC)
            pixels[:, :height, :width, :bands] = np.minimum(np.maximum(steps, -128), 127).transpose(0, 2, 3, 1)
            known = self.network.from_pixels(pixels)
            out = np.empty((count, height, width, 2 * CHANNELS), np.int32)
            for row, column in arch.places(number):
                part = out[:, row::2, column::2]
                if part.size:
                    at = row, column
                    found = arch.coupling(self.network, net, stage.number, number, known, features, at)
                    part[...] = self.network.to_numpy(found)[:, : part.shape[1], : part.shape[2]]
            changed = out.reshape(count, height * width, -1)[:, np.flatnonzero(numbers == number)].transpose(0, 2, 1)
            octaves = np.minimum(np.maximum(changed[:, CHANNELS : CHANNELS + bands], -_OCTAVES_MAX), _OCTAVES_MAX)
            return _rescaled(changed[:, :bands].astype(np.int64), MEAN_FRAC, arch.frac), _SCALES[octaves + _OCTAVES_MAX]

        matrix, bits = read_matrix(self.network.layers[f"{net}.{stage.number}.matrix"])
        couplings = [
            AffineCoupling(numbers == number, numbers < number, partial(coefficients, number), 1 << _SCALE_BITS)
            for number in arch.couplings
        ]
        factor_out = FactorOut((count, bands, height, width), arch.frac)
        return Flow([Convolution1x1(matrix[:bands, :bands], bits), *couplings, factor_out])


class _Describe:
    """The ``ComponentCoder`` of the way forward: keeps what is to be done with each component, for the walk goes from
    coarse to fine, and symbols are put the other way round."""

    def __init__(self, flow: PatchFlow, planes: np.ndarray) -> None:
        self._flow, self._planes = flow, planes
        self.moves: list[tuple[Flow, list[Curves], np.ndarray]] = []

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """Note what codes a component; it is known already."""
        target = stage.cut(self._planes)
        knots: list[Curves] = []
        for band in range(target.shape[1]):
            knots.append(self._flow._knots(stage, band, bands.parameters(band)[0]))
            bands.accept(band, target[:, band])
        self.moves.append((self._flow._flow(stage, features), knots, target))
        return target


class _Invert:
    """The ``ComponentCoder`` of the way back."""

    def __init__(self, flow: PatchFlow, stack: Stack) -> None:
        self._flow, self._stack = flow, stack

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """Pop a component, int32 (N, bands, h, w)."""
        stack = self._stack
        noise = self._flow._flow(stage, features).inverse(np.empty(0, np.int64), stack)
        target = np.empty_like(noise, np.int32)
        for band in range(target.shape[1]):
            knots = self._flow._knots(stage, band, bands.parameters(band)[0])
            places = MixtureMap(knots).inverse(noise[:, band].reshape(-1), stack)
            target[:, band] = Dequantiser(knots).inverse(places, stack).reshape(target[:, band].shape)
            bands.accept(band, target[:, band])
        return target


class _Put:
    """The ``BandCoder`` of images without bits-back."""

    def __init__(self, flow: PatchFlow, planes: np.ndarray, sink: SymbolSink) -> None:
        self._flow, self._planes, self._sink = flow, planes, sink

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """Put a band of all images, one after the other."""
        target = stage.cut(self._planes[:, band])
        mixture = self._flow._mixture(stage, band, parameters[0])
        put_values(self._sink, mixture.each(lambda part: part[:, None]), target.reshape(1, -1).astype(np.int64))
        return target


class _Get:
    """The ``BandCoder`` that gets them back."""

    def __init__(self, flow: PatchFlow, source: SymbolSource) -> None:
        self._flow, self._source = flow, source

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """Get a band of all images."""
        count, (height, width) = self._flow.shape[0], stage.shape(self._flow.sides)
        mixture = self._flow._mixture(stage, band, parameters[0]).each(lambda part: part[:, None])
        values = get_values(self._source, mixture, (1, count * height * width))
        return values.reshape(count, height, width).astype(np.int32)


class _Adapt:
    """The ``BandCoder`` that only looks: what side information suits the images."""

    def __init__(self, planes: np.ndarray) -> None:
        self._planes = planes
        self.found: dict[MixtureKey, SideInformation] = {}

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """Find the side information of a band that is known already."""
        target = stage.cut(self._planes[:, band])
        if stage.level < _ADAPTED_LEVELS:
            (described,) = parameters
            assert isinstance(described, BandParameters)
            values = extend(target, Stage(stage.level, -1).cut(self._planes[:, band])).astype(np.int64)
            side = adapt(described, values.reshape(-1, values.shape[2]))
            self.found[stage.level, stage.number, band] = side
        return target


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


def _rescaled(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Integers with other fractional bits, rounded down."""
    return values << (after - before) if after > before else values >> (before - after)
