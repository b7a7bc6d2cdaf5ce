"""Kernels of one core beside its peak: ``python benchmarks/kernels.py [MODEL [SIDE]]``.

Layers of each kind of a model (photo) run on planes of SIDE x SIDE (64) in one thread: by the compiled core under
each instruction set of this machine, by torch where it is installed, and by numpy. Figures are G multiply-adds/s of the
layer itself, best of many runs, and their share of the peak: what the core's dot product reaches in registers alone.
Channels that fill up a vector, and inputs that fill up four bytes, count as nothing done; position channels, here those
of a JPEG file's blocks, count in full for every engine, whether it multiplies by them or not.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

if __name__ == "__main__":  # before numpy and torch are imported, which read it
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np

from pil_neuralcodec import models, native
from pil_neuralcodec.flow.block_phase import BlockPhase
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.numpy_backend import NumpyNetwork
from pil_neuralcodec.nets.spec import ConvSpec

SECONDS = 0.7
"""Spent on each figure. The best of many short runs is what the core can do, even while others use the machine."""


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    run()
    fastest, end = np.inf, time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end:
        run()
        fastest = min(fastest, time.perf_counter() - begin)
    return float(fastest)


def peak() -> float:
    """Multiply-adds per second of the fastest instruction for them; NaN without one."""
    rates = []
    for name in native.instruction_sets():
        kernels = native.kernels(name)
        if kernels.multiply_adds(1):
            rates.append(kernels.multiply_adds(20000) / best(lambda kernels=kernels: kernels.multiply_adds(20000)))
    return max(rates, default=float("nan"))


def networks(layers: dict[str, ConvSpec]) -> Iterator[tuple[str, Any]]:
    """Networks on one thread, by name."""
    for name in native.instruction_sets():
        yield name, NativeNetwork(layers, name, threads=1)
    if find_spec("torch"):
        import torch
        from onednn import OneDnnNetwork

        torch.set_num_threads(1)
        yield f"torch {torch.__version__.partition('+')[0]}", OneDnnNetwork(layers)
    yield "numpy", NumpyNetwork(layers)


def cases(layers: dict[str, ConvSpec]) -> dict[str, tuple[str, bool]]:
    """A layer of each kind, and whether it has a skip."""
    found: dict[str, tuple[str, bool]] = {}
    for name, spec in layers.items():
        outputs, inputs, kernel, _ = spec.weight.shape
        positions = f" + {spec.positions}" if spec.positions else ""
        label = f"{kernel}x{kernel} {inputs - spec.positions}{positions} -> {outputs}"
        if spec.is_output:
            found.setdefault(f"{label}, output", (name, False))
        elif spec.pixel_input:
            found.setdefault(f"{label}, pixels", (name, False))
        else:
            found.setdefault(label, (name, False))
            if inputs == outputs:
                found.setdefault(f"{label}, skip", (name, True))
    return dict(sorted(found.items(), reverse=True))


def main() -> None:
    """Print a table: a row for each kind of layer."""
    layers = dict(models.load(sys.argv[1] if len(sys.argv) > 1 else "photo").layers)
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    top, rng = peak(), np.random.default_rng(0)
    engines = dict(networks(layers))
    print(f"peak: {top / 1e9:.0f} G multiply-adds/s; planes of {side} x {side}\n")
    print("| layer | " + " | ".join(engines) + " |\n|---|" + "---|" * len(engines))
    for label, (name, has_skip) in cases(layers).items():
        spec, cells = layers[name], []
        low, high = (-128, 128) if spec.pixel_input else (0, 128)
        values = rng.integers(low, high, (1, side, side, spec.weight.shape[1] - spec.positions))
        positions = TRANSFORMS[0].positions([BlockPhase(1, 1)], (side, side), 2) if spec.positions else None
        for network in engines.values():
            if spec.pixel_input:
                x = network.from_pixels(values.astype(np.int8), positions)
            else:
                x = network.from_activations(values.astype(np.uint8))
            skip = x if has_skip else None
            rate = spec.weight.size * side**2 / best(lambda: network.conv(name, x, skip))  # noqa: B023
            cells.append(f"{rate / 1e9:.0f} ({rate / top:.0%})")
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
