"""The lattice of a colour conversion as a prior: the same by every engine, and worth it where an image was shrunk."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from conftest import random_layers
from PIL import Image
from skimage import data
from test_backward import described, limited, near

from pil_neuralcodec import decode, encode, native
from pil_neuralcodec.coders.logistic import SCALE_MAX, SCALE_MIN, TOTAL_BITS, compiled_tables, mixture_weights
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.colour.past import ColourHeader, undo
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.backward import Given, get_adapted, put_adapted
from pil_neuralcodec.flow.bands import Mixture
from pil_neuralcodec.flow.lattice import (
    LatticeDistribution,
    Prior,
    TileLattice,
    compiled_lattice,
    get_weighed,
    has_prior,
    lattice,
    put_weighed,
)
from pil_neuralcodec.flow.learners import Learned
from pil_neuralcodec.flow.pyramid import Stage
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.backends import open_network

PASTS = [past for past in Past if past is not Past.NONE]
SETS = [*native.instruction_sets(), "none"] if native.core() is not None else ["none"]
Allow = Callable[[str], None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Allows compiled code of one instruction set, or none."""
    return lambda name: monkeypatch.setenv(native.ENVIRONMENT, name)


def shrunk(side: int = 256) -> np.ndarray:
    """A smooth photograph that was a JPEG file before it was made smaller: uint8 (side, side, 3)."""
    file = io.BytesIO()
    image = Image.fromarray(data.coffee()[:384, :384])
    image.resize((2 * side, 2 * side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file).resize((side, side), Image.Resampling.BICUBIC))


def mixture(rng: np.random.Generator, count: int, kind: str) -> Mixture:
    """Mixtures (K, count) of all sizes, among them extreme ones."""
    parts = int(rng.choice([1, 2, 3, 4, 16]))
    shape = parts, count
    scales = rng.integers(SCALE_MIN - 20, SCALE_MAX + 20, shape) if kind == "any" else rng.integers(-80, 40, shape)
    centres = rng.integers(-40 * 64, 300 * 64, shape)
    if kind == "any":
        centres[rng.random(shape) < 0.1] = rng.choice([-(2**30), 2**30, 2**30 + 5, -(2**31) + 1])
    weights = mixture_weights(rng.integers(-200, 200, shape))
    return Mixture(*(part.astype(np.int32) for part in (weights, centres, scales)))


def prior(rng: np.random.Generator, shape: tuple[int, ...], past: Past) -> Prior:
    """Any bands before, and any weights."""
    planes = 4 if past is Past.NONE else 2
    known = rng.integers(0, 256, (planes, *shape), np.int32)
    weights = rng.choice([1, 2, 64, 255, 256], shape).astype(np.int32)
    return Prior(past, known, weights, np.full(shape, -1, np.int32))


@pytest.mark.parametrize("past", PASTS)
def test_a_lattice_is_what_a_conversion_makes(past: Past) -> None:
    rng = np.random.default_rng(past)
    rgb = conversion(past).to_rgb(rng.integers(0, 256, (999, 3), np.uint8)).astype(np.int32)
    red, green, blue = rgb.T
    known = lattice(past)
    assert known[(red << 16) + (green << 8) + blue].all()
    assert 0.1 < known.mean() < 0.26
    inside = rng.integers(1, 255, (9999, 3), np.uint8)
    packed = inside.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    # `covers` looks no further than planes beside those that the weights say.
    assert not (conversion(past).covers(inside) & ~known[packed]).any()
    assert (known[packed] & ~conversion(past).covers(inside)).mean() < 0.001


