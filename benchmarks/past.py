"""What was a JPEG file: how much of it is found again, and how small it gets.

``python benchmarks/past.py made FILE...`` saves photographs as JPEG files of many kinds, opens them with several
decoders, cuts them, and says what share of pixels the found coefficients give and how the payload compares with the
JPEG file. ``python benchmarks/past.py files FILE...`` takes JPEG files as they are, and says beside it what JPEG XL
makes of the files themselves. ``python benchmarks/past.py question FILE...`` says what share of the time of encoding an
image without such a past pays for the question. ``python benchmarks/past.py shrunk FILE...`` says what a lattice as a
prior gains and costs, ``--by 0.6`` of photographs that are shrunk first. ``python benchmarks/past.py edited FILE...``
gives photographs other contrast, and says what ranks of the samples that occur gain.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import imagecodecs
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from pil_neuralcodec import decode, encode, models
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.colour.past import undo
from pil_neuralcodec.container import Method
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.tile import TILE, TileCoder
from pil_neuralcodec.jpeg.exceptions import Exceptions
from pil_neuralcodec.jpeg.recover import recover
from pil_neuralcodec.methods import direct
from pil_neuralcodec.training.data import read_rgb

SIDE = 384
SAMPLINGS = {"4:4:4": "444", "4:2:2": "422", "4:4:0": "440", "4:2:0": "420"}
QUALITIES = (30, 50, 75, 85, 90, 95, 98, 100)


def with_pillow(data: bytes) -> np.ndarray:
    """Pixels (H, W, B)."""
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels.reshape(*pixels.shape[:2], -1)


def with_imagecodecs(data: bytes) -> np.ndarray:
    """Pixels (H, W, B)."""
    pixels = imagecodecs.jpeg8_decode(data)
    return pixels.reshape(*pixels.shape[:2], -1)


def with_opencv(data: bytes) -> np.ndarray:
    """Pixels (H, W, B)."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[:, :, None] if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])


def measure(data: bytes, decode: Callable[[bytes], np.ndarray] = with_pillow, cut: tuple[int, int] = (0, 0)) -> str:
    """Share of pixels found and payload over file, for pixels that lack ``cut`` rows and columns at two sides each."""
    whole = decode(data)
    rows, columns = cut
    pixels = np.ascontiguousarray(whole[rows : len(whole) - 2 * rows, columns : whole.shape[1] - 2 * columns])
    found, payload = recover(pixels), direct.encode(Method.JPEG, pixels)
    if found is None or payload is None:
        return "none"
    area = pixels.shape[0] * pixels.shape[1]
    share = 1 - found.wrong(pixels) / area
    return f"{100 * share:.2f} {len(payload) / (len(data) * area / (whole.shape[0] * whole.shape[1])):.3f}"


