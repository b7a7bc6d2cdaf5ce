"""The photo flow: an integer lifting flow over polyphase components (iFlow with k = 0).

An image is cut into tiles that know nothing of each other. In a tile, every level's components ``d``, ``b``, ``c``
are factored out with a mixture of logistics each, whose parameters an exact integer network computes from what is
known already (a squeeze and conditional priors, in the terms of ``layers``); the coarsest level is one pixel, coded
uniformly. There is no bits-back, so no start-up cost, and coarse levels decode first.

Payload of a tile: CRC-32 of its pixels at each checked level (finest first, little endian), what networks are told of
it, then the symbol stream.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.symbols import SymbolSink, SymbolSource
from ..errors import ChecksumError, FormatError
from ..nets.backends import Network
from .architecture import CHANNELS, SCALE_FRAC, STAGES, PhotoArchitecture
from .bands import Bands, Parameters, open_bands
from .grid import NO_GRID, Grid, find_grid
from .polyphase import baseline, component, component_shape, extend, level_count, level_shape, network_input
from .tones import Tones, seen_as
from .tuning import Slots, Tuning, tune
from .views import VIEWS, AveragedBands, View

TILE = 512
"""Largest side of a tile: smaller ones cost bits (0.2 % at 256), larger ones memory."""
TILE_ALIGN = 32
"""Tiles begin at multiples of this, so that levels up to 5 fit together over tile borders."""
MAX_PREVIEW_LEVEL = 5
BAND_ORDER = (1, 0, 2)
"""G is coded first, then R given G, then B given both."""

_SAMPLE = 128
"""Side of the middle of a tile by which a grid is judged."""
_AHEAD = 3
"""Bands that an encoder's network is ahead of its coder at most: their parameters take memory."""
_TUNED_LEVELS = 2
_TUNED_MIN = 1024  # positions below which tuning costs more than it saves

assert SCALE_FRAC == 4  # as LogisticMixture counts them


Transfer = Callable[[int, int, int, list[Parameters]], np.ndarray]
"""``transfer(level, stage, band, parameters)`` returns a band of the stage's target, integers (N, h, w): an encoder
codes and hands over what it has, a decoder decodes it."""


@dataclass(frozen=True)
class PhotoFlow:
    """A ``layers.Layer`` for tiles of one size, ``sides`` (h, w): int32 (N, bands, h, w), bands 1 or 3 in coding order.

    Nothing is popped on the way forward, so every tile has a sink of its own. The way back ends at ``level``: there,
    and at the coarser levels that it passes, the tiles are every 2**level-th sample. Holds no state between calls; safe
    to use from several threads.
    """

    architecture: PhotoArchitecture
    network: Network[Any]
    sides: tuple[int, int]
    level: int = 0
    tones: Sequence[Tones] | None = None
    """How networks see each tile, if not as it is."""
    grids: Sequence[Grid] | None = None
    """Where each tile's blocks lie, of architectures with ``grid``; none where not given."""

    def forward(self, planes: np.ndarray, stack: Sequence[SymbolSink]) -> np.ndarray:
        """As of ``Layer``; nothing remains."""
        for tile, sink, count in zip(planes, stack, self._counts(len(planes)), strict=True):
            sink.put_uniform(tile[:, 0, 0], count)

        def put(level: int, parameters: list[Parameters], target: np.ndarray) -> None:
            for sink, described, values in zip(stack, parameters, target, strict=True):
                put_band(sink, described, values, is_tuned(level, values.shape))

        # The network knows all samples already, and runs ahead of the coder.
        with ThreadPoolExecutor(1) as coder:
            behind: deque[Future[None]] = deque()

            def transfer(level: int, stage: int, band: int, parameters: list[Parameters]) -> np.ndarray:
                target = component(planes[:, band, :: 1 << level, :: 1 << level], stage + 1)
                behind.append(coder.submit(put, level, parameters, target))
                if len(behind) > _AHEAD:
                    behind.popleft().result()
                return target

            self._walk(planes[..., :1, :1], transfer)
            for future in behind:
                future.result()
        return planes[:0]

    def inverse(self, values: np.ndarray, stack: Sequence[SymbolSource]) -> np.ndarray:
        """As of ``Layer``; ``values`` (0, bands, ...) tells the bands."""
        top = np.stack(
            [
                source.get_uniform(values.shape[1], count)
                for source, count in zip(stack, self._counts(len(stack)), strict=True)
            ]
        )

        def transfer(level: int, stage: int, band: int, parameters: list[Parameters]) -> np.ndarray:
            shape = component_shape(*level_shape(*self.sides, level), stage + 1)
            return np.stack(
                [
                    get_band(source, described, *shape, is_tuned(level, shape))
                    for source, described in zip(stack, parameters, strict=True)
                ]
            )

        return self._walk(top.astype(np.int32)[:, :, None, None], transfer)

    def _walk(self, planes: np.ndarray, transfer: Transfer) -> np.ndarray:
        def at(level: int) -> ComponentTransfer:
            return band_by_band(planes.shape[1], partial(transfer, level))

        return refine_all(
            self.network, self.architecture, planes, self.sides, at, stop=self.level, tones=self.tones, grids=self.grids
        )

    def _counts(self, tiles: int) -> list[int]:
        """How many values there are in each tile."""
        return [256] * tiles if self.tones is None else [one.top + 1 for one in self.tones]


