"""Random small files of every method, decoded by the package and by the independent decoder: both must give what was
encoded, and the same metadata.

``python tests/exhaust.py --files 1000`` makes so many files of each method; ``--methods photo,patch`` of some of them;
``--first N`` begins at number N. See ``random_files`` for what they are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from independent import decoder
from independent.container import read_file
from random_files import METHODS, Case, lowered, make_case

from pil_neuralcodec import Metadata, models
from pil_neuralcodec.container import Method


def told(metadata: Metadata) -> dict[int, Any]:
    """Metadata as the independent decoder gives them."""
    axes = metadata.axes
    named = {
        1: metadata.icc_profile,
        2: metadata.exif,
        3: metadata.xmp,
        4: metadata.palette,
        5: metadata.transparency,
        6: metadata.dpi,
        7: metadata.loop,
        8: axes and (axes.letters, axes.sizes, axes.fortran, axes.big_endian),
        9: None if metadata.text is None else [tuple(text) for text in metadata.text],
        10: metadata.comment,
    }
    return {kind: value for kind, value in named.items() if value is not None}


def check(case: Case, folder: Path) -> None:
    """Raises ``AssertionError`` where the independent decoder gives anything else than what was encoded."""
    with lowered(case.limits):
        frames = decoder.decode(case.data, folder)
    assert len(frames) == len(case.frames)
    for frame, array, metadata in zip(frames, case.frames, case.metadata, strict=True):
        found, flat = np.array(frame.values, array.dtype.newbyteorder("=")), array.reshape(-1)
        is_float = array.dtype.kind == "f"
        assert np.array_equal(found, flat, equal_nan=is_float)
        assert not is_float or np.array_equal(np.signbit(found), np.signbit(flat))
        assert frame.metadata == told(metadata)


def main() -> None:
    """All methods, or some of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="of each method")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mock.patch.dict("os.environ", {models.ENVIRONMENT: name}):
            for method in arguments.methods.split(","):
                begun, wrong = time.process_time(), 0
                used: Counter[str] = Counter()
                size = pixels = 0
                for number in range(arguments.first, arguments.first + arguments.files):
                    try:
                        case = make_case(method, number, folder)
                        check(case, folder)
                    except Exception as error:  # of any kind: the next files are to be tried too
                        wrong += 1
                        print(f"{method} {number}: {type(error).__name__}: {error}", flush=True)
                        continue
                    size += len(case.data)
                    pixels += sum(array.size for array in case.frames)
                    used.update(Method(s.method).name for f in read_file(case.data).frames for s in f.segments)
                cpu = time.process_time() - begun
                parts = ", ".join(f"{count} {part.lower()}" for part, count in used.most_common())
                print(
                    f"{method}: {arguments.files} files, {wrong} wrong, {size} bytes, {pixels} samples,"
                    f" {cpu:.0f} s; segments: {parts}",
                    flush=True,
                )
                failed += wrong
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
