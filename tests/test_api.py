"""The core: arrays to files and back, whole, in part and coarse; the choice of methods; damage."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pil_neuralcodec import Metadata, container, decode, encode, models, read_info
from pil_neuralcodec.container import Frame, Header, ImageSpec, Method, Segment
from pil_neuralcodec.errors import (
    ChecksumError,
    FormatError,
    LimitError,
    NeuralCodecError,
    TruncatedError,
    UnknownModelError,
    UnsupportedError,
)
from pil_neuralcodec.flow import tile
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.methods.base import Request
from pil_neuralcodec.methods.registry import DECODERS
from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.reader import Reader
from pil_neuralcodec.samples import Picture, Pixels
from pil_neuralcodec.writer import encode_frames

DIRECT = ("raw", "filtered", "webp", "predictor")
TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")


def test_what_is_no_array_is_refused() -> None:
    for other, text in (
        (Image.new("P", (4, 4)), "more than its samples"),
        ("a.png", "not a path"),
        (Path("a"), "not a"),
    ):
        with pytest.raises(TypeError, match=text):
            encode(other)  # type: ignore[arg-type]


def waves(height: int, width: int, bands: int, seed: int = 0) -> Pixels:
    """A smooth picture with a little noise, uint8 (height, width, bands)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    tone = 128 + 70 * np.sin(x / 17 + seed) * np.cos(y / 23)
    noise = rng.normal(0, 2, (height, width, bands))
    return (tone[:, :, None] + 9 * np.arange(bands) + noise).clip(0, 255).astype("u1")


def same(a: Pixels, b: Pixels) -> bool:
    """Equal in shape, type and every bit, whatever floats they may be."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and a.tobytes() == b.tobytes()


def bands_arrays() -> st.SearchStrategy[Pixels]:
    """Small arrays (H, W, C) of every type."""
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
    return st.sampled_from(TYPES).flatmap(lambda t: hnp.arrays(np.dtype(t), shapes))


def flat_arrays() -> st.SearchStrategy[Pixels]:
    """Small arrays (H, W) of the types that make gray images."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
    return st.sampled_from(["?", "u1", "<u2", ">u2", "i4", "f4"]).flatmap(lambda t: hnp.arrays(np.dtype(t), shapes))


@given(array=st.one_of(bands_arrays(), flat_arrays()))
@settings(deadline=None, max_examples=80)
def test_arrays_come_back_bit_for_bit(array: Pixels) -> None:
    data = encode(array, axes="YXC" if array.ndim == 3 else None)
    assert same(decode(data), array)
    info = read_info(data)
    assert info.shape == array.shape
    assert info.file_size == len(data)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", TYPES)
def test_files_hold_samples_in_one_byte_order(dtype: str, order: str) -> None:
    """Whatever the order of an array and of the machine: the lowest byte first."""
    numbers = [[[1, 2], [0x70, -3]], [[5, 6], [-7, 8]], [[9, 0x35], [11, 12]]]
    if dtype[0] == "u":
        numbers = [[[abs(number) for number in pixel] for pixel in row] for row in numbers]
        numbers[0][0][0] = 2 ** (8 * int(dtype[1])) - 2  # all bits are needed
    array = np.array(numbers, dtype).astype(f"{order}{dtype}")
    data = encode(array, axes="YXC", fallback="raw")
    letter = {"f2": "e", "f4": "f", "f8": "d"}.get(dtype) or "_bh_i___q"[int(dtype[1])]
    flat = [number for row in numbers for pixel in row for number in pixel]
    assert struct.pack(f"<12{letter.upper() if dtype[0] == 'u' else letter}", *flat) in data
    for method in ("raw", "filtered"):
        found = decode(encode(array, axes="YXC", fallback=method))
        assert found.dtype == (array.dtype if array.itemsize > 1 else np.dtype(dtype))
        assert found.tolist() == numbers


@given(
    array=hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 4, 5, 7])))
)
@example(array=np.arange(140, dtype=np.uint8).reshape(4, 5, 7))
@settings(deadline=None, max_examples=8)
def test_networks_take_any_bands_of_8_bits(tiny: str, array: Pixels) -> None:
    data = encode(array, axes="YXC", model=tiny, fallback=False, device="numpy")
    assert set(read_info(data).methods) == {"photo"}
    assert same(decode(data), array)


@pytest.mark.parametrize("method", DIRECT)
def test_a_method_by_name(method: str) -> None:
    array = waves(20, 33, 3)
    data = encode(array, fallback=method)
    assert read_info(data).methods == (method,)
    assert same(decode(data), array)


