"""Measure this codec beside its peers: whole files, real times, every row decoded again and compared.

A *sample* is one image as an array: uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W). A *codec* turns a sample
into the bytes of a file and back. ``measure`` gives one row; a ``Report`` gathers rows and writes JSON, Markdown and a
plot. Bits per subpixel = 8 * bytes / (H * W * bands), as in the tables of the Bit-Swap and iFlow papers.

The peers come from the standard library, Pillow, imagecodecs and pillow-jxl-plugin (the ``bench`` extra).
"""

from __future__ import annotations

from .codecs import NAMES, OURS, Codec, Row, available, measure, ours, peers
from .report import Report, Summary, environment
from .samples import Pixels, Sample, as_pixels, crop_to_multiple, load_samples, to_rgb

__all__ = [
    "NAMES",
    "OURS",
    "Codec",
    "Pixels",
    "Report",
    "Row",
    "Sample",
    "Summary",
    "as_pixels",
    "available",
    "crop_to_multiple",
    "environment",
    "load_samples",
    "measure",
    "ours",
    "peers",
    "to_rgb",
]
