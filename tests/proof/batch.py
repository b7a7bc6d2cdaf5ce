"""A folder of mixed files, as a batch that is interrupted: ``python -m proof.batch [COUNT [FOLDER]]``.

Photographs, HEIC, AVIF, JPEG XL, JPEG, CMYK, palettes, animations, 16 bits, arrays, stacks of TIFF, broken, empty, huge
and foreign files, links, and names of all kinds are made, mostly small. ``encode --jobs 2`` gets SIGTERM after a third
of them and goes on with ``--skip-existing``; then ``verify --deep`` and ``decode``. Each file must come back with the
very samples that it was made of, as a library of its format reads them, and with its metadata; or a line must say why
not.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import skimage.data
import tifffile
from PIL import Image, features

from pil_neuralcodec import save

Samples = list[np.ndarray]
PHOTOS = "astronaut", "coffee", "chelsea", "rocket", "retina", "hubble_deep_field", "immunohistochemistry"
GRAYS = "camera", "moon", "coins", "page", "text", "brick", "grass", "gravel", "clock", "cell"
START = "from pil_neuralcodec.cli import main; main()"
LIMIT = 20
"""Seconds within which all processes must have ended after SIGTERM, on a machine that is busy with other work too."""


@dataclass
class Made:
    """A file, the samples of its frames (None: it holds none), and what else it must come back with."""

    path: Path
    samples: Samples | None
    metadata: dict[str, Any] = field(default_factory=dict)


class Maker:
    """Makes files of all kinds in a folder, the same each time."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.folder = folder
        self.made: list[Made] = []
        self.number = 0

    def photo(self, largest: int = 200) -> np.ndarray:
        """A piece of a photograph, (H, W, 3) uint8."""
        return self._piece(_photo(str(self.rng.choice(PHOTOS))), largest)

    def gray(self, largest: int = 200) -> np.ndarray:
        """A piece of a gray photograph, (H, W) uint8."""
        return self._piece(_photo(str(self.rng.choice(GRAYS))), largest)

    def _piece(self, whole: np.ndarray, largest: int) -> np.ndarray:
        sides = [int(self.rng.integers(min(16, side), min(largest, side) + 1)) for side in whole.shape[:2]]
        top, left = (int(self.rng.integers(0, side - part + 1)) for side, part in zip(whole.shape, sides, strict=False))
        return np.ascontiguousarray(whole[top : top + sides[0], left : left + sides[1]])

    def path(self, suffix: str) -> Path:
        """A path for the next file; some lie in folders below, and have unusual names."""
        self.number += 1
        pattern = str(self.rng.choice(["IMG_{}", "IMG_{}", "a b {}", "ünïcödé {}", "x.y.{}", "-n{}"]))
        below = self.folder / str(self.rng.choice([".", ".", "below", "below/further"]))
        below.mkdir(parents=True, exist_ok=True)
        return below / (pattern.format(self.number) + suffix)

    def add(self, path: Path, samples: Samples | None, **metadata: Any) -> None:
        """Note a file that was made."""
        self.made.append(Made(path, samples, metadata))

    def by_pillow(self, image: Image.Image, suffix: str, lossy: bool = False, **options: Any) -> Path:
        """Write an image by Pillow; a lossy format's samples are those that Pillow reads."""
        path = self.path(suffix)
        image.save(path, **options)
        kept = {key: options[key] for key in ("icc_profile", "exif") if key in options}
        samples = [np.asarray(image)] if not lossy and image.mode != "P" else by_pillow(path)
        self.add(path, samples, **kept)
        return path

    def fill(self, count: int) -> list[Made]:
        """Make ``count`` files or a few more, each kind in its turn."""
        for kind in cycle(kind for kind in KINDS if kind not in _MISSING or _MISSING[kind]()):
            if len(self.made) >= count:
                return self.made
            kind(self)
        raise AssertionError("there is no kind")


@cache
def _photo(name: str) -> np.ndarray:
    return np.asarray(getattr(skimage.data, name)())


def by_pillow(path: Path) -> Samples:
    """The frames of a file as Pillow reads them, palettes as colours."""
    found = []
    with Image.open(path) as image:
        for frame in range(getattr(image, "n_frames", 1)):
            image.seek(frame)
            image.load()
            found.append(np.asarray(image.convert("RGBA") if image.mode in ("P", "PA") else image))
    return found


