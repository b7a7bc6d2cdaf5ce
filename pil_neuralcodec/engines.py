"""Which engine runs networks here, and why: what ``neuralcodec info --engine`` prints."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from typing import Any

from . import gate, models, native
from .errors import UnknownModelError
from .nets.backends import trials


@dataclass(frozen=True)
class Report:
    """What runs the default model's networks.

    Parameters
    ----------
    engine
        ``"cpu avx2"``, ``"cuda int8"``, ``"numpy fp32"``, ...; "" where there is none.
    core
        ``"compiled"``, or why there is no compiled core, with the remedy.
    instruction_sets
        Those of this machine, fastest first, that may be used.
    cap
        Value of the environment variable ``NEURALCODEC_ISA``; None where it is not set.
    self_tests
        Of each engine that was tried, in this order: ``engine``, ``problem`` ("": it passed), ``milliseconds``.
    model
        Name of the model; None where there is none.
    threads
        How many the engine uses at once.
    torch
        Its version, or None; ``cuda``: the names of its GPUs.
    numpy, python, machine
        Versions, and the kind of processor.
    """

    engine: str
    core: str
    instruction_sets: tuple[str, ...]
    cap: str | None
    self_tests: tuple[dict[str, Any], ...]
    model: str | None
    threads: int
    torch: str | None
    cuda: tuple[str, ...]
    numpy: str
    python: str
    machine: str


def report(device: str | None = None) -> Report:
    """What would run on ``device``, one of ``devices.DEVICES``. Imports torch, if it is installed.

    Raises
    ------
    ValueError
        For an unknown device, or a value of the environment variable that means nothing.
    NeuralCodecError
        For a device that does not exist here.
    """
    try:
        model = models.load()
    except UnknownModelError:
        model = None
    tests: list[dict[str, Any]] = []
    engine = ""
    for trial in trials(model.layers, device, digest=model.digest) if model else ():
        milliseconds = round(1000 * trial.seconds, 1)
        tests.append({"engine": trial.engine, "problem": trial.problem, "milliseconds": milliseconds})
        if trial.network is not None:
            engine = trial.engine
            break
    version, cuda = _torch()
    return Report(
        engine=engine,
        core="compiled" if native.core() else native.trouble() or f"not allowed by {native.ENVIRONMENT}",
        instruction_sets=native.instruction_sets(),
        cap=os.environ.get(native.ENVIRONMENT) or None,
        self_tests=tuple(tests),
        model=model.name if model else None,
        threads=gate.threads(),
        torch=version,
        cuda=cuda,
        numpy=importlib.metadata.version("numpy"),
        python=platform.python_version(),
        machine=platform.machine(),
    )


def _torch() -> tuple[str | None, tuple[str, ...]]:
    """torch's version, and the names of its GPUs."""
    try:
        import torch
    except (ImportError, OSError):
        return None, ()
    return torch.__version__, tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
