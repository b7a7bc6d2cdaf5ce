"""A second decoder, written from the page of the format alone, gives what was encoded."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import golden
import numpy as np
import pytest
from conftest import random_layers
from exhaust import check, told
from independent import lattice, photo
from independent.colours import read_colours
from independent.container import BITSWAP, JPEG, PATCH, PHOTO, read_file
from independent.decoder import Decoded, decode
from independent.network import Model
from independent.numbers import DamagedError, Fields
from independent.predictor import decode_predictor
from independent.simple import decode_filtered
from independent.streams import SymbolStream
from PIL import Image
from random_files import METHODS, make_case

from pil_neuralcodec import Metadata, encode, models, ranks
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.coders.engine import engine
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter, first_lane, write_narrowings
from pil_neuralcodec.coders.widths import FACTOR, widen, write_lanes
from pil_neuralcodec.colour.conversions import Past
from pil_neuralcodec.colour.past import ColourHeader
from pil_neuralcodec.flow import band_coder
from pil_neuralcodec.flow import lattice as encoder_lattice
from pil_neuralcodec.flow.architecture import PatchArchitecture, PhotoArchitecture, Pyramid
from pil_neuralcodec.flow.block_phase import BlockPhase
from pil_neuralcodec.flow.tile import TileCoder, TileHeader
from pil_neuralcodec.metadata import Text
from pil_neuralcodec.methods import bitswap, filtered, patch, predictor
from pil_neuralcodec.methods import photo as photo_method

WEIGHTS = Path(__file__).parents[1] / "weights"
MANIFEST = json.loads(golden.MANIFEST.read_text())
ALLOWED = {*sys.stdlib_module_names, "PIL"}
GOLDEN = (
    *("raw", "raw-bits", "filtered-16", "webp-palette", "predictor", "frames", "metadata"),
    *("jpeg-444", "jpeg-422", "jpeg-420-cut", "jpeg-gray"),
    *("photo-9-one-pixel", "photo-9-gray", "photo-9-deep", "photo-best-6-small"),
    "photo-fast-2-lattice",
    *("patch-3-one-pixel", "patch-3-small", "bitswap-2-gray", "bitswap-2-one-pixel"),
)
"""Files small enough for plain loops."""


def packed(frame: Decoded) -> bytes:
    """As Pillow's ``tobytes``."""
    if frame.image.mode == "1":
        bits = np.array(frame.values, np.uint8).reshape(frame.image.height, frame.image.width)
        return np.packbits(bits, axis=1).tobytes()
    code = {("I", 32): "i", ("F", 32): "f"}.get((frame.image.mode, frame.image.bits), "BH"[frame.image.bits > 8])
    return struct.pack(f"<{len(frame.values)}{code}", *frame.values)


def size_of(frame: Decoded) -> list[int]:
    """As the manifest has it: an image's width and height, an array's shape."""
    return list(frame.metadata[8][1]) if 8 in frame.metadata else [frame.image.width, frame.image.height]


def test_it_shares_no_code() -> None:
    """Its modules import each other, the standard library, and Pillow for WebP."""
    for path in (Path(__file__).parent / "independent").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= ALLOWED, path.name


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files(name: str) -> None:
    frames = decode(golden.path_of(name).read_bytes(), WEIGHTS)
    found = [
        {
            "mode": frame.image.mode,
            "size": size_of(frame),
            "duration": frame.duration,
            "sha256": hashlib.sha256(packed(frame)).hexdigest(),
        }
        for frame in frames
    ]
    assert found == MANIFEST[name]["frames"]


def same(data: bytes, array: np.ndarray, folder: Path = WEIGHTS) -> Decoded:
    """The only frame of a file, whose values are those of an array."""
    (frame,) = decode(data, folder)
    assert np.array_equal(np.array(frame.values, array.dtype).reshape(array.shape), array)
    return frame


@pytest.mark.parametrize("name", ["flags", "bits-back-deep"])
def test_golden_chunks_of_arrays(name: str) -> None:
    path = golden.FOLDER / "arrays" / name
    same(path.with_suffix(".chunk").read_bytes(), np.load(path.with_suffix(".npy")))


