"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_begun: set[Path] = set()


def part_of(target: Path, process: int) -> Path:
    """Where a process puts what becomes ``target``: beside it, with its suffix."""
    return target.with_name(f".{target.stem}.{process}{target.suffix}")


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` at the end, or vanishes where something was raised."""
    part = part_of(target, os.getpid())
    _begun.add(part)
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
        _begun.discard(part)


def save(image: Image.Image, path: str | os.PathLike[str], **options: Any) -> None:
    """``image.save(path, **options)`` that leaves what is at ``path`` alone until the new file is whole.

    Pillow empties the file first: what is interrupted then, or refused, has destroyed it. A link keeps leading to the
    file, and the file keeps its permissions. Raises as ``image.save``.
    """
    target = Path(path).resolve()
    with written_whole(target) as part:
        image.save(part, **options)
        with suppress(FileNotFoundError):
            shutil.copymode(target, part)


def discard_begun() -> None:
    """Remove what this process has begun to write, for one that ends without raising anything."""
    for part in list(_begun):
        with suppress(OSError):
            part.unlink(missing_ok=True)
