"""Photographs for training: decode once onto the device, shrink, hold out a part, draw random crops there.

Nothing here knows a data set by name: a folder is a folder of image files. JPEG files are also offered shrunk, which
hides their artefacts; other files are taken as they are and now and then shrunk too.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
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
    """Random crops of the photographs under some folders, as planes in G, R, B order.

    Parameters
    ----------
    folders: searched recursively for image files.
    held_out: about one file in ``held_out`` (chosen by a hash of its name) is kept for validation.
    seed: of the crops drawn.
    device: where all photographs are kept and crops are cut.

    ``validation`` holds the names of the photographs kept apart and their planes, uint8 (3, H, W) arrays.
    """

    def __init__(self, folders: list[Path], *, held_out: int = 16, seed: int = 0, device: str = "cpu") -> None:
        files = sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < 2:
            raise FileNotFoundError(f"fewer than two images under {', '.join(map(str, folders))}")
        apart = {p for p in files if zlib.crc32(p.name.encode()) % held_out == 0} or {files[-1]}
        self.rng = np.random.default_rng(seed)
        self._train: list[np.ndarray] = []
        self._weights: list[float] = []
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
        if not self._train or not self.validation:
            raise ValueError("too few images of at least 64 x 64 pixels to train on some and hold out others")
        self._chance = np.array(self._weights) / sum(self._weights)
        self._shapes = np.array([planes.shape[1:] for planes in self._train])
        sizes = [planes.size for planes in self._train]
        self._offsets = np.cumsum([0, *sizes[:-1]])
        self._samples = torch.as_tensor(np.concatenate([planes.ravel() for planes in self._train]), device=device)
        self._train.clear()

    def _add(self, pixels: np.ndarray, weight: float) -> None:
        self._train.append(_planes(pixels))
        self._weights.append(weight)

    def __len__(self) -> int:
        """How many photographs and shrunken copies there are to train on."""
        return len(self._shapes)

    def batch(self, count: int, size: int) -> torch.Tensor:
        """``count`` crops, flipped and transposed at random: float32 (count, 3, size, size), values 0..255."""
        chance = self._chance * (self._shapes >= size).all(axis=1)
        if not chance.any():
            raise ValueError(f"no photograph holds a crop of {size} x {size} pixels")
        chosen = self.rng.choice(len(self), count, p=chance / chance.sum())
        height, width = self._shapes[chosen].T
        top, left = (self.rng.integers(side - size + 1) for side in (height, width))
        flip_y, flip_x = (self.rng.random((2, count)) < 0.5).astype(np.int64)
        # A crop is a start and two strides; flips and transposes change only these.
        start = self._offsets[chosen] + (top + flip_y * (size - 1)) * width + left + flip_x * (size - 1)
        down, right = width * (1 - 2 * flip_y), 1 - 2 * flip_x
        turned = self.rng.random(count) < 0.3
        down, right = np.where(turned, right, down), np.where(turned, down, right)
        numbers = torch.as_tensor(np.stack([start, height * width, down, right]), device=self._samples.device)
        start_, plane, down_, right_ = numbers.view(4, count, 1, 1, 1)
        ramp = torch.arange(size, device=numbers.device)
        index = start_ + plane * torch.arange(3, device=numbers.device).view(3, 1, 1)
        index = index + down_ * ramp.view(-1, 1) + right_ * ramp
        return self._samples[index].float()


def _planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., list(BAND_ORDER)].transpose(2, 0, 1))
