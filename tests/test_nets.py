"""Backends: the semantics on random layers, the choice of a kernel and what happens when one is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pil_neuralcodec import models, native
from pil_neuralcodec.errors import EngineWarning, NeuralCodecError
from pil_neuralcodec.nets import backends
from pil_neuralcodec.nets.backends import KERNELS, agrees, open_network, self_test_digest
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.numpy_backend import NumpyNetwork
from pil_neuralcodec.nets.positions import Positions
from pil_neuralcodec.nets.spec import ConvSpec
from pil_neuralcodec.products import LONE, product

TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="torch is not installed")
BACKENDS = [
    "numpy fp32",
    "numpy fp64",
    *(f"native {name}" for name in native.instruction_sets()),
    *([f"torch {kernel}" for kernel in KERNELS] if TORCH else []),  # the arithmetic of GPUs, on this CPU
]


def build(layers: dict[str, ConvSpec], backend: str) -> Any:
    device, kernel = backend.split()
    if device == "numpy":
        return NumpyNetwork(layers, kernel)
    if device == "native":
        return NativeNetwork(layers, kernel)
    from pil_neuralcodec.nets.torch_backend import TorchNetwork

    return TorchNetwork(layers, "cpu", kernel)


def make_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    pixel_input: bool = False,
    is_output: bool = False,
    limit: int = 40,
) -> ConvSpec:
    """A random layer with shifts small enough to bring ties."""
    weight = rng.integers(-limit, limit + 1, (outputs, inputs, kernel, kernel)).astype(np.int8)
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    return ConvSpec(weight, bias, rng.integers(0, 10, outputs).astype(np.int32), pixel_input, is_output)


def by_definition(spec: ConvSpec, x: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    """The layer from its definition: Python's ``round`` on exact fractions of a double."""
    reach = spec.weight.shape[2] // 2
    padded = np.pad(x.astype(np.int64), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spec.weight.shape[2:], axis=(1, 2))
    acc = np.einsum("nhwcyx,ocyx->nhwo", windows, spec.weight.astype(np.int64)) + spec.bias
    real = acc / 2.0**spec.shift + (0 if skip is None else skip)  # exact in a double
    y = np.array([round(v) for v in real.ravel().tolist()], np.int64).reshape(real.shape)
    return y if spec.is_output else np.clip(y, 0, 127)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    inputs=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5]),
    data=st.data(),
)
def test_layers_by_definition(
    backend: str, seed: int, batch: int, height: int, width: int, inputs: int, kernel: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    outputs = data.draw(st.sampled_from([inputs, 1, 13, 32]))
    layers = {
        "pixels": make_layer(rng, inputs, outputs, kernel, pixel_input=True),
        "hidden": make_layer(rng, inputs, outputs, kernel),
        "head": make_layer(rng, inputs, outputs, kernel, is_output=True),
    }
    network = build(layers, backend)
    pixels = rng.integers(-128, 128, (batch, height, width, inputs)).astype(np.int8)
    activations = rng.integers(0, 128, pixels.shape).astype(np.uint8)
    skip = rng.integers(0, 128, (batch, height, width, outputs)).astype(np.uint8)
    x, added = network.from_activations(activations), network.from_activations(skip)
    for found, expected in (
        (network.conv("pixels", network.from_pixels(pixels)), by_definition(layers["pixels"], pixels)),
        (network.conv("hidden", x), by_definition(layers["hidden"], activations)),
        (network.conv("hidden", x, added), by_definition(layers["hidden"], activations, skip)),
        (network.conv("head", x), by_definition(layers["head"], activations)),
    ):
        values = network.to_numpy(found)
        assert values.dtype == np.int32
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(network.to_numpy(added), skip)  # left as it was


@pytest.mark.parametrize("backend", BACKENDS)
def test_position_channels_by_definition(backend: str) -> None:
    rng = np.random.default_rng(3)
    plain = make_layer(rng, 11, 16, 3, pixel_input=True)
    layers = {"a": ConvSpec(plain.weight, plain.bias, plain.shift, True, False, 8)}
    network = build(layers, backend)
    for height, width in ((1, 1), (1, 9), (9, 1), (13, 30)):
        pixels = rng.integers(-128, 128, (2, height, width, 3)).astype(np.int8)
        rows, columns = (rng.integers(-128, 128, (2, 4, n)).astype(np.int8) for n in (height, width))
        planes = [np.repeat(rows[..., None], width, 3), np.repeat(columns[:, :, None], height, 2)]
        seen = np.concatenate([pixels, *(part.transpose(0, 2, 3, 1) for part in planes)], axis=-1)
        found = network.conv("a", network.from_pixels(pixels, Positions(rows, columns)))
        np.testing.assert_array_equal(network.to_numpy(found), by_definition(layers["a"], seen))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_go_to_even(backend: str) -> None:
    """acc = 3, 5, 7, 9, ... with a shift of 1: one and a half rounds to two, two and a half to two."""
    one = ConvSpec(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.ones(1, np.int32))
    network = build({"half": one}, backend)
    x = np.arange(128, dtype=np.uint8).reshape(1, 8, 16, 1)
    np.testing.assert_array_equal(
        network.to_numpy(network.conv("half", network.from_activations(x)))[0, 0, :8, 0], [0, 0, 1, 2, 2, 2, 3, 4]
    )
    odd = np.ones_like(x)  # 0.5 + skip: to even again, which rounding before adding would miss
    result = network.to_numpy(network.conv("half", network.from_activations(odd), network.from_activations(x)))
    np.testing.assert_array_equal(result[0, 0, :6, 0], [0, 2, 2, 4, 4, 6])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(6, 10), (5, 9), (5, 10)])
