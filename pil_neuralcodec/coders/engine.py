"""What moves symbols between arrays and lanes: compiled code, or the numpy code that defines it.

Items of a group are coded in steps that end at multiples of the number of lanes, counted from the beginning of the
group; the items of a step lie on the first lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .. import native
from . import rans, ubcs
from .lanes import ExhaustedError, Lanes

if TYPE_CHECKING:
    from .. import _native

Words = npt.NDArray[np.uint32]


class Group(NamedTuple):
    """Symbols of rANS or digits of UBCS, each ``n`` of them.

    ``first`` and ``second`` are intervals' starts and frequencies out of ``2**bits``, uint32 (n,), or where ``bits`` is
    0 digits and their radix, one for all or one each. Several groups of rANS may be put together, end to end: ``ends``
    int64 says where each of them ends.
    """

    first: Words
    second: Words | int
    bits: int
    ends: npt.NDArray[np.int64] | None = None

    def last(self, high: int) -> tuple[Group, int]:
        """The group that item ``high`` - 1 is in, up to there, and where it begins."""
        if self.ends is None or isinstance(self.second, int):
            return self, 0
        index = int(np.searchsorted(self.ends, high))
        begin = int(self.ends[index - 1]) if index else 0
        return Group(self.first[begin:high], self.second[begin:high], self.bits), begin


UNLIMITED = 1 << 62


class Distribution(Protocol):
    """Distributions of the symbols that a call gets, an item each: intervals of [0, ``2**bits``)."""

    @property
    def bits(self) -> int:
        """1..24."""

    def find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of items low..high the symbols whose intervals hold ``slots``, uint64: (symbols, start, freq), all (high -
        low,)."""

    def compiled(self) -> _native.Distribution | None:
        """The same for compiled code; None where there is none."""


class Compiled(NamedTuple):
    """Distributions that compiled code made itself, for the compiled engine alone; ``bits`` as of ``Distribution``."""

    distribution: _native.Distribution
    bits: int


class Engine(Protocol):
    """Pushes and pops. Items low..high of a group have lanes to themselves as far as they go."""

    def push(self, lanes: Lanes, group: Group, low: int, high: int, enough: int = UNLIMITED) -> int:
        """Push items of a single group from the last step to the first, until the stack has ``enough`` words. Returns
        where that was, or ``low``."""

    def push_all(self, lanes: Lanes, group: Group, high: int) -> None:
        """Push all items below ``high``, of a single group or of several."""

    def pop(self, lanes: Lanes, distribution: Distribution | Compiled, low: int, high: int, out: np.ndarray) -> None:
        """Pop symbols into ``out[low:high]``, int64. Raises ``ExhaustedError``."""

    def pop_uniform(self, lanes: Lanes, radix: Words | int, low: int, high: int, out: np.ndarray) -> None:
        """Pop digits into ``out[low:high]``, int64. Raises ``ExhaustedError``."""


class NumpyEngine:
    """The ``Engine`` that defines the format."""

    def push(self, lanes: Lanes, group: Group, low: int, high: int, enough: int = UNLIMITED) -> int:
        """See ``Engine``."""
        width = len(lanes.heads)
        while high > low:
            begin = max(low, (high - 1) // width * width)
            _push_step(lanes, group, slice(begin, high))
            high = begin
            if lanes.stack.size >= enough:
                break
        return high

    def push_all(self, lanes: Lanes, group: Group, high: int) -> None:
        """See ``Engine``."""
        while high:
            part, begin = group.last(high)
            self.push(lanes, part, 0, high - begin)
            high = begin

    def pop(self, lanes: Lanes, distribution: Distribution | Compiled, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        assert not isinstance(distribution, Compiled)
        for begin, end in _steps(low, high, len(lanes.heads)):
            slots = rans.peek(lanes, end - begin, distribution.bits)
            out[begin:end], start, freq = distribution.find(slots, begin, end)
            rans.pop(lanes, slots, start.astype(np.uint64), freq.astype(np.uint64), distribution.bits)

    def pop_uniform(self, lanes: Lanes, radix: Words | int, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        for begin, end in _steps(low, high, len(lanes.heads)):
            part = radix if isinstance(radix, int) else radix[begin:end].astype(np.uint64)
            out[begin:end] = ubcs.pop(lanes, end - begin, part)


def _steps(low: int, high: int, width: int) -> Iterator[tuple[int, int]]:
    while low < high:
        end = min(high, (low // width + 1) * width)
        yield low, end
        low = end


def _push_step(lanes: Lanes, group: Group, items: slice) -> None:
    values = group.first[items].astype(np.uint64)
    if group.bits:
        assert not isinstance(group.second, int)
        rans.push(lanes, values, group.second[items].astype(np.uint64), group.bits)
    else:
        radix = group.second if isinstance(group.second, int) else group.second[items].astype(np.uint64)
        ubcs.push(lanes, values, radix)


class NativeEngine(NumpyEngine):
    """The ``Engine`` in compiled code: all steps of a call at once, without the interpreter's lock."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def push(self, lanes: Lanes, group: Group, low: int, high: int, enough: int = UNLIMITED) -> int:
        """See ``Engine``."""
        stack = lanes.stack
        words = stack.reserve(2 * (high - low) + 1)
        where = lanes.heads, words, stack.size, low, high, enough
        if group.bits:
            stack.size, high = self._module.push(group.first, group.second, group.bits, *where)
        else:
            stack.size, high = self._module.push_digits(group.first, each(group.second), *where)
        return high

    def push_all(self, lanes: Lanes, group: Group, high: int) -> None:
        """See ``Engine``."""
        if group.ends is None:
            super().push_all(lanes, group, high)
        else:
            stack = lanes.stack
            where = group.ends, lanes.heads, stack.reserve(2 * high + 1), stack.size, high
            stack.size = self._module.push_groups(group.first, group.second, group.bits, *where)

    def pop(self, lanes: Lanes, distribution: Distribution | Compiled, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        compiled = distribution.distribution if isinstance(distribution, Compiled) else distribution.compiled()
        if compiled is None:
            super().pop(lanes, distribution, low, high, out)
        else:
            stack = lanes.stack
            left = self._module.pop(compiled, lanes.heads, stack.reserve(0), stack.size, low, high, out)
            stack.size = not_exhausted(left)

    def pop_uniform(self, lanes: Lanes, radix: Words | int, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        stack = lanes.stack
        left = self._module.pop_digits(each(radix), lanes.heads, stack.reserve(0), stack.size, low, high, out)
        stack.size = not_exhausted(left)


def each(radix: np.ndarray | int) -> Words:
    """A radix as compiled code takes it: one for all or one each, uint32 (1,) or (n,)."""
    return np.array([radix], np.uint32) if isinstance(radix, int) else words(radix)


def words(numbers: np.ndarray) -> Words:
    """Numbers as compiled code takes them, uint32 of the same shape."""
    return np.ascontiguousarray(numbers).astype(np.uint32, copy=False)


def not_exhausted(size: int) -> int:
    """A stack's size, from compiled code. Raises ``ExhaustedError`` where that found too little."""
    if size < 0:
        raise ExhaustedError()
    return size


def engine() -> Engine:
    """The fastest engine that is installed and allowed."""
    module = native.core()
    return NumpyEngine() if module is None else NativeEngine(module)
