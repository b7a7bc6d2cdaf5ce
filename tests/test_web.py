"""The decoder for browsers, in headless Chromium: the bytes of golden files are those of the Python decoder.

`tox -e web` builds it and runs this. Without a build (`python web/build.py`), playwright or Chromium it is skipped.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
from PIL import Image, ImageSequence
from skimage import data

import pil_neuralcodec
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.container import read_header
from pil_neuralcodec.flow.tile import TileHeader, checked_levels

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install .[web]")
ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*golden.FOLDER.glob("*.ifl"), *golden.FOLDER.glob("*.bsw"), *golden.FOLDER.glob("arrays/*.chunk")])


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _module("web_build", ROOT / "web" / "build.py")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    module = build.TARGET / "neuralcodec.wasm"
    if not module.exists():
        pytest.skip("the decoder for browsers is not built: python web/build.py")
    folder = tmp_path_factory.mktemp("web")
    build.assemble(folder, module)
    server = build.server(folder, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


def _chromium() -> str | None:
    names = "chromium", "chromium-browser", "google-chrome"
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The page in a browser."""
    path = _chromium()
    if path is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 800, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        yield page
        browser.close()


DECODE = """async ([text, options]) => {
    const { open } = await import("./neuralcodec.js");
    const base64 = async (samples) => {
        const reader = new FileReader();
        await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(new Blob([samples])); });
        return reader.result.split(",")[1] ?? "";
    };
    try {
        const file = open(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), options), frames = [], told = [];
        for (let frame = 0; frame < file.frames.length; frame++) {
            const { samples, width, height, bands } = await file.decode({
                frame, ...options, told: ({ samples, ...part }) => told.push([part, samples]) });
            frames.push({ width, height, bands, samples: await base64(samples) });
        }
        for (const part of told) part[1] = await base64(part[1]);
        return { frames, told, methods: file.methods, bits: file.bitsPerSubpixel };
    } catch (error) {
        return { error: `${error.name}: ${error.message}` };
    }
}"""


def _decoded(page: Any, payload: bytes, **options: Any) -> dict[str, Any]:
    return page.evaluate(DECODE, [base64.b64encode(payload).decode(), options])


def _bytes(found: dict[str, Any]) -> list[bytes]:
    assert "error" not in found, found
    return [base64.b64decode(frame["samples"]) for frame in found["frames"]]


def _little(array: np.ndarray) -> bytes:
    """Bytes of samples, little-endian."""
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _expected(payload: bytes) -> list[bytes]:
    """What the Python decoder gives: samples of every frame, of an array those of its sheet."""
    info = pil_neuralcodec.read_info(payload)
    if info.mode:
        with Image.open(io.BytesIO(payload)) as image:
            frames = [(frame.mode, np.array(frame)) for frame in ImageSequence.Iterator(image)]
        return [_little(samples > 0 if mode == "1" else samples) for mode, samples in frames]
    array = pil_neuralcodec.decode(payload)
    if info.metadata.axes is not None:
        letters = info.metadata.axes.letters
        last = [axis for axis in "YXC" if axis in letters]
        order = [axis for axis in letters if axis not in last] + last
        array = array.transpose([letters.index(axis) for axis in order])
    return [_little(array)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_golden_files_give_the_same_bytes(page: Any, path: Path) -> None:
    payload = path.read_bytes()
    found = _decoded(page, payload)
    assert _bytes(found) == _expected(payload)
    samples = sum(frame["width"] * frame["height"] * frame["bands"] for frame in found["frames"])
    assert found["bits"] == pytest.approx(8 * len(payload) / samples)


def _photograph() -> np.ndarray:
    return np.ascontiguousarray(data.coffee()[100:300, 150:350])


def _graphics(dtype: str, *shape: int) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    base = (y // 5 * 7 + x // 3 * 11) % 40
    if len(shape) == 3:
        base = np.stack([base * (band + 1) + y * band for band in range(shape[2])], axis=2)
    return base.astype(dtype) * np.asarray(3, dtype)


@pytest.mark.parametrize("fallback", ["raw", "filtered", "predictor", "webp"])
@pytest.mark.parametrize("shape", [(30, 41), (41, 30, 3), (25, 33, 4)], ids=str)
def test_methods_without_a_network(page: Any, fallback: str, shape: tuple[int, ...]) -> None:
    payload = pil_neuralcodec.encode(_graphics("u1", *shape), fallback=fallback)
    found = _decoded(page, payload)
    assert found.get("methods") == [fallback.upper()], found
    assert _bytes(found) == _expected(payload)


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "<u4", "<f4", "<u8", "<f8", "i1"])
@pytest.mark.parametrize("fallback", ["raw", "filtered"])
def test_other_samples(page: Any, dtype: str, fallback: str) -> None:
    for shape in ((30, 41), (21, 30, 3)):
        payload = pil_neuralcodec.encode(_graphics(dtype, *shape), fallback=fallback)
        assert _bytes(_decoded(page, payload)) == _expected(payload)


