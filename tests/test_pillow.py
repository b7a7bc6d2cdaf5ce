"""Pillow: every mode bit for bit, metadata, frames, lazy opening, thumbnails, damage."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFile, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

import pil_neuralcodec
from pil_neuralcodec import container, encode, read_info
from pil_neuralcodec.container import ChunkRef, Frame, Header, ImageSpec, Method, Segment
from pil_neuralcodec.errors import LimitError, NeuralCodecError, TruncatedError, UnsupportedError
from pil_neuralcodec.pillow_plugin import IFLImageFile
from pil_neuralcodec.reader import Reader

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV",
    "I;16", "I;16L", "I;16B", "I;16N", "I", "F",
)  # fmt: skip
KINDS = ("photograph", "noise", "flat", "gradient", "text", "few")


def picture(mode: str, size: tuple[int, int], kind: str, seed: int = 0) -> Image.Image:
    """An image of a mode, made of raw bytes so that every value of every band can occur."""
    rng = np.random.default_rng(seed)
    width, height = size
    count = len(Image.new(mode, (16, 1)).tobytes()) * width // 16 + 16  # bytes in a row, or a few more
    y, x = np.mgrid[:height, :count]
    if kind == "noise":
        pixels = rng.integers(0, 256, (height, count))
    elif kind == "flat":
        pixels = np.full((height, count), seed % 256)
    elif kind == "gradient":
        pixels = (x + 2 * y) % 256
    elif kind == "few":
        pixels = rng.integers(0, 4, (height, count)) * 60
    elif kind == "text":
        page = Image.new("L", (count, height), 255)
        ImageDraw.Draw(page).text((1, 1), "Lossless " * 20, fill=0)
        pixels = np.asarray(page)
    else:
        pixels = (120 + 80 * np.sin(x / 31) * np.cos(y / 17) + rng.normal(0, 3, (height, count))).clip(0, 255)
    row = len(Image.new(mode, (width, 1)).tobytes())
    image = Image.frombytes(mode, size, pixels.astype("u1")[:, :row].tobytes())
    if mode in ("P", "PA"):
        image.putpalette(rng.bytes(3 * (1 + seed % 256)))
    return image


def saved(image: Image.Image, format: str = "IFL", **options: Any) -> bytes:
    """The file that ``image`` becomes."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


XMP = "XML:com.adobe.xmp"


