"""Photographs for training: decode once onto the device, shrink, hold out a part, draw random crops there.

Nothing here knows a data set by name: a folder is a folder of image files. JPEG files are also offered shrunk, which
hides their artefacts; other files are taken as they are and now and then shrunk too.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ..colour.conversions import Past, conversion
from ..colour.past import undo
from ..flow.architecture import CHANNELS
from ..flow.block_phase import NO_PHASE, BlockPhase, find_phase, mirrored_code
from ..flow.planes import BAND_ORDER

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


class Batch(NamedTuple):
    """Crops: ``planes`` float32 (count, 3, size, size), values 0..255, and where the JPEG blocks of each lie: the codes
    of `flow.block_phase.BlockPhase`, int64 (count, 2)."""

    planes: torch.Tensor
    phases: torch.Tensor


class Crops:
    """Random crops of the photographs under some folders, as planes in G, R, B order.

    Parameters
    ----------
    folders: searched recursively for image files.
    held_out: about one file in ``held_out`` (chosen by a hash of its name) is kept for validation.
    seed: of the crops drawn.
    grain: the share of crops that get noise as films and sensors make it.
    past: the share of crops that shows planes before a colour conversion, of photographs without one as if they had
        been JPEG files; the others are R, G, B. By default photographs are seen as the encoder codes them: with the
        conversion undone that they have been through.
    device: where all photographs are kept and crops are cut.

    ``validation`` holds the names of the photographs kept apart and their planes, uint8 (3, H, W) arrays: with ``past``
    R, G, B, and by default those that the encoder codes.
    """

    def __init__(
        self,
        folders: list[Path],
        *,
        held_out: int = 16,
        seed: int = 0,
        grain: float = 0.0,
        past: float | None = None,
        device: str = "cpu",
    ) -> None:
        files = sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < 2:
            raise FileNotFoundError(f"fewer than two images under {', '.join(map(str, folders))}")
        apart = {p for p in files if zlib.crc32(p.name.encode()) % held_out == 0} or {files[-1]}
        self.rng = np.random.default_rng(seed)
        self.grain, self.past = grain, past
        self._train: list[np.ndarray] = []
        self._phases: list[BlockPhase] = []
        self._weights: list[float] = []
        self.validation: list[tuple[str, np.ndarray]] = []
        for path in files:
            pixels = read_rgb(path)
            if min(pixels.shape[:2]) < 64:
                continue
            jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
            if path in apart:
                self.validation.append((path.name, self._held_out(pixels)))
                continue
            self._offer(pixels, jpeg)
        if not self._train or not self.validation:
            raise ValueError("too few images of at least 64 x 64 pixels to train on some and hold out others")
        self._chance = np.array(self._weights) / sum(self._weights)
        self._shapes = np.array([planes.shape[1:] for planes in self._train])
        sizes = [planes.size for planes in self._train]
        self._offsets = np.cumsum([0, *sizes[:-1]])
        self._samples = torch.as_tensor(np.concatenate([planes.ravel() for planes in self._train]), device=device)
        self._train.clear()

    def _held_out(self, pixels: np.ndarray) -> np.ndarray:
        """Planes of a photograph that is kept for validation."""
        return _planes(undo(pixels)[1] if self.past is None else pixels)

    def _offer(self, pixels: np.ndarray, jpeg: bool) -> None:
        """Add what there is to learn from a photograph."""
        # Large photographs hold more different content, but not in proportion to their pixels.
        weight = (pixels.shape[0] * pixels.shape[1] / 2**18) ** 0.75
        self._offer_planes(pixels, weight * (0.35 if jpeg else 0.85))
        factor = float(self.rng.uniform(0.45, 0.75))
        small = _shrunk(pixels, factor, _FILTERS[int(self.rng.integers(len(_FILTERS)))])
        self._offer_planes(small, weight * (0.5 if jpeg else 0.15))

    def _offer_planes(self, pixels: np.ndarray, weight: float) -> None:
        if self.past is None:
            self._add(undo(pixels)[1], weight)
        else:
            self._add(pixels, weight * (1 - self.past))
            self._add(conversion(Past.JPEG).to_planes(pixels), weight * self.past)

    def _add(self, pixels: np.ndarray, weight: float) -> None:
        self._train.append(_planes(pixels))
        self._phases.append(find_phase(self._train[-1]))
        self._weights.append(weight)

    def __len__(self) -> int:
        """How many photographs and shrunken copies there are to train on."""
        return len(self._shapes)

    def share_of(self, size: int) -> float:
        """How much of what batches are drawn from holds crops of ``size`` x ``size``, 0..1."""
        return float(self._chance[(self._shapes >= size).all(axis=1)].sum())

    def batch(self, count: int, size: int) -> Batch:
        """``count`` crops, flipped and transposed at random."""
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
        over = self.rng.random(count) < 0.3
        down, right = np.where(over, right, down), np.where(over, down, right)
        numbers = torch.as_tensor(np.stack([start, height * width, down, right]), device=self._samples.device)
        start_, plane, down_, right_ = numbers.view(4, count, 1, 1, 1)
        ramp = torch.arange(size, device=numbers.device)
        index = start_ + plane * torch.arange(3, device=numbers.device).view(3, 1, 1)
        index = index + down_ * ramp.view(-1, 1) + right_ * ramp
        planes = self._samples[index].float()
        grainy = np.flatnonzero(self.rng.random(count) < self.grain)
        if len(grainy):
            planes[grainy] = grained(planes[grainy], self.rng)
        hidden = set(grainy.tolist())
        phases = [
            NO_PHASE if i in hidden else _seen_so(self._phases[number].moved(y, x), size, *flips)
            for i, (number, y, x, *flips) in enumerate(zip(chosen, top, left, flip_y, flip_x, over, strict=True))
        ]
        return Batch(planes, torch.tensor(phases, device=planes.device))


class Patches(Crops):
    """Small images: those of ``arrays``, .npz files with uint8 (N, side, side, 3) under ``images``, and crops of the
    photographs shrunk as sets of small images are made. Validation holds some of both.

    Parameters as of ``Crops``; ``share`` is the part of the batches that comes from the arrays.
    """

    def __init__(
        self, folders: list[Path], arrays: list[Path], *, share: float = 0.5, held_out: int = 16, **options: Any
    ) -> None:
        super().__init__(folders, held_out=held_out, **options)
        self._share = share
        self._arrays: list[torch.Tensor] = []
        for path in arrays:
            with np.load(path) as content:
                planes = np.stack([_planes(image) for image in content["images"]])
            apart = np.arange(len(planes)) % (2 * held_out) == 0
            self.validation += [(f"{path.name}[{i}]", planes[i]) for i in np.flatnonzero(apart)]
            self._arrays.append(torch.as_tensor(planes[~apart], device=self._samples.device))

    def _held_out(self, pixels: np.ndarray) -> np.ndarray:
        return _planes(_shrunk(pixels, 72 / min(pixels.shape[:2]), Image.Resampling.BOX))

    def _offer(self, pixels: np.ndarray, jpeg: bool) -> None:
        for side in (64, 90, 128, 180):
            kind = _FILTERS[int(self.rng.integers(len(_FILTERS)))] if side != 64 else Image.Resampling.BOX
            self._add(_shrunk(pixels, side / min(pixels.shape[:2]), kind), 1.0)

    def batch(self, count: int, size: int) -> Batch:
        """As many pixels as ``count`` crops of ``size``: those, or images of an array, mirrored at random."""
        if not self._arrays or self.rng.random() >= self._share:
            return super().batch(count, size)
        images = self._arrays[int(self.rng.integers(len(self._arrays)))]
        chosen = torch.as_tensor(self.rng.integers(len(images), size=count * size**2 // images[0, 0].numel()))
        batch = images[chosen.to(images.device)].float()
        mirrored = torch.as_tensor(self.rng.random(len(batch)) < 0.5, device=batch.device)
        return Batch(
            torch.where(mirrored.view(-1, 1, 1, 1), batch.flip(-1), batch),
            batch.new_zeros((len(batch), 2), dtype=torch.int64),
        )


def _seen_so(phase: BlockPhase, size: int, flip_y: int, flip_x: int, transposed: int) -> BlockPhase:
    """Of a crop of ``size`` that is flipped, and after that perhaps transposed."""
    end = phase.moved(size - 1, size - 1)
    rows, columns = (
        mirrored_code(end.rows) if flip_y else phase.rows,
        mirrored_code(end.columns) if flip_x else phase.columns,
    )
    return BlockPhase(columns, rows) if transposed else BlockPhase(rows, columns)


def grained(planes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Planes (N, 3, H, W), values 0..255, with noise of a random kind each: of 0.5 to 8 grey levels, fine or blurred
    into grains, more or less the same in all bands, more or less stronger where there is light. Rounded again."""

    def random(low: float, high: float) -> torch.Tensor:
        drawn = rng.uniform(low, high, (len(planes), 1, 1, 1)).astype(np.float32)
        return torch.as_tensor(drawn, device=planes.device)

    def noise(bands: int) -> torch.Tensor:
        return torch.randn(len(planes), bands, *planes.shape[2:], device=planes.device)

    share = random(0.0, 1.0)
    fine = share.sqrt() * noise(1) + (1 - share).sqrt() * noise(CHANNELS)
    # Blurred by (s, 1, s) both ways, and as strong as before.
    side = random(0.0, 1.0)
    rows = fine + side * (fine.roll(1, 2) + fine.roll(-1, 2))
    grains = (rows + side * (rows.roll(1, 3) + rows.roll(-1, 3))) / (1 + 2 * side**2)
    light = random(0.0, 1.0)
    strength = 2.0 ** random(-1.0, 3.0) * (1 - light + light * (planes / 128).sqrt())
    return torch.round(planes + strength * grains).clamp(0.0, 255.0)


_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)


def _shrunk(pixels: np.ndarray, factor: float, kind: Image.Resampling) -> np.ndarray:
    """Pixels shrunk by a factor, to 64 a side at least."""
    height, width = (max(64, round(n * factor)) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), kind))


def _planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., list(BAND_ORDER)].transpose(2, 0, 1))
