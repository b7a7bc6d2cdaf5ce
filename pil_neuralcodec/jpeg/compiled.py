"""The coding of coefficients in compiled code: what ``coefficients.transfer`` does, step by step in the same order."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..coders.engine import Compiled
from ..coders.symbols import SymbolSink, SymbolSource
from .contexts import ZIGZAG

if TYPE_CHECKING:
    from .._native import AdaptiveTables, JpegStep
    from .coefficients import Model

Ints = npt.NDArray[Any]
_NONE = np.zeros(0, np.int64)


class StepCoder(Protocol):
    """Writes the coefficients of a step, or reads them."""

    def step(self, step: JpegStep) -> bool:
        """They become known to the step's component. False where one is too large."""


def put_step(sink: SymbolSink, step: JpegStep, bits: int) -> bool:
    """As of ``StepCoder``; ``bits`` as of the tables."""
    found = step.code()
    if found is None:
        return False
    start, freq, low, low_radix, lengths, beyond, beyond_radix = found
    sink.put(start, freq, bits)
    sink.put_uniform(low, low_radix)
    sink.put_uniform(lengths, 16)
    sink.put_uniform(beyond, beyond_radix)
    return True


def get_step(source: SymbolSource, step: JpegStep, bits: int, last: int) -> bool:
    """As of ``StepCoder``; ``last`` is the largest symbol of the tables."""
    symbols = source.get(len(step), Compiled(step, bits))
    radix = step.radix()
    low = source.get_uniform(len(radix), radix) if len(radix) else _NONE
    lengths = beyond = _NONE
    count = int(np.count_nonzero((symbols == 0) | (symbols == last)))
    if count:
        lengths = source.get_uniform(count, 16)
        beyond = source.get_uniform(count, 1 << lengths)
    return step.accept(symbols, low, lengths, beyond)


def transfer(
    core: ModuleType,
    coder: StepCoder,
    model: Model,
    tables: list[AdaptiveTables],
    steps: list[Ints],
    coefficients: list[Ints],
    count: int,
) -> bool:
    """Code ``coefficients``, int16 (64, rows, columns) for each component, in place, by ``tables`` that learn;
    ``steps`` int64 (64,) for each, ``count`` frequencies. False where one is too large."""
    components = [core.jpeg_component(*three) for three in zip(tables, steps, coefficients, strict=True)]
    for c, component in enumerate(components):
        sizes, edges = model.mean_sizes[min(c, 1)], model.mean_edges[min(c, 1)]
        for index, kind in enumerate(component.means()):
            if not coder.step(component.mean(index, sizes[kind], edges[kind])):
                return False
    for frequency in ZIGZAG[1:count]:
        for c, component in enumerate(components):
            for part in (0, 1):
                weights = model.sizes[c, part, frequency], model.edges[c, part, frequency]
                step = component.step(frequency, part, components[:c], *weights)
                if len(step) and not coder.step(step):
                    return False
    return True
