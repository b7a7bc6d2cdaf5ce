"""Many callers at once, forked children, and callers that are interrupted."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.files import seal
from PIL import Image

from pil_neuralcodec import arrays, container, decode, encode, gate, native, save
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.native_backend import NativeNetwork
from pil_neuralcodec.nets.spec import ConvSpec

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
SECONDS = 5
"""Within which an interrupted process must be gone: far more than it takes, as other tests may keep all cores busy."""


def image(height: int, width: int, seed: int, dtype: str = "u1") -> np.ndarray:
    """Something smooth with noise, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    tone = 120 + 80 * np.sin(x / 31 + seed) * np.cos(y / 17)
    return (tone[:, :, None] + rng.normal(0, 4, (height, width, 3))).clip(0, 255).astype(dtype)


@pytest.fixture(scope="module")
def files(tiny: str, tiny_patch: str, tiny_latents: str) -> list[tuple[np.ndarray, dict[str, Any], bytes]]:
    """Arrays, the options of their encoding, and the bytes that one caller alone gets."""
    kinds: list[tuple[np.ndarray, dict[str, Any]]] = [
        (image(70, 90, 0), {"model": tiny, "fallback": False}),
        (image(530, 40, 1), {"model": tiny, "fallback": False}),
        (image(40, 50, 2, "u2") * np.uint16(200), {"model": tiny, "fallback": False}),
        (image(40, 30, 3), {"model": tiny_latents, "format": "bsw", "fallback": False}),
        (image(32, 8, 4).reshape(4, 8, 8, 3), {"model": tiny_patch, "fallback": False}),
        (image(40, 40, 5), {"fallback": "filtered"}),
        (image(40, 40, 6), {"fallback": "predictor"}),
        (image(40, 40, 7), {"fallback": "webp"}),
    ]
    return [(array, options, encode(array, **options)) for array, options in kinds]


def right(array: np.ndarray, options: dict[str, Any], data: bytes) -> bool:
    """Whether both ways give what they gave before."""
    return encode(array, **options) == data and np.array_equal(decode(data), array)


