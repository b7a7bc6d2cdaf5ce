"""Fuzzing: hostile files made by the thousand, read with every error but the promised ones a finding.

    cd tests && python -m fuzz.run TARGET [SECONDS] [--threads] [--guided [libFuzzer's options]]
    cd tests && python -m fuzz.run counts
    tox -e fuzz -- TARGET [SECONDS]

A target is ``container``, ``coders``, ``arrays`` or a method of the format; ``all`` takes them in turns, that one next
which has the least of its budget. Files are made at random: a mutation is one of bytes, or of what the layout of a file
names (``files.mutate``), and checksums are made right before a file is read (``files.seal``).

Executions add up over runs, in ``runs/fuzz/counts.jsonl``, a line for each turn. They are those of one state of the
code: of its Git trees, or where there are changes in them of the bytes of the files. ``counts`` prints them, the code
that is here first, with how far they got (``targets.STAGES``).

``tox -e fuzz`` runs with AddressSanitizer and UndefinedBehaviorSanitizer in the compiled core. With ``--guided``, which
needs atheris, libFuzzer mutates files towards code that was not reached yet, and keeps files that reached some in
``runs/fuzz/TARGET``, where later runs without it begin too. (GCC's sanitizers and libFuzzer want the same symbols.)

With ``--threads`` tiles are decoded in threads of their own, two at a time, as everywhere else; without, in the thread
that asks, which takes a fraction of the time.

A finding is any error that is no ``OSError`` of the package, any warning, engines that differ, what the sanitizers
see, or ten seconds. Its file is ``runs/fuzz/TARGET-crash-...``; that of a process that died is there once it is
started again. Mended, it goes to ``tests/fuzz/crashers``, which ``tests/test_fuzz.py`` reads.
"""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "runs" / "fuzz"
CODE = "pil_neuralcodec", "native"
SECONDS = 10
"""Of CPU time, within which a file must be read."""
HANGING = 1800
"""Of any time, after which threads wait for each other for ever; a run may be paused for less."""
TURN = 30
"""Seconds of one target, and then of another."""
BUDGETS = {"container": 10**7, "coders": 10**7}
"""Executions; 10**6 of other targets."""
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NEURALCODEC_MODELS"] = str(FOLDER / "models")


def main() -> None:
    """Fuzz one target, or all."""
    target, *options = sys.argv[1:]
    if target == "counts":
        print_counts()
        return
    seconds = int(options.pop(0)) if options and options[0].isdecimal() else 60
    (FOLDER / "models").mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("error")
    if "--guided" in options:
        (FOLDER / target).mkdir(exist_ok=True)
        guided(target, seconds, options[1:])
    else:
        plain(target, seconds, "--threads" in options)


def timed(read: Callable[[bytes], None], data: bytes) -> None:
    """Read a file, and see that it takes not too long."""
    started = time.process_time()
    read(data)
    assert time.process_time() - started < SECONDS, "too long"


def code() -> str:
    """Names the state of the package, and of its compiled core whether there is one, and with the sanitizers."""
    from pil_neuralcodec import native

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *CODE)
        names = [git("rev-parse", "--short=12", f"HEAD:{part}") for part in CODE]
    except (OSError, subprocess.CalledProcessError):
        changed, names = "no repository", []
    if changed:
        files = sorted(path for part in CODE for path in (ROOT / part).rglob("*.[cph]*p*") if path.suffix != ".pyc")
        names = ["changed", hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]]
    core = "numpy" if native.core() is None else "sanitized" if sanitized() else "compiled"
    return " ".join((*names, core))


def sanitized() -> bool:
    """Whether AddressSanitizer watches this process."""
    return hasattr(ctypes.CDLL(None), "__asan_init")


def plain(target: str, seconds: float, threads: bool) -> None:
    """Random mutations."""
    from fuzz import files, targets

    files.save_all_models(FOLDER / "models")
    begin, costs = files.seeds(), dict[str, list[float]]()
    here, done = code(), Counter[str]()
    if threads:
        os.environ["OMP_NUM_THREADS"], here = "2", f"{here}, threads"
    for line in lines():
        if line["code"] == here:
            done[line["target"]] += line["executions"]
    end = time.monotonic() + seconds
    before = Counter(done)
    with nullcontext() if threads else _in_this_thread(), _models_at_hand(), files.small():
        while (left := end - time.monotonic()) > 0:
            name = target
            if target == "all":
                name = min(targets.TARGETS, key=lambda one: done[one] / BUDGETS.get(one, 10**6))
            if name not in costs:
                begin[name] += [path.read_bytes() for path in sorted((FOLDER / name).glob("*"))]
                costs[name] = [targets.seconds(name, data) for data in begin[name]]
            done[name] += turn(name, begin[name], costs[name], min(TURN, left), here)
    print(", ".join(f"{name}: {done[name] - before[name]:,} executions" for name in done if done[name] > before[name]))
    print("none amiss")


