"""Tiles of the photo flow. Page: Photo flow, and its parts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .backward import Grid, Learned, Surprises, decode_adapted
from .colours import Colours, read_colours
from .deep import DeepRange, read_range
from .lattice import Lattice, Prior
from .logistic import Mixture, pop_values
from .network import Map, Model, repeated
from .numbers import Fields, check
from .pyramid import OFFSETS, STAGES, EightBits, Member, Plane, Position, Range, component_shape, extended
from .samples import pack
from .streams import Lanes, SymbolStream

Cells = Sequence[list[int]]
"""Of each band, how much higher the lower edge of each value's cell is, in 1/64."""
Transform = tuple[bool, bool]
"""Whether rows and columns are in reverse order."""
TRANSFORMS: tuple[Transform, ...] = ((False, False), (True, True), (False, True), (True, False))
ADAPTED = 1024
"""Positions from which on bands are adapted."""


def decode_tile(
    payload: bytes, shape: tuple[int, int, int], tile: tuple[int, int], size: int, model: Model, cells: Cells
) -> list[int]:
    """Stored samples of a tile (h, w, bands), sign bits still inverted. ``tile``: width, height of the segment's."""
    height, width, bands = shape
    fields = Fields(payload)
    checked = [k for k in range(6) if k == 0 or min(-(-side >> k) for side in tile) >= 32]
    crcs = [fields.u32() for _ in checked[1:]]
    phase, colours = (0, 0), Colours()
    limits: Range = EightBits()
    deep: DeepRange | None = None
    if size == 2:
        limits = deep = read_range(fields)
    else:
        phase = divmod(fields.varint(), 25)
        check(max(phase) <= 24, "the block phase is impossible")
        if bands == 3:
            colours = read_colours(fields, tile=True)
    stream = SymbolStream(fields.rest())
    if bands == 3:
        cells = [] if colours.conversion or colours.lattice else in_coding_order(cells)
    sides = height, width
    planes = decode_planes(
        stream, model, model.architecture, sides, bands, limits, phase, lattice=colours.lattice, cells=cells
    )
    crcs.insert(0, stream.told())
    if deep is not None:
        planes = [[[deep.sample(index) for index in line] for line in plane] for plane in planes]
    ordered = [planes[1], planes[0], planes[2]] if bands == 3 else planes
    pixels = [[list(samples) for samples in zip(*lines, strict=True)] for lines in zip(*ordered, strict=True)]
    pixels = colours.to_rgb(pixels)
    order = [1, 0, 2] if bands == 3 else [0]
    for k, crc in zip(checked, crcs, strict=True):
        step = 1 << k
        samples = [pixel[band] for band in order for line in pixels[::step] for pixel in line[::step]]
        check(zlib.crc32(pack(samples, size)) == crc, "a tile's CRC is wrong")
    return [sample for line in pixels for pixel in line for sample in pixel]


def in_coding_order(cells: Cells) -> Cells:
    """Those of G, R, B; of a single band, or none, as they are."""
    return [cells[1], cells[0], cells[2]] if len(cells) == 3 else cells


def decode_planes(
    stream: Lanes,
    model: Model,
    architecture: dict[str, Any],
    sides: tuple[int, int],
    bands: int,
    limits: Range,
    phase: tuple[int, int],
    led: Callable[[int, Map | None], Map] | None = None,
    lattice: int = 0,
    cells: Cells = (),
) -> list[Plane]:
    """Planes in coding order, by networks of an ``architecture``. ``led``: what is led into the features that a level
    takes over; ``lattice``: the conversion whose lattice is a prior, 0 for none; ``cells``: of each band, or none."""
    planes = [[[value]] for value in stream.pop_digits([limits.top + 1] * bands)]
    ensemble = TRANSFORMS if architecture["self_ensemble"] else TRANSFORMS[:1]
    features: list[Map | None] = [None] * len(ensemble)
    nets = len(architecture["blocks"])
    coder = TileBands(stream, limits, architecture["backward_adaptation"], Lattice(lattice) if lattice else None, cells)
    for level in reversed(range(max(side - 1 for side in sides).bit_length())):
        if level >= nets - 1:
            features = [None] * len(ensemble)
        if led is not None and level < nets:
            features = [led(level, *features)]
        finer = -(-sides[0] >> level), -(-sides[1] >> level)
        height, width = len(planes[0]), len(planes[0][0])
        members = []
        for transform, coarser in zip(ensemble, features, strict=True):
            rows, columns = height + transform[0], width + transform[1]
            if coarser is not None:
                coarser = repeated(coarser, rows, columns, height & transform[0], width & transform[1])
            side = _positions(phase, transform, (height, width), 2 << level)
            members.append(Member(model, architecture, level, limits, coarser, side))
        (planes,) = decode_level([members], ensemble, [planes], finer, coder.decode)
        features = [member.features for member in members]
    return planes


