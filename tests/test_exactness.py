"""The same integers from every kernel, batch size, thread count, instruction set and library, and after a fork.

The configurations run in processes of their own (``exactness_probe``), on layers and inputs that reach the bounds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pil_neuralcodec import decode, encode, native
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.block_phase import BlockPhase
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS
from pil_neuralcodec.models import Model, load
from pil_neuralcodec.nets.backends import KERNELS

PROBE = Path(__file__).with_name("exactness_probe.py")

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
needs_native = pytest.mark.skipif(native.core() is None, reason="no compiled core")
DEVICES = ["numpy", pytest.param("cpu", marks=needs_native)]
"""What tests that follow run on."""

NATIVE = {native.ENVIRONMENT: native.NAMES[-1]}


def probe(*configurations: str, **environment: str) -> dict[str, str]:
    """Digests of some configurations, run one after the other in one new process; without the compiled core, unless
    ``NATIVE`` is passed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ONEDNN_", "OPENBLAS_"))}
    pool = {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_THREAD_TIMEOUT": "4"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROBE), "/".join(configurations)],
        capture_output=True,
        text=True,
        timeout=300,
        env=inherited | {native.ENVIRONMENT: "none"} | pool | environment,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(configurations, done.stdout.split("\n")[:-1], strict=True))


@pytest.fixture(scope="module")
def expected() -> str:
    """The digest of the semantics in plain int64."""
    return probe("device=reference")["device=reference"]


def check(expected: str, *configurations: str, **environment: str) -> None:
    assert probe(*configurations, **environment) == dict.fromkeys(configurations, expected)


def test_numpy(expected: str) -> None:
    check(expected, "device=numpy", "device=numpy batch=1", "device=numpy kernel=fp64 batch=32")


@pytest.mark.parametrize("core", ["Prescott", "Nehalem", "Haswell"])
def test_blas_kernels(expected: str, core: str) -> None:
    cpu = Path("/proc/cpuinfo")
    if not cpu.exists() or (" avx2 " if core == "Haswell" else " sse4_1 ") not in cpu.read_text():
        pytest.skip("not a processor that can take this kernel")
    if core == "Prescott" and np.lib.NumpyVersion(np.__version__) >= "2.5.0":
        pytest.skip("that numpy dies of it now and then, in a product of two matrices of its own")
    check(expected, "device=numpy", OPENBLAS_CORETYPE=core)


FORK = "fork=1" if hasattr(os, "fork") else ""
"""After a run in the parent, whose threads the child has not."""


def test_numpy_with_two_threads_and_in_a_forked_child(expected: str) -> None:
    check(expected, f"device=best {FORK}", OPENBLAS_NUM_THREADS="2")


@needs_native
@pytest.mark.parametrize("name", native.instruction_sets())
def test_native(expected: str, name: str) -> None:
    configurations = [f"device=native kernel={name} threads={t} batch={b}" for t, b in ((1, 1), (2, 8), (5, 32))]
    check(expected, *configurations, f"device=native kernel={name} threads=3 {FORK}", **NATIVE)


@needs_native
def test_the_cpu_is_native(expected: str) -> None:
    check(expected, "device=cpu kernel=int8 native=1", "device=best native=1", **NATIVE)


@needs_torch
def test_matrix_products_of_torch(expected: str) -> None:
    """The way of GPUs, here on the CPU, where a product of bytes takes too long for a test."""
    check(expected, "device=torch kernel=fp32 batch=32", "device=torch kernel=fp64 batch=8")


@needs_torch
@pytest.mark.parametrize("kernel", KERNELS)
def test_cuda(expected: str, kernel: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check(expected, f"device=cuda kernel={kernel} batch=1", f"device=cuda kernel={kernel} batch=32")


@pytest.mark.parametrize("device", DEVICES)
def test_sixteen_threads_at_once(tiny: str, device: str) -> None:
    model = load(tiny)
    rng = np.random.default_rng(7)
    inputs = [rng.integers(-128, 128, (1, 5 + i, 40 - i, 6)).astype(np.int8) for i in range(16)]
    expected = [run_stage(model, "numpy", pixels) for pixels in inputs]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(4):
            found = list(pool.map(lambda pixels: run_stage(model, device, pixels), inputs))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("format", "kind"), [("bsw", "latents"), ("ifl", "patch")])
def test_bits_back_in_sixteen_threads_and_a_forked_child(tiny: str, format: str, kind: str, device: str) -> None:
    """The same bytes and pixels everywhere, of chains of two blocks, the second on bits that the first lends."""
    rng = np.random.default_rng(8)
    shapes = [(65 + i, 64, 1) if kind == "latents" else (2, 8, 9 + i, 1) for i in range(4)]
    images = [(60 + i + rng.normal(0, 9, shape)).clip(0, 255).astype(np.uint8) for i, shape in enumerate(shapes)]

    def made(image: np.ndarray, device: str) -> bytes:
        return encode(image, format, model=f"{tiny}-{kind}", fallback=False, device=device)

    expected = [made(image, "numpy") for image in images]

    def right(image: np.ndarray, payload: bytes) -> bool:
        return made(image, device) == payload and np.array_equal(decode(payload, device=device), image)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(right, images * 4, expected * 4))
    if hasattr(os, "fork"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that this is a risk is the point
            child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if right(images[0], expected[0]) else 1)
        assert os.waitpid(child, 0)[1] == 0


def run_stage(model: Model, device: str, pixels: np.ndarray) -> np.ndarray:
    architecture = model.architecture
    assert isinstance(architecture, PhotoArchitecture)
    network = model.network(device)
    positions = TRANSFORMS[0].positions([BlockPhase(3, 12)], (pixels.shape[1], pixels.shape[2]), 2)
    features = architecture.features(network, 0, 0, network.from_pixels(pixels, positions), None)
    return network.to_numpy(architecture.band_outputs(network, 0, 0, 0, features, None)[1])
