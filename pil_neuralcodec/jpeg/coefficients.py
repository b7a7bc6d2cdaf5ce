"""Entropy coding of coefficients: symbols of tables chosen by what is expected of each.

``contexts`` gives numbers for each coefficient; the weights of `model.npz` make an expected size and an expected value
of them. Their place on a logarithmic scale (quarters of an octave, in steps of the quantisation) and the fraction of
the expected value choose a table of ``SYMBOLS`` frequencies. Tables learn from what was coded, those of luma and of
chroma apart. Where large values are expected, low bits are coded apart and uniformly; what is beyond a table's ends is
an escape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .. import native
from ..coders.logistic import power_of_two
from ..coders.symbols import SymbolSink, SymbolSource
from ..coders.table import AdaptiveTables
from ..errors import FormatError
from . import compiled
from .contexts import ZIGZAG, Component, Context
from .layout import Layout
from .transform import MAX_COEFFICIENT

if TYPE_CHECKING:
    from .._native import JpegStep

Ints = npt.NDArray[Any]
_Tables = TypeVar("_Tables")

BINS = 36
"""Expected sizes from 2**-6 to 2**3 steps, by quarters of an octave; above, low bits are split off."""
FRACTIONS = 5
REACH = 16
SYMBOLS = 2 * REACH + 1
TOTAL_BITS = 16
_SIZE_BITS = 8  # fractional bits of weights of sizes
_EDGE_BITS = 12  # and of edges
_RATIO_BITS = 14
_OCTAVES = 15
_EDGES = np.array([power_of_two(4 * i, _RATIO_BITS - 6) for i in range(1, 4 * _OCTAVES)], np.int64)
_TOO_LARGE = "a coefficient is larger than any image needs: the file is damaged"
_VALUE_BITS = 4  # of an expected value's fraction


class Model(NamedTuple):
    """``sizes`` int64 (3, 2, 64, FEATURES) and ``edges`` int64 (3, 2, 64, EDGES), weights by component, set and
    frequency; ``mean_sizes`` (2, 3, FEATURES) and ``mean_edges`` (2, 3, EDGES) those of DC by luma or chroma and kind;
    ``frequencies`` int64 (BINS * FRACTIONS, SYMBOLS) the tables to begin with."""

    sizes: Ints
    edges: Ints
    mean_sizes: Ints
    mean_edges: Ints
    frequencies: Ints


@cache
def model() -> Model:
    """The weights and tables of the format."""
    with np.load(Path(__file__).with_name("model.npz")) as file:
        return Model(**{name: file[name].astype(np.int64) for name in file.files})


def tables_of(make: Callable[[Ints, int], _Tables], components: int) -> list[_Tables]:
    """Fresh tables of each component, made of frequencies and bits: chroma shares them."""
    luma, chroma = (make(model().frequencies, TOTAL_BITS) for _ in range(2))
    return [luma, chroma, chroma][:components]


class Expected(NamedTuple):
    """Of ``n`` coefficients: ``table`` the number of the table, ``shift`` the low bits split off, ``centre``
    what is taken off, ``mirrored`` where the sign is turned. All int64 (n,) but the last, bool."""

    table: Ints
    shift: Ints
    centre: Ints
    mirrored: npt.NDArray[np.bool_]


def expected(context: Context, step: int | Ints, size_weights: Ints, edge_weights: Ints) -> Expected:
    """What weights say of coefficients, which are multiples of ``step``."""
    size = size_weights @ context.sizes
    level = np.searchsorted(_EDGES, (size << (_RATIO_BITS - _SIZE_BITS)) // step, side="right")
    value = ((edge_weights @ context.edges) >> (_EDGE_BITS - _VALUE_BITS)) // step
    limit = MAX_COEFFICIENT // step << _VALUE_BITS
    value = np.clip(value, -limit, limit)
    half = 1 << (_VALUE_BITS - 1)
    centre = (value + half) >> _VALUE_BITS
    fraction = value - (centre << _VALUE_BITS)
    mirrored = fraction < 0
    shift = np.maximum((level - BINS) // 4 + 1, 0)
    level = level - 4 * shift
    fraction = np.where(shift > 0, 0, (np.abs(fraction) + 1) // 2)
    return Expected(level * FRACTIONS + fraction, shift, centre, mirrored & (shift == 0))


class Coder(Protocol):
    """Writes coefficients, or reads them."""

    def code(self, values: Ints | None, given: Expected, tables: AdaptiveTables) -> Ints:
        """A group of coefficients int64 (n,): those given, or those read."""

    def step(self, step: JpegStep) -> bool:
        """The same in compiled code, see ``compiled``."""


def _symbols(values: Ints, given: Expected) -> tuple[Ints, Ints]:
    """Symbols 0..SYMBOLS - 1 less REACH without a limit, and low bits."""
    rest = values - given.centre
    rest = np.where(given.mirrored, -rest, rest)
    rest += (1 << given.shift) >> 1
    return rest >> given.shift, rest & ((1 << given.shift) - 1)


class Writer:
    """A ``Coder`` that puts symbols into ``sink``."""

    def __init__(self, sink: SymbolSink) -> None:
        self._sink = sink

    def code(self, values: Ints | None, given: Expected, tables: AdaptiveTables) -> Ints:
        """As of ``Coder``."""
        assert values is not None
        rest, low = _symbols(values, given)
        symbols = np.clip(rest + REACH, 0, SYMBOLS - 1)
        tables.put(self._sink, given.table, symbols)
        wide = given.shift > 0
        self._sink.put_uniform(low[wide], 1 << given.shift[wide])
        beyond = np.abs(rest)[np.abs(rest) >= REACH] - REACH + 1
        if len(beyond):
            bits = np.array([int(b).bit_length() - 1 for b in beyond], np.int64)
            self._sink.put_uniform(bits, 16)
            self._sink.put_uniform(beyond - (1 << bits), 1 << bits)
        return values

    def step(self, step: JpegStep) -> bool:
        """As of ``Coder``."""
        return compiled.put_step(self._sink, step, TOTAL_BITS)


class Reader:
    """A ``Coder`` that gets symbols from ``source``."""

    def __init__(self, source: SymbolSource) -> None:
        self._source = source

    def code(self, values: Ints | None, given: Expected, tables: AdaptiveTables) -> Ints:
        """As of ``Coder``."""
        rest = tables.get(self._source, given.table) - REACH
        wide = np.flatnonzero(given.shift > 0)
        low = np.zeros(len(rest), np.int64)
        low[wide] = self._source.get_uniform(len(wide), 1 << given.shift[wide])
        ends = np.flatnonzero(np.abs(rest) == REACH)
        if len(ends):
            bits = self._source.get_uniform(len(ends), 16)
            beyond = self._source.get_uniform(len(ends), 1 << bits) + (1 << bits) - 1
            rest[ends] += np.sign(rest[ends]) * beyond
        rest = (rest << given.shift) + low - ((1 << given.shift) >> 1)
        return np.where(given.mirrored, -rest, rest) + given.centre

    def step(self, step: JpegStep) -> bool:
        """As of ``Coder``."""
        return compiled.get_step(self._source, step, TOTAL_BITS, SYMBOLS - 1)


def transfer(
    coder: Coder, layout: Layout, tables: list[Ints], coefficients: list[Ints] | None, count: int = 64
) -> list[Ints]:
    """All coefficients, int (8, 8, n) for each component, written or, where ``coefficients`` is ``None``, read.

    ``tables`` int64 (8, 8) for each; ``count`` : frequencies in zigzag order; those beyond are 0.
    Raises ``FormatError`` for coefficients that are too large.
    """
    shapes = [layout.blocks(c) for c in range(len(tables))]
    core = native.core()
    if core is None:
        return _transfer(coder, shapes, tables, coefficients, count)
    if coefficients is None:
        parts = [np.zeros((64, *shape), np.int16) for shape in shapes]
    else:
        parts = [_int16(known.reshape(64, *shape)) for known, shape in zip(coefficients, shapes, strict=True)]
    steps = [np.ascontiguousarray(table, np.int64).reshape(64) for table in tables]
    learning = tables_of(lambda freq, bits: core.AdaptiveTables(freq.astype(np.uint32), bits), len(parts))
    if not compiled.transfer(core, coder, model(), learning, steps, parts, count):
        raise FormatError(_TOO_LARGE)
    return [part.reshape(8, 8, -1) for part in parts]


def _int16(coefficients: Ints) -> Ints:
    """The same, as compiled code takes them. Raises ``FormatError`` for coefficients that are too large."""
    if coefficients.dtype != np.int16 and np.abs(coefficients).max(initial=0) >= MAX_COEFFICIENT:
        raise FormatError(_TOO_LARGE)
    return np.require(coefficients, np.int16, ["C", "W"])


def _transfer(
    coder: Coder, shapes: list[tuple[int, int]], tables: list[Ints], coefficients: list[Ints] | None, count: int
) -> list[Ints]:
    """As ``transfer``, which this defines."""
    weights = model()
    components = [Component(*shape, table.reshape(64)) for shape, table in zip(shapes, tables, strict=True)]
    learning = tables_of(AdaptiveTables, len(components))
    planes = None
    if coefficients is not None:
        planes = [part.reshape(64, *one.shape) for part, one in zip(coefficients, components, strict=True)]

    def code(c: int, frequency: int, where: tuple[Ints, ...], given: Expected) -> None:
        known = None if planes is None else planes[c][frequency][where].astype(np.int64)
        values = coder.code(known, given, learning[c])
        step = int(components[c].table[frequency])
        if len(values) and max(int(values.max()), -int(values.min())) * step >= MAX_COEFFICIENT:
            raise FormatError(_TOO_LARGE)
        components[c].put(frequency, where, values)

    for c, component in enumerate(components):
        for kind, where, context in component.pyramid():
            vectors = weights.mean_sizes[min(c, 1), kind], weights.mean_edges[min(c, 1), kind]
            code(c, 0, where, expected(context, int(component.table[0]), *vectors))
    for frequency in ZIGZAG[1:count]:
        for c, component in enumerate(components):
            for part, where in enumerate(component.sets):
                if len(where[0]):
                    context = component.context(frequency, part, components[:c])
                    vectors = weights.sizes[c, part, frequency], weights.edges[c, part, frequency]
                    code(c, frequency, where, expected(context, int(component.table[frequency]), *vectors))
    for one in components:
        one.values //= one.table.astype(np.int16)[:, None, None]
    return [one.values.reshape(8, 8, -1) for one in components]
