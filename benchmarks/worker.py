"""A process that encodes and decodes by the package of a checkout, on so many cores: ``engine.py`` measures with it.

It reads requests from its standard input and writes answers, a line of JSON each. Processes of two checkouts that are
asked in turn make paired runs: the one that is not asked waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONVERSIONS = {"upsample", "from_pixels", "from_activations", "to_numpy"}
"""What networks have besides layers."""


class Worker:
    """A process that imports the package from the folder ``code``: ``with Worker(...) as worker: worker.ask(...)``.

    Parameters
    ----------
    threads : the cores that it may use, and with them the threads of everything in it.
    isa : caps the instruction sets (NEURALCODEC_ISA); None: as they are.
    """

    def __init__(self, code: Path, threads: int = 2, isa: str | None = None) -> None:
        if not hasattr(os, "sched_setaffinity"):
            raise RuntimeError("this system cannot limit a process to some of its cores")
        if threads > len(os.sched_getaffinity(0)):
            raise RuntimeError(f"there are not {threads} cores")
        environment = os.environ | ({"NEURALCODEC_ISA": isa} if isa else {})
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(code.resolve()), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer of the function of that name below. Raises ``RuntimeError`` if the process ended."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that was to {do} has ended")
        return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def digest(pixels: Any) -> str:
    """SHA-256, as hex, of an array's shape, type and content."""
    state = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    for part in pixels:  # a copy of the whole would count as memory of the decoder
        state.update(part.tobytes())
    return state.hexdigest()


def about() -> str:
    """What runs layers: instruction sets, fastest first, or what there is instead."""
    if find_spec("pil_neuralcodec.native"):
        from pil_neuralcodec import native

        if sets := native.instruction_sets():
            return ", ".join(sets)
    if find_spec("torch"):
        import torch

        return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    return "numpy"


def encode(pixels: str, file: str, options: dict[str, Any], times: int = 1, seconds: float = 0) -> dict[str, Any]:
    """Encode the array in the file ``pixels`` (.npy) to ``file``. See ``_timed``."""
    import numpy as np

    from pil_neuralcodec import encode

    array = np.load(pixels)
    data, answer = _timed(lambda: encode(array, **options), times, seconds)
    Path(file).write_bytes(data)
    return answer | {"bytes": len(data), "digest": hashlib.sha256(data).hexdigest()}


def decode(file: str, options: dict[str, Any], times: int = 1, seconds: float = 0) -> dict[str, Any]:
    """Decode a file. See ``_timed``."""
    from pil_neuralcodec import decode

    data = Path(file).read_bytes()
    pixels, answer = _timed(lambda: decode(data, max_pixels=None, **options), times, seconds)
    return answer | {"digest": digest(pixels)}


def _timed(work: Callable[[], Any], times: int, seconds: float) -> tuple[Any, dict[str, Any]]:
    """The last result; the seconds of each run, of ``times`` or fewer where they take longer than ``seconds``, those of
    all threads in the mean run, and the memory that the process has had at most, in bytes."""
    spent: list[float] = []
    before = time.process_time()
    result = None
    while not spent or (len(spent) < times and sum(spent) < seconds):
        result = None  # its memory is no part of the next run
        begin = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - begin)
    cpu = (time.process_time() - before) / len(spent)
    return result, {"seconds": spent, "cpu": cpu, "peak": _peak()}


def _peak() -> int:
    # Not ru_maxrss of getrusage, which begins with what the parent had when it forked.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not tell how much memory was used")


def split(file: str, options: dict[str, Any], times: int) -> dict[str, float]:
    """Seconds of all threads to decode a file, and those of some parts.

    Where there is one core, each layer runs in the thread that calls it.
    """
    from pil_neuralcodec import decode

    parts: defaultdict[str, list[float]] = defaultdict(list)
    data = Path(file).read_bytes()
    decode(data, **options)
    for name, module in list(sys.modules.items()):
        if name.startswith("pil_neuralcodec.nets.") and name.endswith("_backend"):
            for cls in list(vars(module).values()):
                if isinstance(cls, type) and cls.__module__ == name and hasattr(cls, "conv"):
                    for method in [method for method in vars(cls) if method[0] != "_" and callable(vars(cls)[method])]:
                        part = "maps, to and fro" if method in CONVERSIONS else "convolutions"
                        _watch(cls, method, parts[part])
    from pil_neuralcodec.coders.symbols import SymbolSource

    _watch(SymbolSource, "get", parts["symbols"])
    _watch(SymbolSource, "get_uniform", parts["symbols"])
    begin = time.process_time()
    for _ in range(times):
        decode(data, **options)
    total = (time.process_time() - begin) / times
    found = {name: sum(spent) / times for name, spent in parts.items()}
    return {"all": total, **found, "rest": total - sum(found.values())}


_running = threading.local()


def _watch(cls: type, method: str, spent: list[float]) -> None:
    """Have the seconds of a method's thread noted, if no other that is watched called it."""
    work = getattr(cls, method)

    def watched(*args: Any, **kwargs: Any) -> Any:
        if getattr(_running, "some", False):
            return work(*args, **kwargs)
        _running.some, begin = True, time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            spent.append(time.thread_time() - begin)
            _running.some = False

    setattr(cls, method, watched)


def main(code: str, threads: int) -> None:
    """Answer requests until there are no more."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before any library counts cores
    sys.path[0] = code
    import pil_neuralcodec

    if not Path(str(pil_neuralcodec.__file__)).is_relative_to(code):
        raise SystemExit(f"no package in {code}")
    for line in sys.stdin:
        request = json.loads(line)
        do = {"about": about, "encode": encode, "decode": decode, "split": split}[request.pop("do")]
        print(json.dumps(do(**request)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