def photo_png(maker: Maker) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = int(maker.rng.integers(1, 9))
    maker.by_pillow(Image.fromarray(maker.photo()), ".png", exif=exif.tobytes(), icc_profile=PROFILE)


def photo_jpeg(maker: Maker) -> None:
    quality, sampling = int(maker.rng.choice([60, 85, 92, 99])), int(maker.rng.integers(3))
    image = Image.fromarray(maker.photo(300))
    maker.by_pillow(
        image, str(maker.rng.choice([".jpg", ".JPG", ".jpeg"])), True, quality=quality, subsampling=sampling
    )


def same_stem(maker: Maker) -> None:
    image = Image.fromarray(maker.photo())
    path = maker.by_pillow(image, ".png")
    for suffix, lossy in ((".jpg", True), (".webp", True), (".bmp", False)):
        other = path.with_suffix(suffix)
        image.save(other)
        maker.add(other, by_pillow(other) if lossy else [np.asarray(image)])


def heic(maker: Maker) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    maker.by_pillow(Image.fromarray(maker.photo()), ".heic", True)


def avif(maker: Maker) -> None:
    maker.by_pillow(Image.fromarray(maker.photo()), ".avif", True)


def jpeg_xl(maker: Maker) -> None:
    array, path = maker.photo().astype("u2") * 257, maker.path(".jxl")
    path.write_bytes(imagecodecs.jpegxl_encode(array, lossless=True))
    maker.add(path, [array])


def modes(maker: Maker) -> None:
    mode = str(maker.rng.choice(["1", "LA", "RGBA", "P", "L"]))
    maker.by_pillow(Image.fromarray(maker.photo()).convert("L" if mode == "LA" else "RGB").convert(mode), ".png")


def cmyk(maker: Maker) -> None:
    image = Image.fromarray(maker.photo()).convert("CMYK")
    if maker.rng.integers(2):
        maker.by_pillow(image, ".jpg", True)
    else:
        maker.by_pillow(image, ".tif", compression="tiff_lzw")


def deep_gray(maker: Maker) -> None:
    maker.by_pillow(Image.fromarray(maker.gray().astype("u2") * 201 + 7), ".png")


def deep_colour(maker: Maker) -> None:
    array = maker.photo().astype("u2") * 201 + 7
    if maker.rng.integers(2):
        path = maker.path(".png")
        path.write_bytes(imagecodecs.png_encode(array))
    else:
        path = maker.path(".tiff")
        tifffile.imwrite(path, array, photometric="rgb", metadata=None)
    maker.add(path, [array])


def animation(maker: Maker) -> None:
    first = maker.photo(90)
    suffix = str(maker.rng.choice([".gif", ".png", ".webp"]))
    frames = [Image.fromarray(np.roll(first, 5 * shift, axis=1)) for shift in range(4)]
    path = maker.path(suffix)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=40, **({"lossless": True} if suffix == ".webp" else {})
    )
    maker.add(path, by_pillow(path))


def floats(maker: Maker) -> None:
    array, path = (maker.gray(80) / 7).astype("f4"), maker.path(".tif")
    tifffile.imwrite(path, array, metadata=None)
    maker.add(path, [array])


def npy(maker: Maker) -> None:
    dtype = str(maker.rng.choice(["u1", "i2", "f4", "f8", ">u2", "b1", "u8"]))
    array = maker.rng.poisson(90, maker.rng.integers(5, 40, 2)).astype(dtype)
    path = maker.path(".npy")
    np.save(path, array)
    maker.add(path, [array])


def npz(maker: Maker) -> None:
    array, path = maker.rng.poisson(40, (7, 20, 30)).astype("u2"), maker.path(".npz")
    np.savez_compressed(path, stack=array)
    maker.add(path, [array])


def stack(maker: Maker) -> None:
    array = np.stack([maker.gray(1000)[:16, :16] for _ in range(6)]).astype("u2").reshape(2, 3, 16, 16)
    kind = {"ome": True, "imagej": False} if maker.rng.integers(2) else {"imagej": True}
    path = maker.path(".ome.tif" if kind.get("ome") else ".tif")
    tifffile.imwrite(path, array, metadata={"axes": "ZCYX"}, **kind)
    maker.add(path, [array])


def pages(maker: Maker) -> None:
    frames = [Image.fromarray(maker.photo(60)) for _ in range(3)]
    path = maker.path(".tif")
    frames[0].save(path, save_all=True, append_images=frames[1:])
    maker.add(path, [np.asarray(frame) for frame in frames])


