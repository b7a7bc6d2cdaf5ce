"""Every error that this package raises about a file, a model or a mode: one small hierarchy under ``OSError``; and its
warning of a slow engine, and how warnings are given.

Pillow's callers expect ``OSError`` from a broken or unsupported image, so all of these are one. Each message names the
defect and, where there is something to do about it, what to do. Mistakes of the calling program (a wrong argument
type, an inconsistent description of a file to write) stay ``ValueError`` and ``TypeError``.
"""

from __future__ import annotations

import sys
import warnings
from typing import Final

from PIL.Image import DecompressionBombError

NEWER: Final = "made by a newer version of pil_neuralcodec (or damaged): upgrade to read it"
"""The end of messages about what later versions may write."""


class NeuralCodecError(OSError):
    """Base of all errors below."""


class FormatError(NeuralCodecError):
    """The data do not follow the format: damaged, or not such a file at all."""


class TruncatedError(FormatError):
    """The data end too early."""


class ChecksumError(FormatError):
    """The data, or the pixels decoded from them, do not agree with their checksum."""


class LimitError(NeuralCodecError, DecompressionBombError):
    """A size exceeds a limit; raised before anything of that size is allocated. It is Pillow's error of that, too."""


class UnknownModelError(NeuralCodecError):
    """The file names a model that was not found."""


class UnsupportedError(NeuralCodecError):
    """A mode, type, method or format version that this release cannot write or read."""


class EngineWarning(UserWarning):
    """Networks run on a slower engine than they could; the message names the remedy. Given once a process."""


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn as from the line that called this package, by Pillow or directly."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


_INSIDE: Final = (__name__.partition(".")[0], "PIL")