@dataclass
class Component:
    """A component that is to be decoded, of images of one size: each has a member for each transform."""

    level: int
    stage: int
    shape: tuple[int, int]
    images: list[list[Member]]
    ensemble: Sequence[Transform]
    first: list[list[Plane]]
    """``a`` of each image."""

    @property
    def grid(self) -> Grid:
        """Where its positions lie."""
        return Grid(self.level, self.stage)

    def predicted(self, band: int) -> list[list[list[Predicted]]]:
        """Of each image the positions of ``a``."""
        return [
            _together([member.positions(band) for member in members], self.ensemble, self.stage + 1)
            for members in self.images
        ]

    def accept(self, band: int, planes: list[Plane]) -> None:
        """A band of each image is decoded."""
        for members, plane, first in zip(self.images, planes, self.first, strict=True):
            whole = extended(plane, first[band])
            for member, transform in zip(members, self.ensemble, strict=True):
                member.accept(band, transformed(whole, transform, self.stage + 1))


Decode = Callable[[Component], list[list[Plane]]]
"""Of each image the bands of a component."""


def decode_level(
    images: list[list[Member]],
    ensemble: Sequence[Transform],
    planes: list[list[Plane]],
    finer: tuple[int, int],
    decode: Decode,
) -> list[list[Plane]]:
    """The planes of a level from those of the next coarser one, of images of one size."""
    parts = [planes]
    for stage in range(-1, STAGES):
        if stage >= 0:
            shape = component_shape(*finer, stage + 1)
            found: list[list[Plane]] = [[[] for _ in first] for first in planes]
            if min(shape) > 0:
                for members in images:
                    for member in members:
                        member.predict()
                found = decode(Component(images[0][0].level, stage, shape, images, ensemble, planes))
            parts.append(found)
        for members, part, first in zip(images, parts[-1], planes, strict=True):
            wholes = [extended(plane, like) for plane, like in zip(part, first, strict=True)]
            for member, transform in zip(members, ensemble, strict=True):
                member.add([transformed(plane, transform, stage + 1) for plane in _three(wholes)])
    return [
        [
            [[parts[_PART[y % 2, x % 2]][i][band][y // 2][x // 2] for x in range(finer[1])] for y in range(finer[0])]
            for band in range(len(first))
        ]
        for i, first in enumerate(planes)
    ]


_PART = {offset: index for index, offset in enumerate(OFFSETS)}


def _three(planes: list[Plane]) -> list[Plane]:
    return planes if len(planes) == 3 else planes * 3


def transformed(plane: Plane, transform: Transform, index: int) -> Plane:
    """A component of a mirror image."""
    odd_row, odd_column = OFFSETS[index]
    if transform[0]:
        plane = ([plane[0], *plane] if odd_row else [*plane, plane[-1]])[::-1]
    if transform[1]:
        plane = [([line[0], *line] if odd_column else [*line, line[-1]])[::-1] for line in plane]
    return plane


def _positions(
    phase: tuple[int, int], transform: Transform, sides: tuple[int, int], stride: int
) -> list[list[list[int]]]:
    """The 18 channels of the JPEG block phase."""
    axes = []
    for code, mirrored, count in zip(phase, transform, sides, strict=True):
        lines = []
        for i in range(count + mirrored):
            channels = [0] * 9
            if code:
                paired = code > 8
                p = (code - (9 if paired else 1) + (count - i if mirrored else i) * stride) % 16
                p = 15 - p if mirrored else p
                channels[p % 8] = 64
                channels[8] = (-64 if p < 8 else 64) if paired else 0
            lines.append(channels)
        axes.append(lines)
    return [[row + column for column in axes[1]] for row in axes[0]]


@dataclass
class Predicted:
    """A position as the image itself sees it, and the mixtures of mirror images: weights, centres, log-scales."""

    own: Position
    others: list[tuple[list[int], list[int], list[int]]]

    def parts(self, side: SideInformation | None, limits: Range) -> tuple[list[int], list[int], list[int]]:
        """Weights, centres and log-scales of the whole."""
        centres = self.own.plain if side is None else self.own.centres(side.moves, limits.offset(side.mean))
        if not self.others:
            return self.own.weights, centres, self.own.scales
        moved = centres[0] - self.own.plain[0]
        weights = [weight // (1 + len(self.others)) for weight in self.own.weights]
        scales = list(self.own.scales)
        for other_weights, other_centres, other_scales in self.others:
            weights += [weight // (1 + len(self.others)) for weight in other_weights]
            centres = centres + [min(max(centre + moved, -(1 << 30)), 1 << 30) for centre in other_centres]
            scales += other_scales
        weights[0] += (1 << 16) - sum(weights)
        return weights, centres, scales


def _together(grids: list[list[list[Position]]], ensemble: Sequence[Transform], index: int) -> list[list[Predicted]]:
    odd_row, odd_column = OFFSETS[index]
    height, width = len(grids[0]), len(grids[0][0])
    out: list[list[Predicted]] = []
    for y in range(height):
        out.append([])
        for x in range(width):
            others = []
            for grid, (rows, columns) in zip(grids[1:], ensemble[1:], strict=True):
                row = height - odd_row - y if rows else y
                column = width - odd_column - x if columns else x
                at = grid[row][column]
                others.append((at.weights, at.plain, at.scales))
            out[-1].append(Predicted(grids[0][y][x], others))
    return out


@dataclass
class SideInformation:
    """Offsets of log-scales by class along each axis; offsets of the means and of coefficients."""

    axes: list[list[int]]
    mean: int
    moves: list[int]


def read_side_information(stream: Lanes, axes: int, coefficients: int) -> SideInformation:
    """The two lists."""
    first, second = _offsets(stream, 8 * axes), _offsets(stream, 1 + coefficients)
    return SideInformation([first[8 * axis : 8 * axis + 8] for axis in range(axes)], second[0], second[1:])


def _offsets(stream: Lanes, count: int) -> list[int]:
    if not stream.pop_digits([2])[0]:
        return [0] * count
    (w,) = stream.pop_digits([8])
    prior = Mixture([1 << 16], [128 * 64], [8 * w - 16])
    return [value - 128 for value in pop_values(stream, [prior] * count)]


def ranked(numbers: Sequence[int]) -> list[int]:
    """The class of each number."""
    below: dict[int, int] = {}
    for seen, number in enumerate(sorted(numbers)):
        below.setdefault(number, seen)
    return [below[number] * 8 // len(numbers) for number in numbers]


def brightness_and_noise(predicted: list[list[Predicted]]) -> list[list[list[int]]]:
    """Both classes of every position."""
    flat = [position.own for line in predicted for position in line]
    noise = [sum(w * s for w, s in zip(p.weights, p.scales, strict=True)) >> 16 for p in flat]
    axes = [ranked([p.total for p in flat]), ranked([min(max(n, -80), 256) for n in noise])]
    pairs = [list(pair) for pair in zip(*axes, strict=True)]
    width = len(predicted[0])
    return [pairs[at : at + width] for at in range(0, len(pairs), width)]


def coded_mixture(
    position: Predicted, side: SideInformation | None, classes: Sequence[int], limits: Range, whole: bool = False
) -> Mixture:
    """The mixture by which a value is coded."""
    low, high = -80 + limits.log_gain, 128 + limits.log_gain
    weights, centres, scales = position.parts(side, limits)
    offset = 0 if side is None else 2 * sum(table[of] for table, of in zip(side.axes, classes, strict=True))
    return Mixture(
        weights,
        centres,
        [min(max(scale, low), high) + offset for scale in scales],
        limits.top,
        clipped=limits.clipped,
        whole=whole,
    )


@dataclass
class TileBands:
    """Decodes the bands of a tile."""

    stream: Lanes
    limits: Range
    backward: bool = False
    lattice: Lattice | None = None
    cells: Cells = ()
    surprises: list[Surprises] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    """Of each band."""

    def decode(self, component: Component) -> list[list[Plane]]:
        """All bands of the one image."""
        planes: list[Plane] = []
        priors: list[Prior | None] = []
        for band in range(len(component.first[0])):
            (predicted,) = component.predicted(band)
            priors.append(None if self.lattice is None else self.lattice.prior(component.grid, planes))
            plane = self._band(component, band, predicted, priors[-1])
            component.accept(band, [plane])
            planes.append(plane)
        if self.lattice is not None:
            self.lattice.accept(component.grid, planes, priors)
        return [planes]

    def _band(self, component: Component, band: int, predicted: list[list[Predicted]], prior: Prior | None) -> Plane:
        height, width = component.shape
        large, deep = height * width >= ADAPTED, isinstance(self.limits, DeepRange)
        side, classes = None, [[[0]] * len(predicted[0])] * len(predicted)
        if component.level < 2 and large:
            side = read_side_information(self.stream, 1 if deep else 2, 12 + band)
            if isinstance(self.limits, DeepRange):
                classes = [[[self.limits.brightness(p.own.total)] for p in line] for line in predicted]
            else:
                classes = brightness_and_noise(predicted)
        whole = prior is not None or bool(self.cells)
        mixtures = [
            [coded_mixture(predicted[y][x], side, classes[y][x], self.limits, whole) for x in range(width)]
            for y in range(height)
        ]
        for mixture in (mixture for line in mixtures for mixture in line) if self.cells else ():
            mixture.cells = self.cells[band]
        if self.backward and component.level < 3 and large and not deep:
            self.surprises += [{} for _ in range(band + 1 - len(self.surprises))]
            self.learned += [Learned() for _ in range(band + 1 - len(self.learned))]
            positions = [[p.own for p in line[:width]] for line in predicted[:height]]
            earlier, learned = self.surprises[: band + 1], self.learned[band]
            weigh = None if prior is None else prior.weigh
            return decode_adapted(self.stream, mixtures, positions, component.grid, earlier, learned, weigh)
        if prior is not None:
            for y, line in enumerate(mixtures):
                for x, mixture in enumerate(line):
                    prior.weigh(mixture, y, x)
        values = iter(pop_values(self.stream, [mixture for line in mixtures for mixture in line]))
        return [[next(values) for _ in range(width)] for _ in range(height)]
