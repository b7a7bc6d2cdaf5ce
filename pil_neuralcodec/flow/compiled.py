"""Compiled code for the parameters of bands: the numpy code of ``bands`` and ``polyphase`` defines what it gives."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .. import native
from ..coders.logistic import WEIGHT

if TYPE_CHECKING:
    from .. import _native


def compiled() -> _native.Bands | None:
    """The functions of the fastest instruction set that may be used; None without compiled code."""
    kernels = native.fastest()
    return None if kernels is None else _functions(kernels)


@cache
def _functions(kernels: _native.Kernels) -> _native.Bands:
    return kernels.bands(WEIGHT)
