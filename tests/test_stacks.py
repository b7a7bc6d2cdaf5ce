"""Files of arrays on the command line: .npy, .npz and TIFF files with axes, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import call

from pil_neuralcodec import decode, read_info
from pil_neuralcodec.cli import stacks

NUMBERS = np.arange(2 * 3 * 4 * 5 * 6, dtype="u2")
FAST = ("--fallback", "raw")


def there_and_back(path: Path) -> Path:
    """The file that comes back of one, by the suffix that its name keeps."""
    call("encode", path, "-o", f"{path.parent}/coded/", "--keep-suffix", "--check", *FAST)
    call("decode", path.parent / "coded" / f"{path.name}.ifl", "-o", f"{path.parent}/back/")
    return path.parent / "back" / path.name


@pytest.mark.parametrize(
    "array",
    [NUMBERS.reshape(24, 5, 6), NUMBERS.reshape(24, 30).astype(">i2"), NUMBERS.reshape(6, 4, 5, 6).astype("f8"),
     np.asfortranarray(NUMBERS.reshape(24, 30)), NUMBERS.reshape(24, 30) % 2 == 1, np.zeros((5, 6, 3), "u1")],
)  # fmt: skip
def test_numpy_files(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(there_and_back(tmp_path / "a.npy")), array, strict=True)
    np.savez(tmp_path / "b.npz", images=array)
    with np.load(there_and_back(tmp_path / "b.npz")) as found:
        assert list(found) == ["images"]
        np.testing.assert_array_equal(found["images"], array, strict=True)


def test_the_name_of_an_array_is_kept_without_the_suffix(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", depth=NUMBERS.reshape(24, 30).astype("i2"))
    call("encode", tmp_path / "b.npz", *FAST)
    (tmp_path / "b.npz").unlink()
    call("decode", tmp_path / "b.ifl")
    assert list(np.load(tmp_path / "b.npz")) == ["depth"]


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([1, None], object))
    np.save(tmp_path / "line.npy", np.zeros(4))
    np.save(tmp_path / "two.npy", np.zeros((3, 40, 50), "u1"))
    np.savez(tmp_path / "several.npz", a=NUMBERS, b=NUMBERS)
    (tmp_path / "broken.npz").write_bytes((tmp_path / "several.npz").read_bytes()[:90])
    (tmp_path / "broken.npy").write_bytes((tmp_path / "two.npy").read_bytes()[:90])
    told = call("encode", tmp_path, "--keep-suffix", "--json", code=1).stdout
    for text in ("allow_pickle=False", "2 to 8 axes", "axes='CYX'", "2 arrays (a, b), and a file holds one"):
        assert text in told
    assert '"failed": 6' in told and not list(tmp_path.glob("*.ifl"))
    call("encode", tmp_path / "two.npy", "--axes", "cyx", *FAST)
    axes = read_info(tmp_path / "two.ifl").metadata.axes
    assert axes is not None and axes.letters == "CYX"


def test_large_arrays_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 11), "i2"))
    monkeypatch.setattr("pil_neuralcodec.cli.files.MAX_PIXELS", 98)
    assert "99 pixels, and a file holds 98" in call("encode", tmp_path / "a.npy", code=1).stderr


TIFF: dict[str, tuple[tuple[int, ...], dict[str, Any], str]] = {
    "ome": ((2, 3, 4, 5, 6), {"metadata": {"axes": "TCZYX"}, "ome": True}, "TCZYX"),
    "imagej": ((2, 4, 3, 5, 6), {"metadata": {"axes": "TZCYX"}, "imagej": True}, "TZCYX"),
    "stack": ((24, 5, 6), {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"}, "ZYX"),
    "colours": ((8, 5, 6, 3), {"metadata": {"axes": "ZYXS"}, "photometric": "rgb"}, "ZYXC"),
    "both": ((2, 4, 5, 6, 3), {"metadata": {"axes": "CZYXS"}, "photometric": "rgb"}, "SZYXC"),
    "wide": ((24, 5, 6), {"metadata": {"axes": "ZYX"}, "resolution": (300, 300), "resolutionunit": 2}, "ZYX"),
}


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("name", TIFF)
def test_tiff_files_with_axes(tmp_path: Path, name: str, byteorder: Any) -> None:
    """Axes, description and resolution come back, however the file tells them."""
    shape, options, axes = TIFF[name]
    source = tmp_path / ("a.ome.tif" if name == "ome" else "a.tif")
    tifffile.imwrite(source, NUMBERS.reshape(shape), byteorder=byteorder, **options)
    back = there_and_back(source)
    found = read_info(tmp_path / "coded" / f"{source.name}.ifl").metadata
    assert found.axes is not None and found.axes.letters == axes
    with tifffile.TiffFile(source) as one, tifffile.TiffFile(back) as other:
        assert len(one.series) == len(other.series) == 1
        a, b = one.series[0], other.series[0]
        assert (a.kind, a.axes) == (b.kind, b.axes)
        np.testing.assert_array_equal(a.asarray(), b.asarray(), strict=True)
        for what in ("description", "resolution", "software"):
            assert getattr(one.pages.first, what) == getattr(other.pages.first, what)


def test_stacks_become_tiff(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", NUMBERS.reshape(4, 6, 5, 6).astype("f4"))
    call("encode", tmp_path / "a.npy", "--axes", "TZYX", *FAST)
    call("decode", tmp_path / "a.ifl", "--to", "tiff")
    with tifffile.TiffFile(tmp_path / "a.tiff") as file:
        assert file.series[0].axes == "TZYX"
        np.testing.assert_array_equal(file.series[0].asarray(), np.load(tmp_path / "a.npy"), strict=True)
    refused = call("decode", tmp_path / "a.ifl", "--to", "png", code=1).stderr
    assert "no image: use --to npy or --to tiff" in refused
    call("decode", tmp_path / "a.ifl", "-o", f"{tmp_path}/back/")
    np.testing.assert_array_equal(np.load(tmp_path / "back" / "a.npy"), decode(tmp_path / "a.ifl"), strict=True)


def test_plain_pages_stay_frames(tmp_path: Path) -> None:
    """Nothing tells their axes, and Pillow reads them."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in NUMBERS.reshape(24, 5, 6)[:3]:
            file.write(page, metadata=None)
    back = there_and_back(tmp_path / "a.tif")
    assert read_info(tmp_path / "coded" / "a.tif.ifl").n_frames == 3
    np.testing.assert_array_equal(tifffile.imread(back), NUMBERS.reshape(24, 5, 6)[:3], strict=True)


@pytest.mark.parametrize("letters", ["TCZYX", "ZYXS", "CZYXS", "QYX"])
def test_letters_of_tifffile(letters: str) -> None:
    ours = stacks._ours(letters)
    assert len(ours) == len(set(ours)) == len(letters) and {"Y", "X"} <= set(ours)
    assert stacks._theirs(ours) == letters
    assert len(set(stacks._ours("QQYX"))) == 4
