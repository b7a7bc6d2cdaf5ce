"""Metadata of a file of ours as Pillow's writers take it, and what a file that was written lacks of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..uncut import foreign_errors


def options(info: Mapping[Any, Any], text: Mapping[str, str], suffix: str) -> dict[str, Any]:
    """Options of ``save`` that make a file of another format keep an image's ``info`` and ``text``."""
    keep = {key: info[key] for key in ("exif", "xmp", "icc_profile", "comment") if info.get(key)}
    if is_writable_dpi(info.get("dpi")):
        keep["dpi"] = info["dpi"]
    if suffix in (".tif", ".tiff") and not values_of_exif(info.get("exif")):
        keep.pop("exif", None)  # its values become tags
    if Image.registered_extensions().get(suffix) == "PNG":
        keep["pnginfo"] = PngInfo()
        for key, value in text.items():
            with suppress(UnicodeEncodeError):  # keys are Latin-1; `lost` tells what is not kept
                keep["pnginfo"].add_text(key, value)
        if keep.get("xmp"):
            with suppress(UnicodeDecodeError):
                keep["pnginfo"].add_itxt("XML:com.adobe.xmp", keep["xmp"].decode())
    return keep


def lost(info: Mapping[Any, Any], text: Mapping[str, str], written: Image.Image) -> list[str]:
    """Names of what ``info`` and ``text`` hold and the written file does not."""
    written.load()  # some formats give their metadata only behind the pixels
    there = dict(written.info)
    if hasattr(written, "tag_v2") and len(written.getexif()) and values_of_exif(info.get("exif")):
        there["exif"] = True
    if not is_writable_dpi(info.get("dpi")):
        there.pop("dpi", None)  # it is made up
    if written.mode in ("LA", "PA", "RGBA"):
        there["transparency"] = True  # as alpha
    if there.get("loop", 0) != info.get("loop"):
        there.pop("loop", None)
    names = ["exif", "xmp", "icc_profile", "dpi", "comment", "transparency", "loop"]
    found = [name for name in names if name in info and name not in there]
    if getattr(written, "n_frames", 1) > 1 and "loop" in found and not info["loop"]:
        found.remove("loop")
    return found + [f"text {key}" for key, value in text.items() if there.get(key) != value]


def is_writable_dpi(dpi: tuple[float, float] | None) -> bool:
    """Whether other formats hold what ours may: TIFF files say 0 / 0, too."""
    return dpi is not None and all(0 <= one < 2**16 for one in dpi)


def values_of_exif(data: bytes | None) -> dict[int, Any]:
    """The values of an Exif block by their tags; none where it cannot be read, as those of some cameras."""
    exif = Image.Exif()
    try:
        with foreign_errors():
            exif.load(data or b"")
            return dict(exif.items())
    except OSError:
        return {}