def test_the_smallest_method_is_kept() -> None:
    for array in (waves(40, 50, 3), np.zeros((40, 50, 4), "u1"), np.random.default_rng(0).bytes(2000)):
        array = np.frombuffer(array, "u1").reshape(40, 50) if isinstance(array, bytes) else array
        sizes = [len(encode(array, fallback=method)) for method in DIRECT]
        assert len(encode(array)) <= min(sizes)


def test_colours_and_alpha_go_apart_where_that_is_smaller() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (40, 40, 1)).astype("u1")
    array = np.concatenate([np.full((40, 40, 3), 7, "u1"), noise], axis=2)
    data = encode(array)
    assert len(read_info(data).methods) == 2
    assert same(decode(data), array)
    assert len(data) < 40 * 40 + 200


def test_noise_costs_its_own_size() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (100, 90, 3)).astype("u1")
    assert len(encode(noise)) <= noise.nbytes + 200


def test_the_header_of_a_small_image_is_small(tiny: str) -> None:
    assert read_info(encode(waves(30, 30, 3), model=tiny, fallback=False)).header_size <= 64
    assert read_info(encode(waves(30, 30, 4))).header_size <= 64


def test_sources_of_every_kind(tmp_path: Path) -> None:
    array = waves(5, 6, 1)[:, :, 0]
    data = encode(array)
    path = tmp_path / "a.ifl"
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, os.fspath(path), io.BytesIO(data)):
        assert same(decode(source), array)
    with path.open("rb") as file:
        assert read_info(file).mode == "L"


def test_info_says_what_the_file_is(tiny: str) -> None:
    metadata = Metadata(icc_profile=b"icc", exif=b"ex", xmp=b"x", dpi=(72.5, 300.0), loop=3, transparency=(1, 2, 3))
    data = encode(waves(64, 130, 3), metadata=metadata, model=tiny, fallback=False)
    info = read_info(data)
    assert (info.format, info.mode, info.width, info.height, info.bands) == ("ifl", "RGB", 130, 64, 3)
    assert (info.dtype, info.n_frames, info.durations, info.tiles) == ("uint8", 1, (None,), (1, 1))
    assert (info.methods, info.levels, info.model) == (("photo",), 2, models.load(tiny).id.hex())
    assert info.metadata == metadata
    assert info.bits_per_subpixel == pytest.approx(8 * len(data) / (64 * 130 * 3))


@pytest.mark.parametrize("array", [waves(70, 541, 3), waves(541, 70, 1)], ids=["colour", "gray"])
def test_levels_and_regions(tiny: str, array: Pixels) -> None:
    data = encode(array, model=tiny, fallback=False)
    assert sorted(read_info(data).tiles) == [1, 2]
    assert same(decode(data), array)
    levels = read_info(data).levels
    assert levels > 1
    for level in range(levels):
        assert same(decode(data, level=level), array[:: 2**level, :: 2**level])
    with pytest.raises(ValueError, match="no level"):
        decode(data, level=levels)
    for left, top, right, bottom in ((0, 0, 1, 1), (3, 5, 70, 70), (30, 40, 31, 41)):
        assert same(decode(data, region=(left, top, right, bottom)), array[top:bottom, left:right])
    with pytest.raises(ValueError, match="no region"):
        decode(data, region=(0, 0, 5000, 1))
    for none in ((0, 0, 10), 10, (0, 0, 9.5, 10)):
        with pytest.raises(ValueError, match="should be four integers: left, top, right, bottom"):
            decode(data, region=none)  # type: ignore[arg-type]


def test_a_region_reads_only_its_tiles(tiny: str) -> None:
    array = waves(8, 1100, 3)
    data = bytearray(encode(array, model=tiny, fallback=False))
    last = container.read_header(io.BytesIO(data)).frames[0].segments[0].chunks[-1]
    data[last.offset] ^= 1
    assert same(decode(data, region=(0, 0, 300, 8)), array[:, :300])
    with pytest.raises(ChecksumError):
        decode(data)


def test_what_survives_of_a_damaged_file(tiny: str) -> None:
    array = np.concatenate([waves(8, 1100, 3), np.full((8, 1100, 1), 9, "u1")], axis=2)
    whole = encode(array, model=tiny, fallback=False)
    header = container.read_header(io.BytesIO(whole))
    boxes = list(header.frames[0].segments[0].tiles(header.spec))
    chunk = header.frames[0].segments[0].chunks[1]
    damaged = bytearray(whole)
    damaged[chunk.offset + 5] ^= 64
    expected = array.copy()
    expected[:, boxes[1][0] : boxes[1][2], :3] = 0
    assert same(Reader(io.BytesIO(damaged)).frame(keep_going=True), expected)
    # Cut in that tile: the rest of the colours is lost, and alpha, which comes last.
    short = io.BytesIO(whole[: chunk.offset + 5])
    expected[:, boxes[1][0] :] = 0
    expected[..., 3] = 0
    reader = Reader(short, container.read_header(short, allow_truncated=True))
    assert same(reader.frame(keep_going=True), expected)
    with pytest.raises(TruncatedError):
        reader.frame()


