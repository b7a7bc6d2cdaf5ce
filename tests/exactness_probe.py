"""Runs adversarial layers one way and prints a digest of the results; ``test_exactness`` compares digests.

Arguments, each ``key=value``: ``device`` (numpy, cpu, best, cuda, torch for the arithmetic of GPUs on the CPU, native,
or reference for plain int64), ``kernel`` (of ``native``: an instruction set), ``threads`` (of ``native``), ``batch``,
``native`` (1 to fail unless the compiled core runs), ``fork`` (1 to run again in a forked child, which must give the
same). Several configurations, split by ``/``, are run in one process. A separate process, because what is compared is
chosen by environment variables that are read at start.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.spec import ACC_BOUND, ConvSpec

IMAGES = 32
CHANNELS = 48


class Reference:
    """The semantics of ``nets.spec`` spelled out in int64."""

    device = kernel = "reference"

    def __init__(self, layers: dict[str, ConvSpec]) -> None:
        self.layers = layers

    def from_pixels(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.int64)

    from_activations = from_pixels

    def to_numpy(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.int32)

    def upsample(self, x: np.ndarray, height: int, width: int) -> np.ndarray:
        return np.kron(x, np.ones((1, 2, 2, 1), np.int64))[:, :height, :width]

    def conv(self, name: str, x: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
        spec = self.layers[name]
        kernel = spec.weight.shape[2]
        reach = kernel // 2
        height, width = x.shape[1:3]
        padded = np.pad(x.astype(np.float64), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        acc = np.zeros((*x.shape[:3], len(spec.bias)), np.int64) + spec.bias
        for dy in range(kernel):
            for dx in range(kernel):
                # A product in doubles, for its speed: 30 bits wide, so exact beyond doubt.
                sums = padded[:, dy : dy + height, dx : dx + width] @ spec.weight[:, :, dy, dx].T.astype(np.float64)
                acc += sums.astype(np.int64)
        one = np.int64(1) << spec.shift
        total = acc if skip is None else acc + skip * one
        whole, rest = total // one, total % one
        rounded = whole + ((2 * rest > one) | ((2 * rest == one) & (whole % 2 == 1)))
        return rounded if spec.is_output else np.clip(rounded, 0, 127)


def adversarial_layers() -> dict[str, ConvSpec]:
    """Layers that reach the bounds of the semantics."""
    rng = np.random.default_rng(2)
    c = CHANNELS

    def extreme(outputs: int, inputs: int, kernel: int, limit: int, reach: int) -> np.ndarray:
        """Weights of +-limit, as many as the bound allows; channels 0 and 1 of one sign."""
        size = inputs * kernel * kernel
        weight = rng.choice(np.array([-limit, limit]), (outputs, size))
        weight[0], weight[1] = limit, -limit
        weight[:, rng.permutation(size)[(ACC_BOUND - 2**17) // (limit * reach) :]] = 0
        return weight.reshape(outputs, inputs, kernel, kernel).astype(np.int8)

    def bias(outputs: int, size: int) -> np.ndarray:
        return rng.integers(-size, size + 1, outputs).astype(np.int32)

    def shift(outputs: int, low: int, high: int) -> np.ndarray:
        return rng.integers(low, high + 1, outputs).astype(np.int32)

    def small(outputs: int, inputs: int, kernel: int) -> np.ndarray:
        return rng.integers(-2, 3, (outputs, inputs, kernel, kernel)).astype(np.int8)

    def plain(outputs: int, inputs: int, kernel: int) -> np.ndarray:
        return rng.integers(-90, 91, (outputs, inputs, kernel, kernel)).astype(np.int8)

    return {
        "pixels": ConvSpec(extreme(c, 9, 3, 64, 256), bias(c, 10**5), shift(c, 8, 16), pixel_input=True),
        "pixels1": ConvSpec(extreme(c, 9, 1, 64, 256), bias(c, 10**5), shift(c, 8, 16), pixel_input=True),
        "worst": ConvSpec(extreme(c, c, 3, 127, 127), bias(c, 10**5), shift(c, 10, 16)),
        "wide": ConvSpec(extreme(96, 96, 3, 127, 127), bias(96, 10**5), shift(96, 10, 16)),
        "mixed": ConvSpec(plain(c, c, 3), bias(c, 10**5), shift(c, 9, 13)),
        "ties": ConvSpec(small(c, c, 3), bias(c, 200), shift(c, 1, 3)),
        "five": ConvSpec(small(17, 30, 5), bias(17, 500), shift(17, 2, 5)),
        "head": ConvSpec(extreme(39, c, 1, 127, 127), bias(39, 10**5), shift(39, 0, 12), is_output=True),
        "fine": ConvSpec(plain(39, c, 1), bias(39, 100), shift(39, 1, 2), is_output=True),
    }


def results(network: Any, batch: int) -> Iterator[tuple[str, np.ndarray]]:
    """What the network makes of random and of saturated inputs of several shapes, ``batch`` images at a time: a label,
    the same for all parts of a batch, and the values."""
    rng = np.random.default_rng(3)
    for count, height, width in ((IMAGES, 12, 12), (1, 48, 48), (2, 1, 33), (2, 37, 1), (3, 13, 7), (1, 1, 1)):
        pixels = rng.integers(-128, 128, (count, height, width, 9)).astype(np.int8)
        pixels[0] = np.where(pixels[0] < 0, -128, 127)
        acts = rng.integers(0, 128, (count, height, width, 96)).astype(np.uint8)
        acts[0] = 127
        for first in range(0, count, batch):
            part = slice(first, first + batch)
            x = network.conv("pixels", network.from_pixels(pixels[part]))
            wide = network.from_activations(acts[part])
            narrow = network.from_activations(acts[part][..., :CHANNELS])
            maps = {"pixels": x, "pixels1": network.conv("pixels1", network.from_pixels(pixels[part]))}
            for name in ("mixed", "ties", "worst"):
                x = maps[name] = network.conv(name, x, x)
            maps["fine"] = network.conv("fine", x)
            maps["upsampled"] = network.conv("ties", network.upsample(x, 2 * height - 1, 2 * width))
            maps["wide"] = network.conv("wide", wide)
            maps["wide+skip"] = network.conv("wide", wide, wide)
            maps["five"] = network.conv("five", network.from_activations(acts[part][..., :30]))
            maps["head"] = network.conv("head", narrow)
            maps["worst+skip"] = network.conv("worst", narrow, narrow)
            for name, values in maps.items():
                yield f"{name} {height}x{width}", network.to_numpy(values)


def digest(network: Any, batch: int) -> str:
    """One hash over all results; ``batch`` does not show in it."""
    values: dict[str, bytes] = {}
    for label, result in results(network, batch):
        values[label] = values.get(label, b"") + result.astype("<i4").tobytes()
    return hashlib.sha256(b"".join(label.encode() + data for label, data in values.items())).hexdigest()


def in_forked_child(network: Any, batch: int) -> str:
    """Run once here, then fork and run again there; a child that hangs is killed."""
    import signal

    here = digest(network, batch)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this is a risk is the point
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.write(writing, digest(network, batch).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return here if answer == here else f"{here}, and in the child {answer or 'nothing'}"


def run(options: dict[str, str]) -> str:
    """The digest under one configuration."""
    layers = adversarial_layers()
    device, batch = options["device"], int(options.get("batch", "8"))
    if device == "reference":
        return digest(Reference(layers), batch)
    if device == "native":
        threads = int(options.get("threads", "0")) or None
        network: Any = NativeNetwork(layers, options.get("kernel"), threads)
        return in_forked_child(network, batch) if options.get("fork") == "1" else digest(network, batch)
    if device == "torch":
        from pil_neuralcodec.nets.torch_backend import TorchNetwork

        network = TorchNetwork(layers, "cpu", options["kernel"])
    else:
        network = open_network(layers, None if device == "best" else device, kernel=options.get("kernel"))
        if "torch" in sys.modules and not device.startswith("cuda"):
            return "torch was imported"
    if options.get("native") == "1" and not isinstance(network, NativeNetwork):
        return f"ran on {type(network).__name__}"
    return in_forked_child(network, batch) if options.get("fork") == "1" else digest(network, batch)


if __name__ == "__main__":
    for configuration in " ".join(sys.argv[1:]).split("/"):
        print(run(dict(item.split("=") for item in configuration.split())), flush=True)
