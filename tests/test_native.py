"""Every kernel of the compiled core, under every instruction set of this machine, against the numpy reference.

Inputs are random and extreme: saturated weights, inputs and sums, planes of 1 x 1 and 1 x N, odd numbers of channels.
What a kernel cannot take is a Python error.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.flow.block_phase import BLOCK, PAIR, PHASE_CHANNELS, BlockPhase
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.numpy_backend import NumpyNetwork
from pil_neuralcodec.nets.positions import Positions
from pil_neuralcodec.nets.spec import ACC_BOUND, ConvSpec

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")

SETS = native.instruction_sets()
BORDER = 2


def emulated() -> tuple[str, ...]:
    """The set that a build with NEURALCODEC_EMULATE_AMX adds for these tests."""
    try:
        return (native.kernels("amx-emulated").name,)
    except (RuntimeError, ValueError):
        return ()


@pytest.fixture(params=SETS + emulated())
def kernels(request: pytest.FixtureRequest) -> Any:
    return native.kernels(request.param)


def layer_of(kernels: Any, spec: ConvSpec) -> Any:
    return kernels.layer("a", spec.weight, spec.bias, spec.shift, spec.pixel_input, spec.is_output, spec.positions)


def random_spec(rng: np.random.Generator, outputs: int, inputs: int, kernel: int, pixels: bool, head: bool) -> ConvSpec:
    """A layer with random weights, or with weights of the largest magnitude, as many as the bound allows."""
    limit, reach = (64, 256) if pixels else (127, 127)
    size = inputs * kernel * kernel
    if rng.integers(2):
        weight = rng.integers(-40, 41, (outputs, size))
    else:
        weight = rng.choice(np.array([-limit, limit]), (outputs, size))
        weight[0] = limit
        weight[-1] = -limit
    for row in weight:
        at = rng.permutation(size)
        row[at[np.cumsum(np.abs(row[at])) * reach >= ACC_BOUND - 2**17]] = 0
    bias = rng.integers(-(2**17) + 1, 2**17, outputs) // rng.choice([1, 100, 10000])
    shift = rng.integers(0, 17, outputs) if rng.integers(2) else np.full(outputs, rng.integers(0, 8))
    weight = weight.reshape(outputs, inputs, kernel, kernel).astype(np.int8)
    return ConvSpec(weight, bias.astype(np.int32), shift.astype(np.int32), pixels, head)


def random_inputs(rng: np.random.Generator, shape: tuple[int, ...], pixels: bool) -> np.ndarray:
    """Random numbers, or only the largest and the smallest."""
    low, high = (-128, 127) if pixels else (0, 127)
    values = rng.integers(low, high + 1, shape) if rng.integers(3) else rng.choice(np.array([low, high]), shape)
    return values.astype(np.int8 if pixels else np.uint8)


def assert_exact(
    kernels: Any,
    spec: ConvSpec,
    x: np.ndarray,
    skip: np.ndarray | None,
    threads: int = 1,
    positions: Positions | None = None,
) -> None:
    reference = NumpyNetwork({"a": spec}, "fp64")
    seen = x if positions is None else positions.appended(x)
    expected = reference.conv("a", seen.astype(np.float64), None if skip is None else skip.astype(np.float64))
    features = (kernels.from_pixels if spec.pixel_input else kernels.from_activations)(x, BORDER, *(positions or ()))
    added = None if skip is None else kernels.from_activations(skip, BORDER)
    result = layer_of(kernels, spec)(features, added, threads)
    found = result.view()
    assert result.shape == found.shape == expected.shape
    assert found.dtype == (np.int32 if spec.is_output else np.uint8)
    np.testing.assert_array_equal(found, expected)
    if added is not None:
        np.testing.assert_array_equal(added.view(), skip)  # left as it was


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("what", ["pixels", "hidden", "pixel head", "head"])
def test_convolutions(kernels: Any, kernel: int, what: str) -> None:
    pixels, head = what.startswith("pixel"), what.endswith("head")
    rng = np.random.default_rng([kernel, pixels, head])
    widths = [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 17, 24, 33]
    for i in range(60):
        outputs, inputs = int(rng.integers(1, 120)), int(rng.integers(1, 40))
        shape = (int(rng.integers(1, 3)), int(rng.choice([1, 2, 5])), int(rng.choice(widths)))
        spec = random_spec(rng, outputs, inputs, kernel, pixels, head)
        x = random_inputs(rng, (*shape, inputs), pixels)
        skip = random_inputs(rng, (*shape, outputs), False) if not head and rng.integers(2) else None
        assert_exact(kernels, spec, x, skip, 1 + i % 3)


def repeated(rng: np.random.Generator, images: int, channels: int, count: int) -> np.ndarray:
    """Position channels (images, channels, count), the extremes among them, that repeat themselves in one image in two,
    are zero in some, and are those of the image before in others."""
    values = random_inputs(rng, (images, channels, count), True)
    for image in range(images):
        at = np.arange(count) % rng.integers(1, 17)
        values[image] = values[image][:, at] if rng.integers(2) else values[image]
        if rng.integers(4) == 0:
            values[image] = values[image - 1] if rng.integers(2) else 0
    return values


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("head", [False, True])
def test_position_channels(kernels: Any, kernel: int, head: bool) -> None:
    rng = np.random.default_rng([kernel, head])
    sides = [1, 2, 3, 4, 5, 7, 9, 16, 18, 19, 20, 33, 40, 64]
    for i in range(80):
        outputs, pixels, channels = int(rng.integers(1, 120)), int(rng.integers(1, 14)), int(rng.integers(1, 10))
        images, height, width = int(rng.integers(1, 4)), int(rng.choice(sides)), int(rng.choice(sides))
        plain = random_spec(rng, outputs, pixels + 2 * channels, kernel, True, head)
        spec = ConvSpec(plain.weight, plain.bias, plain.shift, True, head, 2 * channels)
        x = random_inputs(rng, (images, height, width, pixels), True)
        positions = Positions(repeated(rng, images, channels, height), repeated(rng, images, channels, width))
        skip = random_inputs(rng, (images, height, width, outputs), False) if not head and rng.integers(2) else None
        assert_exact(kernels, spec, x, skip, 1 + i % 3, positions)


@pytest.mark.parametrize("pixels", [6, 9, 12])
def test_every_block_phase(kernels: Any, pixels: int) -> None:
    """Each code, of images and of mirror images, with all the strides of levels; planes of one row or column, too."""
    rng = np.random.default_rng(pixels)
    plain = random_spec(rng, 32, pixels + PHASE_CHANNELS, 3, True, False)
    spec = ConvSpec(plain.weight, plain.bias, plain.shift, True, False, PHASE_CHANNELS)
    for code in range(BLOCK + PAIR + 1):
        sizes = [(1, 1), (1, 41), (21, 1), (5, 44), (22, 30)]
        for (height, width), transform in product(sizes, TRANSFORMS):
            phase = BlockPhase(code, int(rng.integers(BLOCK + PAIR + 1)))
            shape = transform.size(height, width)
            positions = transform.positions([phase], (height, width), int(rng.choice([2, 4, 8, 16, 32])))
            assert_exact(kernels, spec, random_inputs(rng, (1, *shape, pixels), True), None, 1, positions)


def test_position_channels_that_are_not_taken(kernels: Any) -> None:
    rng = np.random.default_rng(8)
    plain = random_spec(rng, 8, 9, 3, True, False)
    weights = (plain.weight, plain.bias, plain.shift)
    for pixels, count in ((True, -2), (True, 3), (True, 10), (False, 2)):
        with pytest.raises(ValueError, match="layer 'a': position channels come in pairs, besides pixels"):
            kernels.layer("a", *weights, pixels, False, count)
        with pytest.raises(ValueError, match="position channels come in pairs, besides pixels"):
            ConvSpec(*weights, pixels, False, count)
    layer = kernels.layer("a", *weights, True, False, 6)
    x, rows, columns = (np.zeros(shape, np.int8) for shape in ((2, 4, 5, 3), (2, 3, 4), (2, 3, 5)))
    assert layer(kernels.from_pixels(x, 1, rows, columns)).shape == (2, 4, 5, 8)
    with pytest.raises(ValueError, match="takes 3 position channels of rows, and as many of columns"):
        layer(kernels.from_pixels(x, 1))
    with pytest.raises(ValueError, match="takes 3 channels, not 9"):
        layer(kernels.from_pixels(np.zeros((2, 4, 5, 9), np.int8), 1))
    for bad in ((rows, None), (None, columns), (columns, rows), (rows[:1].copy(), columns), (rows, columns[:1].copy())):
        with pytest.raises(ValueError, match="position channels of another shape"):
            kernels.from_pixels(x, 1, *bad)
    for bad in ((rows[:, :2].copy(), columns), (rows[:, :0].copy(), columns[:, :0].copy())):
        with pytest.raises(ValueError, match="position channels of another shape"):
            kernels.from_pixels(x, 1, *bad)
    for wrong in (rows[0], rows.astype(np.uint8), rows.transpose(0, 2, 1), 3):
        with pytest.raises(TypeError):
            kernels.from_pixels(x, 1, wrong, columns)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (1, 40, 1), (3, 6, 7), (1, 65, 64)])
def test_layers_of_the_models(kernels: Any, shape: tuple[int, int, int]) -> None:
    """The sizes of released models, with saturated weights and inputs in every channel, in two threads."""
    rng = np.random.default_rng(1)
    sizes = [(96, 96, 3), (96, 96, 1), (24, 96, 1), (26, 96, 1), (96, 2, 3), (96, 4, 3), (96, 24, 3), (96, 27, 3)]
    for outputs, inputs, kernel in sizes:
        pixels = inputs < 96
        limit, reach = (64, 256) if pixels else (127, 127)
        count = min(inputs * kernel**2, (ACC_BOUND - 2**17) // (limit * reach))
        for sign in (1, -1, 0):
            weight = np.full((outputs, inputs * kernel**2), sign * limit or limit)
            weight[:, rng.permutation(weight.shape[1])[count:]] = 0
            if not sign:
                weight *= rng.choice([-1, 1], weight.shape)
            spec = ConvSpec(
                weight.reshape(outputs, inputs, kernel, kernel).astype(np.int8),
                rng.integers(-1000, 1000, outputs).astype(np.int32),
                rng.integers(8, 17, outputs).astype(np.int32),
                pixels,
                outputs < 96,
            )
            x = np.full((*shape, inputs), 127, np.uint8)
            assert_exact(kernels, spec, x.astype(np.int8) if pixels else x, None, 2)
            skip = None if spec.is_output else random_inputs(rng, (*shape, outputs), False)
            assert_exact(kernels, spec, random_inputs(rng, (*shape, inputs), pixels), skip, 2)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_every_second_position(kernels: Any, kernel: int) -> None:
    rng = np.random.default_rng(kernel)
    for i in range(30):
        outputs, inputs = int(rng.integers(1, 100)), int(rng.integers(1, 40))
        shape = tuple(int(n) for n in rng.integers(1, 9, 3))
        layers = {"a": random_spec(rng, outputs, inputs, kernel, False, bool(i % 2))}
        native_network, reference = NativeNetwork(layers, kernels.name, 1 + i % 3), NumpyNetwork(layers, "fp64")
        x = random_inputs(rng, (*shape, inputs), False)
        skip = None if i % 2 else random_inputs(rng, (*shape, outputs), False)
        results = []
        for network in (native_network, reference):
            maps = [None if part is None else network.from_activations(part) for part in (x, skip)]
            results.append(
                [network.to_numpy(network.conv_at("a", *maps, row, column)) for row in (0, 1) for column in (0, 1)]
            )
        for found, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_positions_that_are_not_taken(kernels: Any) -> None:
    layer = layer_of(kernels, random_spec(np.random.default_rng(0), 3, 3, 3, False, False))
    features, skip, pixels = (
        make(np.zeros((1, 4, size, 3), dtype), 1)
        for make, size, dtype in (
            (kernels.from_activations, 4, np.uint8),
            (kernels.from_activations, 3, np.uint8),
            (kernels.from_pixels, 4, np.int8),
        )
    )
    assert layer.at(features, features, 1, 0).shape == (1, 2, 2, 3)
    for x, part, row, column in (
        (features, None, 2, 0),
        (features, None, 0, -1),
        (features, skip, 0, 0),
        (features, layer.at(features, None, 0, 0), 0, 0),
        (pixels, None, 0, 0),
    ):
        with pytest.raises(ValueError, match="second|skip|takes"):
            layer.at(x, part, row, column)


@pytest.mark.parametrize("pixels", [False, True])
def test_the_extremes_of_each_channel(kernels: Any, pixels: bool) -> None:
    """Inputs that are largest where a channel's weights are positive, and where they are negative."""
    rng = np.random.default_rng(7)
    limit, low, high = (64, -128, 127) if pixels else (127, 0, 127)
    for most in (limit, limit // 8, 1):
        weight = rng.integers(-most, most + 1, (40, 96))
        x = np.where(np.concatenate([weight > 0, weight < 0]), high, low).reshape(1, 1, 80, 96)
        zeros = np.zeros(40, np.int32)
        spec = ConvSpec(weight.reshape(40, 96, 1, 1).astype(np.int8), zeros, zeros, pixels, True)
        assert_exact(kernels, spec, x.astype(np.int8 if pixels else np.uint8), None)


def test_every_rounding(kernels: Any) -> None:
    """All sums around the ties of every shift, with and without a skip."""
    x = np.arange(128, dtype=np.uint8).reshape(1, 8, 16, 1)
    for shift in range(17):
        for centre in (-(1 << shift) * 3 // 2, 0, 1 << shift >> 1, (1 << shift) * 5 // 2, -(2**22), 2**22):
            bias = np.arange(-70, -50, dtype=np.int32) + np.int32(centre)
            spec = ConvSpec(np.ones((20, 1, 1, 1), np.int8), bias, np.full(20, shift, np.int32))
            assert_exact(kernels, spec, x, None)
            assert_exact(kernels, spec, x, np.broadcast_to(x, (1, 8, 16, 20)).copy())
            head = ConvSpec(spec.weight, spec.bias, spec.shift, is_output=True)
            assert_exact(kernels, head, x, None)


def test_memory_is_used_again_with_clean_borders(kernels: Any) -> None:
    rng = np.random.default_rng(2)
    spec = random_spec(rng, 20, 20, 5, False, False)
    for _ in range(40):
        height, width = rng.integers(1, 40, 2)
        x = random_inputs(rng, (1, int(height), int(width), 20), False)
        assert_exact(kernels, spec, x, None)


def test_views_keep_their_memory(kernels: Any) -> None:
    rng = np.random.default_rng(3)
    values = random_inputs(rng, (2, 30, 50, 7), False)
    view = kernels.from_activations(values, BORDER).view()
    gc.collect()
    others = [kernels.from_activations(255 - 128 - values, BORDER) for _ in range(20)]
    np.testing.assert_array_equal(view, values)
    assert len(others) == 20


def test_pixels_have_an_offset(kernels: Any) -> None:
    values = np.arange(-128, 127, dtype=np.int8).reshape(1, 5, 17, 3)
    features = kernels.from_pixels(values, 1)
    np.testing.assert_array_equal((features.view() - np.uint8(features.offset)).view(np.int8), values)


def test_upsampling(kernels: Any) -> None:
    rng = np.random.default_rng(4)
    for channels in (1, 5, 16, 96):
        x = random_inputs(rng, (2, 3, 5, channels), False)
        features, twice = kernels.from_activations(x, 1), x.repeat(2, 1).repeat(2, 2)
        for height, width, top, left in ((6, 10, 0, 0), (5, 9, 1, 1), (3, 4, 2, 5), (0, 3, 0, 0), (1, 1, 5, 9)):
            found = features.upsample(height, width, top, left)
            np.testing.assert_array_equal(found.view(), twice[:, top : top + height, left : left + width])
        for box in ((7, 1, 0, 0), (6, 10, 1, 0), (1, 11, 0, 0), (-1, 1, 0, 0), (1, 1, -1, 0), (1, 1, 0, -1)):
            with pytest.raises(ValueError, match="cropped to a part"):
                features.upsample(*box)


def test_arrays_that_are_not_taken(kernels: Any) -> None:
    """Another dtype, number of axes or layout is never converted."""
    x = np.zeros((1, 4, 6, 8), np.uint8)
    wrong: list[Any] = [
        x.astype(np.int8),
        x.astype(np.int32),
        x.astype(float),
        x[0],
        x[:, ::2],
        x.transpose(0, 2, 1, 3),
    ]
    for value in [*wrong, None, 3, "x", x.tolist()]:
        with pytest.raises(TypeError):
            kernels.from_activations(value, 1)
    with pytest.raises(TypeError):
        kernels.from_pixels(x, 1)
    with pytest.raises(ValueError, match=r"activations are 0\.\.127"):
        kernels.from_activations(x + 128, 1)
    with pytest.raises(ValueError, match="of this shape"):
        kernels.from_activations(x[..., :0].copy(), 1)
    for border in (-1, 32):
        with pytest.raises(ValueError, match="a border is"):
            kernels.from_pixels(x.astype(np.int8), border)


def test_layers_that_are_not_taken(kernels: Any) -> None:
    weight, one = np.ones((3, 2, 3, 3), np.int8), np.ones(3, np.int32)
    for bad in (weight.astype(np.int32), weight[:, :, 0], weight[:, ::-1], weight.transpose(0, 1, 3, 2)[:, :, ::-1]):
        with pytest.raises(TypeError):
            kernels.layer("a", bad, one, one)
    with pytest.raises(TypeError):
        kernels.layer("a", weight, one.astype(np.int64), one)
    for bad in (weight[:2].copy(), weight[:, :, :2].copy(), weight[:, :, :2, :2].copy(), weight[:, :0].copy()):
        with pytest.raises(ValueError, match="layer 'a': shapes do not agree"):
            kernels.layer("a", bad, one, one)
    for shift in (-1, 17):
        with pytest.raises(ValueError, match="a shift is out of"):
            kernels.layer("a", weight, one, one * shift)
    with pytest.raises(ValueError, match="a weight is out of range"):
        kernels.layer("a", weight * np.int8(65), one, one, True)
    with pytest.raises(ValueError, match="a weight is out of range"):
        kernels.layer("a", weight * np.int8(-128), one, one)
    for bias in (2**23, -(2**23), -(2**31)):
        with pytest.raises(ValueError, match=r"a sum could reach 2\*\*23"):
            kernels.layer("a", weight, one * np.int32(bias), one)


def test_features_that_are_not_taken(kernels: Any) -> None:
    rng = np.random.default_rng(5)
    hidden = layer_of(kernels, random_spec(rng, 8, 8, 3, False, False))
    embed = layer_of(kernels, random_spec(rng, 8, 8, 3, True, False))
    head = layer_of(kernels, random_spec(rng, 8, 8, 1, False, True))
    x = kernels.from_activations(np.zeros((1, 4, 6, 8), np.uint8), 1)
    pixels = kernels.from_pixels(np.zeros((1, 4, 6, 8), np.int8), 1)
    other = kernels.from_activations(np.zeros((1, 4, 5, 8), np.uint8), 1)
    narrow = kernels.from_activations(np.zeros((1, 4, 6, 7), np.uint8), 1)
    bare = kernels.from_activations(np.zeros((1, 4, 6, 8), np.uint8), 0)
    for layer, arguments, message in (
        (hidden, (narrow,), "layer 'a' takes 8 channels, not 7"),
        (hidden, (pixels,), "takes activations"),
        (embed, (x,), "takes pixels"),
        (hidden, (bare,), "of its own network"),
        (hidden, (head(x),), "takes activations"),
        (head, (x, x), "to which nothing is added"),
        (hidden, (x, other), "a skip of its output's shape"),
        (hidden, (x, narrow), "a skip of its output's shape"),
        (hidden, (x, bare), "a skip of its output's shape"),
        (hidden, (x, pixels), "a skip of its output's shape"),
    ):
        with pytest.raises(ValueError, match=message):
            layer(*arguments)
    for value in (None, 3, np.zeros((1, 4, 6, 8), np.uint8)):
        with pytest.raises(TypeError):
            hidden(value)
    with pytest.raises(ValueError, match="not upsampled"):
        head(x).upsample(1, 1)
    assert hidden(x, None, -5).shape == (1, 4, 6, 8)


def test_features_of_another_instruction_set() -> None:
    """They are taken where their layout is the same."""
    for one in SETS:
        for two in SETS:
            pixels = native.kernels(one).from_pixels(np.zeros((1, 4, 6, 8), np.int8), 1)
            spec = random_spec(np.random.default_rng(6), 8, 8, 3, True, False)
            layer = layer_of(native.kernels(two), spec)
            if pixels.offset == native.kernels(two).from_pixels(np.zeros((1, 1, 1, 1), np.int8), 1).offset:
                np.testing.assert_array_equal(layer(pixels).view()[0, 1, 1], layer(pixels).view()[0, 2, 2])
            else:
                with pytest.raises(ValueError, match="of its own network"):
                    layer(pixels)


def test_names() -> None:
    assert SETS[-1] == "portable" and set(SETS) <= set(native.NAMES)
    assert native.kernels().name == SETS[0]
    with pytest.raises(ValueError, match="no instruction set 'mmx'"):
        native.kernels("mmx")


@pytest.mark.parametrize("cap", native.NAMES)
def test_the_environment_caps_the_choice(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native.ENVIRONMENT, raising=False)
    every = native.instruction_sets()
    monkeypatch.setenv(native.ENVIRONMENT, cap)
    allowed = native.instruction_sets()
    assert allowed == tuple(name for name in every if native.NAMES.index(name) <= native.NAMES.index(cap))
    if cap == "none":
        with pytest.raises(RuntimeError, match="not installed, or not allowed"):
            native.kernels()


def test_without_the_compiled_module() -> None:
    """As where the package was installed without a compiler."""
    code = (
        "import sys; sys.modules['pil_neuralcodec._native'] = None; from pil_neuralcodec import native; "
        "sys.exit(native.core() is not None or native.instruction_sets() != ())"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_peak_is_counted(kernels: Any) -> None:
    assert kernels.multiply_adds(10) in (0, 10 * kernels.multiply_adds(1))
