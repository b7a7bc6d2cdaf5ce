"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL import Image

_LONGEST: Final = 255
"""Bytes of a file's name: more are refused nearly everywhere."""
_begun: set[Path] = set()


def part_of(target: Path, process: int, thread: int | None = None) -> Path:
    """Where a process puts what becomes ``target``: beside it, with its suffix. Too long a name is not kept.

    ``thread``: the one that writes, other than the main thread."""
    stem, end = target.stem, f"-{process}{'' if thread is None else f'-{thread}'}{target.suffix}"
    if len(os.fsencode(stem + end)) >= _LONGEST:
        stem = f"{zlib.crc32(os.fsencode(stem)):08x}"
    return target.with_name(f".{stem}{end}")


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` at the end, or vanishes where something was raised."""
    is_main = threading.current_thread() is threading.main_thread()
    part = part_of(target, os.getpid(), None if is_main else threading.get_ident())
    _begun.add(part)
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        if error.filename in (part, str(part)):  # a name that nobody has asked for
            error.filename = str(target)
        raise
    finally:
        part.unlink(missing_ok=True)
        _begun.discard(part)


def save(image: Image.Image, path: str | os.PathLike[str], **options: Any) -> None:
    """``image.save(path, **options)`` that leaves what is at ``path`` alone until the new file is whole.

    Pillow empties the file first: what is interrupted then, or refused, has destroyed it. A link keeps leading to the
    file, and the file keeps its permissions. What is no file, as a pipe or a device, is written to as it is. Raises as
    ``image.save``.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            image.save(file, **options)
        return
    with written_whole(target) as part:
        image.save(part, **options)
        with suppress(FileNotFoundError):
            shutil.copymode(target, part)


def discard_begun() -> None:
    """Remove what this process has begun to write, for one that ends without raising anything."""
    for part in list(_begun):
        with suppress(OSError):
            part.unlink(missing_ok=True)