def pnginfo(texts: dict[str, str]) -> PngImagePlugin.PngInfo:
    """Texts for a PNG file."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        (info.add_itxt if key == XMP else info.add_text)(key, value)
    return info


def opened(data: bytes) -> ImageFile.ImageFile:
    """The image in a file, not loaded."""
    return Image.open(io.BytesIO(data))


def assert_same(a: Image.Image, b: Image.Image) -> None:
    """Same mode, size, palette and bits."""
    assert (a.mode, a.size) == (b.mode, b.size)
    assert a.tobytes() == b.tobytes()
    assert a.getpalette(None) == b.getpalette(None)
    if a.mode in ("P", "PA"):
        assert a.im.getpalettemode() == b.im.getpalettemode()
        assert a.palette is not None
        assert b.palette is not None
        assert a.palette.mode == b.palette.mode
        assert bytes(a.palette.palette) == bytes(b.palette.palette)


@pytest.mark.parametrize("mode", MODES)
@given(
    size=st.sampled_from([(1, 1), (1, 9), (9, 1), (2, 2), (13, 7), (31, 23)]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 300),
    format=st.sampled_from(["IFL", "BSW"]),
)
@settings(deadline=None, max_examples=8)
def test_every_mode_comes_back_bit_for_bit(mode: str, size: tuple[int, int], kind: str, seed: int, format: str) -> None:
    image = picture(mode, size, kind, seed)
    again = opened(saved(image, format))
    assert again.format == format
    assert_same(again, image)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16", "P"])
def test_larger_images_come_back(mode: str) -> None:
    for size, kind, method in (((700, 500), "text", True), ((701, 499), "photograph", "raw")):
        image = picture(mode, size, kind)
        assert_same(opened(saved(image, fallback=method)), image)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "P", "1"])
@pytest.mark.parametrize("size", [(1, 1), (1, 33), (41, 7), (520, 9)])
def test_networks_code_every_mode_of_8_bits(tiny: str, tiny_latents: str, mode: str, size: tuple[int, int]) -> None:
    image = picture(mode, size, "photograph", 4)
    for format, model, method in (("IFL", tiny, "photo"), ("BSW", tiny_latents, "bitswap")):
        data = saved(image, format, model=model, fallback=False, device="numpy")
        assert set(read_info(data).methods) == {method}
        assert_same(opened(data), image)


@pytest.mark.parametrize("rawmode", ["RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("mode", ["P", "PA"])
def test_palettes_keep_mode_and_length(mode: str, rawmode: str) -> None:
    for entries in (0, 1, 2, 17, 256):
        image = Image.new(mode, (5, 4))
        image.putpalette((bytes(range(256)) * 4)[: entries * len(rawmode)], rawmode)
        image.load()
        assert_same(opened(saved(image)), image)


def test_floats_keep_every_bit() -> None:
    bits = np.array([[0x7FC00001, 0x7F800001], [0x80000000, 0xFF800000]], "u4")
    image = Image.frombytes("F", (2, 2), bits.tobytes())
    assert_same(opened(saved(image)), image)


@pytest.mark.parametrize(
    ("mode", "value"), [("P", 3), ("P", b"\0\x80\xff"), ("L", 200), ("I;16", 65535), ("1", 255), ("RGB", (1, 2, 255))]
)
def test_transparency_is_kept(mode: str, value: object) -> None:
    image = picture(mode, (6, 5), "noise", 9)
    assert opened(saved(image, transparency=value)).info["transparency"] == value
    image.info["transparency"] = value
    again = opened(saved(image))
    assert again.info["transparency"] == value
    if mode != "1":
        png = io.BytesIO()
        again.save(png, "PNG")
        assert Image.open(png).info["transparency"] == value
    assert "transparency" not in opened(saved(image, transparency=None)).info


def test_metadata_is_carried_or_passed() -> None:
    image = picture("RGB", (8, 8), "flat")
    image.info |= {"icc_profile": b"profile", "dpi": (72, 96.5), "exif": b"carried", "xmp": b"carried"}
    info = opened(saved(image)).info
    assert info == {"icc_profile": b"profile", "dpi": (72, 96.5), "exif": b"carried", "xmp": b"carried"}
    exif = Image.Exif()
    exif[0x0112] = 6
    again = opened(saved(image, exif=exif, xmp="<x/>", icc_profile=b"other", dpi=(1, 2)))
    assert again.info == {"icc_profile": b"other", "dpi": (1.0, 2.0), "exif": exif.tobytes(), "xmp": b"<x/>"}
    assert again.getexif()[0x0112] == 6
    assert opened(saved(image, icc_profile=None, dpi=None, exif=b"", xmp=None)).info == {}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_and_xmp_come_from_the_file(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a cup"
    file = io.BytesIO()
    picture("RGB", (8, 8), "flat").save(file, format, exif=exif, xmp=b"<x/>", pnginfo=pnginfo({XMP: "<x/>"}))
    again = opened(saved(Image.open(file)))
    assert again.getexif()[0x010E] == "a cup"
    assert again.info["xmp"] == b"<x/>"
    assert XMP not in again.info and XMP not in again.text
    assert not {"exif", "xmp", "text"} & {*opened(saved(Image.open(file), exif=None, xmp=b"")).info}


def test_texts_are_kept() -> None:
    file = io.BytesIO()
    info = pnginfo({"Title": "a cup"})
    info.add_itxt("Author", "\u00c4\u65e5", "de", "Autorin")
    picture("RGB", (8, 8), "flat").save(file, "PNG", pnginfo=info)
    data = saved(Image.open(file))
    again = opened(data)
    assert again.info == again.text == {"Title": "a cup", "Author": "\u00c4\u65e5"}
    assert (again.text["Author"].lang, again.text["Author"].tkey) == ("de", "Autorin")
    assert saved(again.copy()) == data
    assert opened(saved(again, text=None)).info == {}
    assert opened(saved(again, text={"Title": ""})).text == {"Title": ""}


@pytest.mark.parametrize("format", ["JPEG", "GIF"])
def test_comments_are_kept(format: str) -> None:
    file = io.BytesIO()
    picture("L", (8, 8), "flat").save(file, format, comment=b"caf\xe9")
    again = opened(saved(Image.open(file)))
    assert again.info["comment"] == b"caf\xe9"
    back = io.BytesIO()
    again.save(back, format)
    assert Image.open(back).info["comment"] == b"caf\xe9"
    assert "comment" not in opened(saved(again, comment=b"")).info


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tags_are_kept_as_exif_or_named(compression: str | None) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[285] = "a cup", "page"
    tags.tagtype[65000] = 2
    tags[65000] = "private"
    file = io.BytesIO()
    picture("RGB", (8, 8), "flat").save(file, "TIFF", tiffinfo=tags, compression=compression)
    with pytest.warns(UserWarning, match=r"not kept: TIFF tag PageName \(285\), TIFF tag unknown \(65000\)"):
        data = saved(Image.open(file))
    assert dict(opened(data).getexif()) == {270: "a cup"}


def test_what_no_file_of_ours_holds_is_named() -> None:
    image = picture("RGB", (8, 8), "flat")
    image.info |= {"photoshop": {1: b"IPTC"}, "gamma": 0.5}
    with pytest.warns(UserWarning, match="not kept: IPTC and Photoshop data, gamma"):
        saved(image)
    image.info = {"gamma": 0.5, "srgb": 0}
    saved(image)
    with pytest.warns(UserWarning, match="pnginfo is not kept"):
        saved(image, pnginfo=pnginfo({"a": "b"}))


def test_a_warning_says_what_pillow_cut(tmp_path: Path) -> None:
    array = np.arange(60, dtype="u2").reshape(4, 5, 3) * 999
    png, ppm = imagecodecs.png_encode(array), b"P6 5 4 65535\n" + array.astype(">u2").tobytes()
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", metadata=None, software=False)
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "a.ppm").write_bytes(ppm)
    files: list[Any] = [tmp_path / "a.tif", tmp_path / "a.png", tmp_path / "a.ppm", io.BytesIO(png)]
    for file in files:
        with Image.open(file) as image, pytest.warns(UserWarning, match="Pillow cuts samples of 16 bits"):
            saved(image)
    with Image.open(tmp_path / "a.ppm") as more, pytest.warns(UserWarning, match="of this PPM file to mode RGB"):
        saved(Image.new("RGB", (5, 4)), append_images=[more], save_all=True)
    saved(Image.open(io.BytesIO(imagecodecs.png_encode(array[..., 0].copy()))))  # I;16 holds it all


@pytest.mark.parametrize(("option", "error", "text"), [
    ({"exif": 5}, TypeError, "exif=5 should be bytes"),
    ({"icc_profile": "p"}, TypeError, "icc_profile='p' should be bytes"),
    ({"xmp": 5}, TypeError, "xmp=5 should be bytes or a string"),
    ({"comment": 5}, TypeError, "comment=5 should be"),
    ({"text": "words"}, TypeError, "text='words' should be a mapping"),
    ({"text": {"a": 1}}, TypeError, "should be a mapping of strings"),
    ({"dpi": 72}, TypeError, "dpi=72 should be two numbers"),
    ({"dpi": ("72", "72")}, TypeError, "should be two numbers"),
    ({"loop": "ever"}, TypeError, "loop='ever' should be an integer"),
    ({"lossless": False}, ValueError, "always lossless"),
    ({"modl": "photo"}, TypeError, "takes no modl: do you mean model"),
    ({"divice": "cpu"}, TypeError, "takes no divice: do you mean device"),
    ({"Fallback": False}, TypeError, "do you mean fallback"),
    ({"ordering": "bb-ans"}, TypeError, r"save takes no ordering: pil_neuralcodec\.encode does"),
    ({"device": "abacus"}, ValueError, "unknown device 'abacus'"),
])  # fmt: skip
def test_options_are_checked(option: dict[str, Any], error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        Image.new("RGB", (1, 1)).save(tmp_path / "a.ifl", **option)
    assert not (tmp_path / "a.ifl").exists()


def test_what_is_no_image_is_not_appended() -> None:
    with pytest.raises(TypeError, match="append_images should be images, not ndarray"):
        saved(Image.new("L", (2, 2)), save_all=True, append_images=[np.zeros((2, 2), "u1")])


@pytest.mark.parametrize("key", ["icc_profile", "exif", "xmp", "comment"])
def test_what_came_with_an_image_and_is_no_bytes_is_not_kept(key: str) -> None:
    """Of 5, ``bytes`` would make five zeros."""
    image = Image.new("L", (2, 2))
    image.info[key] = 5
    with pytest.warns(UserWarning, match=f"not kept: {key}"):
        assert not read_info(saved(image)).metadata.present()


def test_what_other_formats_take_is_ignored() -> None:
    image = picture("RGB", (8, 8), "noise")
    plain = saved(image, fallback="raw")
    others = (
        "quality optimize progressive compress_level compress_type subsampling qtables smooth method exact"
        " minimize_size alpha_quality kmax allow_mixed background bits disposal blend default_image interlace"
        " speed palette compression tiffinfo strip_size resolution append lossless quality_mode irreversible mct range"
    )
    assert saved(image, fallback="raw", **dict.fromkeys(others.split(), True)) == plain


def test_save_passes_its_parameters_on(tiny: str) -> None:
    image = picture("RGB", (30, 30), "photograph")
    for name in ("raw", "webp", "filtered"):
        assert read_info(saved(image, fallback=name)).methods == (name,)
    assert read_info(saved(image, model=tiny, fallback=False)).methods == ("photo",)
    with pytest.raises(OSError, match="nowhere"):
        saved(image, model="nowhere")


def test_a_mode_that_is_not_known_is_refused_in_pillows_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MODES", tuple(mode for mode in container.MODES if mode != "LAB"))
    with pytest.raises(UnsupportedError, match="^cannot write mode LAB as IFL$"):
        saved(Image.new("LAB", (2, 2)))
    with pytest.raises(ValueError, match="cannot write empty image as IFL"):
        saved(Image.new("RGB", (0, 5)))


def test_a_failed_save_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="palette|transparency"):
        Image.new("L", (2, 2)).save(tmp_path / "a.ifl", transparency="blue")
    assert not (tmp_path / "a.ifl").exists()


def test_by_name_and_to_files(tmp_path: Path) -> None:
    image = picture("RGB", (20, 10), "gradient")
    path = tmp_path / "A.IFL"
    image.save(path)
    with Image.open(path) as again:
        assert (again.format, again.get_format_mimetype()) == ("IFL", "image/x-ifl")
        assert_same(again, image)
        again.save(path)  # onto itself
    with path.open("rb") as file, Image.open(file) as again:
        assert_same(again, image)


def test_registering_often_changes_nothing() -> None:
    before = list(Image.ID), dict(Image.EXTENSION), list(Image.MIME)
    pil_neuralcodec.register()
    pil_neuralcodec.register()
    assert (list(Image.ID), dict(Image.EXTENSION), list(Image.MIME)) == before
    assert Image.EXTENSION[".ifl"] == "IFL"


def test_frames() -> None:
    frames = [picture("RGB", (9, 8), "noise", 1), picture("P", (5, 6), "few", 2), picture("RGB", (9, 8), "noise", 3)]
    frames[1].info |= {"duration": 70, "transparency": 1}
    data = saved(frames[0], save_all=True, append_images=frames[1:], loop=2)
    image = opened(data)
    assert isinstance(image, IFLImageFile)
    assert (image.n_frames, image.is_animated, image.tell()) == (3, True, 0)
    for i in (0, 1, 2, 1, 0, 2):
        image.seek(i)
        assert image.tell() == i
        assert_same(image, frames[i])
        assert image.info == ({"loop": 2, "duration": 70, "transparency": 1} if i == 1 else {"loop": 2})
    for outside in (-1, 3):
        with pytest.raises(EOFError):
            image.seek(outside)
    image.seek(1)
    again = saved(image, save_all=True)
    assert image.tell() == 1
    assert again == data
    assert_same(opened(saved(image)), frames[1])
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.seek(0)


def test_durations() -> None:
    frames = [picture("L", (4, 4), "flat", i) for i in range(3)]

    def durations(**options: Any) -> tuple[int | None, ...]:
        return read_info(saved(frames[0], save_all=True, append_images=frames[1:], **options)).durations

    assert durations() == (None,) * 3
    assert durations(duration=40) == (40, 40, 40)
    assert durations(duration=[10, 20.4, 30]) == (10, 20, 30)
    with pytest.raises(ValueError, match="duration"):
        durations(duration=[10])


def test_appended_files_bring_all_their_frames(tmp_path: Path) -> None:
    frames = [picture("L", (4, 4), "flat", i) for i in range(4)]
    frames[2].save(tmp_path / "b.ifl", append_images=frames[3:])
    with Image.open(tmp_path / "b.ifl") as more:
        image = opened(saved(frames[0], save_all=True, append_images=[frames[1], more]))
        assert more.tell() == 0
    for i, frame in enumerate(frames):
        image.seek(i)
        assert_same(image, frame)


def test_loading_reads_the_header_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def counted(*args: Any, **options: Any) -> Header[ChunkRef]:
        nonlocal count
        count += 1
        return read_header(*args, **options)

    read_header = container.read_header
    monkeypatch.setattr(container, "read_header", counted)
    image = picture("RGB", (9, 5), "noise")
    assert_same(opened(saved(image)), image)
    assert count == 1


class Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_opening_reads_little(tmp_path: Path) -> None:
    image = picture("RGB", (400, 300), "noise")
    file = Counting(saved(image, icc_profile=b"p" * 5000, fallback="raw"))
    with Image.open(file) as again:
        assert again.size == (400, 300)
        assert file.count < 5000 + 200


def test_opening_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    picture("RGB", (8, 8), "noise").save(tmp_path / "a.ifl")
    script = (
        "import sys; import pil_neuralcodec; from PIL import Image; image = Image.open(sys.argv[1]); image.size;"
        "image.verify(); print([m for m in ('torch', 'numpy', 'safetensors') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.ifl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_our_own_limit_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(Method.RAW, (0, 1), (b"x",))
    data = container.write(Header((Frame(ImageSpec.of("L", 2**31 - 1, 2**31 - 1), (segment,)),)))
    with pytest.raises(LimitError, match="2147483647 x 2147483647"):
        opened(data)
    data = saved(Image.new("L", (30, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 449)
    with pytest.raises(LimitError, match="30 x 30"):
        opened(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 451)
    with pytest.warns(Image.DecompressionBombWarning):
        opened(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert opened(data).size == (30, 30)


def test_arrays_that_are_no_images_are_named() -> None:
    with pytest.raises(UnsupportedError, match=r"pil_neuralcodec\.decode"):
        opened(encode(np.zeros((3, 3, 7), "u1"), axes="YXC"))


def _load_frames(file: IO[bytes]) -> None:
    with Image.open(file) as image:
        for frame in range(getattr(image, "n_frames", 1)):
            image.seek(frame)
            image.load()


@pytest.fixture(scope="module")
def small_files(tiny: str, tiny_latents: str) -> dict[str, bytes]:
    image = picture("RGB", (7, 6), "photograph")
    files = {name: saved(image, fallback=name) for name in ("raw", "filtered", "webp", "predictor")}
    files["photo"] = saved(image, model=tiny, fallback=False, icc_profile=b"profile", exif=b"Exif\0\0MM")
    files["bitswap"] = saved(image, "BSW", model=tiny_latents, fallback=False, xmp=b"<x/>")
    files["palette"] = saved(picture("P", (7, 6), "few"), transparency=1, dpi=(72, 72))
    files["metadata"] = saved(image, fallback="raw", text={"Title": "two"}, comment=b"words")
    files["frames"] = saved(
        image, save_all=True, append_images=[picture("LA", (3, 4), "few")], duration=[4, 5], fallback="raw"
    )  # raw: other files show what damage does to each method
    return files


@pytest.mark.parametrize(
    "name", ["raw", "filtered", "webp", "predictor", "photo", "bitswap", "palette", "metadata", "frames"]
)
def test_every_truncation_and_every_flipped_bit_is_refused(small_files: dict[str, bytes], name: str) -> None:
    data = small_files[name]
    _load_frames(io.BytesIO(data))
    broken = [data[:size] for size in range(8, len(data))]
    for bit in range(64, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        broken.append(bytes(flipped))
    defect = "truncated|damaged|malformed|trailing|newer|limit"
    for bad in broken:
        with pytest.raises(NeuralCodecError, match=defect):
            _load_frames(io.BytesIO(bad))
        with pytest.raises(NeuralCodecError, match=defect), opened(bad) as image:
            image.verify()


def test_a_damaged_magic_is_unknown_to_pillow(small_files: dict[str, bytes]) -> None:
    data = small_files["raw"]
    for bit in range(64):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnidentifiedImageError):
            opened(bytes(flipped))
    for size in range(8):
        with pytest.raises(UnidentifiedImageError):
            opened(data[:size])


def test_verify_decodes_nothing(small_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pil_neuralcodec.reader.Reader.frame", None)
    image = opened(small_files["photo"])
    image.verify()
    with pytest.raises(RuntimeError, match="directly after open"):
        image.verify()


def test_truncated_images_load_what_survives(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("RGB", (1100, 8), "photograph")
    data = saved(image, model=tiny, fallback=False, icc_profile=b"profile")
    chunks = container.read_header(io.BytesIO(data)).frames[0].segments[0].chunks
    cut = opened(data[: chunks[1].offset + 3])  # opens, as truncated images do in Pillow
    assert cut.size == image.size
    with pytest.raises(TruncatedError):
        cut.load()
    with pytest.raises(TruncatedError):
        opened(data[: chunks[0].offset - 6])  # in the ICC profile
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # now, not when the package was imported
    pixels, expected = np.asarray(cut), np.asarray(image).copy()
    assert pixels[:, :300].any()
    width = int(pixels.any(axis=(0, 2)).nonzero()[0].max()) + 1
    expected[:, width:] = 0
    assert np.array_equal(pixels, expected)
    assert opened(data[: chunks[0].offset - 6]).info == {}
    flipped = bytearray(data)
    flipped[chunks[0].offset] ^= 1
    assert not np.asarray(opened(bytes(flipped)))[:, 0].any()


def test_of_a_truncated_chain_nothing_survives(tiny_latents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(picture("RGB", (90, 70), "photograph"), "BSW", model=tiny_latents, fallback=False)
    with pytest.raises(TruncatedError):
        opened(data[:-9]).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert not np.asarray(opened(data[:-9])).any()


def test_the_incremental_parser(small_files: dict[str, bytes]) -> None:
    for name in ("photo", "bitswap", "raw"):
        data = small_files[name]
        parser = ImageFile.Parser()
        for start in range(0, len(data), 11):
            parser.feed(data[start : start + 11])
        assert_same(parser.close(), opened(data))
        parser = ImageFile.Parser()
        parser.feed(data[:-1])
        with pytest.raises(OSError, match="truncated"):
            parser.close()


def test_copies_and_pickles() -> None:
    image = picture("P", (9, 5), "few", 5)
    data = saved(image, save_all=True, append_images=[picture("L", (3, 3), "flat")], dpi=(72, 72))
    makers: tuple[Callable[[Image.Image], Image.Image], ...] = (
        lambda im: im.copy(), copy.copy, copy.deepcopy, lambda im: pickle.loads(pickle.dumps(im)),
    )  # fmt: skip
    for make in makers:
        made = make(opened(data))
        assert_same(made, image)
        assert made.info == {"dpi": (72.0, 72.0)}
        assert made.tell() == 0
        assert_same(opened(saved(made)), image)


def test_a_spawned_process_knows_pickled_images(tmp_path: Path) -> None:
    picture("RGB", (9, 5), "noise").save(tmp_path / "a.ifl")
    context = multiprocessing.get_context("spawn")  # where nothing but the image brings the plugin
    with Image.open(tmp_path / "a.ifl") as image, context.Pool(1) as pool:
        for function, argument in ((Image.Image.tobytes, image), (Image.open, tmp_path / "a.ifl")):
            found = pool.apply_async(function, (argument,)).get(timeout=120)
            assert (found if isinstance(found, bytes) else found.tobytes()) == image.tobytes()


def smooth(size: tuple[int, int]) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    return Image.fromarray(np.stack([128 + 90 * np.sin(x / 60 + c) * np.cos(y / 50) for c in range(3)], 2).astype("u1"))


def psnr(a: Image.Image, b: Image.Image) -> float:
    assert a.size == b.size
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))))


@pytest.fixture
def decoded_levels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The levels that are decoded, in order."""
    levels: list[int] = []
    frame = Reader.frame

    def noting(self: Reader, index: int = 0, *, level: int = 0, **rest: Any) -> Any:
        levels.append(level)
        return frame(self, index, level=level, **rest)

    monkeypatch.setattr(Reader, "frame", noting)
    return levels


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_thumbnails_come_from_coarse_levels(tiny: str, mode: str, decoded_levels: list[int]) -> None:
    image = smooth((300, 150)).convert(mode)
    data = saved(image, model=tiny, fallback=False)
    decoded_levels.clear()
    for size in (75, 60, 40, 37, 20, 7, 1):
        expected = image.copy()
        expected.thumbnail((size, size))
        preview = opened(data)
        preview.thumbnail((size, size))
        assert psnr(preview, expected) > 40
        assert preview.mode == mode
    assert decoded_levels == [1, 1, 1, 2, 2, 2, 2]  # two levels are checked in images of this size