def test_frames_of_different_kinds() -> None:
    pictures = [
        Picture("RGB", waves(5, 7, 3), 40, Metadata(icc_profile=b"same", dpi=(1.0, 2.0))),
        Picture("P", waves(3, 2, 1), None, Metadata(icc_profile=b"same", palette=("RGBA", bytes(range(8))))),
        Picture("I", np.arange(6, dtype="i4").reshape(2, 3, 1), 0, Metadata(icc_profile=b"same")),
    ]
    data = encode_frames(iter(pictures))
    assert read_info(data).durations == (40, None, 0)
    fp = io.BytesIO(data)
    header = container.read_header(fp)
    for i, picture in enumerate(pictures):
        assert same(Reader(fp, header).frame(i), picture.pixels)
        assert Reader(fp, header).metadata(i) == picture.metadata
    assert data.count(b"same") == 1
    assert same(decode(data, frame=1), pictures[1].pixels[:, :, 0])
    with pytest.raises(ValueError, match="no frame 3"):
        decode(data, frame=3)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.zeros((2, 2, 3), "u1"), "L"),
        (np.zeros((2, 2), "u1"), "RGB"),
        (np.zeros((2, 2), "u2"), "L"),
        (np.zeros((2, 2), "u1"), "XYZ"),
        (np.zeros((2, 2), "U2"), None),
        (np.zeros((2, 0, 3), "u1"), None),
    ],
)
def test_what_does_not_fit_is_refused(array: Pixels, mode: str | None) -> None:
    with pytest.raises(UnsupportedError, match="cannot write"):
        encode(array, mode=mode)


def test_other_modes_of_the_same_shape() -> None:
    array = waves(4, 5, 3)
    data = encode(array, mode="LAB")
    assert read_info(data).mode == "LAB"
    assert same(decode(data), array)


def test_wrong_arguments_are_refused() -> None:
    array = waves(4, 5, 3)
    with pytest.raises(ValueError, match="unknown fallback"):
        encode(array, fallback="jpg")
    with pytest.raises(ValueError, match="unknown format"):
        encode(array, format="png")
    with pytest.raises(UnknownModelError, match="nowhere"):
        encode(array, model="nowhere")
    with pytest.raises(UnsupportedError, match="webp"):
        encode(waves(4, 5, 1).astype("u2"), fallback="webp")
    with pytest.raises(ValueError, match="at least one frame"):
        encode_frames([])


def test_networks_alone_refuse_what_they_cannot_hold(tiny: str) -> None:
    with pytest.raises(UnsupportedError, match="fallback=False"):
        encode(waves(4, 5, 1).astype("f4"), model=tiny, fallback=False)


def test_limits_come_before_memory() -> None:
    data = encode(np.zeros((100, 100), "u1"))
    with pytest.raises(LimitError, match="100 x 100"):
        decode(data, max_pixels=9999)
    assert decode(data, max_pixels=10000).shape == (100, 100)
    segment = Segment(Method.RAW, (0, 1), (b"x",))
    huge = container.write(Header((Frame(ImageSpec.of("L", 2**31 - 1, 2**31 - 1), (segment,)),)))
    with pytest.raises(LimitError):
        decode(huge)


