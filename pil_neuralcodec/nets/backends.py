"""The interface of a network, and the choice of a backend that computes it exactly."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .. import native
from ..devices import check_device
from ..errors import EngineWarning, NeuralCodecError, warn
from .native_backend import NativeNetwork
from .numpy_backend import NumpyNetwork
from .positions import Positions
from .shapes import Ops
from .spec import ACT_MAX, ConvSpec

T = TypeVar("T")

KERNELS = ("int8", "fp32", "fp64")
"""Arithmetic of the kernels, fastest first. Each later one makes fewer assumptions about the hardware and libraries."""
_warned: set[str] = set()
"""Warnings that this process gave."""

_SMALL_SHAPES = ((1, 3, 31), (2, 1, 6), (1, 2, 9))
"""Images, rows and columns of the inputs of ``agrees``. Kernels cut rows into equal parts of up to 6, 8 or 16
positions: of the first two, parts of 4 and more all come."""


class Network(Ops[T], Protocol[T]):
    """Exact layers by name, on feature maps of the backend's own type ``T``. Thread-safe.

    The result depends only on the layers and the input: all backends, kernels and batch sizes give the same numbers.
    """

    @property
    def layers(self) -> Mapping[str, ConvSpec]:
        """The layers, by name."""

    @property
    def device(self) -> str:
        """Device on which it runs: ``"numpy"``, ``"cpu"`` or ``"cuda"``."""

    @property
    def kernel(self) -> str:
        """The arithmetic in use, one of ``KERNELS``."""

    def from_pixels(self, pixels: npt.NDArray[np.int8], positions: Positions | None = None) -> T:
        """Convert pixel inputs, int8 (N, h, w, C), and the position channels of a layer that has some."""

    def from_activations(self, activations: npt.NDArray[np.uint8]) -> T:
        """Convert activations 0..127, uint8 (N, h, w, C)."""

    def to_numpy(self, x: T) -> npt.NDArray[np.int32]:
        """Convert the result of a layer to int32 (N, h, w, C)."""

    def upsample(self, x: T, height: int, width: int, top: int = 0, left: int = 0) -> T:
        """Repeat every position twice in both directions and crop ``height`` x ``width`` from row ``top``, column
        ``left`` on."""


class Trial(NamedTuple):
    """A way to compute a network that was tried.

    ``engine`` names it: ``"cpu avx2"``, ``"cuda int8"``, ``"numpy fp32"``. ``network`` is None where it failed, and
    ``problem`` then says how. ``seconds``: of making the network and of its self-test.
    """

    engine: str
    network: Network[Any] | None
    problem: str
    seconds: float


def open_network(
    layers: Mapping[str, ConvSpec], device: str | None = None, *, kernel: str | None = None, digest: str | None = None
) -> Network[Any]:
    """Open the fastest network that runs ``layers`` and passes the self-test.

    Parameters
    ----------
    device
        One of ``devices.DEVICES``; None: the CPU. On CPUs the compiled core computes, or else numpy; on GPUs torch,
        which is imported for no other device.
    kernel
        One of ``KERNELS``, used or refused; None takes the fastest that passes.
    digest
        Expected ``self_test_digest``; None computes it with numpy. Kernels of the compiled core are compared with numpy
        instead, see ``agrees``: that takes a small part of the time.

    Raises
    ------
    ValueError
        For an unknown device or kernel.
    NeuralCodecError
        If the device does not exist here, or no kernel passes.

    Warns
    -----
    EngineWarning
        If a slower engine stands in for the one that is meant, once a process.
    """
    problems: list[str] = []
    for engine, network, problem, _ in trials(layers, device, kernel=kernel, digest=digest):
        if network is not None:
            if device != "numpy" and isinstance(network, NumpyNetwork) and kernel is None:
                problems += filter(None, [native.trouble()])
            if problems:
                _warn(f"networks run on {engine}, and slowly: {'; '.join(problems)}")
            return network
        problems.append(f"{engine}: {problem}")
    raise NeuralCodecError(
        f"no kernel on this machine computes the model exactly, or the model is damaged ({'; '.join(problems)})"
    )


def trials(
    layers: Mapping[str, ConvSpec], device: str | None = None, *, kernel: str | None = None, digest: str | None = None
) -> Iterator[Trial]:
    """Try what may run ``layers``, fastest first. Arguments and errors as of ``open_network``."""
    check_device(device)
    if kernel is not None and kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: choose from {', '.join(KERNELS)}")
    candidates = _candidates(layers, device, KERNELS if kernel is None else (kernel,))
    if not candidates:
        raise ValueError(f"{device or 'cpu'} has no {kernel} kernel here: choose from fp32, fp64")
    for engine, make in candidates.items():
        network, problem, begin = None, "", time.perf_counter()
        try:
            made = make()
            if isinstance(made, NativeNetwork):
                passes = agrees(made)
            else:
                digest = digest or self_test_digest(NumpyNetwork(layers))
                passes = self_test_digest(made) == digest
            if passes:
                network = made
            else:
                problem = "wrong results"
        except (RuntimeError, AttributeError, TypeError, NotImplementedError) as error:  # an operator torch lacks
            problem = str(error)
        yield Trial(engine, network, problem, time.perf_counter() - begin)


def _warn(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        warn(message, EngineWarning)


def _candidates(
    layers: Mapping[str, ConvSpec], device: str | None, kernels: tuple[str, ...]
) -> dict[str, Callable[[], Network[Any]]]:
    """Names and constructors of the networks to try, fastest first."""
    found: dict[str, Callable[[], Network[Any]]] = {}
    if device is not None and device.startswith("cuda"):
        torch_network = _torch_network(device)
        found |= {f"{device} {name}": partial(torch_network, layers, device, name) for name in kernels}
        if len(kernels) == 1:
            return found
    if device != "numpy" and "int8" in kernels:
        found |= {f"cpu {name}": partial(NativeNetwork, layers, name) for name in native.instruction_sets()}
    return found | {f"numpy {name}": partial(NumpyNetwork, layers, name) for name in kernels if name != "int8"}


def _torch_network(device: str) -> Callable[..., Network[Any]]:
    """The constructor of networks on a GPU. Raises ``NeuralCodecError`` where there is none."""
    try:
        from . import torch_backend
    except (ImportError, OSError) as error:  # OSError: a library that torch needs is missing
        raise NeuralCodecError(
            f"device {device!r} needs torch, which cannot be imported ({error}): install the extra `torch`, or"
            " leave the device out"
        ) from error
    if not torch_backend.available(device):
        raise NeuralCodecError(f"torch finds no device {device!r} here: leave the device out to use the CPU")
    return torch_backend.TorchNetwork


def agrees(network: Network[Any]) -> bool:
    """Whether a network gives what numpy does, for the first layer of each shape and small inputs of several shapes.

    That is enough for kernels that choose no algorithm by the size of their input, and takes milliseconds.
    """
    kinds: dict[tuple[object, ...], str] = {}
    for name in sorted(network.layers):
        kinds.setdefault(_kind(network.layers[name]), name)
    reference = NumpyNetwork({name: network.layers[name] for name in kinds.values()}, "fp64", alone=True)
    return all(
        np.array_equal(
            _self_test_result(network, name, shape, apart=True), _self_test_result(reference, name, shape, apart=True)
        )
        for name in kinds.values()
        for shape in _SMALL_SHAPES
    )


def _kind(spec: ConvSpec) -> tuple[object, ...]:
    return (*spec.weight.shape, spec.pixel_input, spec.is_output, spec.positions)


def self_test_digest(network: Network[Any]) -> str:
    """SHA-256, as hex, of a network's results for fixed inputs; the numpy backend's digest is the reference.

    Every layer runs on a small input. The first layer of each kind also runs on a large input and on a batch, because
    libraries choose kernels by shape. A quarter of the inputs is saturated.
    """
    digest = hashlib.sha256()
    kinds: set[tuple[object, ...]] = set()
    for name in sorted(network.layers):
        spec = network.layers[name]
        kind = _kind(spec)
        for shape in [(1, 9, 17)] if kind in kinds else [(1, 9, 17), (1, 96, 80), (17, 8, 8)]:
            result = _self_test_result(network, name, shape)
            digest.update(result.astype("<i4" if spec.is_output else np.uint8).tobytes())
        kinds.add(kind)
    return digest.hexdigest()


def _self_test_result(
    network: Network[Any], name: str, shape: tuple[int, int, int], *, apart: bool = False
) -> npt.NDArray[np.int32]:
    """A layer's result for noise; ``apart``: with position channels as such, not as pixels."""
    spec = network.layers[name]
    outputs, inputs, _, _ = spec.weight.shape
    noise = _noise(f"{name}{shape}", (*shape, inputs))
    if spec.pixel_input:
        pixels, half = noise.view(np.int8), spec.positions // 2
        if apart and half:
            pixels, rows, columns = np.split(pixels, [inputs - 2 * half, inputs - half], axis=-1)
            positions = Positions(rows[:, :, 0].transpose(0, 2, 1), columns[:, 0].transpose(0, 2, 1))
            x = network.from_pixels(pixels, positions)
        else:
            x = network.from_pixels(pixels)
    else:
        saturated = (noise >= 192).view(np.uint8) * np.uint8(ACT_MAX)
        x = network.from_activations((noise | saturated) & np.uint8(ACT_MAX))
    has_skip = outputs == inputs and not (spec.pixel_input or spec.is_output)
    return network.to_numpy(network.conv(name, x, x if has_skip else None))


def _noise(label: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Pseudo-random bytes from a label. numpy's generators are not used: a release may change what they return."""
    return np.frombuffer(hashlib.shake_256(label.encode()).digest(math.prod(shape)), np.uint8).reshape(shape)
