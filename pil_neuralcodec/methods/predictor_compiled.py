"""The predictor's loops in compiled code: the numpy code of ``predictor`` defines what they give."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .. import native
from ..coders.engine import not_exhausted
from ..coders.lanes import Lanes
from ..coders.stream import SymbolReader
from ..coders.table import FrequencyTables
from .predictor_blend import level_table, weight_table

if TYPE_CHECKING:
    from .. import _native


class Compiled:
    """What ``predictor`` does to a strip, by the loops of an instruction set: ``order`` are bands as they are coded."""

    def __init__(self, kernels: _native.Kernels) -> None:
        self._loops = kernels.predictor(weight_table().astype(np.uint32), level_table())

    def residuals(self, pixels: np.ndarray, order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``predictor._residuals``."""
        return self._loops.residuals(pixels, order)

    def symbols(
        self, choices: np.ndarray, tables: FrequencyTables, residuals: np.ndarray, levels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``predictor._symbols``."""
        return self._loops.symbols(_of(tables), choices, residuals, levels)

    def decode(
        self, reader: SymbolReader, choices: np.ndarray, tables: FrequencyTables, out: np.ndarray, order: list[int]
    ) -> None:
        """See ``predictor._decode``."""
        decoder = self._loops.decoder(_of(tables), choices, out, order)

        def pop(lanes: Lanes, count: int) -> None:
            stack = lanes.stack
            stack.size = not_exhausted(decoder.pop(lanes.heads, stack.reserve(0), stack.size, count))

        reader.get_by(out.size, pop)


def compiled() -> Compiled | None:
    """The loops of the fastest instruction set that may be used; None without compiled code."""
    kernels = native.fastest()
    return None if kernels is None else _compiled(kernels)


_compiled = cache(Compiled)


def _of(tables: FrequencyTables) -> _native.FrequencyTables:
    found = tables.compiled
    assert found is not None
    return found
