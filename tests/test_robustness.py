"""What is left where a process is killed or a disk is full; files that are read piece by piece; spawned processes."""

from __future__ import annotations

import io
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pil_neuralcodec import decode, encode

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
COMMAND = "from pil_neuralcodec.cli import main; import sys; print('begun', flush=True); main(sys.argv[1:])"


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def encoding(source: Path, target: Path, before: str = "") -> subprocess.Popen[bytes]:
    """A process that encodes an image over a file that is there, once it has begun."""
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            f'{before} exec "$@"',
            "sh",
            sys.executable,
            "-c",
            COMMAND,
            "encode",
            source,
            "-o",
            target,
            "--force",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    return process


@posix
def test_a_killed_encode_leaves_the_old_file(tmp_path: Path) -> None:
    source, target = tmp_path / "source.ppm", tmp_path / "target.ifl"
    Image.fromarray(noise(1400, 1400)).save(source)
    old = encode(noise(4, 4))
    target.write_bytes(old)
    with encoding(source, target) as process:
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == old


@posix
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    source, target = tmp_path / "source.ppm", tmp_path / "target.ifl"
    Image.fromarray(noise(60, 60)).save(source)
    old = encode(noise(4, 4))
    target.write_bytes(old)
    with encoding(source, target, "ulimit -f 1;") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and b"File too large" in said
    assert target.read_bytes() == old
    assert sorted(tmp_path.iterdir()) == [source, target]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("format", ["IFL", "BSW"])
def test_saving_to_a_full_device(tiny: str, tiny_latents: str, format: str) -> None:
    model = tiny if format == "IFL" else tiny_latents
    with pytest.raises(OSError, match="No space left"):
        Image.fromarray(noise(90, 90)).save("/dev/full", format, model=model)


class Trickle(io.BytesIO):
    """Gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, 9))


@pytest.mark.parametrize("format", ["ifl", "bsw"])
def test_short_reads(tiny: str, tiny_latents: str, format: str) -> None:
    array = noise(40, 50)
    data = encode(array, format, model=tiny if format == "ifl" else tiny_latents, fallback=False)
    assert np.array_equal(decode(Trickle(data)), array)
    with Image.open(Trickle(data)) as image:
        assert np.array_equal(image, array)
    with pytest.raises(OSError, match="truncated"):
        decode(Trickle(data[:-1]))


def test_spawned_processes(tiny: str) -> None:
    """Two of them, which import everything themselves; what they raise comes back."""
    arrays = [noise(20, 30), noise(31, 22)]
    files = [encode(array, model=tiny, fallback=False) for array in arrays]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert all(map(np.array_equal, pool.map(decode, files), arrays))
        with pytest.raises(OSError, match="truncated"):
            pool.apply(decode, (files[0][:-1],))
