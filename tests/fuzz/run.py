"""Fuzzing: hostile files made by the thousand, read with every error but the promised ones a finding.

    cd tests && python -m fuzz.run TARGET [SECONDS] [--plain | libFuzzer's options]
    tox -e fuzz -- TARGET [SECONDS]

A target is ``container``, ``arrays`` or a method of the format; with ``--plain`` also ``all``. libFuzzer (through
atheris, which has to be installed) mutates files towards code that was not reached yet; a mutation is one of bytes, or
of what the layout of a file names (``files.mutate``), and checksums are made right before a file is read
(``files.seal``). Files that reached something new stay in ``build/fuzz/TARGET``.

``--plain`` makes files at random, of those that the folder holds, and needs nothing but the tests' own packages.
``tox -e fuzz`` does so with AddressSanitizer and UndefinedBehaviorSanitizer in the compiled core. (GCC's sanitizers and
libFuzzer want the same symbols, so coverage is measured without them.)

A finding is any error that is no ``OSError`` of the package, any warning, engines that differ, what the sanitizers
see, ten seconds, or 2 GiB. Its file is ``build/fuzz/TARGET-crash-...``, and with ``--plain`` always
``build/fuzz/TARGET-last``, if the process itself dies. Mended, it goes to ``tests/fuzz/crashers``, which
``tests/test_fuzz.py`` reads.
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
SECONDS = 10
"""Of CPU time, within which a file must be read."""
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NEURALCODEC_MODELS"] = str(BUILD / "models")


def main() -> None:
    """Fuzz one target."""
    target, *options = sys.argv[1:]
    seconds = int(options.pop(0)) if options and options[0].isdecimal() else 60
    (BUILD / "models").mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("error")
    if "--plain" in options:
        plain(target, seconds)
    else:
        (BUILD / target).mkdir(exist_ok=True)
        guided(target, seconds, options)


def timed(read: Callable[[bytes], None], data: bytes) -> None:
    """Read a file, and see that it takes not too long."""
    started = time.process_time()
    read(data)
    assert time.process_time() - started < SECONDS, "too long"


def plain(target: str, seconds: float) -> None:
    """Random mutations."""
    from fuzz import files, targets

    files.save_all_models(BUILD / "models")
    chosen = list(targets.TARGETS) if target == "all" else [target]
    seeds = files.seeds()
    for name in chosen:
        begin = seeds[name] + [path.read_bytes() for path in sorted((BUILD / name).glob("*"))]
        seed, count, cpu = random.SystemRandom().getrandbits(32), 0, time.process_time()
        end = time.monotonic() + seconds / len(chosen)
        with (BUILD / f"{name}-last").open("wb", buffering=0) as last:
            for data in files.stream(begin, seed):
                if time.monotonic() > end:
                    break
                last.seek(0)
                last.write(data)
                last.truncate()
                try:
                    timed(partial(targets.run, name), data)
                except BaseException:
                    (BUILD / f"{name}-crash-{seed}-{count}").write_bytes(data)
                    raise
                count += 1
        print(f"{name}: {count} executions, {time.process_time() - cpu:.0f} s of CPU time, none amiss", flush=True)


def guided(target: str, seconds: int, options: list[str]) -> None:
    """libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["pil_neuralcodec"]):
        from fuzz import files, targets

        files.save_all_models(BUILD / "models")
        for number, data in enumerate(files.seeds()[target]):
            (BUILD / target / f"seed-{number}").write_bytes(data)
            targets.run(target, data)  # imports what is imported when it is used
    atheris.Setup(
        [
            sys.argv[0],
            str(BUILD / target),
            f"-max_total_time={seconds}",
            f"-max_len={4 * files.LARGEST}",
            f"-timeout={60 * SECONDS}",
            f"-artifact_prefix={BUILD}/{target}-",
            *"-rss_limit_mb=2048 -print_final_stats=1 -len_control=0".split(),
            *options,
        ],
        partial(timed, partial(targets.run, target)),
        custom_mutator=lambda data, most, seed: files.mutate(data, atheris.Mutate, seed)[:most],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