def cut_off(maker: Maker) -> None:
    for suffix, format in ((".png", "PNG"), (".jpg", "JPEG"), (".tif", "TIFF")):
        file, path = io.BytesIO(), maker.path(suffix)
        Image.fromarray(maker.photo()).save(file, format)
        path.write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
        maker.add(path, None)


def no_image(maker: Maker) -> None:
    for suffix, data in (
        (".png", b""),
        (".jpg", b"not a picture at all"),
        (".npy", b"\x93NUMPY\x01"),
        (".txt", b"text"),
    ):
        path = maker.path(suffix)
        path.write_bytes(data)
        maker.add(path, None)


def no_numbers(maker: Maker) -> None:
    for array in (np.array([None, "a"], object), np.zeros((4, 4), "c8"), np.zeros((0, 4)), np.arange(9)):
        path = maker.path(".npy")
        np.save(path, array)
        maker.add(path, None)


def wrong_suffix(maker: Maker) -> None:
    path, image = maker.path(".png"), Image.fromarray(maker.photo())
    image.save(path, "BMP")
    maker.add(path, [np.asarray(image)])


def links(maker: Maker) -> None:
    target = maker.by_pillow(Image.fromarray(maker.gray()), ".png")
    link, nowhere, round_ = maker.path(".png"), maker.path(".png"), maker.path(".png")
    link.symlink_to(target.resolve())
    nowhere.symlink_to("nowhere.png")
    round_.symlink_to(round_.name)
    folder = maker.path("")
    folder.symlink_to(maker.folder.resolve(), target_is_directory=True)
    maker.add(link, by_pillow(target))
    for path in (nowhere, round_):
        maker.add(path, None)


