"""What file formats hold, as Pillow's plugins write and read them: ``python benchmarks/features.py [NAME...]``.

Prints the table of docs/peers.md: each cell is the outcome of a test below. Every format is written by its lossless
setting. Plugins that are not installed are left out; ``pip install pillow-jxl-plugin pillow_heif imagecodecs``.
"""

from __future__ import annotations

import io
import sys
import time
import timeit
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

import pil_neuralcodec
from pil_neuralcodec import plugins

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"
MODES = "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"
FLIPS = 40
"""Bits that are flipped, one at a time."""
LESS = 0.6
"""Share of the CPU time of a whole image below which a part of it counts as decoded alone."""
_ERRORS = OSError, ValueError, SyntaxError, KeyError, TypeError, RuntimeError, EOFError


@dataclass
class Format:
    """A format as one of Pillow's plugins writes it.

    ``distribution`` : where it comes from. ``options`` : those of its lossless setting. ``decoder`` : another decoder
    of it, of imagecodecs. ``deep`` : what writes an array of 16 bits and three bands, and reads it.
    """

    title: str
    name: str
    distribution: str
    options: dict[str, Any] = field(default_factory=dict)
    decoder: str | None = None
    deep: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this package."""
        return self.distribution == "pil_neuralcodec"

    def saved(self, image: Image.Image, **more: Any) -> bytes:
        """The bytes of a file."""
        file = io.BytesIO()
        image.save(file, self.name, **self.options, **more)
        return file.getvalue()


def opened(data: bytes) -> Image.Image:
    """An image of the bytes of a file."""
    return Image.open(io.BytesIO(data))


def loaded(data: bytes) -> Image.Image:
    """The same, decoded."""
    image = opened(data)
    image.load()
    return image


def works(test: Callable[[], bool]) -> bool:
    """Whether a test passes; what is refused does not."""
    try:
        return test()
    except _ERRORS:
        return False


def word(value: bool) -> str:
    """A cell."""
    return "yes" if value else "no"


def photo(side: int = 64) -> Image.Image:
    """A piece of a photograph, RGB."""
    with Image.open(COFFEE) as image:
        whole = image.convert("RGB")
    return whole.crop((200, 100, 200 + side, 100 + side)) if side <= 256 else whole.resize((side, side))


def sample(mode: str) -> Image.Image:
    """An image of a mode, with values of its own."""
    image = photo(40)
    rng = np.random.default_rng(0)
    if mode in ("1", "L", "CMYK", "YCbCr", "HSV", "RGBX"):
        return image.convert(mode)
    if mode in ("P", "PA"):
        return image.quantize(60).convert(mode)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        lab = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        assert lab is not None
        return lab
    if mode in ("LA", "RGBA"):
        alpha = Image.fromarray(rng.integers(1, 256, (40, 40), np.uint8))
        image = image.convert(mode[:-1])
        image.putalpha(alpha)
        return image
    scale: dict[str, tuple[float, str]] = {"I;16": (201, "u2"), "I": (-70000, "i4"), "F": (1 / 7, "f4")}
    if mode in scale:
        factor, dtype = scale[mode]
        return Image.fromarray((np.asarray(image.convert("L"), np.float64) * factor).astype(dtype))
    return image


def same(one: Image.Image, other: Image.Image) -> bool:
    """Whether mode, size, pixels and palette are the same."""
    alike = (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
    return alike and (one.palette is None or one.getpalette() == other.getpalette())


def exactness(format: Format) -> str:
    """RGB comes back bit for bit."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8))
    return word(all(works(lambda image=image: same(image, loaded(format.saved(image)))) for image in (photo(), noise)))


def modes(format: Format) -> str:
    """Modes that come back bit for bit."""

    def is_kept(mode: str) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return works(lambda: same(sample(mode), loaded(format.saved(sample(mode)))))

    kept = [mode for mode in MODES if is_kept(mode)]
    return f"all {len(MODES)}" if len(kept) == len(MODES) else ", ".join(kept) or "none"