def test_a_draft_is_about_as_large_as_was_asked_for(tiny: str) -> None:
    preview = opened(saved(smooth((300, 150)), model=tiny, fallback=False))
    assert preview.draft(None, (158, 79)) is None
    assert preview.draft(None, (157, 78)) == ("RGB", (0, 0, 150.0, 75.0))
    assert preview.size == (150, 75)
    assert preview.draft(None, (10, 10)) is None  # once is enough
    preview.load()
    assert preview.size == (150, 75)


def test_thumbnails_of_a_photograph_of_any_size_below_a_quarter(decoded_levels: list[int]) -> None:
    with Image.open(COFFEE) as image:
        photo = image.convert("RGB")
    data = saved(photo, model="photo-fast", fallback=False)
    decoded_levels.clear()
    for size in (157, 150, 149, 100, 75, 37, 16):
        expected = photo.copy()
        expected.thumbnail((size, size))
        preview = opened(data)
        preview.thumbnail((size, size))
        assert psnr(preview, expected) > 31
    assert 0 not in decoded_levels
    preview = opened(data)
    preview.thumbnail((158, 158))
    assert decoded_levels[-1] == 0


def test_thumbnails_of_what_would_alias_come_from_the_whole_image(tiny: str) -> None:
    image = picture("RGB", (256, 256), "noise")
    expected = image.copy()
    expected.thumbnail((64, 64))
    preview = opened(saved(image, model=tiny, fallback=False))
    preview.thumbnail((64, 64))
    assert_same(preview, expected)