@dataclass(frozen=True)
class PhotoCoder:
    """Codes tiles with one network, by ``PhotoFlow`` on a symbol stream each, with checksums."""

    architecture: PhotoArchitecture
    network: Network[Any]

    def encode(self, tiles: np.ndarray, checked: int = 1) -> list[bytes]:
        """Payloads of same-sized tiles, uint8 or uint16 (N, h, w, bands), bands 1 or 3; the ``checked`` finest levels
        get a checksum. What a tile becomes does not depend on its neighbours in the batch."""
        planes = to_planes(tiles)
        heads = [
            struct.pack(
                f"<{checked}I", *(_checksum(tile[:, :: 1 << k, :: 1 << k], tiles.dtype) for k in range(checked))
            )
            for tile in planes
        ]
        tones: list[Tones] | None = None
        if tiles.dtype == np.uint16:
            tones = [Tones.of(tile) for tile in tiles]
            heads = [head + one.pack() for head, one in zip(heads, tones, strict=True)]
            planes = np.stack([one.numbers(tile) for one, tile in zip(tones, planes, strict=True)])
        grids: list[Grid] | None = None
        if self._tells_grids(tiles.dtype):
            grids = [self.grid_of(tile) for tile in planes]
            heads = [head + bytes(grid) for head, grid in zip(heads, grids, strict=True)]
        writers = [SymbolWriter() for _ in planes]
        flow = PhotoFlow(self.architecture, self.network, (tiles.shape[1], tiles.shape[2]), tones=tones, grids=grids)
        flow.forward(planes, writers)
        return [head + writer.finish() for head, writer in zip(heads, writers, strict=True)]

    def decode(
        self,
        payloads: list[bytes],
        height: int,
        width: int,
        bands: int,
        checked: int = 1,
        level: int = 0,
        dtype: npt.DTypeLike = np.uint8,
    ) -> np.ndarray:
        """Pixels of same-sized tiles from their payloads, of ``dtype`` uint8 or uint16, (N, h, w, bands).

        ``level`` k < ``checked`` gives every 2**k-th pixel for a fraction of the cost. Raises ``FormatError`` for
        malformed data and ``ChecksumError`` where pixels differ from what was encoded.
        """
        if not 0 <= level < checked:
            raise ValueError(f"level {level} has no checksum, and so cannot be decoded alone")
        dtype, size = np.dtype(dtype), 4 * checked
        if any(len(payload) < size for payload in payloads):
            raise FormatError("a tile is shorter than its checksums: the file is damaged or truncated")
        streams = [memoryview(payload)[size:] for payload in payloads]
        tones: list[Tones] | None = None
        if dtype == np.uint16:
            heads = [Tones.unpack(stream) for stream in streams]
            tones = [one for one, _ in heads]
            streams = [stream[at:] for stream, (_, at) in zip(streams, heads, strict=True)]
        grids: list[Grid] | None = None
        if self._tells_grids(dtype):
            if any(len(stream) < 2 for stream in streams):
                raise FormatError("a tile ends before its grid: the file is damaged or truncated")
            grids = [Grid(*stream[:2]) for stream in streams]
            if not all(grid.sound for grid in grids):
                raise FormatError("a tile's grid is none: the file is damaged")
            streams = [stream[2:] for stream in streams]
        readers = [SymbolReader(stream) for stream in streams]
        flow = PhotoFlow(self.architecture, self.network, (height, width), level, tones, grids)
        planes = flow.inverse(np.empty((0, bands), np.int32), readers)
        if tones is not None:
            planes = np.stack([one.samples(tile) for one, tile in zip(tones, planes, strict=True)])
        for tile, payload, reader in zip(planes, payloads, readers, strict=True):
            if level == 0:
                reader.close()
            if struct.unpack_from("<I", payload, 4 * level)[0] != _checksum(tile, dtype):
                raise ChecksumError("the pixels of a tile differ from their checksum: the file is damaged")
        return from_planes(planes, dtype)

    def grid_of(self, planes: np.ndarray) -> Grid:
        """The grid to tell of a tile, int32 (bands, h, w). What is found may be no blocks: unless one begins at the
        first pixel, the middle of the tile must take fewer bits with it than without."""
        grid = find_grid(planes)
        if grid == NO_GRID or grid.first:
            return grid
        top, left = (max(0, n - _SAMPLE) // 2 for n in planes.shape[1:])
        middle = planes[:, top : top + _SAMPLE, left : left + _SAMPLE]
        writers = [SymbolWriter(), SymbolWriter()]
        PhotoFlow(
            self.architecture, self.network, (middle.shape[1], middle.shape[2]), grids=[grid.moved(top, left), NO_GRID]
        ).forward(np.stack([middle, middle]), writers)
        with_it, without = (len(writer.finish()) for writer in writers)
        return grid if with_it < without else NO_GRID

    def _tells_grids(self, dtype: npt.DTypeLike) -> bool:
        """Whether a tile says where its blocks lie: JPEG files have samples of 8 bits."""
        return self.architecture.grid and dtype == np.uint8


ComponentTransfer = Callable[[int, Bands, Any], np.ndarray]
"""``transfer(stage, described, features)`` returns the stage's target, integers (N, bands, h, w), having told
``described`` of its bands; ``features`` are the stage's own."""


def band_by_band(bands: int, transfer: Callable[[int, int, list[Parameters]], np.ndarray]) -> ComponentTransfer:
    """That transfers each band of a target alone, by ``transfer(stage, band, parameters)``."""

    def component_transfer(stage: int, described: Bands, features: Any) -> np.ndarray:
        target = []
        for band in range(bands):
            target.append(transfer(stage, band, described.parameters(band)))
            described.accept(band, target[-1])
        return np.stack(target, axis=1)

    return component_transfer


def refine_all(
    network: Network[Any],
    architecture: PhotoArchitecture,
    planes: np.ndarray,
    sides: tuple[int, int],
    transfer_at: Callable[[int], ComponentTransfer],
    *,
    stop: int = 0,
    tones: Sequence[Tones] | None = None,
    grids: Sequence[Grid] | None = None,
    together: bool = False,
) -> np.ndarray:
    """From one pixel, ``planes`` int32 (N, bands, 1, 1), to level ``stop`` of images of ``sides``, by all networks.

    ``transfer_at(level)`` transfers the components of a level; ``tones`` and ``together`` as of ``open_bands``,
    ``grids`` as of ``PhotoFlow``.
    """
    streams: Sequence[Any] | None = None
    nets = architecture.nets
    for level in reversed(range(stop, level_count(*sides))):
        if level >= nets - 1:
            streams = None  # the coarsest network serves many levels and starts each afresh
        planes, streams = refine(
            network,
            architecture,
            min(level, nets - 1),
            planes,
            level_shape(*sides, level),
            streams,
            transfer_at(level),
            tones=tones,
            together=together,
            grids=grids,
            stride=2 << level,
        )
    return planes


def refine(
    network: Network[Any],
    architecture: PhotoArchitecture,
    number: int,
    planes: np.ndarray,
    shape: tuple[int, int],
    streams: Sequence[Any] | None,
    transfer: ComponentTransfer,
    *,
    tones: Sequence[Tones] | None = None,
    together: bool = False,
    grids: Sequence[Grid] | None = None,
    stride: int = 2,
) -> tuple[np.ndarray, list[Any]]:
    """One level finer by the stages of one level's network.

    Parameters
    ----------
    number: of the level's network.
    planes: int32 (N, bands, h, w), the finer level's ``a`` component.
    shape: size of the finer level.
    streams: for each of the architecture's views, features of the coarser level's last stage, or others at half the
        size of ``planes``; or None.
    tones, together: as of ``open_bands``.
    grids: as of ``PhotoFlow``.
    stride: how many pixels of the image lie between those of ``planes``.

    Returns the finer planes, int32 (N, bands, *shape), and the last stage's features.
    """
    finer = np.empty((*planes.shape[:2], *shape), np.int32)
    component(finer, 0)[...] = planes
    first, sides = three_bands(planes), (planes.shape[2], planes.shape[3])
    views = VIEWS[: architecture.views]
    grids = grids or [NO_GRID] * len(planes) if architecture.grid else None
    where = [
        None if grids is None else np.stack([view.positions(grid, sides, stride) for grid in grids]) for view in views
    ]
    looks = [
        _Look(network, architecture, number, view, told, tones, together)
        for view, told in zip(views, where, strict=True)
    ]
    for look, stream in zip(looks, streams or [None] * len(looks), strict=True):
        look.show(first, 0)
        if stream is not None:
            look.stream = network.upsample(stream, *look.view.size(*sides), *look.view.start(*sides))
    for stage in range(STAGES):
        h, w = component_shape(*shape, stage + 1)
        target = np.empty((*planes.shape[:2], h, w), np.int32)
        if target.size:
            described = [look.describe(stage) for look in looks]
            bands = described[0] if len(looks) == 1 else AveragedBands(views, described, stage + 1, sides)
            target[...] = transfer(stage, bands, looks[0].stream)
            component(finer, stage + 1)[...] = target
        part = extend(three_bands(target), first)
        for look in looks:
            look.show(part, stage + 1)
    return finer, [look.stream for look in looks]


class _Look:
    """One view of a level, as its network is shown it."""

    def __init__(
        self,
        network: Network[Any],
        architecture: PhotoArchitecture,
        number: int,
        view: View,
        where: np.ndarray | None,
        tones: Sequence[Tones] | None,
        together: bool,
    ) -> None:
        self._network, self._architecture, self._number = network, architecture, number
        self._where, self._tones, self._together = where, tones, together
        self._known: list[np.ndarray] = []
        self._seen: list[np.ndarray] = []
        self.view = view
        self.stream: Any = None

    def show(self, part: np.ndarray, index: int) -> None:
        """Component ``index``, int32 (N, 3, h, w), when it is known."""
        part = self.view.seen(part, index)
        self._known.append(part)
        self._seen.append(part if self._tones is None else seen_as(self._tones, part))

    def describe(self, stage: int) -> Bands:
        """What the network says of a stage's target, in the view's frame."""
        base = baseline(self._seen)
        pixels = self._network.from_pixels(network_input(self._seen, base, self._where))
        self.stream = self._architecture.features(self._network, self._number, stage, pixels, self.stream)
        return open_bands(
            self._network,
            self._architecture,
            self._number,
            stage,
            self.stream,
            self._known,
            base,
            tones=self._tones,
            together=self._together,
        )


def put_band(writer: SymbolSink, parameters: Parameters, target: np.ndarray, tuned: bool) -> None:
    """Put a band of one tile, integers (h, w); ``tuned`` to it, see ``flow.tuning``."""
    values = target.astype(np.int64)
    tuning = Tuning()
    if tuned:
        tuning = tune(parameters, values)
        tuning.put(writer, Slots.of(parameters))
    mixture = tuning.mixture(parameters).flat(*values.shape).coder()
    symbols, wide, rest = mixture.split(values.reshape(-1))
    writer.put(*mixture.intervals(symbols), 24)
    if len(rest):
        writer.put_uniform(rest, 1 << mixture.shift[wide])


def get_band(reader: SymbolSource, parameters: Parameters, h: int, w: int, tuned: bool) -> np.ndarray:
    """What ``put_band`` put, int64 (h, w)."""
    tuning = Tuning.get(reader, Slots.of(parameters)) if tuned else Tuning()
    mixture = tuning.mixture(parameters).flat(h, w).coder()
    symbols = reader.get(h * w, 24, mixture.find)
    values, wide = mixture.first(symbols), mixture.wide(symbols)
    if wide.any():
        radix = 1 << mixture.shift[wide]
        values[wide] += reader.get_uniform(len(radix), radix)
    return values.reshape(h, w)


def is_tuned(level: int, shape: tuple[int, ...]) -> bool:
    """Whether a band of this shape at this level is tuned."""
    return level < _TUNED_LEVELS and shape[0] * shape[1] >= _TUNED_MIN


def checked_levels(height: int, width: int) -> int:
    """How many levels of a grid's tiles have a checksum, and so can be decoded alone: the finest, and coarser ones down
    to 32 pixels."""
    return 1 + sum(min(level_shape(height, width, k)) >= 32 for k in range(1, MAX_PREVIEW_LEVEL + 1))


def tile_size(side: int) -> int:
    """Side of the tiles of an image side: at most ``TILE``, near-equal, a multiple of ``TILE_ALIGN`` where cut."""
    count = _ceil_divide(side, TILE)
    if count == 1:
        return side
    return _ceil_divide(_ceil_divide(side, count), TILE_ALIGN) * TILE_ALIGN


def _ceil_divide(a: int, b: int) -> int:
    return -(-a // b)


def _checksum(planes: np.ndarray, dtype: np.dtype[Any]) -> int:
    """CRC-32 of planes of samples of ``dtype``, row by row and band by band, little-endian."""
    return zlib.crc32(np.ascontiguousarray(planes.astype(dtype.newbyteorder("<"))).tobytes())


def three_bands(planes: np.ndarray) -> np.ndarray:
    """Single-band planes (N, 1, h, w) thrice, for networks that look at three bands."""
    return planes if planes.shape[1] == CHANNELS else np.repeat(planes, CHANNELS, axis=1)


def to_planes(tiles: np.ndarray) -> np.ndarray:
    """Tiles (N, h, w, bands) as int32 (N, bands, h, w), bands in coding order."""
    order = list(BAND_ORDER) if tiles.shape[3] == CHANNELS else [0]
    return np.ascontiguousarray(tiles[..., order].transpose(0, 3, 1, 2).astype(np.int32))


def from_planes(planes: np.ndarray, dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Inverse of ``to_planes``, as ``dtype``."""
    order = np.argsort(BAND_ORDER) if planes.shape[1] == CHANNELS else [0]
    return np.ascontiguousarray(planes[:, order].transpose(0, 2, 3, 1).astype(dtype))