def methods(data: bytes) -> list[int]:
    """The methods of the first frame's segments."""
    return [segment.method for segment in read_file(data).frames[0].segments]


def test_metadata() -> None:
    metadata = Metadata(
        icc_profile=b"profile",
        exif=b"Exif\0\0II*\0",
        xmp=b"<x/>",
        palette=("RGB", bytes(range(12))),
        transparency=(1, 2, 300),
        dpi=(72.0, 96.5),
        loop=300,
        text=(Text("Title", "é", "fr", "Titre"), Text("key", "", "", "")),
        comment=b"words",
    )
    data = encode(np.arange(4, dtype=np.uint8).reshape(2, 2), metadata=metadata, fallback="raw")
    assert decode(data, WEIGHTS)[0].metadata == told(metadata)
    image = Image.open(golden.path_of("webp-palette"))
    (frame,) = decode(golden.path_of("webp-palette").read_bytes(), WEIGHTS)
    assert image.getpalette() == list(frame.metadata[4][1])


@pytest.mark.parametrize("dtype", ["bool", "i1", "u2", "i4", "f2", "f4", "u8", "f8"])
def test_types_of_samples(dtype: str) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(-9, 9, (2, 5, 7, 2)).astype(dtype) if dtype[0] in "if" else rng.integers(0, 2, (2, 5, 7, 2))
    array = np.asfortranarray(array.astype(dtype))
    frame = same(encode(array, axes="TYXC", fallback="filtered"), array)
    assert frame.metadata == {8: ("TYXC", array.shape, True, False)}


def test_arrangements_of_filtered_samples() -> None:
    """All that there are, not only the smallest ones."""
    rng = np.random.default_rng(4)
    smooth = np.cumsum(rng.integers(0, 3, (9, 13, 4)), axis=1).astype(np.uint8)
    few = rng.choice(np.array([7, 9, 200, 201, 202], np.uint8), (9, 13, 3))
    for array in (smooth, few, few[..., :2], few[..., :1], smooth[..., :1].astype(np.uint16) * 257):
        colours = filtered._find_palette(array)
        choices = list(filtered._arrangements(array, colours is not None))
        for number, choice in enumerate(choices):
            body = filtered._body(choice, number % 4, colours, filtered._arrange(array, choice, colours))
            assert decode_filtered(body, array.shape, array.itemsize) == array.reshape(-1).tolist()


@pytest.mark.parametrize("kind", ["noise", "steps", "high", "colours"])
def test_predictor(kind: str) -> None:
    """Tables of both kinds, and an image that is higher than wide."""
    rng = np.random.default_rng(1)
    array = {
        "noise": rng.integers(0, 2, (60, 60, 1)) * 17,
        "steps": np.cumsum(rng.choice([0, 50], (60, 60, 1), p=[0.9, 0.1]), axis=1),
        "high": photograph(50, 21)[..., :2],
        "colours": np.concatenate([photograph(22, 30), photograph(25, 33)[3:, 3:, :2]], axis=2),
    }[kind].astype(np.uint8)
    body = predictor.encode(array)
    assert body is not None
    assert decode_predictor(body, array.shape) == array.reshape(-1).tolist()