def test_drafts_of_other_methods_and_modes_change_nothing(tiny: str) -> None:
    image = smooth((150, 100))
    for data in (saved(image, fallback="webp"), saved(image.convert("P"), model=tiny, fallback=False)):
        again = opened(data)
        assert again.draft(None, (20, 20)) is None
        assert again.size == (150, 100)
    again = opened(saved(image, model=tiny, fallback=False))
    assert again.draft("L", None) is None
    again.load()
    assert again.draft(None, (20, 20)) is None
    assert_same(again, image)


def test_a_damaged_preview_is_refused(tiny: str) -> None:
    data = bytearray(saved(smooth((300, 200)), model=tiny, fallback=False))
    data[-20] ^= 1
    with pytest.raises(NeuralCodecError, match="damaged"):
        opened(bytes(data)).thumbnail((20, 20))


def test_warnings_point_at_the_line_that_caused_them(tmp_path: Path) -> None:
    from pil_neuralcodec import save

    image = Image.new("L", (4, 4))
    image.info["photoshop"] = {1: b"IPTC"}
    for work in (lambda: image.save(tmp_path / "a.ifl"), lambda: save(image, tmp_path / "a.bsw")):
        with pytest.warns(UserWarning, match="not kept: IPTC") as caught:
            work()
        assert [Path(one.filename) for one in caught] == [Path(__file__)]