def test_thirty_two_callers(
    files: list[tuple[np.ndarray, dict[str, Any], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of different files, both ways; no more tiles are in progress than there are workers, so memory is bounded."""
    most, now, lock = 0, 0, threading.Lock()

    @contextmanager
    def counted() -> Iterator[None]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        try:
            yield
        finally:
            with lock:
                now -= 1

    def counting(original: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            with counted():
                return original(*args, **options)

        return run

    for name in ("encode", "decode"):
        monkeypatch.setattr(TileCoder, name, counting(getattr(TileCoder, name)))
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda task: right(*task), files * 8))
    assert 1 <= most <= gate.TILES.count


def test_as_many_chunks_as_cores_at_once(
    files: list[tuple[np.ndarray, dict[str, Any], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "CHUNKS", gate.Gate(2))
    array, _, data = files[0]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda _: arrays.decode(data), range(32)))
    assert all(np.array_equal(one, array) for one in found)
    assert gate.CHUNKS._free._value == 2  # all have left


def test_threads_for_one_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "cores", lambda: 4)
    for value, expected in (("", 4), ("1", 1), ("2,1", 2), ("64", 4), ("0", 4), ("many", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert gate.threads() == expected


def test_layers_leave_cores_to_other_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker counts itself once, however many threads ask, and no longer when it is done."""
    monkeypatch.setattr(gate, "TILES", gate.Workers(3))
    both = threading.Barrier(3)

    def work(threads: int) -> int:
        both.wait(60)
        found = gate.spare(threads)
        both.wait(60)
        return found

    assert gate.spare(4) == 4
    running = [gate.TILES.submit(work, threads, threading.Event()) for threads in (4, 1)]
    both.wait(60)
    assert gate.spare(4) == 2  # of a thread that is no worker
    both.wait(60)
    assert [future.result() for future in running] == [3, 1]
    assert gate.spare(4) == 4


def forked(task: tuple[np.ndarray, dict[str, Any], bytes]) -> bool:
    return right(*task)


@needs_fork
def test_forked_pool(files: list[tuple[np.ndarray, dict[str, Any], bytes]]) -> None:
    """Workers of multiprocessing, forked from a process whose threads have worked, and have ended by then."""
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda task: right(*task), files))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this is a risk is the point
        with multiprocessing.get_context("fork").Pool(2) as processes:
            assert all(processes.map_async(forked, files).get(60))


def fork_while(works: list[Callable[[], bool]], children: list[Callable[[], bool]], pause: float) -> None:
    """Fork a process for each of ``children``, one after the other, while threads do ``works`` again and again."""
    end = threading.Event()

    def again(work: Callable[[], bool]) -> bool:
        good = True
        while not end.is_set():
            good &= work()
        return good

    with ThreadPoolExecutor(len(works)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        working = [pool.submit(again, work) for work in works]
        try:
            for work in children:
                time.sleep(pause)
                child = os.fork()
                if child == 0:
                    signal.alarm(60)
                    os._exit(0 if work() else 1)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            end.set()
        assert all(future.result() for future in working)


@needs_fork
@pytest.mark.skipif(native.core() is None, reason="no compiled core")
def test_forks_while_threads_share_layers() -> None:
    """Children have none of the threads that wait for layers in their parent, and begin their own."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-20, 20, (64, 64, 3, 3)).astype(np.int8)
    layers = {"a": ConvSpec(weight, np.zeros(64, np.int32), np.full(64, 8, np.int32), False, False)}
    network = NativeNetwork(layers, threads=4)
    x = network.from_activations(rng.integers(0, 128, (2, 40, 40, 64)).astype(np.uint8))
    expected = network.to_numpy(NativeNetwork(layers, threads=1).conv("a", x))

    def work() -> bool:
        return np.array_equal(network.to_numpy(network.conv("a", x)), expected)

    fork_while([work, work], [lambda: all(work() for _ in range(3))] * 8, 0.005)


@needs_fork
def test_forks_while_others_work(files: list[tuple[np.ndarray, dict[str, Any], bytes]]) -> None:
    """Children that are forked while threads are in the middle of tiles."""
    children = [partial(right, *task) for task in files[:4]]
    fork_while([children[0], children[2]], children, 0.02)


def test_work_of_a_caller_that_has_left() -> None:
    """It stops at the next checkpoint, and what is submitted later runs."""
    workers, left, begun = gate.Workers(1), threading.Event(), threading.Event()

    def endless(task: int) -> None:
        begun.set()
        while True:
            gate.checkpoint()

    future = workers.submit(endless, 0, left)
    begun.wait(60)
    left.set()
    with pytest.raises(gate.Cancelled):
        future.result(60)
    assert workers.submit(lambda task: (gate.checkpoint(), task)[1], 7, threading.Event()).result(60) == 7
    gate.checkpoint()  # means nothing to other threads


def test_an_error_ends_other_tiles(
    files: list[tuple[np.ndarray, dict[str, Any], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller itself sees to it, whoever keeps the error: a thread that did so might wait for its own work."""
    data, submit, events = bytearray(files[1][2]), gate.TILES.submit, []
    ref = next(container.read_header(io.BytesIO(data)).chunks())
    data[ref.offset + ref.length // 2] ^= 1

    def noted(work: Callable[[Any], Any], task: Any, left: threading.Event) -> Future[Any]:
        events.append(left)
        return submit(work, task, left)

    monkeypatch.setattr(gate.TILES, "submit", noted)
    with pytest.raises(FormatError):
        decode(seal(bytes(data)))
    assert len(events) == 2 and all(left.is_set() for left in events)


def test_apart() -> None:
    """In a thread of its own for much data, from the main thread alone; errors come back."""
    assert gate.apart(threading.current_thread, 10) is threading.main_thread()
    assert gate.apart(threading.current_thread, 1 << 20) is not threading.main_thread()
    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(threading.current_thread).result()
        assert pool.submit(gate.apart, threading.current_thread, 1 << 20).result() is own
    with pytest.raises(ZeroDivisionError):
        gate.apart(lambda: 1 // 0, 1 << 20)


INTERRUPTED = {
    "command line": "from pil_neuralcodec.cli import main; begin(); main(['encode', source, '-o', target])",
    "network": "begin(); Image.open(source).save(target, past=False, fallback=False)",
    "lzma": "begin(); Image.open(source).save(target, fallback='filtered')",
    "webp": "begin(); Image.open(source).save(target, fallback='webp')",
}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is Ctrl-C of POSIX")
@pytest.mark.parametrize("call", INTERRUPTED)
def test_interrupted(call: str, tmp_path: Path) -> None:
    """Ctrl-C ends a process that encodes a large image, and no file is left."""
    source, target = tmp_path / "source.ppm", tmp_path / "target.ifl"
    Image.fromarray(image(1400, 1400, 9)).save(source)
    before = set(tmp_path.iterdir())
    code = (  # a shell that starts the tests in the background has SIGINT ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from PIL import Image; import pil_neuralcodec.writer; _, source, target = sys.argv\n"
        "def begin(): print('begun', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code + INTERRUPTED[call], source, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(SECONDS) != 0
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("late", ["atexit.register(work)", "threading.Thread(target=work).start()"])
def test_work_goes_on_while_python_ends(tiny: str, late: str) -> None:
    """Pools of threads are closed before other threads have ended, and before what ``atexit`` calls."""
    script = f"""if True:
        import atexit, threading, numpy as np
        from pil_neuralcodec import decode, encode
        array = np.random.default_rng(0).integers(0, 9, (600, 100, 3), np.uint8)
        def work():
            threading.main_thread().join()
            data = encode(array, model={tiny!r}, fallback=False)
            print(np.array_equal(decode(data), array), np.array_equal(decode(encode(array[:100])), array[:100]))
        decode(encode(array[:300], model={tiny!r}, fallback=False))
        {late}
    """
    if late.startswith("atexit"):  # there the main thread itself works
        script = script.replace("threading.main_thread().join()", "pass")
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_threads_save_to_one_path(tmp_path: Path) -> None:
    """The file is always one of theirs, whole."""
    path = tmp_path / "a.ifl"
    images = [Image.fromarray(image(40 + 9 * number, 40, number)) for number in range(4)]
    save(images[0], path, fallback="raw")

    def work(one: Image.Image) -> None:
        for _ in range(20):
            save(one, path, fallback="raw")
            assert decode(path).shape[1] == 40

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, images))
    assert list(tmp_path.iterdir()) == [path]


def test_work_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a pool, or by the caller in order behind it; a pool that lacks a thread keeps the work, and so it fails."""
    done: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        first = gate.submitted(pool, lambda: (time.sleep(0.1), done.append(1)))
        pool.shutdown(wait=False)
        assert gate.submitted(pool, done.append, 2, after=[first]).done() and done == [1, 2]
        assert isinstance(gate.submitted(pool, lambda: 1 // 0).exception(), ZeroDivisionError)
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("can't start")))
    with pytest.raises(RuntimeError, match="can't start"):
        gate.submitted(ThreadPoolExecutor(1), done.append, 3)
    assert gate.beside(lambda: 4).result() == 4 and done == [1, 2]