@pytest.mark.skipif(native.core() is None, reason="no compiled core")
@pytest.mark.parametrize("past", PASTS)
def test_compiled_code_knows_the_same_lattice(past: Past) -> None:
    packed = np.arange(past, 1 << 24, 5, dtype=np.int32)
    packed = packed[: packed.size // 1000 * 1000].reshape(-1, 1000)
    found = compiled_lattice(past).covers(packed >> 8 & 255, packed >> 16, packed & 255)
    assert found.dtype == np.bool_
    assert np.array_equal(found, lattice(past)[packed])


def test_weighed_values_share_what_their_window_had() -> None:
    """All values have intervals, end to end; those off the lattice become shorter, and what lies outside stays."""
    rng = np.random.default_rng(1)
    parts, known = mixture(rng, 400, "narrow"), prior(rng, (400,), Past.JPEG)
    known.weights[:] = 16
    plain = parts.coder(whole=True)
    weighed = LatticeDistribution(plain, parts, known)
    writer = SymbolWriter()
    for value in range(256):
        weighed.put(writer, np.full(400, value))
    starts, sizes = (np.stack([group[i] for group in writer.groups]).astype(np.int64) for i in (0, 1))
    assert (starts[0] == 0).all()
    assert np.array_equal(starts[1:], (starts + sizes)[:-1])
    assert ((starts + sizes)[-1] == 1 << TOTAL_BITS).all()
    assert (sizes > 0).all()
    before = np.stack([plain.intervals(np.full(400, value))[1] for value in range(256)])
    values = np.arange(256)[:, None]
    green, red = known.known
    on = lattice(Past.JPEG)[(red << 16) + (green << 8) + values]
    wide = (before > 1000) & (sizes != before)
    assert wide.any()
    ratio = sizes / before
    for item in np.flatnonzero((wide & on).any(axis=0) & (wide & ~on).any(axis=0)):
        more, less = ratio[wide[:, item] & on[:, item], item], ratio[wide[:, item] & ~on[:, item], item]
        np.testing.assert_allclose(more / less.mean(), 16, rtol=0.05)
    some = wide.sum(axis=0) > 4
    inside = np.where(sizes != before, sizes, 0)[:, some]
    share = (inside * on[:, some]).sum(axis=0) / inside.sum(axis=0)
    np.testing.assert_allclose(known.shares[some] / 65536, share, atol=0.02)


@pytest.mark.parametrize("kind", ["narrow", "any"])
@pytest.mark.parametrize("count", [1, 15, 64, 70, 333])
def test_every_engine_weighs_the_same(allow: Allow, count: int, kind: str) -> None:
    rng = np.random.default_rng(count)
    past = [*Past][count % len(Past)]
    parts, known = mixture(rng, count, kind), prior(rng, (count,), past)
    values = rng.integers(0, 256, count)
    values[::2] = np.clip(parts.mean()[::2] >> 6, 0, 255)  # within the window
    if past is Past.NONE:
        known.known[:] = values + rng.integers(-9, 10, known.known.shape)
    found = []
    for name in SETS:
        allow(name)
        known.shares[:] = -1
        writer = SymbolWriter()
        put_weighed(writer, parts, values, known)
        found.append((writer.finish(), known.shares.copy()))
        known.shares[:] = -1
        assert np.array_equal(get_weighed(SymbolReader(found[0][0]), parts, known), values), name
        assert np.array_equal(known.shares, found[0][1]), name
    assert all(one == found[0][0] for one, _ in found)
    assert 0 <= found[0][1].min() <= found[0][1].max() <= 1 << 16


@pytest.mark.parametrize("kind", ["waves", "ends"])
@pytest.mark.parametrize("past", [Past.JPEG, Past.NONE])
@pytest.mark.parametrize("shape", [(1, 1), (5, 15), (6, 33), (3, 270)])
def test_every_engine_adapts_and_weighs_the_same(allow: Allow, shape: tuple[int, int], past: Past, kind: str) -> None:
    rng = np.random.default_rng(shape[1])
    found, values = described(rng, 3, shape, int(rng.choice([1, 2, 4, 16])), kind)
    known = prior(rng, shape, past)
    if past is Past.NONE:
        known.known[:] = values[2] + rng.integers(-3, 4, known.known.shape)
    results = []
    for name in SETS:
        allow(name)
        known.shares[:] = -1
        writer = SymbolWriter()
        last = found[2]
        earlier = [np.zeros(shape, np.int32) for _ in range(2)]
        given = Given(last, limited(last), near(last, shape), earlier, Learned(), known)
        put_adapted(writer, given, values[2])
        results.append((writer.finish(), known.shares.copy(), *given.learned.arrays))
        known.shares[:] = -1
        again = Given(last, limited(last), near(last, shape), earlier, Learned(), known)
        assert np.array_equal(get_adapted(SymbolReader(results[0][0]), again, shape)[0], values[2]), name
        for one, two in zip(results[0][1:], (known.shares, *again.learned.arrays), strict=True):
            np.testing.assert_array_equal(one, two)
    assert all(data == results[0][0] for data, *_ in results)


def test_what_is_likely_is_learned() -> None:
    """From component to component, for each number of nearest pixels on the lattice apart, and each band."""
    rng = np.random.default_rng(4)
    planes = rng.integers(0, 256, (64, 64, 3), np.uint8)
    planes[..., 1] //= 2
    planes[..., 0] = planes[..., 1] + 20 * (planes[..., 1] < 100)  # so R - G is one number or another
    planes[..., 2] = planes[..., 1]
    made = conversion(Past.JPEG).to_rgb(planes).astype(np.int32)
    other = rng.integers(0, 256, made.shape)
    learned = {}
    for name, rgb in (("made", made), ("other", other)):
        tile = TileLattice(Past.JPEG, (64, 64))
        weights: dict[int, list[np.ndarray]] = {1: [], 2: []}
        for stage in (Stage(1, 0), Stage(1, 1), Stage(1, 2), Stage(0, 0), Stage(0, 1), Stage(0, 2)):
            for band, at in enumerate((1, 0, 2)):
                found = tile.prior(stage, band)
                assert (found is None) == (band == 0 or stage.level > 0)
                if found is not None:
                    weights[band].append(found.weights)
                    found.shares[:] = 1 << 14
                tile.put(stage, band, stage.cut(rgb[..., at]), found)
        learned[name] = weights
    for band in (1, 2):
        assert learned["made"][band][2].mean() < 0.3 * learned["made"][band][0].mean()
        assert learned["other"][band][2].mean() > 150


@pytest.mark.parametrize("model", ["photo", "photo-fast"])
def test_a_photograph_that_was_shrunk_takes_less(model: str) -> None:
    pixels = shrunk()
    header, planes = undo(pixels, lattices=True)
    assert header == ColourHeader(lattice=Past.JPEG)
    assert planes is pixels
    payload = encode(pixels, model=model, fallback=False)
    assert len(payload) < 0.995 * len(encode(pixels, model=model, fallback=False, past=False))
    assert np.array_equal(decode(payload), pixels)


def test_a_chain_takes_less_too() -> None:
    pixels = shrunk()
    payload = encode(pixels, format="bsw", fallback=False)
    assert len(payload) < 0.995 * len(encode(pixels, format="bsw", fallback=False, past=False))
    assert np.array_equal(decode(payload), pixels)


@pytest.mark.parametrize("backward", [False, True])
def test_tiles_come_back_at_every_level_by_every_engine(allow: Allow, backward: bool) -> None:
    architecture = PhotoArchitecture(8, ((1, 0, 0), (0, 0, 0)), 2, backward_adaptation=backward)
    pixels = np.stack([shrunk(128)[:65, :64], shrunk(128)[60:125, 64:]])[: 1 if backward else 2]  # slow in numpy
    payloads = []
    for name in SETS:
        allow(name)
        coder = TileCoder(architecture, open_network(random_layers(architecture, 5), "numpy"))
        payloads.append(coder.encode(pixels, 2))
        for level in range(2):
            decoded = coder.decode(payloads[0], pixels.shape[1:], 2, level)
            assert np.array_equal(decoded, pixels[:, :: 1 << level, :: 1 << level])
    assert all(one == payloads[0] for one in payloads)
    assert payloads[0] != coder.encode(pixels, 2, past=False)


def test_tiles_without_a_component_that_is_large_enough_have_no_prior() -> None:
    """The largest component is that of the columns between in high tiles, and that of the rows between in wide ones."""
    for sides, expected in (
        ((64, 64), True),
        ((63, 63), False),
        ((2, 2047), True),
        ((2, 2045), False),
        ((2047, 2), True),
    ):
        tile = TileLattice(Past.JPEG, sides)
        found = []
        for number in range(3):
            stage = Stage(0, number)
            for band in range(3):
                prior = tile.prior(stage, band)
                found.append(prior is not None)
                if prior is not None:
                    prior.shares[:] = 0
                tile.put(stage, band, np.zeros(stage.shape(sides)), prior)
        assert any(found) == expected == has_prior(sides)


def test_what_no_encoder_writes_is_refused() -> None:
    for past in PASTS:
        header = ColourHeader(lattice=past)
        assert header.pack() == bytes([8 + past])
        assert ColourHeader.unpack(memoryview(header.pack() + b"rest"), lattices=True) == (header, b"rest")
        with pytest.raises(FormatError, match=f"an impossible colour conversion {8 + past}"):
            ColourHeader.unpack(memoryview(header.pack()))
    for number in (7, 8, 15):
        with pytest.raises(FormatError, match="an impossible colour conversion"):
            ColourHeader.unpack(memoryview(bytes([number, 0])), lattices=True)


@pytest.mark.skipif(native.core() is None, reason="no compiled core")
def test_compiled_code_checks_what_it_is_given() -> None:
    module, kernels = native.core(), native.fastest()
    assert module is not None and kernels is not None
    made = conversion(Past.JPEG)
    tables = [part.astype(np.int32) for part in (made.luma, made.red, made.blue, made.green_cb, made.green_cr)]
    with pytest.raises(ValueError, match="tables of luma"):
        module.Lattice(tables[0][:-1], *tables[1:], made.unit)
    for unit in (0, -1):
        with pytest.raises(ValueError, match="out of range"):
            module.Lattice(*tables, unit)
    for at in range(5):
        large = [part.copy() for part in tables]
        large[at][-1] = (1 << 31) - 1
        with pytest.raises(ValueError, match="out of range"):
            module.Lattice(*large, made.unit)
    rng = np.random.default_rng(2)
    parts, known = mixture(rng, 9, "narrow"), prior(rng, (9,), Past.JPEG)
    mixtures, arrays = compiled_tables(kernels).mixtures, known.compiled()
    own = tuple(np.ascontiguousarray(part) for part in parts[:3])
    with pytest.raises(ValueError, match="whole values"):
        mixtures(*own, 200, False, True, arrays)
    on, of, weights, shares = arrays
    for wrong in ((None, of, weights, shares), (on, of[:1], weights, shares), (on, of, weights[:8], shares)):
        with pytest.raises(ValueError, match="numbers of each position"):
            mixtures(*own, 256, False, True, wrong)
    with pytest.raises(ValueError, match="numbers of each position"):
        mixtures(*own, 256, False, True, (on, np.ascontiguousarray(of[:, :8]), weights, shares[:8]))
    with pytest.raises(TypeError):
        mixtures(*own, 256, False, True, (on, of, weights, shares.astype(np.int64)))
    # Any numbers are safe: samples are cut to 8 bits, weights limited.
    for past in (Past.JPEG, Past.NONE):
        known = prior(rng, (9,), past)
        known.weights[:] = rng.choice([-(2**31), 2**31 - 1, 0], 9)
        known.known[:] = rng.choice([-(2**31), 2**31 - 1, 0], known.known.shape)
        start, freq, *_ = mixtures(*own, 256, False, True, known.compiled()).code(np.arange(9))
        assert (freq > 0).all()
        assert (start.astype(np.int64) + freq <= 1 << TOTAL_BITS).all()