def test_upsample(backend: str, size: tuple[int, int]) -> None:
    network = build({"a": make_layer(np.random.default_rng(0), 3, 4, 1)}, backend)
    x = np.random.default_rng(1).integers(0, 128, (2, 3, 5, 3)).astype(np.uint8)
    found = network.upsample(network.from_activations(x), *size)
    np.testing.assert_array_equal(network.to_numpy(found), x.repeat(2, 1).repeat(2, 2)[:, : size[0], : size[1]])
    moved = network.upsample(network.from_activations(x), 4, 5, 1, 2)
    np.testing.assert_array_equal(network.to_numpy(moved), x.repeat(2, 1).repeat(2, 2)[:, 1:5, 2:7])
    network.conv("a", found)  # in a shape that layers take


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_empty_planes_and_wrong_widths(backend: str) -> None:
    rng = np.random.default_rng(4)
    layers = {"pixels": make_layer(rng, 3, 8, 3, pixel_input=True), "head": make_layer(rng, 8, 5, 1, is_output=True)}
    network = build(layers, backend)
    pixels = rng.integers(-128, 128, (2, 3, 12, 14)).astype(np.int8).transpose(0, 2, 3, 1)[:, ::2, ::-1]
    pixels.flags.writeable = False
    found = network.to_numpy(network.conv("pixels", network.from_pixels(pixels)))
    np.testing.assert_array_equal(found, by_definition(layers["pixels"], pixels))
    empty = network.conv("pixels", network.from_pixels(pixels[:, :0]))
    assert network.to_numpy(network.conv("head", empty)).shape == (2, 0, 14, 5)
    with pytest.raises(ValueError, match="takes 8 channels, not 3"):
        network.conv("head", network.from_pixels(pixels))