def saved(pixels: np.ndarray, **options: object) -> bytes:
    """A JPEG file as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@click.group()
def main() -> None:
    """Measure what is found of JPEG files."""


def _row(name: str, results: list[str]) -> None:
    some = np.array([[float(number) for number in one.split()] for one in results if one != "none"])
    text = "- | -"
    if len(some):
        text = f"{some[:, 0].mean():.2f} % ({some[:, 0].min():.2f}) | {some[:, 1].mean():.3f}"
    print(f"| {name} | {len(some)} of {len(results)} | {text} |", flush=True)


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
def made(files: tuple[Path, ...]) -> None:
    """Files of many kinds, made of photographs: their middle, at half the size."""
    images = []
    for path in files:
        image = Image.fromarray(read_rgb(path))
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        images.append(np.asarray(image)[:SIDE, :SIDE])
    print("| file | found | pixels (least) | payload / file |\n|---|---|---|---|")
    for quality in QUALITIES:
        for name, sampling in SAMPLINGS.items():
            encoded = [imagecodecs.jpeg8_encode(one, level=quality, subsampling=sampling) for one in images]
            _row(f"quality {quality}, {name}", [measure(data) for data in encoded])
    kinds: dict[str, dict[str, object]] = {"progressive": {"progressive": True}, "optimised": {"optimize": True}}
    for name, options in kinds.items():
        _row(f"quality 85, 4:2:0, {name}", [measure(saved(one, quality=85, **options)) for one in images])
    tables = [list(range(8, 72)), [9 + 2 * (i // 3) for i in range(64)]]
    _row("tables of no encoder, 4:4:4", [measure(saved(one, qtables=tables, subsampling=0)) for one in images])
    for quality in (75, 92):
        grays = [np.asarray(Image.fromarray(one).convert("L")) for one in images]
        _row(f"quality {quality}, gray", [measure(saved(one, quality=quality)) for one in grays])
        for name, step in (("4:4:4", 0), ("4:2:0", 2)):
            odd = [
                saved(one[: len(one) - 13, : one.shape[1] - 22], quality=quality, subsampling=step) for one in images
            ]
            _row(f"quality {quality}, {name}, odd sizes", [measure(data) for data in odd])
            whole = [saved(one, quality=quality, subsampling=step) for one in images]
            for cut in ((1, 3), (8, 8), (5, 11), (16, 16)):
                _row(f"quality {quality}, {name}, cut by {cut}", [measure(data, cut=cut) for data in whole])
    for tool in (with_pillow, with_opencv, with_imagecodecs):
        for name, sampling in SAMPLINGS.items():
            encoded = [imagecodecs.jpeg8_encode(one, level=85, subsampling=sampling) for one in images]
            _row(f"quality 85, {name}, {tool.__name__.replace('_', ' ')}", [measure(data, tool) for data in encoded])


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--crop", default=1, help="Sides of the pixels are multiples of this.")
def files(files: tuple[Path, ...], crop: int) -> None:
    """JPEG files, and JPEG XL's transcoding of them."""
    total: defaultdict[str, float] = defaultdict(float)
    shares, blocks = [], []
    for path in files:
        data = path.read_bytes()
        whole = np.asarray(Image.open(path).convert("RGB"))
        pixels = np.ascontiguousarray(whole[: len(whole) // crop * crop, : whole.shape[1] // crop * crop])
        if (pixels == pixels[:, :, :1]).all():
            pixels = np.ascontiguousarray(pixels[:, :, :1])
        begin = time.process_time()
        payload = direct.encode(Method.JPEG, pixels)
        total["seconds to encode"] += time.process_time() - begin
        if payload is None:
            print(f"{path.name}: not found")
            continue
        begin = time.process_time()
        assert np.array_equal(direct.decode(Method.JPEG, payload, pixels.shape, np.uint8), pixels)
        total["seconds to decode"] += time.process_time() - begin
        found = recover(pixels)
        assert found is not None
        left = Exceptions(pixels, found.decoded)
        shares.append(left.bits(left.header()) / 8 / len(payload) if left else 0.0)
        wrong = (found.decoded != pixels).any(axis=2)
        rows, columns = wrong.shape[0] // 8, wrong.shape[1] // 8
        blocks.append(1 - wrong[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).any(axis=(1, 3)).mean())
        total["payload"] += len(payload)
        total["subpixels"] += pixels.shape[0] * pixels.shape[1] * 3
        total["subpixels of files"] += whole.size
        total["JPEG files"] += len(data)
        total["JPEG XL of the files"] += len(imagecodecs.jpegxl_encode_jpeg(data))
    for name, number in total.items():
        print(f"{name}: {number:.2f}")
    print(f"{len(shares)} of {len(files)} found")
    print(f"bits per subpixel: payload {8 * total['payload'] / total['subpixels']:.4f}", end="")
    for name in ("JPEG files", "JPEG XL of the files"):
        print(f", {name} {8 * total[name] / total['subpixels of files']:.4f}", end="")
    print(f"\nblocks of 8 x 8 that are right: {100 * np.mean(blocks):.2f} % (median {100 * np.median(blocks):.2f} %)")
    print(f"at most 1 % of bytes in exceptions: {sum(share <= 0.01 for share in shares)}; most {max(shares):.4f}")


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
def question(files: tuple[Path, ...]) -> None:
    """Images that were no JPEG files, in colour and in gray."""
    for mode in ("RGB", "L"):
        asked = whole = 0.0
        for number, path in enumerate(files):
            pixels = np.asarray(Image.fromarray(read_rgb(path)).convert(mode))
            if not number:
                encode(pixels)  # tables and models are made once
            begin = time.process_time()
            found = direct.encode(Method.JPEG, pixels.reshape(*pixels.shape[:2], -1))
            middle = time.process_time()
            encode(pixels)
            asked, whole = asked + middle - begin, whole + time.process_time() - middle
            if found is not None:
                print(f"{path.name}: {mode} was a JPEG file")
        print(f"{mode}: {asked:.3f} s of {whole:.2f} s of CPU, {100 * asked / whole:.2f} %")


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
@click.option("--by", default=1.0, show_default=True, help="Shrink them to this size first (bicubic).")
@click.option("--runs", default=3, show_default=True)
def shrunk(files: tuple[Path, ...], model: str, by: float, runs: int) -> None:
    """The middle of photographs, at most 512 x 512 pixels, with and without the past; CPU seconds are the least."""
    weights = models.load(model)
    assert isinstance(weights.architecture, PhotoArchitecture)
    coder = TileCoder(weights.architecture, weights.network("cpu"))
    sums = np.zeros((2, 3))
    for path in files:
        pixels = read_rgb(path)
        if by != 1:
            image = Image.fromarray(pixels)
            size = round(image.width * by), round(image.height * by)
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
        middle = _middle(pixels)
        colour = undo(middle, lattices=True)[0]
        if colour.past is not Past.NONE:
            click.echo(f"| {path.name} | converted |")
            continue
        covered = conversion(Past.JPEG).covers(middle[(middle.min(axis=2) > 0) & (middle.max(axis=2) < 255)])
        found = np.min([[_coded(coder, middle, past) for past in (False, True)] for _ in range(runs)], axis=0)
        sums += found
        click.echo(f"| {path.name} | {covered.mean():.0%} | {colour.lattice.name} | {_compared(found)}")
    click.echo(f"| all | | | {_compared(sums)}")


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda image: image,
    "brightness 1.25": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "contrast 1.25": lambda image: ImageEnhance.Contrast(image).enhance(1.25),
    "contrast 0.8": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "gamma 0.7": lambda image: image.point([round(255 * (v / 255) ** 0.7) for v in range(256)] * 3),
    "autocontrast, 1 %": lambda image: ImageOps.autocontrast(image, cutoff=1),
    "equalised": ImageOps.equalize,
}


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
def edited(files: tuple[Path, ...], model: str) -> None:
    """The middle of photographs, at most 512 x 512 pixels, after Pillow has changed their contrast; whole files."""
    from pillow_jxl import JpegXLImagePlugin  # noqa: F401

    print("| | without the past | with it | | JPEG XL e9 | with the past, to JPEG XL |\n|---|---|---|---|---|---|")
    for name, edit in EDITS.items():
        sums = np.zeros(3)
        for path in files:
            pixels = np.asarray(edit(Image.fromarray(_middle(read_rgb(path)))))
            ours = [encode(pixels, model=model, past=past) for past in (False, True)]
            assert all(np.array_equal(decode(data), pixels) for data in ours)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JXL", lossless=True, effort=9)
            sums += [*map(len, ours), len(file.getvalue())]
        plain, less, peer = sums.tolist()
        row = f"{plain:.0f} | {less:.0f} | {less / plain - 1:+.1%} | {peer:.0f} | {less / peer - 1:+.1%}"
        click.echo(f"| {name} | {row} |")


def _middle(pixels: np.ndarray) -> np.ndarray:
    """At most a tile of an image (H, W, B)."""
    rows, columns = (slice(max(0, n - TILE) // 2, max(0, n - TILE) // 2 + TILE) for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[rows, columns])


def _coded(coder: TileCoder, pixels: np.ndarray, past: bool) -> tuple[float, float, float]:
    """Bytes, and CPU seconds of encoding and decoding."""
    begin = time.process_time()
    payloads = coder.encode(pixels[None], past=past)
    middle = time.process_time()
    found = coder.decode(payloads, (pixels.shape[0], pixels.shape[1], pixels.shape[2]))
    end = time.process_time()
    assert np.array_equal(found[0], pixels)
    return len(payloads[0]), middle - begin, end - middle


def _compared(found: np.ndarray) -> str:
    (size, encoding, decoding), (less, slower, later) = found.tolist()
    return (
        f"{size:.0f} | {less:.0f} | {less / size - 1:+.2%} | {encoding:.2f} s | {slower:.2f} s | {decoding:.2f} s |"
        f" {later:.2f} s |"
    )


if __name__ == "__main__":
    main()
