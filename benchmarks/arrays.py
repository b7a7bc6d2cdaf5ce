"""Chunks of arrays: bytes and times beside other codecs: ``python benchmarks/arrays.py COMMAND``.

``table``    a stack of photographs and one of 16 bits through zarr, by several codecs
``deep``     images of 12 to 16 bits, made from photographs with the noise of sensors
``threads``  many chunks read by many threads at once
``workers``  the same array read by one worker process of dask and by two
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import imagecodecs
import numcodecs
import numpy as np
import zarr
from numcodecs.abc import Codec
from numcodecs.compat import ndarray_copy
from zarr.storage import MemoryStore

from pil_neuralcodec import encode, gate
from pil_neuralcodec.benchmark import load_samples
from pil_neuralcodec.zarr import IflCodec


class ImageByImage(Codec):
    """Chunks (N, Y, X) and (N, Y, X, C), each image by a function of imagecodecs."""

    codec_id = "benchmark"

    def __init__(self, write: Callable[[np.ndarray], bytes], read: Callable[[bytes], np.ndarray]) -> None:
        self._write, self._read = write, read

    def encode(self, buf: Any) -> bytes:
        """Length and bytes of each image."""
        parts = [self._write(np.ascontiguousarray(image)) for image in buf]
        return b"".join(len(part).to_bytes(4, "little") + part for part in parts)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The images."""
        data, images = bytes(buf), []
        while data:
            size = int.from_bytes(data[:4], "little")
            images.append(self._read(data[4 : 4 + size]))
            data = data[4 + size :]
        return ndarray_copy(np.stack(images), out)

    def get_config(self) -> dict[str, Any]:
        """For zarr's metadata."""
        return {"id": self.codec_id}


def jpeg_xl(effort: int) -> ImageByImage:
    """Lossless JPEG XL, on both cores."""
    return ImageByImage(
        lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=effort, numthreads=2),
        lambda data: imagecodecs.jpegxl_decode(data, numthreads=2),
    )


def jpeg_2000(image: np.ndarray) -> bytes:
    """Lossless JPEG 2000, on both cores."""
    return bytes(imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat="j2k", numthreads=2))


PEERS: dict[str, Any] = {
    "zstd 19": numcodecs.Zstd(level=19),
    "blosc zstd 9, bit shuffle": numcodecs.Blosc("zstd", clevel=9, shuffle=numcodecs.Blosc.BITSHUFFLE),
    "JPEG 2000": ImageByImage(jpeg_2000, lambda data: imagecodecs.jpeg2k_decode(data, numthreads=2)),
    "JPEG XL e7": jpeg_xl(7),
    "JPEG XL e9": jpeg_xl(9),
    "ifl": numcodecs.get_codec({"id": "ifl"}),
    "bsw": numcodecs.get_codec({"id": "bsw"}),
}


def photographs(folder: Path, count: int, size: int) -> list[np.ndarray]:
    """Middles, uint8 (size, size, 3), of the first photographs that are so large."""
    found: list[np.ndarray] = []
    for path in sorted(folder.iterdir()):
        if len(found) < count:
            pixels = load_samples(path)[0].pixels
            top, left = ((n - size) // 2 for n in pixels.shape[:2])
            if min(top, left) >= 0 and pixels.shape[2:] == (3,):
                found.append(np.ascontiguousarray(pixels[top : top + size, left : left + size]))
    return found


def scenes(folder: Path, count: int) -> Iterator[np.ndarray]:
    """Light, linear in 0..1, float (512, 512, 3): photographs at half their size, where 8 bits leave no steps."""
    yield from map(scene, photographs(folder, count, 1024))


def scene(pixels: np.ndarray) -> np.ndarray:
    """The light of uint8 (1024, 1024, 3), see ``scenes``."""
    values = pixels / 255.0
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light.reshape(512, 2, 512, 2, 3).mean(axis=(1, 3))


def sensed(light: np.ndarray, rng: np.random.Generator, electrons: float, read: float) -> np.ndarray:
    """What a sensor counts of it, in 0..1: with the noise of light, and that of reading, in electrons."""
    counts = light * electrons
    return (counts + rng.normal(0, 1, light.shape) * np.sqrt(counts + read**2)) / electrons


def gamma(light: np.ndarray) -> np.ndarray:
    """As photographs are encoded (sRGB)."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def rounded(values: np.ndarray, low: int, high: int, dtype: str) -> np.ndarray:
    """Integers of a range."""
    return np.clip(np.rint(values), low, high).astype(dtype)


DEEP: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "12 bits, gray, linear": lambda x, rng: rounded(64 + 4000 * sensed(x[..., 1], rng, 12000, 3), 0, 4095, "u2"),
    "14 bits, RGB, linear": lambda x, rng: rounded(512 + 15800 * sensed(x, rng, 40000, 4), 0, 16383, "u2"),
    "16 bits, RGB, sRGB curve": lambda x, rng: rounded(65535 * gamma(sensed(x, rng, 40000, 4)), 0, 65535, "u2"),
    "12 bits in the upper 12 of 16, gray": lambda x, rng: (
        16 * rounded(4095 * gamma(sensed(x[..., 1], rng, 12000, 3)), 0, 4095, "u2")
    ),
    "16 bits, gray, 400 electrons": lambda x, rng: rounded(
        100 + 2000 * sensed(x[..., 1] ** 2, rng, 400, 2), 0, 65535, "u2"
    ),
    "16 bits signed, gray, like CT": lambda x, rng: rounded(
        -1000 + 2500 * gamma(x[..., 1]) + rng.normal(0, 12, x.shape[:2]), -1024, 3071, "i2"
    ),
}


@click.group()
def main() -> None:
    """Measure codecs of chunks."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--count", default=16, show_default=True, help="Photographs of FOLDER that make the stack.")