@pytest.mark.parametrize("key", ["duration", "transparency", "dpi", "loop", "icc_profile", "xmp", "comment"])
def test_texts_of_png_files_have_any_key(key: str) -> None:
    """Those that mean something else in other files, too."""
    info = PngImagePlugin.PngInfo()
    info.add_text(key, "1 hour")
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG", pnginfo=info)
    with Image.open(file) as image:
        data = saved(image)
    assert read_info(data).metadata.present() == ["text"]
    with Image.open(io.BytesIO(data)) as image:
        assert image.info == image.text == {key: "1 hour"}  # type: ignore[attr-defined]
        assert saved(image) == data


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"duration": "40"}, TypeError),
        ({"duration": [None, b"1"]}, TypeError),
        ({"duration": float("nan")}, ValueError),
        ({"duration": float("inf")}, ValueError),
        ({"duration": -1}, ValueError),
        ({"duration": 2**63}, ValueError),
        ({"dpi": (10**400, 1)}, UnsupportedError),
        ({"model": 5}, TypeError),
    ],
)
def test_values_that_cannot_be_written(options: dict[str, Any], error: type[Exception]) -> None:
    image = Image.new("L", (2, 2))
    with pytest.raises(error, match=next(iter(options))):
        saved(image, save_all=True, append_images=[image], **options)


