"""Backends: the semantics on random layers, the choice of a kernel and what happens when one is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pil_neuralcodec import native
from pil_neuralcodec.errors import NeuralCodecError
from pil_neuralcodec.nets.backends import agrees, open_network, self_test_digest
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.numpy_backend import NumpyNetwork
from pil_neuralcodec.nets.spec import ConvSpec

TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="torch is not installed")
BACKENDS = [
    "numpy fp32",
    "numpy fp64",
    *(f"native {name}" for name in native.instruction_sets()),
    *(["cpu int8", "cpu fp32", "cpu fp64", "products fp32"] if TORCH else []),
]


def build(layers: dict[str, ConvSpec], backend: str) -> Any:
    device, kernel = backend.split()
    if device == "numpy":
        return NumpyNetwork(layers, kernel)
    if device == "native":
        return NativeNetwork(layers, kernel)
    from pil_neuralcodec.nets.torch_backend import TorchNetwork

    return TorchNetwork(layers, "cpu", kernel, products=device == "products")


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


def test_long_rows_and_columns_in_blocks() -> None:
    """Planes that numpy cuts within a row, and into many blocks of rows."""
    rng = np.random.default_rng(5)
    layers = {"a": make_layer(rng, 64, 8, 3, limit=10)}
    for shape in ((1, 2, 4000, 64), (1, 4000, 2, 64)):
        x = rng.integers(0, 128, shape).astype(np.uint8)
        network = NumpyNetwork(layers)
        np.testing.assert_array_equal(
            network.to_numpy(network.conv("a", network.from_activations(x))), by_definition(layers["a"], x)
        )


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


def test_numpy_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from pil_neuralcodec.nets.backends import open_network; "
        "from pil_neuralcodec.nets.spec import ConvSpec; "
        "one = ConvSpec(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.ones(1, np.int32)); "
        "open_network({'a': one}, 'numpy'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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
    assert open_network(layers, "numpy", digest=digest).kernel == "fp64"


def test_wrong_native_kernels(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """An instruction set whose kernels are wrong gives way to the next, the last to torch or numpy."""
    original, wrong = NativeNetwork.to_numpy, list(native.instruction_sets())

    def off(self: NativeNetwork, x: Any) -> Any:
        return original(self, x) + (self.instruction_set in wrong)

    monkeypatch.setattr(NativeNetwork, "to_numpy", off)
    assert not isinstance(open_network(layers), NativeNetwork)
    for name in native.instruction_sets()[::-1]:
        wrong.remove(name)
        assert open_network(layers).instruction_set == name
    monkeypatch.setenv(native.ENVIRONMENT, "none")
    assert not isinstance(open_network(layers), NativeNetwork)
    monkeypatch.setenv(native.ENVIRONMENT, "mmx")
    with pytest.raises(ValueError, match="NEURALCODEC_ISA is 'mmx': choose from none, portable"):
        open_network(layers)


@needs_torch
def test_devices(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for asked in (None, "cpu", "mps", "xpu"):
        network = open_network(layers, asked)
        assert (network.device, network.kernel in ("int8", "fp32")) == ("cpu", True)
    assert open_network(layers, "cpu", kernel="fp64").kernel == "fp64"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NeuralCodecError, match="finds no device 'cuda:1'"):
        open_network(layers, "cuda:1")


@needs_torch
def test_wrong_and_missing_torch_operators(layers: dict[str, ConvSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 operator that is wrong, or not there, gives way to float32; then float64; then numpy."""
    from pil_neuralcodec.nets import torch_backend

    monkeypatch.setenv(native.ENVIRONMENT, "none")
    quantised, sums = torch_backend._QuantisedConv.__call__, torch_backend._FloatConv._sums
    with monkeypatch.context() as patch:
        patch.setattr(torch_backend._QuantisedConv, "__call__", lambda *args: quantised(*args) ^ 1)
        assert open_network(layers, "cpu").kernel == "fp32"
        with pytest.raises(NeuralCodecError, match="cpu int8: "):
            open_network(layers, "cpu", kernel="int8")
        patch.setattr(torch_backend._FloatConv, "_sums", lambda self, x: sums(self, x) + 64 * (x.element_size() == 4))
        network = open_network(layers, "cpu")
        assert (network.device, network.kernel) == ("cpu", "fp64")
        patch.setattr(torch_backend._FloatConv, "_sums", lambda self, x: sums(self, x) + 64)
        network = open_network(layers, "cpu")
        assert (network.device, network.kernel) == ("numpy", "fp32")

    def absent(*args: object) -> None:
        raise AttributeError("no such operator")

    monkeypatch.setattr(torch_backend._QuantisedConv, "__init__", absent)
    assert open_network(layers, "cpu").kernel == "fp32"


@needs_torch
@pytest.mark.parametrize("kernel", ["fp32", "fp64"])
def test_inexact_convolution_is_noticed(
    layers: dict[str, ConvSpec], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors such as those of Winograd kernels do not reach the result."""
    import torch

    from pil_neuralcodec.nets import torch_backend

    exact = torch.nn.functional.conv2d
    calls = []

    def off(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(x.dtype)
        y = exact(x, *args, **kwargs)
        return y + (0.7 if x.dtype == torch.float32 else 1e-6) * torch.sin(torch.arange(y.numel()).view(y.shape))

    network = build(layers, f"cpu {kernel}")
    digest = self_test_digest(NumpyNetwork(layers))
    monkeypatch.setattr(torch_backend.F, "conv2d", off)
    assert self_test_digest(network) == digest
    assert torch.float64 in calls


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
