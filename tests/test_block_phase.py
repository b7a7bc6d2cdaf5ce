"""JPEG block phase: found where there are blocks and nowhere else, encoded for every transform, kept in the file."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_layers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from pil_neuralcodec import models
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.block_phase import (
    BLOCK,
    NO_PHASE,
    PAIR,
    BlockPhase,
    find_phase,
    mirrored_code,
    position_encoding,
)
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS, Transform
from pil_neuralcodec.flow.tile import TileCoder, TileHeader
from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.varint import write_varint

ARCH = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2)
CODE = st.integers(0, BLOCK + PAIR)


def jpeg(pixels: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    """Pixels after a JPEG file, planes (3, H, W)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as image:
        return to_planes(np.asarray(image)[None])[0]


@given(CODE, st.integers(1, 40), st.integers(0, 50), st.sampled_from([1, 2, 4, 8]))
def test_parts_are_told_what_the_whole_is(code: int, count: int, by: int, stride: int) -> None:
    whole = position_encoding(code, count + by, stride)
    assert np.array_equal(
        whole[:, by:], position_encoding(BlockPhase(code, 0).moved(by * stride, 0).rows, count, stride)
    )
    assert whole[:BLOCK].any() == bool(code)
    assert whole[BLOCK].any() == (code > BLOCK)


@given(CODE, st.integers(1, 40))
def test_looked_at_the_other_way_blocks_are_turned(code: int, count: int) -> None:
    last = BlockPhase(code, 0).moved(count - 1, 0).rows
    there, back = position_encoding(code, count, 1), position_encoding(mirrored_code(last), count, 1)[:, ::-1]
    assert np.array_equal(back[:BLOCK], there[BLOCK - 1 :: -1])
    assert np.array_equal(back[BLOCK], -there[BLOCK])
    assert mirrored_code(mirrored_code(code)) == code


@given(st.sampled_from(TRANSFORMS), CODE, CODE, st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 4, 8]))
def test_transforms_keep_the_blocks(
    transform: Transform, rows: int, columns: int, height: int, width: int, stride: int
) -> None:
    phase, plain = BlockPhase(rows, columns), TRANSFORMS[0]

    def channels(transform: Transform) -> np.ndarray:
        size = (height, width)
        [seen] = transform.positions([phase], size, stride).appended(np.empty((1, *transform.size(*size), 0), np.int8))
        return seen.transpose(2, 0, 1)

    expected = channels(plain)
    assert expected.shape == (2 * BLOCK + 2, height, width)
    seen = transform.invert(channels(transform), 0).copy()
    for flipped, first in zip(transform, (0, BLOCK + 1), strict=True):
        if flipped:
            seen[first : first + BLOCK] = seen[first : first + BLOCK][::-1].copy()
            seen[first + BLOCK] *= -1
    assert np.array_equal(seen, expected)


@pytest.mark.parametrize("quality", [60, 85, 93])
@pytest.mark.parametrize(("subsampling", "code"), [(0, 1), (2, 1 + BLOCK)])
def test_blocks_are_found(quality: int, subsampling: int, code: int) -> None:
    planes = jpeg(data.chelsea(), quality, subsampling)
    assert find_phase(planes) == (code, code)
    assert find_phase(planes[:, 3:, 13:]) == BlockPhase(code, code).moved(3, 13)
    assert find_phase(planes[:, ::-1]).rows == mirrored_code(BlockPhase(code, 0).moved(planes.shape[1] - 1, 0).rows)
    if quality == 60:
        assert find_phase(planes[:1, :, 2:]) == BlockPhase(1, 1).moved(0, 2)


def test_no_blocks_are_found_where_there_are_none() -> None:
    rng = np.random.default_rng(2)
    drawn = np.zeros((200, 200, 3), np.uint8)
    drawn[20:90, 33:140] = 255
    for pixels in (rng.integers(0, 256, (300, 300, 3)), drawn, data.coffee()[::3, ::3], np.zeros((70, 70, 3), int)):
        assert find_phase(to_planes(pixels[None])[0]) == NO_PHASE
    assert find_phase(jpeg(data.chelsea()[:60, :60], 60, 0)) == NO_PHASE  # too small to tell