def test_a_frame_that_is_no_image_leaves_the_one_before() -> None:
    segment = Segment(Method.RAW, (0, 1), (b"\x08\x07" + zlib.crc32(b"\7").to_bytes(4, "little"),))
    frames = (Frame(ImageSpec.of("L", 1, 1), (segment,)), Frame(ImageSpec("", 1, 1), (segment,)))
    with Image.open(io.BytesIO(container.write(Header(frames)))) as image:
        with pytest.raises(UnsupportedError, match="no image"):
            image.seek(1)
        assert (image.tell(), image.mode, image.getpixel((0, 0))) == (0, "L", 7)


def test_loading_after_verify() -> None:
    with Image.open(io.BytesIO(saved(Image.new("L", (2, 2))))) as image:
        image.verify()
        with pytest.raises(OSError, match="cannot load"):
            image.load()


class Narrow(io.RawIOBase):
    """A file without a buffer, which takes a few bytes at a time, up to a number of them."""

    def __init__(self, room: int) -> None:
        self.data, self.room = b"", room

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        taken = bytes(data)[: min(9, self.room - len(self.data))]
        self.data += taken
        return len(taken)


def test_saving_to_a_file_that_takes_a_part() -> None:
    """As one on a disk that is nearly full."""
    image = Image.new("RGB", (20, 20), "red")
    file = Narrow(1000)
    image.save(file, "IFL")
    assert file.data == saved(image)
    with pytest.raises(OSError, match="takes no more"):
        image.save(Narrow(20), "IFL")