def hidden_colours(format: Format) -> str:
    """Colours under full transparency."""
    image = sample("RGBA")
    image.putalpha(0)
    return word(works(lambda: same(image, loaded(format.saved(image)))))


def deep_colour(format: Format) -> str:
    """16-bit RGB, bit for bit."""
    array = np.asarray(photo(40)).astype("u2") * 257 - 1

    def by_pillow() -> np.ndarray:
        return np.asarray(loaded(format.saved(Image.fromarray(array))))

    return word(works(lambda: np.array_equal(by_pillow() if format.deep is None else format.deep(array), array)))


def float_samples(format: Format) -> str:
    """Floats."""
    return word(works(lambda: same(sample("F"), loaded(format.saved(sample("F"))))))


def palette(format: Format) -> str:
    """Palette with a transparent entry."""
    image = sample("P")
    return word(works(lambda: same(image, loaded(format.saved(image, transparency=3))) and _transparent(format, image)))


def _transparent(format: Format, image: Image.Image) -> bool:
    return loaded(format.saved(image, transparency=3)).info.get("transparency") == 3


def about(format: Format) -> str:
    """Metadata."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
    image, found = photo(40), []
    for name, key, value in (("ICC", "icc_profile", profile), ("XMP", "xmp", xmp), ("dpi", "dpi", (72.0, 144.0))):
        image.info = {key: value}
        with suppress(*_ERRORS):
            if loaded(format.saved(image, **{key: value})).info.get(key) == value:
                found.append(name)
    with suppress(*_ERRORS):
        if loaded(format.saved(image, exif=exif.tobytes())).getexif().get(0x010F) == "Maker":
            found.insert(0, "EXIF")
    image.info = {"Title": "a text of a PNG file"}
    with suppress(*_ERRORS):
        if loaded(format.saved(image)).info.get("Title") == image.info["Title"]:
            found.append("texts")
    return ", ".join(found) or "none"


def animation(format: Format) -> str:
    """Frames with a duration each."""
    frames = [photo(40).rotate(90 * turns) for turns in range(3)]
    times = [40, 80, 120]
    try:
        image = opened(format.saved(frames[0], save_all=True, append_images=frames[1:], duration=times))
    except _ERRORS:
        return "no"
    if getattr(image, "n_frames", 1) != 3:
        return "no"
    exact = True
    for number, frame in enumerate(frames):
        image.seek(number)
        image.load()
        exact &= image.convert("RGB").tobytes() == frame.tobytes()
        if image.info.get("duration") != times[number]:
            return "without durations"
    return "yes" if exact else "not bit for bit"


def sizes_of_frames(format: Format) -> str:
    """Frames of different modes and sizes."""

    def test() -> bool:
        others = [sample("L"), photo(20)]
        image = opened(format.saved(photo(), save_all=True, append_images=others))
        for number, frame in enumerate([photo(), *others]):
            image.seek(number)
            image.load()
            if not same(frame, image):
                return False
        return True

    return word(works(test))


def codecs(format: Format) -> str:
    """Codecs for chunked arrays."""
    groups = {"numcodecs.codecs": "numcodecs", "zarr.codecs": "zarr"}
    points = metadata.distribution(format.distribution).entry_points
    found = [title for group, title in groups.items() if any(point.group == group for point in points)]
    return ", ".join(found) or "no"


def seconds(work: Callable[[], object]) -> float:
    """The least CPU time of three runs, of all threads."""
    return min(timeit.repeat(work, number=1, repeat=3, timer=time.process_time))


def region(format: Format) -> str:
    """A region decodes for less."""
    data = format.saved(photo(1024), **({"past": False} if format.is_ours else {}))
    box = 0, 0, 64, 64
    whole = seconds(lambda: loaded(data))
    if format.is_ours:
        return word(seconds(lambda: pil_neuralcodec.decode(data, region=box)) < LESS * whole)
    return word(seconds(lambda: opened(data).crop(box)) < LESS * whole)


def thumbnail(format: Format) -> str:
    """A thumbnail decodes for less."""
    data = format.saved(photo(512), **({"past": False} if format.is_ours else {}))
    return word(seconds(lambda: opened(data).thumbnail((64, 64))) < LESS * seconds(lambda: loaded(data)))


def truncation(format: Format) -> str:
    """Cut files that are refused."""
    data = format.saved(photo())
    cuts = [len(data) * share // 20 for share in range(10, 20)] + [len(data) - 1]
    return f"{sum(not works(lambda cut=cut: bool(loaded(data[:cut]))) for cut in cuts)} of {len(cuts)}"


def damage(format: Format) -> str:
    """Flipped bits that give wrong pixels in silence."""
    image = photo()
    data = format.saved(image)
    silent = 0
    for place in np.random.default_rng(2).integers(0, 8 * len(data), FLIPS):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        silent += works(lambda flipped=flipped: not same(image, loaded(bytes(flipped))))
    return f"{silent} of {FLIPS}"


def other_decoder(format: Format) -> str:
    """Another decoder gives the same pixels."""
    image = photo(40)
    if format.is_ours:
        data = format.saved(image, fallback=False)
        return word(np.array_equal(pil_neuralcodec.decode(data, device="numpy"), np.asarray(image)))
    if format.decoder is None or find_spec("imagecodecs") is None:
        return "not tested"
    decode = getattr(import_module("imagecodecs"), format.decoder)
    return word(works(lambda: np.array_equal(decode(format.saved(image)), np.asarray(image))))


ROWS: list[Callable[[Format], str]] = [
    exactness,
    modes,
    hidden_colours,
    deep_colour,
    float_samples,
    palette,
    about,
    animation,
    sizes_of_frames,
    codecs,
    region,
    thumbnail,
    truncation,
    damage,
    other_decoder,
]
"""The rows of the table: what each of them says is its docstring."""


def _our_deep(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: np.asarray(pil_neuralcodec.decode(pil_neuralcodec.encode(array, format=name)))


def _deep_heif(array: np.ndarray) -> np.ndarray:
    heif, file = import_module("pillow_heif"), io.BytesIO()
    heif.encode("RGB;16", array.shape[1::-1], array.tobytes(), file, quality=-1, chroma=444, matrix_coefficients=0)
    return np.asarray(heif.open_heif(file, convert_hdr_to_8bit=False))


FORMATS = {
    "ifl": Format(".ifl", "IFL", "pil_neuralcodec", deep=_our_deep("ifl")),
    "bsw": Format(".bsw", "BSW", "pil_neuralcodec", deep=_our_deep("bsw")),
    "jxl": Format("JPEG XL", "JXL", "pillow-jxl-plugin", {"lossless": True}, "jpegxl_decode"),
    "heif": Format(
        "HEIF",
        "HEIF",
        "pillow_heif",
        {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
        None,
        _deep_heif,
    ),
    "avif": Format("AVIF", "AVIF", "pillow", {"quality": 100, "subsampling": "4:4:4"}, "avif_decode"),
    "webp": Format("WebP", "WEBP", "pillow", {"lossless": True, "exact": True}, "webp_decode"),
}


def installed() -> dict[str, Format]:
    """The formats that can be written here."""
    plugins.load()
    Image.init()
    found = {name: one for name, one in FORMATS.items() if one.name in Image.SAVE}
    if not features.check("avif"):
        found.pop("avif", None)
    return found


def title(row: Callable[[Format], str]) -> str:
    """What stands before a row."""
    return str(row.__doc__).rstrip(".")


def column(format: Format) -> list[str]:
    """The cells of a format, row by row."""
    return [row(format) for row in ROWS]


def main() -> None:
    """Print the table."""
    here = installed()
    chosen = {name: here[name] for name in sys.argv[1:] or here}
    cells = [column(format) for format in chosen.values()]
    print("| | " + " | ".join(format.title for format in chosen.values()) + " |\n|---" + "|---" * len(chosen) + "|")
    for row, *line in zip(ROWS, *cells, strict=True):
        print("| " + " | ".join([title(row), *line]) + " |")
    versions = {format.distribution: metadata.version(format.distribution) for format in chosen.values()}
    print("\nVersions:", ", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
