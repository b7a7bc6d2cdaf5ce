"""What networks are not for: ``python benchmarks/graphics.py [FOLDER] [--format IFL]``.

PNG files of FOLDER (PngSuite, say): each that Pillow opens in a supported mode is saved and compared bit for bit, and
its size with that of the PNG. Then drawings that are made here (a plot, rendered text, a mock-up of a user interface),
against lossless WebP at its best; and noise, against its raw size.
"""

from __future__ import annotations

import io
from pathlib import Path

import click
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import pil_neuralcodec  # noqa: F401  (registers the formats)
from pil_neuralcodec.container import MODES


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The file that an image becomes, read again and compared."""
    file = io.BytesIO()
    image.save(file, format, **options)
    with Image.open(file) as again:
        same = (again.mode, again.size, again.tobytes()) == (image.mode, image.size, image.tobytes())
        if not same or again.getpalette(None) != image.getpalette(None):
            raise SystemExit(f"not the same image again: {image}")
    return file.getvalue()


def plot() -> Image.Image:
    """Curves, a legend and a table of colours."""
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    x = np.linspace(0, 10, 200)
    for k in range(5):
        left.plot(x, np.sin(x + k) * np.exp(-x / (k + 2)), label=f"damping {k}")
    left.grid()
    left.legend()
    right.pcolormesh(np.add.outer(np.arange(12), np.arange(9)) % 7)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def text() -> Image.Image:
    """A page of text, smoothed."""
    page = Image.new("L", (1000, 700), 255)
    draw = ImageDraw.Draw(page)
    words = Path(__file__).read_text().split()
    for line in range(34):
        draw.text((30, 20 + 19 * line), " ".join(words[line * 9 % 150 : line * 9 % 150 + 14]), fill=20, font=font(13))
    return page


def interface() -> Image.Image:
    """Windows, buttons, a gradient and small labels."""
    screen = Image.new("RGB", (1280, 800), "#dfe3e8")
    screen.paste(Image.linear_gradient("L").resize((1280, 60)).convert("RGB"), (0, 0))
    draw = ImageDraw.Draw(screen)
    rng = np.random.default_rng(1)
    for number in range(14):
        x, y = rng.integers(0, 1000), rng.integers(70, 600)
        w, h = rng.integers(120, 400), rng.integers(80, 240)
        colour = tuple(int(c) for c in rng.integers(150, 256, 3))
        draw.rounded_rectangle((x, y, x + w, y + h), 9, fill=colour, outline="#555555")
        draw.rectangle((x, y, x + w, y + 22), fill="#3b6ea5")
        draw.text((x + 8, y + 3), f"Window {number}", fill="white", font=font(12))
        for line in range(int(h) // 22 - 2):
            draw.text(
                (x + 10, y + 30 + 20 * line),
                f"Entry {line} of {number}: {line * number}",
                fill="#222222",
                font=font(12),
            )
    return screen


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", default="IFL", show_default=True)
def main(folder: Path | None, format: str) -> None:
    """Print what is larger than it should be, and a table."""
    done = over = 0
    for path in sorted(folder.glob("*.png")) if folder else ():
        try:
            image = Image.open(path)
            image.load()
        except (OSError, SyntaxError):
            continue  # damaged on purpose
        if image.mode not in MODES:
            continue
        size, limit = len(saved(image, format)), 100 + 1.02 * path.stat().st_size
        done += 1
        if size > limit:
            over += 1
            print(f"{path.name}: {size} bytes, PNG {path.stat().st_size}")
    if folder:
        print(f"{done} PNG files, {over} of them larger than PNG + 2 % + 100 bytes")
    print("| drawing | bytes | lossless WebP | ratio |\n|---|---|---|---|")
    for make in (plot, text, interface):
        image = make()
        ours = len(saved(image, format))
        webp = io.BytesIO()
        image.convert("RGB").save(webp, "WEBP", lossless=True, exact=True, quality=100, method=6)
        print(
            f"| {make.__name__} {image.mode} {image.width} x {image.height} | {ours} | {webp.tell()} | "
            f"{ours / webp.tell():.3f} |"
        )
    print("| noise | bytes | raw + 200 + 16 for each tile |\n|---|---|---|")
    for shape in ((64, 64, 3), (300, 700), (800, 1200, 3)):
        noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8))
        tiles = -(-shape[0] // 512) * -(-shape[1] // 512)
        print(f"| {shape} | {len(saved(noise, format))} | {int(np.prod(shape)) + 200 + 16 * tiles} |")


if __name__ == "__main__":
    main()
