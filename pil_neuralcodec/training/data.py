"""Photographs for training: decode once, shrink, hold out a part, draw random crops.

Nothing here knows a data set by name: a folder is a folder of image files. JPEG files are also offered shrunk, which
hides their artefacts; other files are taken as they are and now and then shrunk too.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from ..flow.photo import BAND_ORDER

IMAGE_SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".jxl", ".ifl", ".bsw"}


def read_rgb(path: Path) -> np.ndarray:
    """Pixels of an image file, uint8 (H, W, 3)."""
    if path.suffix.lower() == ".jxl":
        import imagecodecs

        pixels = np.asarray(imagecodecs.jpegxl_decode(path.read_bytes()))
        if pixels.dtype != np.uint8:
            raise ValueError(f"{path.name}: not an 8-bit image")
        return np.ascontiguousarray(np.repeat(pixels[..., None], 3, -1) if pixels.ndim == 2 else pixels[..., :3])
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


class Crops:
    """Random crops of the photographs under some folders, uint8 (3, H, W) planes in G, R, B order.

    Parameters
    ----------
    folders: searched recursively for image files.
    held_out: about one file in ``held_out`` (chosen by a hash of its name) is kept for validation.
    seed: of the crops drawn.
    """

    def __init__(self, folders: list[Path], *, held_out: int = 16, seed: int = 0) -> None:
        files = sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < 2:
            raise FileNotFoundError(f"fewer than two images under {', '.join(map(str, folders))}")
        apart = {p for p in files if zlib.crc32(p.name.encode()) % held_out == 0} or {files[-1]}
        self.rng = np.random.default_rng(seed)
        self.train: list[np.ndarray] = []
        self.weights: list[float] = []
        self.validation: list[tuple[str, np.ndarray]] = []
        for path in files:
            pixels = read_rgb(path)
            if min(pixels.shape[:2]) < 64:
                continue
            jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
            if path in apart:
                self.validation.append((path.name, _planes(pixels)))
                continue
            # Large photographs hold more different content, but not in proportion to their pixels.
            weight = (pixels.shape[0] * pixels.shape[1] / 2**18) ** 0.75
            self._add(pixels, weight * (0.35 if jpeg else 0.85))
            factor = float(self.rng.uniform(0.45, 0.75))
            height, width = (max(64, round(n * factor)) for n in pixels.shape[:2])
            kind = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)[int(self.rng.integers(3))]
            small = Image.fromarray(pixels).resize((width, height), kind)
            self._add(np.asarray(small), weight * (0.5 if jpeg else 0.15))
        if not self.train or not self.validation:
            raise ValueError("too few images of at least 64 x 64 pixels to train on some and hold out others")
        self._chance = np.array(self.weights) / sum(self.weights)

    def _add(self, pixels: np.ndarray, weight: float) -> None:
        self.train.append(_planes(pixels))
        self.weights.append(weight)

    def batch(self, count: int, size: int) -> np.ndarray:
        """``count`` crops, flipped and transposed at random: uint8 (count, 3, size, size)."""
        out = np.empty((count, 3, size, size), np.uint8)
        for i, k in enumerate(self.rng.choice(len(self.train), count, p=self._chance)):
            planes = self.train[k]
            y, x = (int(self.rng.integers(n - size + 1)) for n in planes.shape[1:])
            crop = planes[:, y:y + size, x:x + size]
            if self.rng.random() < 0.5:
                crop = crop[:, ::-1]
            if self.rng.random() < 0.5:
                crop = crop[:, :, ::-1]
            if self.rng.random() < 0.3:
                crop = crop.transpose(0, 2, 1)
            out[i] = crop
        return out


def _planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., list(BAND_ORDER)].transpose(2, 0, 1))