@pytest.mark.parametrize("alone", [False, True])
def test_long_rows_and_columns_in_blocks(alone: bool) -> None:
    """Planes that numpy cuts within a row, and into many blocks of rows."""
    rng = np.random.default_rng(5)
    layers = {"a": make_layer(rng, 64, 8, 3, limit=10)}
    for shape in ((1, 2, 4000, 64), (1, 4000, 2, 64)):
        x = rng.integers(0, 128, shape).astype(np.uint8)
        network = NumpyNetwork(layers, alone=alone)
        np.testing.assert_array_equal(
            network.to_numpy(network.conv("a", network.from_activations(x))), by_definition(layers["a"], x)
        )


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 8, 33])
@pytest.mark.parametrize("columns", [7, 255])
def test_products_on_one_thread(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are cut into rows that are few enough, or two where even one is too much."""
    rng = np.random.default_rng(rows)
    a, b = (rng.integers(-999, 999, shape).astype(np.float64) for shape in ((rows, 256), (256, columns)))
    expected, work = a @ b, []
    real = np.matmul
    monkeypatch.setattr(np, "matmul", lambda x, y, out: (work.append(len(x)), real(x, y, out=out))[1])
    assert np.array_equal(product(a, b), expected)
    assert all(some == min(rows, max(2, LONE // (256 * columns))) for some in work)
    assert sum(work) >= rows


@pytest.fixture
def layers() -> dict[str, ConvSpec]:
    rng = np.random.default_rng(6)
    return {
        "pixels": make_layer(rng, 6, 16, 3, pixel_input=True),
        "hidden": make_layer(rng, 16, 16, 3),
        "head": make_layer(rng, 16, 7, 1, is_output=True),
    }


def test_digest_sees_every_layer(layers: dict[str, ConvSpec]) -> None:
    digest = self_test_digest(NumpyNetwork(layers))
    assert digest == self_test_digest(NumpyNetwork(layers, "fp64"))
    for name, spec in layers.items():
        weight = spec.weight.copy()
        weight[-1, -1, -1, -1] ^= 1
        changed = ConvSpec(weight, spec.bias, spec.shift, spec.pixel_input, spec.is_output)
        assert self_test_digest(NumpyNetwork(layers | {name: changed})) != digest


def test_comparison_with_numpy_sees_every_kind_of_layer(layers: dict[str, ConvSpec]) -> None:
    assert agrees(NumpyNetwork(layers))
    for wrong in layers:

        class Wrong(NumpyNetwork):
            def conv(self, name: str, x: Any, skip: Any = None, wrong: str = wrong) -> Any:
                y = super().conv(name, x, skip)
                y[..., -1, -1, -1] += name == wrong
                return y

        assert not agrees(Wrong(layers))


@pytest.mark.parametrize("channel", [0, 3, 5])
def test_comparison_with_numpy_sees_position_channels(channel: int) -> None:
    """One pixel, rows and columns; a network that makes something else of one of them."""
    plain = make_layer(np.random.default_rng(7), 6, 16, 3, pixel_input=True)
    layers = {"a": ConvSpec(plain.weight, plain.bias, plain.shift, True, False, 4)}

    class Wrong(NumpyNetwork):
        def from_pixels(self, pixels: Any, positions: Any = None) -> Any:
            assert positions is not None
            seen = super().from_pixels(pixels, positions)
            seen[:, -1, -1, channel] *= -1
            return seen

    assert agrees(NumpyNetwork(layers))
    assert not agrees(Wrong(layers))


def test_digest_is_pinned() -> None:
    """Models carry such digests: the self-test must not change."""
    layers = {
        "a": ConvSpec(
            np.arange(-27, 27).reshape(3, 2, 3, 3).astype(np.int8),
            np.arange(3, dtype=np.int32),
            np.full(3, 5, np.int32),
            pixel_input=True,
        ),
        "b": ConvSpec(
            np.arange(9).reshape(3, 3, 1, 1).astype(np.int8), np.arange(3, dtype=np.int32), np.full(3, 2, np.int32)
        ),
        "c": ConvSpec(
            np.arange(6).reshape(2, 3, 1, 1).astype(np.int8),
            np.arange(2, dtype=np.int32),
            np.full(2, 1, np.int32),
            is_output=True,
        ),
    }
    expected = "452a77084a15b72436fbcc10714c5ff08c3f0b3845d7e7d23ecaa4b882db47be"
    assert self_test_digest(NumpyNetwork(layers)) == expected


@pytest.mark.parametrize("cap", native.NAMES[::5])
def test_cpus_do_not_import_torch(model_folder: Path, cap: str) -> None:
    code = (
        "import sys, numpy as np; from pil_neuralcodec import decode, encode; "
        "data = encode(np.arange(600, dtype=np.uint8).reshape(20, 30), model='tiny', fallback=False); "
        "decode(data); decode(data, device='cpu'); decode(data, device='numpy'); sys.exit('torch' in sys.modules)"
    )
    environment = os.environ | {models.ENVIRONMENT: str(model_folder), native.ENVIRONMENT: cap}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_unknown_devices_and_kernels(layers: dict[str, ConvSpec]) -> None:
    for device in ("gpu", "cuda:", "cpu:0"):
        with pytest.raises(ValueError, match=f"unknown device .{device}.: choose from numpy, cpu, cuda"):
            open_network(layers, device)
    with pytest.raises(ValueError, match="unknown kernel 'int4'"):
        open_network(layers, "numpy", kernel="int4")
    with pytest.raises(ValueError, match="no int8 kernel"):
        open_network(layers, "numpy", kernel="int8")


def test_shifts_that_a_skip_cannot_take(layers: dict[str, ConvSpec]) -> None:
    spec = layers["hidden"]
    with pytest.raises(ValueError, match="a shift is out of 0..16"):
        open_network(layers | {"hidden": ConvSpec(spec.weight, spec.bias, np.full(16, 17, np.int32))})


def test_digest_that_nothing_meets(layers: dict[str, ConvSpec]) -> None:
    with pytest.raises(NeuralCodecError, match="numpy fp32: wrong results; numpy fp64: wrong results"):
        open_network(layers, "numpy", digest="0" * 64)


def test_numpy_falls_back_to_doubles(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """A BLAS whose float32 products are off."""
    original = NumpyNetwork.conv

    def off(self: NumpyNetwork, name: str, x: Any, skip: Any = None) -> Any:
        y = original(self, name, x, skip)
        return y + 1 if y.dtype == np.float32 else y

    digest = self_test_digest(NumpyNetwork(layers))
    monkeypatch.setattr(NumpyNetwork, "conv", off)
    monkeypatch.setattr(backends, "_warned", set())
    with pytest.warns(EngineWarning, match="networks run on numpy fp64, and slowly: numpy fp32: wrong results"):
        assert open_network(layers, "numpy", digest=digest).kernel == "fp64"


def test_wrong_native_kernels(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """An instruction set whose kernels are wrong gives way to the next, the last to numpy; that is told, once."""
    original, wrong = NativeNetwork.to_numpy, list(native.instruction_sets())

    def off(self: NativeNetwork, x: Any) -> Any:
        return original(self, x) + (self.instruction_set in wrong)

    monkeypatch.setattr(NativeNetwork, "to_numpy", off)
    monkeypatch.setattr(backends, "_warned", set())
    if wrong:
        with pytest.warns(
            EngineWarning, match=f"networks run on numpy fp32, and slowly: cpu {wrong[0]}: wrong results"
        ):
            assert isinstance(open_network(layers), NumpyNetwork)
    assert isinstance(open_network(layers, "cpu"), NumpyNetwork)
    for name in native.instruction_sets()[::-1]:
        wrong.remove(name)
        with pytest.warns(EngineWarning) if wrong else nullcontext():
            assert open_network(layers).instruction_set == name
    monkeypatch.setenv(native.ENVIRONMENT, "none")
    assert isinstance(open_network(layers), NumpyNetwork)  # as was asked for: no warning
    monkeypatch.setenv(native.ENVIRONMENT, "mmx")
    with pytest.raises(ValueError, match="NEURALCODEC_ISA is 'mmx': choose from none, portable"):
        open_network(layers)


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_core_it_is_told_once(
    layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """That it was not built, or that it does not load, and what to do."""

    def absent(name: str) -> None:
        raise ImportError("undefined symbol: _Znwm") if broken else ModuleNotFoundError(name, name=name)

    monkeypatch.delenv(native.ENVIRONMENT, raising=False)
    monkeypatch.setattr(native, "import_module", absent)
    monkeypatch.setattr(native, "_loaded", native._loaded.__wrapped__)
    monkeypatch.setattr(backends, "_warned", set())
    text = r"is built, but does not load \(undefined symbol: _Znwm\): install" if broken else "is not built .* install"
    with pytest.warns(EngineWarning, match=f"networks run on numpy fp32, and slowly: the compiled core {text}"):
        assert isinstance(open_network(layers), NumpyNetwork)
    open_network(layers)
    open_network(layers, "numpy")
    with pytest.raises(ValueError, match="cpu has no int8 kernel here"):
        open_network(layers, kernel="int8")


def test_devices_that_are_not_proven_are_refused(layers: dict[str, ConvSpec]) -> None:
    assert type(open_network(layers, "cpu")) is type(open_network(layers))
    for asked in ("mps", "xpu"):
        with pytest.raises(ValueError, match="unknown device"):
            open_network(layers, asked)
    assert open_network(layers, "cpu", kernel="fp64").kernel == "fp64"


def test_torch_that_is_not_there(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pil_neuralcodec.nets.torch_backend", raising=False)
    monkeypatch.delattr("pil_neuralcodec.nets.torch_backend", raising=False)
    with pytest.raises(NeuralCodecError, match=r"device 'cuda' needs torch.*: install the extra `torch`"):
        open_network(layers, "cuda")


@needs_torch
def test_kernels_of_a_gpu(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that is wrong or not there gives way to the next kernel; then the CPU stands in, which is told."""
    import torch

    from pil_neuralcodec.nets import torch_backend

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NeuralCodecError, match="finds no device 'cuda:1'"):
        open_network(layers, "cuda:1")

    class OnCpu(torch_backend.TorchNetwork):
        """As if this CPU were a GPU."""

        def __init__(self, layers: dict[str, ConvSpec], device: str, kernel: str) -> None:
            super().__init__(layers, "cpu", kernel)

    monkeypatch.setattr(backends, "_warned", set())
    monkeypatch.setattr(torch_backend, "available", lambda device: device == "cuda:1")
    monkeypatch.setattr(torch_backend, "TorchNetwork", OnCpu)
    network = open_network(layers, "cuda:1")
    assert isinstance(network, OnCpu) and network.kernel == "int8"

    def absent(*args: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch, "_int_mm", absent)
    with pytest.warns(EngineWarning, match="networks run on cuda:1 fp32, and slowly: cuda:1 int8: no such operator"):
        assert open_network(layers, "cuda:1").kernel == "fp32"
    with pytest.raises(NeuralCodecError, match="cuda:1 int8: no such operator"):
        open_network(layers, "cuda:1", kernel="int8")
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b: product(a, b) + 64)
    with pytest.warns(EngineWarning, match="cuda:1 fp64: wrong results"):
        assert type(open_network(layers, "cuda:1")) is type(open_network(layers))


@needs_torch
@pytest.mark.parametrize("backend", [b for b in BACKENDS if not b.startswith("numpy")])
def test_callers_settings_do_not_matter(layers: dict[str, ConvSpec], backend: str) -> None:
    """Autocast, another default type and gradients, of the caller's own; all as they were afterwards."""
    import torch

    threads = torch.get_num_threads()
    digest = self_test_digest(NumpyNetwork(layers))
    with torch.autocast("cpu", dtype=torch.bfloat16), default_dtype(torch.float64), torch.enable_grad():
        assert self_test_digest(build(layers, backend)) == digest
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_default_dtype() == torch.float64
    assert torch.get_num_threads() == threads


@contextmanager
def default_dtype(dtype: Any) -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
