"""Small files that claim much: ``python -m proof.bombs``, and ``costs`` for what decoding takes at most.

Prints tables in Markdown, for docs/security.md. Checksums are right, as an attacker makes them. Times are CPU time of
all threads, in a warm process; memory is what the process grew by.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pil_neuralcodec import decode, encode, models
from pil_neuralcodec.container import Frame, Header, ImageSpec, Method, Segment, write
from pil_neuralcodec.methods import direct, webp
from pil_neuralcodec.varint import write_varint

MODELS = {Method.PHOTO: "photo", Method.PATCH: "patch", Method.BITSWAP: "bitswap"}
SIDES = 13377, 13377
"""178.9 megapixels, just below the default limit."""


def sealed(method: Method, payload: bytes, width: int, height: int, bands: int = 3, tile: int = 512) -> bytes:
    """A file of one payload, or of as many as its tiles ask for."""
    model = models.load(MODELS[method]).id if method.needs_model else None
    tiles = (tile, tile) if method.is_tiled else (0, 0)
    empty: Segment[bytes] = Segment(method, (0, bands), (), *tiles)
    spec = ImageSpec.of("RGB" if bands == 3 else "L", width, height)
    columns, rows = empty.tile_counts(spec)
    segment = Segment(method, (0, bands), (payload,) * (columns * rows), *tiles)
    return write(Header((Frame(spec, (segment,)),), model=model))


def tampered() -> Iterator[tuple[str, bytes]]:
    """Files of about 100 bytes that claim 178 megapixels."""
    for method in Method:
        if not method.is_tiled:
            used = len(sealed(method, b"", *SIDES))
            for name, payload in (("zeros", bytes(100 - used)), ("ones", b"\xff" * (100 - used))):
                yield f"{method.name}, {name}", sealed(method, payload, *SIDES)
        else:
            yield f"{method.name}, one tile", sealed(method, bytes(50), *SIDES, tile=13377)
    size = struct.pack("<I", 16382 | 10922 << 14)
    yield "WEBP, its header right", sealed(Method.WEBP, b"\x2f" + size + bytes(50), 16383, 10923)


def crafted() -> Iterator[tuple[str, bytes]]:
    """Small files whose pixels are begun with; of one colour, they hold what they claim but for the last checksum."""
    packed = webp.encode(np.zeros((4096, 4096, 3), np.uint8))
    assert packed is not None
    yield "WEBP, one colour, 17 megapixels", sealed(Method.WEBP, packed + bytes(4), 4096, 4096)
    strip = direct.encode(Method.PREDICTOR, np.zeros((2048, 2048, 3), np.uint8))
    assert strip is not None
    strips = (write_varint(len(strip)) + strip) * 3 + strip[:-4] + bytes(4)
    yield "PREDICTOR, one colour, 17 megapixels", sealed(Method.PREDICTOR, strips, 2048, 8192)
    packed = direct.encode(Method.FILTERED, np.zeros((4096, 4096, 3), np.uint8))
    assert packed is not None
    yield "FILTERED, one colour, 17 megapixels", sealed(Method.FILTERED, packed[:-4] + b"1234", 4096, 4096)
    stream = b"\0" + (1 << 32 | 7).to_bytes(5, "little")
    yield "JPEG, 17 megapixels", sealed(Method.JPEG, bytes([0, 0, 0, 50, 50]) + stream + bytes(4096), 4096, 4096)
    yield "PHOTO, 24 bytes a tile, 178 megapixels", sealed(Method.PHOTO, bytes(18) + stream, *SIDES)
    yield "PATCH, blocks of 1 x 1", sealed(Method.PATCH, b"\0" + b"\0\1\1\0\1" + b"\1" * 400, *SIDES)
    blocks = b"\0" + b"\0" + write_varint(128) * 2 + b"\0" + write_varint(105 * 105)
    yield "PATCH, blocks of 128 x 128", sealed(Method.PATCH, blocks + stream[1:] + bytes(340), *SIDES)
    yield "BITSWAP, 24 bytes a tile, 178 megapixels", sealed(Method.BITSWAP, b"\0" + b"\0\0\0" + b"\1" * 20, *SIDES)


def refusals(files: Iterator[tuple[str, bytes]]) -> None:
    """How long it takes, and how much memory, until each is refused by a process that has decoded something before."""
    print("| file | bytes | ms | MiB | refused with |\n|---|---|---|---|---|")
    for name, data in files:
        done = subprocess.run([sys.executable, __file__, "one"], input=data, capture_output=True)
        print(f"| {name} | {len(data)} | {done.stdout.decode().strip()} |", flush=True)


def one() -> None:
    """One of them, in a process of its own."""
    data = sys.stdin.buffer.read()
    decode(encode(np.zeros((64, 64, 3), np.uint8), fallback=False))
    memory, start = peak(), time.process_time()
    try:
        decode(data)
        said = "decodes"
    except OSError as error:
        said = f"{type(error).__name__}: {error}"
    print(f"{1000 * (time.process_time() - start):.1f} | {peak() - memory:.0f} | {said[:90]}")


def peak() -> float:
    """MiB that this process has had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()  # not getrusage, which counts the parent's as well
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


CASES = {
    "RAW": {"fallback": "raw"}, "FILTERED": {"fallback": "filtered"}, "WEBP": {"fallback": "webp"},
    "PREDICTOR": {"fallback": "predictor"}, "JPEG": {"fallback": "jpeg"},
    "PHOTO": {"fallback": False, "model": "photo"},
    "PHOTO, best": {"fallback": False, "model": "photo-best"},
    "PATCH": {"fallback": False, "model": "patch", "axes": "YXC"}, "BITSWAP": {"fallback": False, "format": "bsw"},
}  # fmt: skip


def costs(*names: str) -> None:
    """CPU time for a megapixel, and memory against that of the pixels, of decoding noise (of JPEG: a JPEG file)."""
    print("| method | s/megapixel | MiB, of 0.75 and 3 MiB of samples | growth / samples |\n|---|---|---|---|")
    for name in names or CASES:
        found = []
        for side in (512, 1024):
            done = subprocess.run([sys.executable, __file__, "cost", name, str(side)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            found.append(tuple(map(float, done.stdout.split())))
        (_, small), (seconds, large) = found
        print(
            f"| {name} | {seconds / 1.05:.2f} | {small:.0f}, {large:.0f} | {(large - small) / 2.25:.1f} |", flush=True
        )


def cost(name: str, side: str) -> None:
    """One of them, in a process of its own."""
    import io
    import multiprocessing

    from PIL import Image

    noise = np.random.default_rng(1).integers(0, 256, (int(side), int(side), 3), np.uint8)
    if name == "JPEG":
        file = io.BytesIO()
        Image.fromarray(noise).resize((int(side), int(side)), Image.Resampling.BICUBIC, (0, 0, 500, 500)).save(
            file, "JPEG"
        )
        noise = np.asarray(Image.open(file))
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # its memory is none of ours
        data = pool.apply(_encoded, (noise, CASES[name]))
        small = pool.apply(_encoded, (noise[:64, :64].copy(), CASES[name] if name != "JPEG" else {"fallback": "raw"}))
    del noise
    decode(small)
    before, start = peak(), time.process_time()
    decode(data)
    print(time.process_time() - start, peak() - before)


def _encoded(pixels: np.ndarray, options: dict[str, object]) -> bytes:
    return encode(pixels, **options)  # type: ignore[arg-type]


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["bombs"]
    if command == "bombs":
        refusals(tampered())
        print()
        refusals(crafted())
    else:
        {"one": one, "costs": costs, "cost": cost}[command](*arguments)
