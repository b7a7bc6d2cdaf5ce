"""Measure this codec beside its peers: whole files, real times, every row decoded again and compared.

A *sample* is one image as an array of uint8 or uint16: (H, W), (H, W, 3) or (H, W, 4). A *codec* turns a sample into
the bytes of a file and back. ``measure`` gives one row; a ``Report`` gathers rows and writes them.

The peers come from the standard library, Pillow, imagecodecs and pillow-jxl-plugin (the ``bench`` extra).
"""

from .codecs import NAMES, OURS, Codec, available, ours, peers
from .report import Report, Row, Summary, environment, measure
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