def huge(maker: Maker) -> None:
    """A small file that claims 1.6 gigapixels."""
    path = maker.path(".png")
    head = b"IHDR" + (40000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunks = [head, b"IDAT" + imagecodecs.zlib_encode(b"\0" * 1000), b"IEND"]
    crcs = [imagecodecs.zlib_crc32(chunk).to_bytes(4, "big") for chunk in chunks]
    parts = [(len(chunk) - 4).to_bytes(4, "big") + chunk + crc for chunk, crc in zip(chunks, crcs, strict=True)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    maker.add(path, None)


def large(maker: Maker) -> None:
    """Two megapixels, once."""
    if not any(made.path.suffix == ".ppm" for made in maker.made):
        maker.by_pillow(Image.fromarray(_photo("coffee")).resize((1700, 1200)), ".ppm")


def ready(maker: Maker) -> None:
    path = maker.path(".ifl")
    save(Image.fromarray(maker.gray(40)), path)
    maker.add(path, None)


KINDS: list[Callable[[Maker], None]] = [
    photo_png, photo_jpeg, same_stem, heic, cut_off, huge, deep_colour, links, animation, cmyk, npy, stack, deep_gray,
    modes, no_image, avif, jpeg_xl, floats, npz, pages, no_numbers, wrong_suffix, ready,
    large,
]  # fmt: skip


def _has_heif() -> bool:
    with suppress(ImportError):
        import pillow_heif

        return bool(pillow_heif)
    return False


_MISSING: dict[Callable[[Maker], None], Callable[[], bool]] = {heic: _has_heif, avif: lambda: features.check("avif")}
"""What tells whether a kind can be made here."""


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


PROFILE = _profile()


def read_back(path: Path, like: Samples) -> Samples:
    """The samples of a decoded file, by a library of its format."""
    if path.suffix == ".npy":
        found = np.load(path)
        return list(found) if len(like) > 1 else [found]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return [arrays[key] for key in arrays.files]
    if like[0].dtype.itemsize > 1 and like[0].ndim > 2:
        if path.suffix.startswith(".tif"):
            return [tifffile.imread(path)]
        decoder = imagecodecs.jpegxl_decode if path.suffix == ".jxl" else imagecodecs.png_decode
        return [decoder(path.read_bytes())]
    return by_pillow(path)


def difference(made: Made, back: Path) -> str | None:
    """What of a file did not come back; None where all did."""
    assert made.samples is not None
    found = read_back(back, made.samples)
    if len(found) != len(made.samples):
        return f"{len(found)} of {len(made.samples)} frames"
    for one, other in zip(made.samples, found, strict=True):
        if one.shape != other.shape or one.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
            return f"{other.dtype} {other.shape} instead of {one.dtype} {one.shape}"
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            return "other samples"
    if made.metadata:
        with Image.open(back) as image:
            image.load()
            lost = [key for key, value in made.metadata.items() if image.info.get(key) != value]
        return f"without {', '.join(lost)}" if lost else None
    return None


def command(*args: object) -> list[str]:
    """A command line of ours."""
    return [sys.executable, "-c", START, *map(str, args)]


def outcomes(*args: object) -> dict[Path, dict[str, Any]]:
    """What a command tells of each file."""
    result = subprocess.run(command(*args, "--json"), capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert "summary" in lines[-1]
    return {Path(line["file"]): line for line in lines[:-1]}


def interrupted(after: int, *args: object) -> tuple[int, float]:
    """Start a command, send SIGTERM once so many files are told, and see that nothing goes on.

    Returns how many files were done, and the seconds until all its processes had ended.
    """
    process = subprocess.Popen(command(*args, "--json"), stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    done, sent = 0, 0.0
    for line in process.stdout:
        done += json.loads(line).get("status") in ("done", "failed")
        if done == after:
            process.send_signal(signal.SIGTERM)
            sent = time.monotonic()
            break
    told = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=LIMIT) == 128 + signal.SIGTERM, "it ended before the signal"
    assert json.loads(told.splitlines()[-1])["summary"]["stopped"] == "SIGTERM"
    with suppress(ProcessLookupError):
        while time.monotonic() < sent + LIMIT:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
        raise AssertionError(f"a process still lives after {LIMIT} seconds")
    return done, time.monotonic() - sent


def prove(folder: Path, count: int, *options: object) -> Iterator[str]:
    """Make the folder ``in`` and let it go ``out`` and ``back``; lines that say what became of it. Raises
    ``AssertionError`` for a file that neither came back nor was told of."""
    source, out, back = (folder / name for name in ("in", "out", "back"))
    source.mkdir(parents=True)
    made = Maker(source).fill(count)
    there = {path for path in source.rglob("*") if path.is_symlink() or path.is_file()}
    work = "encode", source, "-o", f"{out}/", "--keep-suffix", "--jobs", 2, *options
    first, taken = interrupted(count // 3, *work)
    halves = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".ifl"]
    assert not halves, f"half files: {halves}"
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.ifl")}
    yield f"{len(made)} files; SIGTERM after {first}: all processes ended in {taken:.1f} s, {len(kept)} whole files"
    encoded = outcomes(*work, "--skip-existing")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()), "a finished file was written again"
    assert set(encoded) == there, f"not told of: {there ^ set(encoded)}"
    verified = outcomes("verify", out, "--deep", "--jobs", 2)
    assert {line["status"] for line in verified.values()} == {"done"}
    decoded = outcomes("decode", out, "-o", f"{back}/", "--jobs", 2)
    assert set(decoded) == set(verified)
    yield f"{len(verified)} encoded, verified and decoded"
    told: Counter[str] = Counter()
    for one in made:
        line = encoded[one.path]
        target = out / one.path.relative_to(source).with_name(one.path.name + ".ifl")
        if line["status"] == "done" or line["message"] == "done before":
            assert one.samples is not None, f"{one.path} is no image, and was encoded"
            again = decoded[target]
            if again["status"] == "failed":
                told[f"kept, but not written as {one.path.suffix}: {again['message']}"] += 1
                continue
            lost = difference(one, Path(again["target"]))
            warned = [text for text in (*line["warnings"], *again["warnings"]) if text.startswith("not kept")]
            assert lost is None or (lost.startswith("without") and warned), f"{one.path}: {lost}; told: {warned}"
            told["came back, all of it" if lost is None else f"came back {lost}, as was told"] += 1
        else:
            assert not target.exists()
            assert line["message"]
            told[f"{line['status']}: {_general(line['message'], one.path)}"] += 1
            if one.samples is not None:
                yield f"{one.path.name} {one.samples[0].dtype} {one.samples[0].shape}: {line['message']}"
    for text, number in told.most_common():
        yield f"{number:4} {text}"
    assert sum(told.values()) == len(made)


def _general(message: str, path: Path) -> str:
    """A message without what is of one file alone."""
    return re.sub(r"\(\d+ bytes", "(N bytes", message.replace(str(path), "FILE"))


def main() -> None:
    """Print what became of the files."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch)
        for line in prove(folder, count):
            print(line, flush=True)


if __name__ == "__main__":
    main()