@pytest.mark.parametrize("colours", [2, 4, 16, 200])
def test_palettes_of_filtered_images(page: Any, colours: int) -> None:
    table = np.random.default_rng(3).integers(0, 256, (colours, 3), np.uint8)
    pixels = table[np.random.default_rng(4).integers(0, colours, (37, 45))]
    payload = pil_neuralcodec.encode(pixels, fallback="filtered")
    assert _bytes(_decoded(page, payload)) == [pixels.tobytes()]


def test_coarse_levels(page: Any) -> None:
    pixels = _photograph()
    payload = pil_neuralcodec.encode(pixels, model="photo-fast", fallback=False)
    (whole,) = _bytes(found := _decoded(page, payload))
    assert whole == pixels.tobytes()
    told = {part["level"]: base64.b64decode(samples) for part, samples in found["told"]}
    assert set(told) == {0, 1, 2}
    for level, samples in told.items():
        coarse = np.ascontiguousarray(pixels[:: 1 << level, :: 1 << level]).tobytes()
        assert samples == coarse
        assert _bytes(_decoded(page, payload, level=level)) == [coarse]
    assert "no checksum" in _decoded(page, payload, level=3)["error"]


@pytest.mark.parametrize("dtype", ["u1", "i1"])
def test_ranks(page: Any, dtype: str) -> None:
    pixels = golden.stretched(_photograph())
    pixels = (pixels ^ 128 * (dtype == "i1")).astype("u1").view(dtype)
    payload = pil_neuralcodec.encode(pixels, model="photo-fast", fallback=False, axes="YXC")
    (segment,) = read_header(io.BytesIO(payload)).frames[0].segments
    assert segment.ranks
    (whole,) = _bytes(found := _decoded(page, payload))
    assert whole == pixels.tobytes()
    for part, samples in found["told"]:
        step = 1 << part["level"]
        assert base64.b64decode(samples) == np.ascontiguousarray(pixels[::step, ::step]).tobytes()
    at = payload.index(segment.ranks[1])
    for place, change in ((at, 255), (at + 9, payload[at + 9]), (at + 9, 255)):
        assert "Error: " in _decoded(page, _sealed(payload, _header_size(payload), place, change)).get("error", "")


@pytest.mark.parametrize("model", ["photo-9", "photo-fast-2", "bitswap-2"])
@pytest.mark.parametrize("bands", [1, 3])
def test_cells(page: Any, model: str, bands: int) -> None:
    pixels = golden.lowered(data.coffee()[60:340, 120:393])
    pixels = pixels if bands == 3 else np.ascontiguousarray(pixels[..., 1])
    is_chain = model == "bitswap-2"
    payload = pil_neuralcodec.encode(pixels, "bsw" if is_chain else "ifl", model=model, fallback=False)
    (segment,) = read_header(io.BytesIO(payload)).frames[0].segments
    assert len(segment.cells) == bands
    assert _bytes(_decoded(page, payload)) == [pixels.tobytes()]
    coarse = np.ascontiguousarray(pixels[::4, ::4]).tobytes()
    assert is_chain or _bytes(_decoded(page, payload, level=2)) == [coarse]
    at = payload.index(segment.cells[-1]) + 120
    for change in (2, 64, 128):
        assert "Error: " in _decoded(page, _sealed(payload, _header_size(payload), at, change)).get("error", "")


