"""What moves symbols between arrays and lanes: compiled code, or the numpy code that defines it.

Items of a group are coded in steps that end at multiples of the number of lanes, counted from the group's beginning, or
from that of the half row that they are in; the items of a step lie on the first lanes.
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
    0 digits and their radix, one for all or one each. With ``row``, the items are rows of this length, in halves of
    ``(row + 1) // 2`` items and the others, and each half is coded as a group of its own.
    """

    first: Words
    second: Words | int
    bits: int
    row: int = 0

    def steps(self, low: int, high: int, width: int) -> int:
        """How many steps items low..high take on ``width`` lanes; ``low`` is where a step begins."""
        return self._before(high, width) - self._before(low, width)

    def step(self, high: int, width: int) -> int:
        """Where the step that ends with item ``high - 1`` begins."""
        begin = self._half(high - 1)
        return begin + (high - 1 - begin) // width * width

    def _half(self, item: int) -> int:
        """Where the items begin from which steps are counted."""
        if not self.row:
            return 0
        middle = item - item % self.row + (self.row + 1) // 2
        return middle if item >= middle else item - item % self.row

    def _before(self, item: int, width: int) -> int:
        """Steps of the items before."""
        if not self.row:
            return -(-item // width)
        rows, rest = divmod(item, self.row)
        even = (self.row + 1) // 2
        each = -(-even // width) - (-(self.row - even) // width)
        return rows * each - (-min(rest, even) // width) - (-max(rest - even, 0) // width)


class Limit(NamedTuple):
    """A push stops after the step with which the stack has ``words``, or after ``steps`` steps."""

    words: int = 1 << 62
    steps: int = 1 << 62


NO_LIMIT = Limit()


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


class Compiled:
    """A ``Distribution`` of which there is compiled code only."""

    def __init__(self, distribution: _native.Distribution, bits: int) -> None:
        self._distribution, self.bits = distribution, bits

    def find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``Distribution``."""
        raise NotImplementedError("of compiled code only")

    def compiled(self) -> _native.Distribution:
        """See ``Distribution``."""
        return self._distribution


class Engine(Protocol):
    """Pushes and pops. Items low..high of a group have lanes to themselves as far as they go."""

    def push(self, lanes: Lanes, group: Group, low: int, high: int, limit: Limit = NO_LIMIT) -> int:
        """Push items from the last step to the first. Returns where the limit stopped it, or ``low``."""

    def pop(self, lanes: Lanes, distribution: Distribution, low: int, high: int, out: np.ndarray) -> None:
        """Pop symbols into ``out[low:high]``, int64. Raises ``ExhaustedError``."""

    def pop_uniform(self, lanes: Lanes, radix: Words | int, low: int, high: int, out: np.ndarray) -> None:
        """Pop digits into ``out[low:high]``, int64. Raises ``ExhaustedError``."""


class NumpyEngine:
    """The ``Engine`` that defines the format."""

    def push(self, lanes: Lanes, group: Group, low: int, high: int, limit: Limit = NO_LIMIT) -> int:
        """See ``Engine``."""
        width, done = len(lanes.heads), 0
        while high > low:
            begin = max(low, group.step(high, width))
            _push_step(lanes, group, slice(begin, high))
            high, done = begin, done + 1
            if lanes.stack.size >= limit.words or done >= limit.steps:
                break
        return high

    def pop(self, lanes: Lanes, distribution: Distribution, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
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

    def push(self, lanes: Lanes, group: Group, low: int, high: int, limit: Limit = NO_LIMIT) -> int:
        """See ``Engine``."""
        stack = lanes.stack
        words = stack.reserve(2 * (high - low) + 1)
        where = lanes.heads, words, stack.size, low, high, *limit
        if group.bits:
            stack.size, high = self._module.push(group.first, group.second, group.bits, *where, group.row)
        else:
            stack.size, high = self._module.push_digits(group.first, _each(group.second), *where)
        return high

    def pop(self, lanes: Lanes, distribution: Distribution, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        compiled = distribution.compiled()
        if compiled is None:
            super().pop(lanes, distribution, low, high, out)
        else:
            stack = lanes.stack
            left = self._module.pop(compiled, lanes.heads, stack.reserve(0), stack.size, low, high, out)
            stack.size = _not_exhausted(left)

    def pop_uniform(self, lanes: Lanes, radix: Words | int, low: int, high: int, out: np.ndarray) -> None:
        """See ``Engine``."""
        stack = lanes.stack
        left = self._module.pop_digits(_each(radix), lanes.heads, stack.reserve(0), stack.size, low, high, out)
        stack.size = _not_exhausted(left)


def _each(radix: Words | int) -> Words:
    return np.array([radix], np.uint32) if isinstance(radix, int) else radix


def _not_exhausted(size: int) -> int:
    if size < 0:
        raise ExhaustedError()
    return size


def engine() -> Engine:
    """The fastest engine that is installed and allowed."""
    module = native.core()
    return NumpyEngine() if module is None else NativeEngine(module)
