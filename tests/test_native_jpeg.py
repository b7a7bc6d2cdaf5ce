"""The kernels for images that were JPEG files, against the numpy code that defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.jpeg import quantisation
from pil_neuralcodec.jpeg.coefficients import TOTAL_BITS, Reader, Writer, model, transfer
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.transform import MAX_COEFFICIENT

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")

LAYOUTS = [
    Layout(1, 1, 1),
    Layout(8, 40, 1, 3, 7),
    Layout(67, 90, 3, 0, 0),
    Layout(1, 1, 3, 7, 7, 2, 2),
    Layout(33, 47, 3, 5, 9, 2, 2),
    Layout(64, 16, 3, 0, 0, 1, 2),
    Layout(16, 3, 3, 0, 0, 1, 2),
    Layout(41, 64, 3, 15, 0, 2, 1),
    Layout(48, 48, 3, 0, 0, 2, 2, fancy=False),
    Layout(48, 32, 3, 0, 0, 2, 2, below=True, right=True),
    Layout(130, 100, 3, 3, 4, 2, 2, below=True),
    Layout(400, 300, 1),  # tables forget
]


def tables_of(layout: Layout, quality: int) -> list[np.ndarray]:
    """Steps of a quality; of quality 0, the largest."""
    if quality:
        luma, chroma = (quantisation.scaled(base, quality) for base in (quantisation.LUMA, quantisation.CHROMA))
    else:
        luma = chroma = np.full(64, quantisation.MAX_STEP)
    return [table.astype(np.int64).reshape(8, 8) for table in (luma, chroma, chroma)[: layout.components]]


def drawn(rng: np.random.Generator, layout: Layout, tables: list[np.ndarray], size: float) -> list[np.ndarray]:
    """Coefficients that fall with the frequency; of infinite size, as large as they can be."""
    found = []
    for c, table in enumerate(tables):
        rows, columns = layout.blocks(c)
        limit = np.broadcast_to((MAX_COEFFICIENT - 1) // table[:, :, None], (8, 8, rows * columns))
        if np.isinf(size):
            values = rng.choice([-1, 0, 1], limit.shape, p=[0.3, 0.4, 0.3]) * limit
        else:
            fall = 1 / (1 + np.add.outer(np.arange(8), np.arange(8)))[:, :, None]
            values = np.clip(np.rint(rng.laplace(0, size, limit.shape) * fall / table[:, :, None]), -limit, limit)
        found.append(values.astype(np.int64))
    return found


def written(layout: Layout, tables: list[np.ndarray], coefficients: list[np.ndarray]) -> bytes:
    writer = SymbolWriter()
    same = transfer(Writer(writer), layout, tables, coefficients)
    assert all(map(np.array_equal, same, coefficients))
    return writer.finish()


def read(layout: Layout, tables: list[np.ndarray], data: bytes) -> list[np.ndarray]:
    reader = SymbolReader(data)
    found = transfer(Reader(reader), layout, tables, None)
    reader.close()
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_coefficients_and_pixels(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    for quality, size in ((90, 200.0), (100, 3000.0), (30, 0.0), (100, np.inf), (0, np.inf)):
        tables = tables_of(layout, quality)
        coefficients = drawn(rng, layout, tables, size)
        data = written(layout, tables, coefficients)
        pixels = layout.pixels(coefficients, tables)
        assert all(map(np.array_equal, read(layout, tables, data), coefficients))
        with monkeypatch.context() as patch:
            patch.setenv(native.ENVIRONMENT, "none")
            assert written(layout, tables, coefficients) == data
            expected = layout.pixels(coefficients, tables)
        assert pixels.shape == expected.shape and pixels.dtype == expected.dtype
        np.testing.assert_array_equal(pixels, expected)


def test_the_lowest_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    layout, tables = LAYOUTS[4], tables_of(LAYOUTS[4], 90)
    data = written(layout, tables, drawn(rng, layout, tables, 300.0))
    for count in (1, 2, 10, 64):
        found = transfer(Reader(SymbolReader(data)), layout, tables, None, count)
        with monkeypatch.context() as patch:
            patch.setenv(native.ENVIRONMENT, "none")
            expected = transfer(Reader(SymbolReader(data)), layout, tables, None, count)
        assert all(map(np.array_equal, found, expected))


def test_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same coefficients or the same error as in numpy."""
    rng = np.random.default_rng(2)
    layout = LAYOUTS[4]
    tables = tables_of(layout, 95)
    data = written(layout, tables, drawn(rng, layout, tables, 300.0))

    def outcome(bad: bytes) -> Any:
        try:
            return read(layout, tables, bad)
        except FormatError as error:
            return f"{type(error).__name__}: {error}"

    for _ in range(12):
        bad = bytearray(data)
        for at in rng.integers(0, len(bad), 2):
            bad[at] ^= 1 << int(rng.integers(8))
        found = outcome(bytes(bad))
        with monkeypatch.context() as patch:
            patch.setenv(native.ENVIRONMENT, "none")
            expected = outcome(bytes(bad))
        assert (found == expected) if isinstance(found, str) else all(map(np.array_equal, found, expected))


