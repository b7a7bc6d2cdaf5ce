"""Names of devices: where networks run. Importing this costs nothing, so every caller can check a name at once."""

from __future__ import annotations

import re

DEVICES = ("numpy", "cpu", "cuda")
"""What every ``device=`` takes. ``numpy`` is the reference; ``cpu`` the compiled core, or numpy where that cannot be
used; ``cuda``, and ``cuda:1`` and so on, torch on a GPU. Others are not proven exact. None, the default, is the CPU.
Bytes and pixels are the same."""


def check_device(device: str | None) -> None:
    """Raise ``ValueError`` for an unknown device name, ``TypeError`` if ``device`` is not a string."""
    if device is not None and not isinstance(device, str):
        raise TypeError(f"device should be a name, not {device!r}")
    if device is not None and device not in DEVICES and not re.fullmatch(r"cuda:\d+", device):
        raise ValueError(f"unknown device {device!r}: choose from {', '.join(DEVICES)}, or cuda:1, cuda:2, ...")