def test_jpeg_with_tables_of_its_own() -> None:
    file = io.BytesIO()
    golden._gray(64, 80).save(file, "JPEG", qtables=[[5 + i // 3 for i in range(64)]])
    array = np.asarray(Image.open(file))
    data = encode(array)
    assert methods(data) == [JPEG]
    same(data, array)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models with random weights, of which every kind of architecture has one."""
    folder = tmp_path_factory.mktemp("models")
    blocks = ((1, 0, 0), (0, 0, 1))
    pyramid = Pyramid(4, blocks, 2)
    made: dict[str, tuple[models.Architecture, int]] = {
        "plain": (PhotoArchitecture(4, blocks, 2), 60),
        "mirrored": (PhotoArchitecture(4, blocks, 2, self_ensemble=True), 60),
        "adapted": (PhotoArchitecture(4, blocks, 2, backward_adaptation=True), 40),
        "both": (PhotoArchitecture(4, blocks, 2, self_ensemble=True, backward_adaptation=True), 40),
        "patch": (PatchArchitecture(pyramid, ((0, 2), (3, 1)), 9), 30),
        "latents": (BitswapArchitecture(PhotoArchitecture(4, blocks, 2, backward_adaptation=True), (3, 4, 5), 1), 30),
    }
    for seed, (name, (architecture, scale)) in enumerate(made.items()):
        models.save(folder / f"{name}.safetensors", architecture, random_layers(architecture, seed, scale))
    return folder


def photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(golden._photograph(height, width))


@pytest.fixture
def phase(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Signals a JPEG block phase, whatever the pixels."""

    def signal(rows: int, columns: int) -> None:
        monkeypatch.setattr(TileCoder, "phase_of", lambda *_: BlockPhase(rows, columns))

    return signal


@pytest.mark.parametrize(("model", "bands"), [("plain", 1), ("adapted", 3)])
def test_photo_flow(folder: Path, model: str, bands: int, phase: Callable[[int, int], None]) -> None:
    """Just enough positions for side information, in one component of the finest level."""
    phase(3, 20)
    array = photograph(65, 63) if bands == 3 else photograph(65, 63)[..., 1]
    data = encode(array, model=folder / f"{model}.safetensors", fallback=False)
    assert methods(data) == [PHOTO]
    same(data, array, folder)


@pytest.mark.parametrize(("model", "shape"), [("adapted", (26, 35, 3)), ("both", (41, 42)), ("adapted", (40, 3))])
def test_backward_adaptation_of_all_levels(
    folder: Path, model: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of bands of any size, as else only images too large for plain loops have level 1 or 2 adapted."""
    monkeypatch.setattr(band_coder, "_ADAPTED_MIN", 1)
    monkeypatch.setattr(photo, "ADAPTED", 1)
    array = photograph(*shape[:2]) if len(shape) == 3 else np.ascontiguousarray(photograph(*shape)[..., 1])
    data = encode(array, model=folder / f"{model}.safetensors", fallback=False)
    assert methods(data) == [PHOTO]
    same(data, array, folder)


@pytest.mark.parametrize("shape", [(1, 9), (7, 2), (13, 16)])
@pytest.mark.parametrize("model", ["plain", "mirrored"])
def test_small_tiles(folder: Path, model: str, shape: tuple[int, int], phase: Callable[[int, int], None]) -> None:
    phase(10, 6)
    array = photograph(*shape)
    same(encode(array, model=folder / f"{model}.safetensors", fallback=False), array, folder)


def test_tiles(folder: Path) -> None:
    array = np.asarray(golden._gray(2, 300)).repeat(2, axis=1)
    data = encode(array, model=folder / "plain.safetensors", fallback=False)
    assert len(read_file(data).frames[0].segments[0].payloads) == 2
    same(data, array, folder)


@pytest.mark.parametrize("past", [past for past in Past if past is not Past.NONE])
def test_colours(folder: Path, past: Past) -> None:
    array = np.asarray(golden._past(past))[35:49, 10:40].copy()
    array[3:5, 20] = 7, 99, 3
    data, plain = (encode(array, model=folder / "plain.safetensors", fallback=False, past=p) for p in (True, False))
    assert data != plain
    same(data, array, folder)


def lattice_of(data: bytes) -> Past:
    """The conversion whose lattice is a prior of the only tile or chunk of a file, whose sides are below 64."""
    (segment,) = read_file(data).frames[0].segments
    if segment.method == BITSWAP:
        return ColourHeader.unpack(memoryview(segment.payloads[0]), lattices=True)[0].lattice
    header, _ = TileHeader.unpack(segment.payloads[0], 1, 3, np.dtype(np.uint8))
    assert header.colour is not None
    return header.colour.lattice


@pytest.mark.parametrize(
    ("past", "model", "least"),
    [
        (Past.JPEG, "adapted", 1),
        (Past.PHOTOCD, "both", 40),
        (Past.BT601, "plain", 1),
        (Past.BT709, "mirrored", 1),
        (Past.FULL601, "adapted", 40),
        (Past.OPENCV601, "plain", 300),
    ],
)
def test_lattices(folder: Path, past: Past, model: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Priors of components of any size, as else only images too large for plain loops have some at level 1 or 2."""
    for module, name in ((encoder_lattice, "_SMALLEST"), (lattice, "SMALLEST")):
        monkeypatch.setattr(module, name, least)
    for module, name in ((band_coder, "_ADAPTED_MIN"), (photo, "ADAPTED")):
        monkeypatch.setattr(module, name, 40)
    array = np.asarray(golden._lattice(past))[35:66, 40:79].copy()
    data = encode(array, model=folder / f"{model}.safetensors", fallback=False)
    assert lattice_of(data) is past
    same(data, array, folder)


@pytest.mark.parametrize("past", [past for past in Past if past is not Past.NONE])
def test_what_is_on_a_lattice(past: Past) -> None:
    for red in (0, 77, 255):
        found = np.frombuffer(lattice.with_red(past, red), bool)
        assert np.array_equal(found, encoder_lattice.lattice(past)[red << 16 : (red + 1) << 16])


@pytest.mark.parametrize("name", ["plain", "latents", "patch"])
@pytest.mark.parametrize("kind", ["gray", "colours", "signed"])
def test_ranks(folder: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_COST", 0)
    colours = np.asarray(golden._stretched(golden._photograph(40, 45)))
    array = {"colours": colours, "gray": colours[..., 1].copy(), "signed": colours[..., 1].copy().view("i1")}[kind]
    format, model = "bsw" if name == "latents" else "ifl", folder / f"{name}.safetensors"
    data = encode(array, format, model=model, fallback=False, axes="YXC"[: array.ndim])
    assert read_file(data).frames[0].segments[0].meanings
    same(data, array, folder)


def test_lanes_that_narrow_anywhere() -> None:
    """Within a group, at positions that are no multiples of the lanes that are left, as no encoder narrows them."""
    rng = np.random.default_rng(0)
    digits, radix, ends = rng.integers(0, 60000, 3000), 60000, [1003, 2109]
    writer = SymbolWriter()
    writer.put_uniform(digits, radix)
    (group,) = writer.groups
    lanes = first_lane(7)
    for begin, end in [(2109, 3000), (1003, 2109), (0, 1003)]:
        engine().push(lanes, group, begin, end)
        if begin:
            widen(lanes, FACTOR * len(lanes.heads))
    data = write_narrowings(ends) + write_lanes(lanes)
    reader, stream = SymbolReader(data), SymbolStream(data)
    assert np.array_equal(reader.get_uniform(len(digits), radix), digits) and reader.told() == 7
    assert stream.pop_digits([radix] * len(digits)) == digits.tolist() and stream.told() == 7


@pytest.mark.parametrize(
    ("model", "bands", "past"),
    [
        ("plain", 1, 0),
        ("adapted", 3, 0),
        ("both", 1, 0),
        ("plain", 3, Past.JPEG),
        ("latents", 1, 0),
        ("latents", 3, 0),
        ("latents", 3, Past.JPEG),
    ],
)
def test_cells(folder: Path, model: str, bands: int, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges that no photograph would have; of tiles and chunks that are converted they are not those."""
    rng = np.random.default_rng(3)
    moves = np.pad(rng.integers(-31, 32, (bands, 255)), ((0, 0), (1, 1))).astype(np.int32)
    monkeypatch.setattr(bitswap if model == "latents" else photo_method, "find_cells", lambda _: moves)
    for module, name in ((band_coder, "_ADAPTED_MIN"), (photo, "ADAPTED")):
        monkeypatch.setattr(module, name, 40)
    array = photograph(23, 26) if bands == 3 else photograph(23, 26)[..., 1].copy()
    if past:
        array = np.asarray(golden._past(past))[35:49, 10:40].copy()
    data = encode(array, "bsw" if model == "latents" else "ifl", model=folder / f"{model}.safetensors", fallback=False)
    (segment,) = read_file(data).frames[0].segments
    assert segment.cells == moves[[1, 0, 2] if bands == 3 else [0]].tolist()
    same(data, array, folder)


def test_not_all_chunks_have_a_lattice_as_a_prior() -> None:
    for number in range(16):
        for tile in (False, True):
            fields = Fields(bytes([number, 0]))
            if number <= 6 or tile and 9 <= number <= 14:
                assert read_colours(fields, tile).lattice == (number - 8 if number > 8 else 0)
            else:
                with pytest.raises(DamagedError):
                    read_colours(fields, tile)


@pytest.mark.parametrize(
    "array",
    [
        golden._deep((65, 63)),
        golden._deep((40, 45)) // 900 * 900,
        np.concatenate([np.arange(0, 4000, 40), 5000 + np.arange(60) ** 2])[:, None].repeat(12, 1).astype(np.uint16),
        golden._deep((9, 7, 3)),
        golden._deep((9, 7), "<i2"),
        golden._deep((5, 6), "<u2") // 65535,
        golden._deep((9, 7, 3), "i1"),
        np.linspace(-2, 2, 70).reshape(7, 10).astype("f2"),
    ],
    ids=["gray", "gaps", "table", "colours", "signed", "ends", "bytes", "floats"],
)
def test_other_samples(folder: Path, array: np.ndarray) -> None:
    axes = "YXC"[: array.ndim]
    data = encode(array, model=folder / "plain.safetensors", fallback=False, axes=axes)
    assert methods(data) == [PHOTO]
    same(data, array, folder)


def test_patch_flow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "_ADAPTED_PIXELS", 1)
    path = folder / "patch.safetensors"
    for array in (golden._set()[:14, :9, :7], golden._set()[:9, 3:9, :10, 1], photograph(4, 129)):
        data = encode(np.ascontiguousarray(array), model=path, fallback=False)
        assert methods(data) == [PATCH]
        same(data, array, folder)


@pytest.mark.parametrize("ordering", ["bit-swap", "bb-ans"])
def test_bitswap(folder: Path, ordering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TileCoder, "phase_of", lambda self, planes: BlockPhase(3, 12))
    array = np.asarray(golden._past(Past.JPEG))[:66, :63].copy()
    data = encode(array, "bsw", model=folder / "latents.safetensors", ordering=ordering, fallback=False)
    assert methods(data) == [BITSWAP]
    same(data, array, folder)
    array = np.asarray(golden._lattice(Past.JPEG))[35:107, 40:112].copy()
    data = encode(array, "bsw", model=folder / "latents.safetensors", ordering=ordering, fallback=False)
    assert lattice_of(data) is Past.JPEG
    same(data, array, folder)


@pytest.mark.parametrize("name", sorted(path.stem for path in WEIGHTS.glob("*.safetensors")))
def test_models_have_the_ids_that_they_name(name: str) -> None:
    model = Model(WEIGHTS / f"{name}.safetensors")
    assert model.identity() == model.id


@pytest.mark.parametrize("name", ["raw", "predictor", "photo-9-one-pixel"])
def test_damage_is_seen(name: str) -> None:
    data = bytearray(golden.path_of(name).read_bytes())
    data[-6] ^= 1
    with pytest.raises(DamagedError):
        decode(bytes(data), WEIGHTS)


@pytest.fixture(scope="module")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the models of ``random_files``, which is searched for models."""
    folder = tmp_path_factory.mktemp("random")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(folder))
        yield folder


@pytest.mark.parametrize("method", METHODS)
def test_random_files(random_models: Path, method: str) -> None:
    """A few of those that ``python tests/exhaust.py`` makes."""
    for number in range(6):
        check(make_case(method, number, random_models), random_models)