def test_a_model_that_is_missing_is_named(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(waves(8, 8, 3), model=tiny, fallback=False)
    monkeypatch.setenv(models.ENVIRONMENT, "")
    with pytest.raises(UnknownModelError, match=read_info(data).model):
        decode(data)


def test_pixels_that_fail_their_check_are_decoded_again_by_the_reference(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = waves(6, 520, 3)
    data = encode(array, model=tiny, fallback=False, device="numpy")
    model = models.load(tiny)
    name, layer = next(iter(model.layers.items()))
    wrong = open_network({**model.layers, name: replace(layer, bias=layer.bias + 900)}, "numpy")
    calls: list[str | None] = []

    def network(self: models.Model, device: str | None = None, kernel: str | None = None) -> object:
        calls.append(device)
        return right if device == "numpy" else Mislabelled(wrong)

    right = model.network("numpy")
    monkeypatch.setattr(models.Model, "network", network)
    assert same(decode(data), array)
    assert calls == [None, "numpy"]
    # Where the file is wrong and not the device, one tile is tried again, and no more.
    right_checksum = tile._checksum
    with monkeypatch.context() as wrong_checksums:
        wrong_checksums.setattr(tile, "_checksum", lambda pixels: right_checksum(pixels) ^ 1)
        hostile = encode(array, model=tiny, fallback=False, device="numpy")
    decoded: list[int] = []
    decode_tiles = TileCoder.decode

    def counted(self: TileCoder, payloads: list[bytes], *rest: Any, **named: Any) -> np.ndarray:
        if self.network.device == "numpy":
            decoded.append(len(payloads))
        return decode_tiles(self, payloads, *rest, **named)

    monkeypatch.setattr(TileCoder, "decode", counted)
    with pytest.raises(ChecksumError):
        decode(hostile)
    survived = Reader(io.BytesIO(hostile)).frame(keep_going=True)
    assert not survived.any()
    assert decoded == [1, 1]


class Mislabelled:
    """A network that computes wrong numbers on a device that is not the reference."""

    device = "cpu"

    def __init__(self, network: object) -> None:
        self._network = network

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)


def _files(tiny: str) -> dict[str, bytes]:
    array = waves(4, 5, 3)
    files = {method: encode(array, fallback=method) for method in DIRECT}
    files["network"] = encode(array, model=tiny, fallback=False, metadata=Metadata(icc_profile=b"profile"))
    files["frames"] = encode_frames([Picture("LA", array[:, :, :2], 5), Picture("L", array[:, :, :1], 6)])
    return files


def test_every_truncation_is_refused(tiny: str) -> None:
    for data in _files(tiny).values():
        for size in range(len(data)):
            with pytest.raises(NeuralCodecError, match="truncated") as caught:
                decode(data[:size])
            assert isinstance(caught.value, TruncatedError)


def test_every_flipped_bit_is_refused(tiny: str) -> None:
    for data in _files(tiny).values():
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(NeuralCodecError, match=r"\w{4}"):
                container.verify(io.BytesIO(flipped))
            with pytest.raises(NeuralCodecError, match=r"\w{4}"):
                _decode_all(bytes(flipped))


def _decode_all(data: bytes) -> None:
    """All that a file holds: a flip in one frame's bytes is no business of another frame, nor of the metadata."""
    info = read_info(data)
    for frame in range(info.n_frames):
        decode(data, frame=frame)


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="1 trailing"):
        decode(encode(waves(3, 3, 1)) + b"\0")


KINDS = {"photo": "tiny", "bitswap": "tiny-latents", "patch": "tiny-patch"} | dict.fromkeys(DIRECT)