@settings(max_examples=8, deadline=None)
@example(True, 1, 1, 3, "uint8", BLOCK + PAIR, 1, 0)
@example(True, 17, 24, 3, "uint8", 3, BLOCK + PAIR, 0)
@example(False, 24, 17, 1, "uint16", BLOCK, 0, 0)
@given(
    st.booleans(),
    st.integers(1, 16),
    st.integers(1, 16),
    st.sampled_from([1, 3]),
    st.sampled_from(["uint8", "uint16"]),
    CODE,
    CODE,
    st.integers(0, 2**32),
)
def test_any_phase_round_trips(
    self_ensemble: bool, height: int, width: int, bands: int, dtype: str, rows: int, columns: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).normal(90, 20, (2, height, width, bands)).clip(0, 255).astype(dtype)
    coder = TileCoder(replace(ARCH, self_ensemble=self_ensemble), open_network(random_layers(ARCH, 5), "numpy"))
    phases = iter([BlockPhase(rows, columns), NO_PHASE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TileCoder, "phase_of", lambda self, planes: next(phases))
        payloads = coder.encode(pixels)
    assert np.array_equal(coder.decode(payloads, (height, width, bands), dtype=dtype), pixels)
    if dtype == "uint8":
        assert [_phase(payload, bands) for payload in payloads] == [(rows, columns), NO_PHASE]


def _phase(payload: bytes, bands: int) -> BlockPhase:
    return TileHeader.unpack(payload, 1, bands, np.dtype(np.uint8))[0].phase


def test_files_say_where_the_blocks_lie() -> None:
    pixels = jpeg(data.chelsea()[:128, :160], 60, 0)[[1, 0, 2]].transpose(1, 2, 0).astype(np.uint8)
    coder = TileCoder(ARCH, open_network(random_layers(ARCH, 5), "numpy"))
    [payload] = coder.encode(pixels[None], past=False)
    assert _phase(payload, 3) == (1, 1)
    assert payload.startswith(write_varint(26))
    for wrong in (write_varint(625) + payload[1:], write_varint(2**60) + payload[1:], b"\xff", b""):
        with pytest.raises(FormatError, match="block phase|too early"):
            coder.decode([wrong], (128, 160, 3))


def test_what_is_no_block_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase that does not begin at the first pixel must save bits in the middle of the tile."""
    loaded = models.load("photo")
    assert isinstance(loaded.architecture, PhotoArchitecture)
    coder = TileCoder(loaded.architecture, loaded.network())
    blocks = jpeg(data.chelsea()[:160, :192], 50, 0)
    assert coder.phase_of(blocks[:, 3:, 5:]) == find_phase(blocks[:, 3:, 5:]) == BlockPhase(1, 1).moved(3, 5)
    clean = to_planes(data.coffee()[None, 100:228, 100:260])[0]
    for phase, told_of in ((BlockPhase(4, 6), NO_PHASE), (BlockPhase(1, 9), BlockPhase(1, 9)), (NO_PHASE, NO_PHASE)):
        monkeypatch.setattr("pil_neuralcodec.flow.tile.find_phase", lambda planes, phase=phase: phase)
        assert coder.phase_of(clean) == told_of


def test_training_sees_what_the_coder_sees() -> None:
    """The likelihood of a network changes with the phase as the code's length does."""
    torch = pytest.importorskip("torch")
    from pil_neuralcodec.training.photo import TrainablePhotoNet

    torch.manual_seed(1)
    layers = random_layers(ARCH, 5)
    net = TrainablePhotoNet(ARCH)
    net.load(layers)
    net.set_rounded(True)
    net.eval()
    pixels = data.chelsea()[:128, :128]
    planes = to_planes(pixels[None])
    sizes, bits = [], []
    for phase in (NO_PHASE, BlockPhase(1, 4), BlockPhase(20, 11)):
        with torch.no_grad():
            bits.append(float(net(torch.as_tensor(planes.astype(np.float32)), 3, torch.tensor([phase])).sum()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TileCoder, "phase_of", lambda self, planes, phase=phase: phase)
            patch.setattr("pil_neuralcodec.flow.band_coder.is_adapted", lambda stage, shape: False)
            [payload] = TileCoder(ARCH, open_network(layers, "numpy")).encode(pixels[None], past=False)
        sizes.append(8 * len(payload))
    assert len(set(sizes)) == 3
    for size, ideal in zip(sizes, bits, strict=True):
        assert size == pytest.approx(ideal, rel=2e-3)
