"""The compiled core: whether it is there, and the instruction sets that its kernels may use.

The environment variable ``NEURALCODEC_ISA`` caps them: ``avx2`` allows AVX2 and what is slower, ``none`` no compiled
code at all. Results do not depend on it.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Kernels

ENVIRONMENT = "NEURALCODEC_ISA"
NAMES = ("none", "portable", "neon", "avx2", "avxvnni", "avx512vnni", "amx")
"""Values of the environment variable, slowest first."""


def core() -> ModuleType | None:
    """The compiled module; None if the package was installed without a compiler, or if it is not allowed."""
    return None if _cap() == "none" else _loaded()[0]


def trouble() -> str | None:
    """Why there is no compiled core, and the remedy. None where there is one, or where the environment forbids it."""
    return None if _cap() == "none" else _loaded()[1]


@cache
def _loaded() -> tuple[ModuleType | None, str | None]:
    """The compiled module, or why it is not there."""
    name = f"{__package__}._native"
    try:
        return import_module(name), None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None, (
            "the compiled core is not built for this Python: install a wheel of the package, or a C++17 compiler and"
            " then the package once more"
        )
    except ImportError as error:
        return None, f"the compiled core is built, but does not load ({error}): install the package once more"


def instruction_sets() -> tuple[str, ...]:
    """Instruction sets of this machine that kernels may use, fastest first; empty without compiled code.

    Raises
    ------
    ValueError
        If the environment variable has none of ``NAMES``.
    """
    module = core()
    if module is None:
        return ()
    limit = NAMES.index(_cap())
    return tuple(name for name in module.instruction_sets() if NAMES.index(name) <= limit)


def kernels(instruction_set: str | None = None) -> Kernels:
    """The kernels of one of ``instruction_sets()``; None: of the fastest.

    Raises
    ------
    RuntimeError
        If there is no compiled core, or none is allowed.
    ValueError
        If this machine has no such instruction set.
    """
    module = core()
    if module is None:
        raise RuntimeError("the compiled core is not installed, or not allowed")
    found: Kernels = module.kernels(instruction_set or instruction_sets()[0])
    return found


def fastest() -> Kernels | None:
    """The kernels of the fastest instruction set that may be used; None without compiled code.

    Raises
    ------
    ValueError
        If the environment variable has none of ``NAMES``.
    """
    module, _ = _loaded()
    # Some hundred times for a small image: Python's own way to the environment takes ten times as long.
    return None if module is None else _fastest(module.environment(ENVIRONMENT))


@cache
def _fastest(_: str | None) -> Kernels | None:
    return None if core() is None else kernels()


def _cap() -> str:
    cap = os.environ.get(ENVIRONMENT) or NAMES[-1]
    if cap not in NAMES:
        raise ValueError(f"{ENVIRONMENT} is {cap!r}: choose from {', '.join(NAMES)}")
    return cap