def _shrunk(past: Past) -> np.ndarray:
    """A photograph of which every other square is off a conversion's lattice, as if it had edges that were shrunk."""
    pixels = data.coffee()[60:340, 120:393]
    made = conversion(past).to_rgb(conversion(past).to_planes(np.ascontiguousarray(pixels))).astype(np.int32)
    y, x = np.mgrid[: made.shape[0], : made.shape[1]]
    moves = np.random.default_rng(5).integers(-1, 2, made.shape)
    return (made + moves * ((y // 16 + x // 16) % 2)[..., None]).clip(0, 255).astype(np.uint8)


def _lattice_file(past: Past, model: str) -> tuple[np.ndarray, bytes, int]:
    """An image, its file, and where this has the number of the conversion whose lattice is a prior."""
    pixels = _shrunk(past)
    payload = pil_neuralcodec.encode(pixels, model=model, fallback=False)
    tile = payload[_header_size(payload) + 4 : -4]
    header, stream = TileHeader.unpack(tile, checked_levels(*pixels.shape[:2]), 3, np.dtype(np.uint8))
    assert header.colour is not None and header.colour.lattice == past
    return pixels, payload, len(payload) - 4 - len(stream) - 1


# photo-9 adapts backward, photo-fast-2 does not.
LATTICES = [("photo-9", Past.JPEG), ("photo-9", Past.BT601), *(("photo-fast-2", past) for past in Past if past)]


@pytest.mark.parametrize(("model", "past"), LATTICES)
def test_a_lattice_as_a_prior(page: Any, model: str, past: Past) -> None:
    pixels, payload, _ = _lattice_file(past, model)
    assert _bytes(_decoded(page, payload)) == [pixels.tobytes()]


@pytest.mark.parametrize("model", ["photo-9", "photo-fast-2"])
def test_coarse_levels_with_a_lattice_as_a_prior(page: Any, model: str) -> None:
    pixels, payload, _ = _lattice_file(Past.JPEG, model)
    for level in (1, 2, 3):
        coarse = np.ascontiguousarray(pixels[:: 1 << level, :: 1 << level]).tobytes()
        assert _bytes(_decoded(page, payload, level=level)) == [coarse], level


def test_a_conversion_that_is_not_known(page: Any) -> None:
    _, payload, at = _lattice_file(Past.JPEG, "photo-fast-2")
    size = _header_size(payload)
    for number in (7, 8, 15, 255):
        error = _decoded(page, _sealed(payload, size, at, payload[at] ^ number))["error"]
        assert "colour conversion is not known" in error, number
    for number in (0, 10, 14):
        assert "Error: " in _decoded(page, _sealed(payload, size, at, payload[at] ^ number)).get("error", ""), number


def test_a_chain_with_a_lattice_as_a_prior(page: Any) -> None:
    pixels = _shrunk(Past.JPEG)
    payload = pil_neuralcodec.encode(pixels, format="bsw", model="bitswap-2", fallback=False)
    assert payload[_header_size(payload) + 4] == 8 + Past.JPEG
    assert _bytes(_decoded(page, payload)) == [pixels.tobytes()]


@pytest.mark.parametrize(("name", "numbers"), [("patch-3-rgb.ifl", (7, 9, 14)), ("bitswap-2-rgb.bsw", (7, 8, 15))])
def test_a_chain_of_a_conversion_that_is_not_known(page: Any, name: str, numbers: tuple[int, ...]) -> None:
    payload = (golden.FOLDER / name).read_bytes()
    size = _header_size(payload)
    at = size + 4
    for number in numbers:
        error = _decoded(page, _sealed(payload, size, at, payload[at] ^ number))["error"]
        assert "colour conversion is not known" in error, number


def test_many_tiles_in_several_threads(page: Any) -> None:
    pixels = np.tile(data.coffee()[:300:2, ::2], (4, 3, 1))[:520, :700]
    payload = pil_neuralcodec.encode(pixels, model="photo-fast", fallback=False)
    for workers in (1, 3):
        found = _decoded(page, payload, workers=workers)
        assert _bytes(found) == [pixels.tobytes()], workers
    assert len({(part["left"], part["top"]) for part, _ in found["told"]}) == 4


DAMAGED = [
    *("photo-9-rgb.ifl", "patch-3-rgb.ifl", "bitswap-2-rgb.bsw", "jpeg-444.ifl"),
    *("filtered-16.ifl", "predictor.ifl", "webp-palette.ifl", "raw.ifl"),
]


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_an_error(page: Any, name: str) -> None:
    payload = (golden.FOLDER / name).read_bytes()
    for at in np.linspace(0, len(payload) - 1, 12).astype(int):
        flipped = bytearray(payload)
        flipped[at] ^= 1 << at % 8
        assert "Error: " in _decoded(page, bytes(flipped)).get("error", ""), at
        assert "Error: " in _decoded(page, payload[:at]).get("error", ""), at


def _header_size(payload: bytes) -> int:
    """Bytes before the header's checksum."""
    sums = (struct.pack("<I", zlib.crc32(payload[:at])) for at in range(len(payload)))
    return next(at for at, crc in enumerate(sums) if at > 8 and payload[at : at + 4] == crc)


def _sealed(payload: bytes, size: int, at: int, change: int) -> bytes:
    """A file of one chunk with a byte changed, and checksums of header and chunk right again."""
    changed = bytearray(payload)
    changed[at] ^= change
    header, chunk = changed[:size], changed[size + 4 : -4]
    told = struct.pack("<I", zlib.crc32(header + bytes(4) + chunk))
    return bytes(header + struct.pack("<I", zlib.crc32(header)) + chunk + told)


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_behind_right_checksums_is_an_error(page: Any, name: str) -> None:
    payload = (golden.FOLDER / name).read_bytes()
    size = _header_size(payload)
    for at in np.unique(np.linspace(size + 4, len(payload) - 5, 8).astype(int)):
        assert "Error: " in _decoded(page, _sealed(payload, size, int(at), 32)).get("error", ""), at


def test_a_method_that_is_not_known_is_named(page: Any) -> None:
    payload = (golden.FOLDER / "raw.ifl").read_bytes()
    changed = _sealed(payload, _header_size(payload), 18, 5)  # the method, RAW before
    assert _decoded(page, changed)["error"].startswith("UnsupportedError: method 5 is not known")


def test_a_method_that_the_browser_lacks_is_named(page: Any) -> None:
    """Without WebGL on an OffscreenCanvas there is no exact WebP."""
    worker = (ROOT / "web" / "page" / "worker.js").read_text()
    lacking = f"{worker}\nglobalThis.OffscreenCanvas = undefined;"
    page.route("**/worker.js", lambda route: route.fulfill(body=lacking, content_type="text/javascript"))
    error = _decoded(page, (golden.FOLDER / "webp-palette.ifl").read_bytes())["error"]
    page.unroute("**/worker.js")
    assert error.startswith("UnsupportedError: method WEBP ")


def test_a_model_that_is_not_there(page: Any) -> None:
    payload = (golden.FOLDER / "photo-9-rgb.ifl").read_bytes()
    page.route("**/*.safetensors", lambda route: route.fulfill(status=404))
    error = _decoded(page, payload)["error"]
    page.unroute("**/*.safetensors")
    assert error.startswith("UnknownModelError") and pil_neuralcodec.read_info(payload).model in error


def test_a_model_that_is_damaged(page: Any) -> None:
    def damaged(route: Any) -> None:
        body = bytearray(route.fetch().body())
        body[len(body) // 2] ^= 1
        route.fulfill(body=bytes(body))

    page.route("**/*.safetensors", damaged)
    error = _decoded(page, (golden.FOLDER / "photo-9-rgb.ifl").read_bytes())["error"]
    page.unroute("**/*.safetensors")
    assert error.startswith("UnknownModelError") and "damaged" in error


def test_the_page_shows_a_file(page: Any, address: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.ascontiguousarray(data.astronaut()))
    image.save(tmp_path / "astronaut.ifl")
    page.goto(address)
    page.set_input_files("#file", tmp_path / "astronaut.ifl")
    page.get_by_text("all checksums right").wait_for()
    shown = page.evaluate(
        """() => Array.from(document.querySelector("canvas").getContext("2d").getImageData(0, 0, 512, 512).data)"""
    )
    assert (np.array(shown, np.uint8).reshape(512, 512, 4)[..., :3] == np.asarray(image)).all()
    about = page.locator("#about").inner_text()
    assert "512 x 512, RGB" in about and "PHOTO" in about
    screenshot = os.environ.get("NEURALCODEC_SCREENSHOT", tmp_path / "page.png")
    page.screenshot(path=screenshot)
    with Image.open(screenshot) as seen:
        assert seen.size == (800, 900)

    (tmp_path / "damaged.ifl").write_bytes((tmp_path / "astronaut.ifl").read_bytes()[:-100])
    page.set_input_files("#file", tmp_path / "damaged.ifl")
    page.get_by_text("TruncatedError").wait_for()
    assert page.locator("canvas").is_hidden()
