"""Axes that are not named, shapes of two readings, samples of any kind: the same for arrays and for chunks."""

from __future__ import annotations

import re

import numpy as np
import pytest
import zarr

from pil_neuralcodec import arrays, decode, encode, read_info, sheets
from pil_neuralcodec.errors import UnsupportedError
from pil_neuralcodec.numcodecs import Ifl
from pil_neuralcodec.zarr import IflCodec


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((7, 9), "YX"),
        ((7, 9, 3), "YXC"),
        ((7, 9, 1), "YXC"),
        ((2, 7, 9), "ZYX"),
        ((5, 7, 9, 3), "ZYXC"),
        ((2, 5, 7, 19), "SZYX"),
        ((8, 256, 256), "ZYX"),
        ((100, 8, 8), "ZYX"),
        ((4, 256, 256), "ZYX"),
        ((2, 5, 7, 9, 4), "SZYXC"),
        ((2, 3, 4, 5, 6, 7, 8, 9), "MNPTSZYX"),
    ],
)
def test_default_axes(shape: tuple[int, ...], axes: str) -> None:
    """They are those of arrays and of chunks."""
    assert sheets.default_axes(shape) == axes
    assert arrays.check(None, shape, np.dtype("u1")) == axes


@pytest.mark.parametrize(
    ("shape", "readings"),
    [((3, 40, 50), ("CYX", "ZYX")), ((40, 50, 12), ("YXC", "ZYX")), ((2, 3, 40, 50), ("SCYX", "SZYX")),
     ((2, 40, 50, 5), ("ZYXC", "SZYX"))],
)  # fmt: skip
def test_a_shape_of_two_readings_is_refused(shape: tuple[int, ...], readings: tuple[str, str]) -> None:
    """Both readings are named, and both are right."""
    array = np.arange(np.prod(shape)).reshape(shape).astype("u1")
    calls = (encode, Ifl().encode, lambda a: zarr.create_array({}, data=a, chunks=shape, serializer=IflCodec()))
    for call in calls:
        with pytest.raises(ValueError, match="has two readings") as error:
            call(array)
        assert tuple(re.findall("axes='([A-Z]+)'", str(error.value))) == readings
    for axes in readings:
        np.testing.assert_array_equal(decode(encode(array, axes=axes, fallback="raw")), array, strict=True)


@pytest.mark.parametrize("dtype", ["?", "i1", "<i2", ">i2", "u4", ">u4", "i8", "u8", "f2", "f8", ">f4"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (5, 20, 30)])
def test_arrays_of_any_numbers(shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    data = encode(array)
    np.testing.assert_array_equal(decode(data), array, strict=True)
    assert read_info(data).shape == shape
    if shape[-1] < 5 or len(shape) == 2:
        np.testing.assert_array_equal(decode(data, region=(3, 4, 20, 18)), array[4:18, 3:20], strict=True)


@pytest.mark.parametrize(("dtype", "advice"), [
    ("c8", "array.real and array.imag"), ("M8[s]", "array.view('i8')"), ("S3", "integers, floats of up to 64 bits"),
])  # fmt: skip
def test_what_cannot_be_coded_is_refused_with_advice(dtype: str, advice: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        encode(np.zeros((4, 5), dtype))
    assert advice in str(error.value)
    for shape in ((4,), (1,) * 9):
        with pytest.raises(ValueError, match="it needs 2 to 8 axes"):
            encode(np.zeros(shape))


def test_levels_of_an_array_that_is_an_image(tiny: str) -> None:
    array = np.arange(64 * 65, dtype="i2").reshape(64, 65)
    data = encode(array, model=tiny, fallback=False)
    np.testing.assert_array_equal(decode(data, level=1), array[::2, ::2], strict=True)
    with pytest.raises(ValueError, match="one of them"):
        decode(data, level=1, part=((0, 1), (0, 1)))
    with pytest.raises(ValueError, match="axes ZYX has no levels and regions"):
        decode(encode(np.zeros((5, 9, 9), "u1")), region=(0, 0, 1, 1))