def turn(name: str, begin: list[bytes], costs: list[float], seconds: float, here: str) -> int:
    """Some time of one target, from data whose ``costs`` are in seconds; how many executions there were, which are put
    down."""
    from fuzz import files, targets

    targets.reached.clear()
    seed, count, cpu, read = random.SystemRandom().getrandbits(32), 0, time.process_time(), targets.TARGETS[name]
    faulthandler.register(signal.SIGPROF, chain=True)  # what never ends: the process does, and says where it was
    signal.setitimer(signal.ITIMER_PROF, seconds + 30 * SECONDS)
    faulthandler.dump_traceback_later(seconds + HANGING, exit=True)
    end, started = time.monotonic() + seconds, cpu
    with _last(name) as last:
        for data in files.stream(begin, seed, name, costs):
            last[: 4 + len(data)] = len(data).to_bytes(4, "little") + data
            try:
                read(data)
                now = time.process_time()
                assert now - started < SECONDS, "too long"
            except BaseException:
                (FOLDER / f"{name}-crash-{seed}-{count}").write_bytes(data)
                raise
            started, count = now, count + 1
            if count % 16 == 0 and time.monotonic() > end:
                break
    signal.setitimer(signal.ITIMER_PROF, 0)
    faulthandler.cancel_dump_traceback_later()
    line = {
        "code": here,
        "target": name,
        "executions": count,
        "seconds": round(time.process_time() - cpu, 1),
        "reached": dict(targets.reached),
    }
    with (FOLDER / "counts.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return count


@contextmanager
def _last(name: str) -> Iterator[mmap.mmap]:
    """Memory that a dead process leaves behind: the size and the bytes of what is read."""
    path = FOLDER / f"{name}-last-{os.getpid()}"
    for left in FOLDER.glob("*-last-*"):
        target, _, pid = left.name.rpartition("-last-")
        if not Path(f"/proc/{pid}").exists():
            held = left.read_bytes()
            left.rename(FOLDER / f"{target}-crash-died-{pid}")
            (FOLDER / f"{target}-crash-died-{pid}").write_bytes(held[4 : 4 + int.from_bytes(held[:4], "little")])
            print(f"{target}-crash-died-{pid}: a process died of it, or was ended", file=sys.stderr)
    with path.open("w+b") as file:
        file.truncate(1 << 20)
        try:
            with mmap.mmap(file.fileno(), 1 << 20) as last:
                yield last
        finally:
            path.unlink()


@contextmanager
def _in_this_thread() -> Iterator[None]:
    """Tiles are decoded where they are asked for: to wake another thread takes as long as a small tile. What threads
    do to each other is seen by ``proof.load``, and with ``--threads``."""
    from pil_neuralcodec import gate

    def submit(self: gate.Workers, work: Callable[[Any], Any], task: Any, left: object) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(task))
        except BaseException as error:
            done.set_exception(error)
        return done

    before, gate.Workers.submit = gate.Workers.submit, submit  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        gate.Workers.submit = before  # type: ignore[method-assign]


@contextmanager
def _models_at_hand() -> Iterator[None]:
    """Models are not searched for."""
    from fuzz import files

    from pil_neuralcodec import models
    from pil_neuralcodec.models import find

    places = {models.load(name).id: FOLDER / "models" / f"{name}{find.SUFFIX}" for name in files.MODELS}
    with patch.dict(find._places, places):
        yield


def lines() -> list[dict[str, Any]]:
    """Of all turns that there were."""
    path = FOLDER / "counts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_counts() -> None:
    """A table in Markdown for each state of the code."""
    from fuzz.targets import STAGES, TARGETS

    here = code()
    found = lines()
    for state in sorted({line["code"] for line in found}, key=lambda one: one != here):
        print(f"{state}{', which is here' if state == here else ''}:\n")
        print(f"| target | executions | ms of CPU time each | {' | '.join(STAGES)} |\n|{'---|' * (3 + len(STAGES))}")
        for target in TARGETS:
            own = [line for line in found if (line["code"], line["target"]) == (state, target)]
            count = sum(line["executions"] for line in own)
            if count:
                reached = sum((Counter(line["reached"]) for line in own), Counter[str]())
                shares = " | ".join(f"{100 * reached[stage] / reached.total():.0f} %" for stage in STAGES)
                each = 1000 * sum(line["seconds"] for line in own) / count
                print(f"| {target} | {count:,} | {each:.2f} | {shares} |")
        print()


def guided(target: str, seconds: int, options: list[str]) -> None:
    """libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["pil_neuralcodec"]):
        from fuzz import files, targets

        files.save_all_models(FOLDER / "models")
        for number, data in enumerate(files.seeds()[target]):
            (FOLDER / target / f"seed-{number}").write_bytes(data)
            targets.run(target, data)  # imports what is imported when it is used
    mutate = {"custom_mutator": lambda data, most, seed: files.mutate(data, atheris.Mutate, seed)[:most]}
    atheris.Setup(
        [
            sys.argv[0],
            str(FOLDER / target),
            f"-max_total_time={seconds}",
            f"-max_len={4 * files.LARGEST}",
            f"-timeout={60 * SECONDS}",
            f"-artifact_prefix={FOLDER}/{target}-",
            *"-rss_limit_mb=2048 -print_final_stats=1 -len_control=0".split(),
            *options,
        ],
        partial(timed, partial(targets.run, target)),
        **({} if target in files.BARE else mutate),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
