"""Every prefix and every flipped bit of golden files: ``python -m proof.damage [MOST BYTES] [SHARE]``.

Each must be refused. Checksums are what refuses them, so checksums are what is asked: no pixel is decoded. Of files of
at most so many bytes (20,000) all are tried, of larger ones one in ``SHARE`` (1,000).
"""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

from pil_neuralcodec.container import verify
from pil_neuralcodec.errors import NeuralCodecError

GOLDEN = Path(__file__).parents[1] / "golden"


def files() -> list[Path]:
    """Golden files and chunks, small ones first."""
    found = [path for path in GOLDEN.glob("**/*.*") if path.suffix in (".ifl", ".bsw", ".chunk")]
    return sorted(found, key=lambda path: path.stat().st_size)


def refused(data: bytes) -> bool:
    """Whether a file is."""
    try:
        verify(io.BytesIO(data))
    except NeuralCodecError:
        return True
    return False


def damaged(data: bytes, share: int = 1) -> int:
    """Try one prefix and one bit in ``share``, by chance; how many there were."""
    rng, count = random.Random(len(data)), 0
    assert not refused(data)
    for size in range(len(data)):
        if rng.randrange(share) == 0:
            assert refused(data[:size]), size
            count += 1
    flipped = bytearray(data)
    for bit in range(8 * len(data)):
        if rng.randrange(share) == 0:
            flipped[bit // 8] ^= 1 << bit % 8
            assert refused(flipped), bit
            flipped[bit // 8] ^= 1 << bit % 8
            count += 1
    return count


if __name__ == "__main__":
    most, share = (*map(int, sys.argv[1:]), 20_000, 1000)[:2] if len(sys.argv) != 2 else (int(sys.argv[1]), 1000)
    total, whole = 0, 0
    for path in files():
        data = path.read_bytes()
        everything = len(data) < most
        total, whole = total + damaged(data, 1 if everything else share), whole + everything
    print(
        f"{total:,} prefixes and flipped bits of {len(files())} files, of {whole} all there are: every one is refused"
    )
