"""What a network can do, whatever computes it, and the choice of what does."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import NeuralCodecError
from .numpy_backend import NumpyNetwork
from .spec import ACT_MAX, ConvSpec

T = TypeVar("T")

KERNELS = ("int8", "fp32", "fp64")
"""Arithmetic of the kernels, fastest first; each later one relies on less."""
DEVICES = ("numpy", "cpu", "cuda", "mps", "xpu")
"""Where networks run, by name. On "mps" and "xpu", which are not proven exact, the CPU stands in."""


class Network(Protocol[T]):
    """Exact layers by name, on feature maps of a backend's own type ``T``. Safe to use from many threads at once.

    The result depends on nothing but the layers and the input: every backend, kernel, shape and batch size agrees.
    """

    @property
    def layers(self) -> Mapping[str, ConvSpec]:
        """The layers, by name."""

    @property
    def device(self) -> str:
        """Where it runs: ``"numpy"``, ``"cpu"`` or ``"cuda"``."""

    @property
    def kernel(self) -> str:
        """The arithmetic in use, one of ``KERNELS``."""

    def from_pixels(self, pixels: npt.NDArray[np.int8]) -> T:
        """Pixel inputs, int8 (N, h, w, C)."""

    def from_activations(self, activations: npt.NDArray[np.uint8]) -> T:
        """Activations 0..127, uint8 (N, h, w, C): what a hidden layer gives, from outside."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """A hidden layer; ``skip`` (same shape as the output) is added before rounding and is left as it was."""

    def head(self, name: str, x: T) -> T:
        """An output layer, for ``to_numpy``."""

    def to_numpy(self, x: T) -> npt.NDArray[np.int32]:
        """The output of a head or of a hidden layer, int32 (N, h, w, C)."""

    def upsample(self, x: T, height: int, width: int, top: int = 0, left: int = 0) -> T:
        """Every position twice in both directions, of that ``height`` x ``width`` from row ``top``, column ``left``."""


def open_network(
    layers: Mapping[str, ConvSpec], device: str | None = None, *, kernel: str | None = None, digest: str | None = None
) -> Network[Any]:
    """A network that runs ``layers`` and has passed the self-test.

    Parameters
    ----------
    layers: the layers by name.
    device: ``"numpy"`` (never imports torch), ``"cpu"`` (torch), ``"cuda"``, ``"cuda:1"``, ...; None takes torch on
        the CPU where it is installed and numpy otherwise. See ``DEVICES``.
    kernel: one of ``KERNELS``, to have that one or an error; None takes the fastest that passes.
    digest: the expected ``self_test_digest``; None computes it with numpy first.

    Raises ``ValueError`` for an unknown device or kernel, and ``NeuralCodecError`` where the device is not there or
    no kernel passes.
    """
    if kernel is not None and kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: choose from {', '.join(KERNELS)}")
    if digest is None:
        digest = self_test_digest(NumpyNetwork(layers))
    failures = []
    for label, make in _candidates(layers, device, kernel):
        try:
            network = make()
            if self_test_digest(network) == digest:
                return network
            failures.append(f"{label}: wrong results")
        except (RuntimeError, AttributeError, TypeError, NotImplementedError) as error:  # an operator torch lacks
            failures.append(f"{label}: {error}")
    raise NeuralCodecError(
        f"no kernel on this machine computes the model exactly, or the model is damaged ({'; '.join(failures)})"
    )


def check_device(device: str | None) -> None:
    """Raise ``ValueError`` for a device whose name is not known, ``TypeError`` for one that is no name."""
    if device is not None and not isinstance(device, str):
        raise TypeError(f"device should be a name, not {device!r}")
    if device is not None and device not in DEVICES and not re.fullmatch(r"cuda:\d+", device):
        raise ValueError(f"unknown device {device!r}: choose from {', '.join(DEVICES)}, or cuda:1, cuda:2, ...")


def _candidates(
    layers: Mapping[str, ConvSpec], device: str | None, kernel: str | None
) -> Iterator[tuple[str, Callable[[], Network[Any]]]]:
    """What to try, fastest first."""
    check_device(device)
    if device in ("mps", "xpu"):
        device = "cpu"
    torch_backend = None if device == "numpy" else _torch_backend()
    if torch_backend is None:
        if device not in (None, "numpy"):
            raise NeuralCodecError(
                f"device {device!r} needs torch, which is not installed: install "
                "pil_neuralcodec[torch], or leave the device out"
            )
    else:
        device = device or "cpu"
        if not torch_backend.available(device):
            raise NeuralCodecError(f"torch finds no device {device!r} here: leave the device out to use the CPU")
        for place in dict.fromkeys((device, "cpu") if kernel is None else (device,)):
            for name in KERNELS if kernel is None else (kernel,):
                yield f"{place} {name}", partial(torch_backend.TorchNetwork, layers, place, name)
        if kernel is not None:
            return
    for name in ("fp32", "fp64") if kernel is None else (kernel,):
        if name == "int8":
            raise ValueError("numpy has no int8 kernel: choose from fp32, fp64")
        yield f"numpy {name}", partial(NumpyNetwork, layers, name)


def _torch_backend() -> ModuleType | None:
    """The module with the torch kernels, or None where torch does not import."""
    try:
        from . import torch_backend
    except (ImportError, OSError):  # OSError: torch is there, and a library that it needs is not
        return None
    return torch_backend


def self_test_digest(network: Network[Any]) -> str:
    """SHA-256, as hex, of what a network computes from fixed inputs.

    Every layer sees a small plane; the first of every kind also a large one and a batch, with a skip where shapes
    allow, because kernels are chosen by shape. A quarter of the inputs is saturated. The numpy backend's digest is the
    one that counts.
    """
    digest = hashlib.sha256()
    kinds: set[tuple[object, ...]] = set()
    for name in sorted(network.layers):
        spec = network.layers[name]
        kind = (*spec.weight.shape, spec.pixel_input, spec.head)
        for shape in [(1, 9, 17)] if kind in kinds else [(1, 9, 17), (1, 96, 80), (17, 8, 8)]:
            result = _self_test_result(network, name, shape)
            digest.update(result.astype("<i4" if spec.head else np.uint8).tobytes())
        kinds.add(kind)
    return digest.hexdigest()


def _self_test_result(network: Network[Any], name: str, shape: tuple[int, int, int]) -> npt.NDArray[np.int32]:
    spec = network.layers[name]
    outputs, inputs, _, _ = spec.weight.shape
    noise = _noise(f"{name}{shape}", (*shape, inputs))
    if spec.pixel_input:
        x = network.from_pixels(noise.view(np.int8))
    else:
        # A quarter of the activations is as large as they get.
        x = network.from_activations(np.where(noise < 192, noise & np.uint8(ACT_MAX), np.uint8(ACT_MAX)))
    if spec.head:
        return network.to_numpy(network.head(name, x))
    return network.to_numpy(network.conv(name, x, x if outputs == inputs and not spec.pixel_input else None))


def _noise(label: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Bytes that depend on nothing but the label: no generator whose stream a numpy release may change."""
    return np.frombuffer(hashlib.shake_256(label.encode()).digest(math.prod(shape)), np.uint8).reshape(shape)