def test_too_large() -> None:
    layout, tables = LAYOUTS[1], tables_of(LAYOUTS[1], 50)
    for value in (MAX_COEFFICIENT, -MAX_COEFFICIENT // int(tables[0][3, 4]) - 1, 2**62):
        coefficients = drawn(np.random.default_rng(3), layout, tables, 10.0)
        coefficients[0][3, 4, -1] = value
        with pytest.raises(FormatError, match="larger than any image needs"):
            transfer(Writer(SymbolWriter()), layout, tables, coefficients)


def test_what_is_not_taken() -> None:
    core: Any = native.core()
    tables = core.AdaptiveTables(model().frequencies.astype(np.uint32), TOTAL_BITS)
    steps, values = np.ones(64, np.int64), np.zeros((64, 2, 3), np.int16)
    sizes, edges = np.zeros(18, np.int64), np.zeros(4, np.int64)
    other = core.AdaptiveTables(np.array([[4]], np.uint32), 2)
    for arguments in ((other, steps, values), (tables, steps[:63], values), (tables, steps, values[:, :0].copy())):
        with pytest.raises(ValueError, match="64|another shape"):
            core.jpeg_component(*arguments)
    for step in (0, -1, MAX_COEFFICIENT + 1):
        with pytest.raises(ValueError, match="a step is out of range"):
            core.jpeg_component(tables, steps * step, values)
    for bad in (values.astype(np.int32), values[:, ::2], values[0], None):
        with pytest.raises(TypeError):
            core.jpeg_component(tables, steps, bad)
    component = core.jpeg_component(tables, steps, values)
    for arguments in ((0, 0, []), (64, 0, []), (1, 2, []), (1, 0, [component] * 3)):
        with pytest.raises(ValueError, match="no such step"):
            component.step(*arguments, sizes, edges)
    with pytest.raises(ValueError, match="no such step"):
        component.mean(len(component.means()), sizes, edges)
    for vectors in ((sizes[:17], edges), (sizes, edges[:3]), (sizes + 300, edges), (sizes, edges - 5000)):
        with pytest.raises(ValueError, match="weights"):
            component.step(1, 0, [], *vectors)
    step, none = component.step(1, 0, [], sizes, edges), np.zeros(0, np.int64)
    middle = np.full(len(step), 16)
    for arguments in (
        (middle[1:], none, none, none),
        (middle * 3, none, none, none),
        (middle - 17, none, none, none),
        (middle - 16, none, none, none),
        (middle - 16, none, middle, middle),
        (middle - 16, none, middle - 1, middle + 2**40),
    ):
        with pytest.raises(ValueError, match="symbol|digits"):
            step.accept(*arguments)
    assert step.accept(middle, none, none, none)
    plane = np.zeros((8, 8), np.uint8)
    for arguments in ((9, 8, 1, 1, True, 0, 0, 8, 8), (0, 8, 1, 1, True, 0, 0, 0, 0), (8, 8, 3, 1, True, 0, 0, 8, 8)):
        with pytest.raises(ValueError, match="not there|1 or 2"):
            core.jpeg_enlarge(plane, *arguments)
    for arguments in ((8, 8, 2, 2, True, 1, 0, 16, 16), (8, 8, 2, 2, True, 0, 9, 16, 8)):
        with pytest.raises(ValueError, match="not there"):
            core.jpeg_enlarge(plane, *arguments)
    with pytest.raises(ValueError, match="one shape"):
        core.jpeg_rgb(plane, plane, plane[:4])
    with pytest.raises(ValueError, match="64"):
        core.jpeg_samples(values[1:].astype(np.int64), steps)