@click.option(
    "--deep",
    "deep_folder",
    type=click.Path(path_type=Path, exists=True),
    help="Photographs that become stacks of 12 and 16 bits, too.",
)
def table(folder: Path, count: int, deep_folder: Path | None) -> None:
    """Write and read arrays of zarr, (N, 512, 512, 3) in chunks of four images."""
    rng = np.random.default_rng(0)
    stacks = {"uint8 (N, 512, 512, 3)": np.stack(photographs(folder, count, 512))}
    for kind in ("16 bits, RGB, sRGB curve", "12 bits, gray, linear") if deep_folder else ():
        stacks["uint16, " + kind] = np.stack([DEEP[kind](light, rng) for light in scenes(deep_folder, count)])
    for name, stack in stacks.items():
        print(f"{name}: {len(stack)} images", flush=True)
        for peer, codec in PEERS.items():
            store = MemoryStore()
            array = zarr.create_array(
                store,
                shape=stack.shape,
                dtype=stack.dtype,
                chunks=(4, *stack.shape[1:]),
                zarr_format=2,
                compressors=codec,
                filters=None,
            )
            begin = time.perf_counter()
            array[...] = stack
            middle = time.perf_counter()
            same = np.array_equal(array[...], stack)
            end = time.perf_counter()
            assert same, peer
            stored = sum(len(value) for key, value in store._store_dict.items() if not key.startswith("."))
            print(
                f"  {peer:28} {8 * stored / stack.size:7.3f} bits per subpixel {stored:10} bytes"
                f"  write {middle - begin:6.2f} s  read {end - middle:6.2f} s",
                flush=True,
            )


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--count", default=12, show_default=True)
def deep(folder: Path, count: int) -> None:
    """Bits per subpixel of images of more than eight bits, each a whole file."""
    kinds = list(DEEP)
    print(f"{'':40} JPEG 2000  JPEG XL e7  JPEG XL e9      ifl  of e7")
    for kind in kinds:
        rng = np.random.default_rng(0)
        sizes = np.zeros(4)
        samples = 0
        for light in scenes(folder, count):
            image = DEEP[kind](light, rng)
            shown = image.view("u2") ^ np.uint16(1 << 15) if image.dtype.kind == "i" else image
            samples += image.size
            sizes += [
                len(jpeg_2000(shown)),
                *(len(imagecodecs.jpegxl_encode(shown, lossless=True, effort=e)) for e in (7, 9)),
                len(encode(image, axes="YXC"[: image.ndim])),
            ]
        bits = 8 * sizes / samples
        print(
            f"{kind:40} {bits[0]:9.3f} {bits[1]:11.3f} {bits[2]:11.3f} {bits[3]:8.3f}  {bits[3] / bits[1]:.3f}",
            flush=True,
        )


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--images", default=1, show_default=True, help="In a chunk.")
@click.option("--threads", default=32, show_default=True)
@click.option("--chunks", default=20, show_default=True)
def threads(folder: Path, images: int, threads: int, chunks: int) -> None:
    """Read chunks at once in threads, by how many the gate lets in."""
    found = np.stack(photographs(folder, chunks * images, 512))
    pictures = list(found.reshape(-1, images, *found.shape[1:]))
    codec = numcodecs.get_codec({"id": "ifl"})
    payloads = [codec.encode(picture) for picture in pictures]
    default = gate.CHUNKS.places
    for round in range(2):
        for places in (default, 1, threads):
            gate.CHUNKS, gate.TILES = gate.Gate(places), gate.Workers(places)
            begin = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(codec.decode, payloads))
            seconds = time.perf_counter() - begin
            assert all(map(np.array_equal, found, pictures))
            if round:  # the first one warms up
                print(f"{places:3} places{' (default)' if places == default else ''}: {seconds:.2f} s", flush=True)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--count", default=16, show_default=True)
def workers(folder: Path, count: int) -> None:
    """Write and read a zarr array by worker processes of dask."""
    import dask.array as da
    from distributed import Client, LocalCluster

    stack = np.stack(photographs(folder, count, 512))
    for number in (1, 2):
        with (
            tempfile.TemporaryDirectory() as folder_,
            LocalCluster(
                n_workers=number, threads_per_worker=1, dashboard_address=None, env={"OMP_NUM_THREADS": "1"}
            ) as cluster,
            Client(cluster),
        ):
            target = zarr.create_array(
                folder_ + "/stack.zarr",
                shape=stack.shape,
                dtype=stack.dtype,
                chunks=(1, *stack.shape[1:]),
                serializer=IflCodec(),
                compressors=None,
            )
            source = da.from_array(stack, chunks=(1, *stack.shape[1:]))
            source[:number].store(target, lock=False, regions=(slice(0, number),))  # warm up
            begin = time.perf_counter()
            source.store(target, lock=False)
            middle = time.perf_counter()
            total = int(da.from_zarr(target).sum(dtype="u8").compute())
            end = time.perf_counter()
            assert total == int(stack.sum(dtype="u8"))
            print(f"{number} workers: write {middle - begin:.1f} s, read {end - middle:.1f} s", flush=True)


if __name__ == "__main__":
    main()