@pytest.mark.parametrize("method", KINDS)
def test_a_part_decodes_each_chunk_once(tiny: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is selected of an array: the images that are wanted lie apart, in tiles that hold several of them."""
    array = np.stack([waves(32, 32, 1, seed)[..., 0] for seed in range(12)]).reshape(4, 3, 32, 32)
    options = {"model": KINDS[method], "fallback": False} if KINDS[method] else {"fallback": method}
    format = "bsw" if method == "bitswap" else "ifl"
    data = encode(array, format, axes="TZYX", **options)  # type: ignore[arg-type]
    assert read_info(data).methods == (method,)
    chunks = container.read_header(io.BytesIO(data)).frames[0].segments[0].chunks
    assert len(chunks) == (12 if method == "photo" else 1)  # a tile for each image
    reads: list[int] = []
    read_chunk = container.read_chunk

    def counted(fp: container.ReadableFile, ref: container.ChunkRef) -> bytes:
        reads.append(ref.number)
        return read_chunk(fp, ref)

    monkeypatch.setattr(container, "read_chunk", counted)
    decodes: list[object] = []
    decode_segment = DECODERS[Method[method.upper()]]

    def spied(request: Request) -> None:
        decodes.append(request)
        decode_segment(request)

    monkeypatch.setitem(DECODERS, Method[method.upper()], spied)  # type: ignore[arg-type]
    part = ((0, 4), (1, 2), (3, 30), (5, 32))
    assert same(decode(data, part=part), array[:, 1:2, 3:30, 5:32])
    assert len(decodes) == 1
    touched = chunks[1::3] if method == "photo" else chunks
    assert reads == [0, *(ref.number for ref in touched)]  # the axes, then what is touched, once
    reads.clear()
    part = ((2, 3), (0, 3), (0, 32), (0, 32))
    assert same(decode(data, part=part), array[2:3])
    assert len(reads) == (4 if method == "photo" else 2)


def test_a_region_allocates_no_more_than_itself(tiny: str) -> None:
    data = encode(waves(48, 1100, 3), model=tiny, fallback=False)
    decode(data, region=(0, 0, 8, 8))  # what is loaded once
    tracemalloc.start()
    decode(data, region=(0, 0, 8, 8))
    one_tile = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    frame = encode(waves(48, 384, 3), model=tiny, fallback=False)
    decode(frame)
    tracemalloc.start()
    decode(frame)
    alone = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert one_tile < alone + 2 * len(data)


@pytest.mark.parametrize("change", [lambda s: replace(s, bands=(0, 2)), lambda s: replace(s, chunks=(b"\1\2\3",))])
def test_sound_checksums_around_nonsense(tiny: str, change: Callable[[Segment[bytes]], Segment[bytes]]) -> None:
    """What a hostile writer could do: everything adds up but the payload."""
    array = waves(6, 7, 2)
    spec = ImageSpec.of("LA", 7, 6)
    segment: Segment[bytes] = change(Segment(Method.PHOTO, (0, 1), (b"\0" * 20,), 7, 6))
    rest = () if segment.bands == (0, 2) else (Segment(Method.RAW, (1, 1), (array.tobytes(),)),)
    data = container.write(Header((Frame(spec, (segment, *rest)),), models.load(tiny).id))
    with pytest.raises(FormatError):
        decode(data)


@pytest.mark.parametrize(
    ("array", "options", "error", "match"),
    [
        (np.ma.masked_greater(np.arange(12).reshape(3, 4), 5), {}, TypeError, "masked"),
        (np.zeros((3, 4), "u1"), {"metadata": {"dpi": (72, 72)}}, TypeError, "should be a Metadata, not dict"),
        (np.zeros((3, 4)), {"axes": 5}, TypeError, "axes=5"),
        (np.zeros((3, 4), "u1"), {"model": 5}, TypeError, "model=5"),
        (np.zeros((0, 5, 6), "u1"), {}, UnsupportedError, "it is empty"),
    ],
)
def test_arrays_and_options_of_other_kinds(
    array: np.ndarray, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        encode(array, **options)


def test_a_masked_array_without_a_mask() -> None:
    assert np.array_equal(decode(encode(np.ma.array([[1, 2], [3, 4]]))), [[1, 2], [3, 4]])


def test_arrays_with_axes_are_one_frame() -> None:
    data = encode(np.arange(24, dtype="u2").reshape(2, 3, 4), axes="ZYX")
    assert np.array_equal(decode(data, frame=0), decode(data))
    for frame in (1, -1):
        with pytest.raises(ValueError, match=f"no frame {frame}"):
            decode(data, frame=frame)
    with pytest.raises(ValueError, match="for each of the axes ZYX, not 2"):
        decode(data, part=((0, 1), (0, 1)))


def raw(array: np.ndarray, bits: int = 8) -> Segment[bytes]:
    """A segment of samples as they are."""
    data = array.tobytes()
    return Segment(Method.RAW, (0, array.shape[2]), (bytes([bits]) + data + zlib.crc32(data).to_bytes(4, "little"),))


@pytest.mark.parametrize(
    ("axes", "mode", "bands"),
    [(b"YX\x09\x09", "", 1), (b"YX\x03\x04", "", 3), (b"YX\x03\x04", "L", 1), (b"YX\0\0", "", 1)],
)
def test_axes_of_another_image(axes: bytes, mode: str, bands: int) -> None:
    """They are refused for a region, too, which could be cut from what is there."""
    spec = ImageSpec.of(mode, 4, 3) if mode else ImageSpec("", 4, 3)
    frame = Frame(spec, (raw(np.zeros((3, 4, bands), np.uint8)),))
    data = container.write(Header((frame,), metadata={container.MetadataType.AXES: b"\0\2" + axes}))
    for options in ({}, {"region": (0, 0, 2, 2)}, {"part": ((0, 1), (0, 1))}):
        with pytest.raises(FormatError, match="do not fit the image"):
            decode(data, **options)


def test_half_a_band() -> None:
    """Samples of 64 bits are two stored bands each."""
    spec = ImageSpec("", 4, 3, 64)
    data = container.write(Header((Frame(spec, (raw(np.zeros((3, 4, 1), np.int32), 32),)),)))
    for read in (read_info, decode):
        with pytest.raises(FormatError, match="1 stored bands of uint64"):
            read(data)
