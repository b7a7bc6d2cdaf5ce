"""Codecs for chunks of arrays: numcodecs and zarr, formats 2 and 3, alone, in threads, in other processes."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numcodecs.registry import get_codec
from skimage import data
from zarr.storage import MemoryStore
from zarr.testing import strategies as zst

from pil_neuralcodec import decode, encode, gate, models, read_info
from pil_neuralcodec.errors import FormatError, UnknownModelError
from pil_neuralcodec.numcodecs import Bsw, Ifl
from pil_neuralcodec.sheets import default_axes
from pil_neuralcodec.zarr import BswCodec, IflCodec

FIXTURES = Path(__file__).parent / "golden" / "arrays"
NEURAL = [Ifl, Bsw]
DTYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i2", ">i2"]


@pytest.fixture(autouse=True)
def small_models(tiny: str) -> Iterator[None]:
    """Networks that are quick, in the place of those that files take by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.find, "NEWEST", {"photo": tiny, "patch": f"{tiny}-patch", "bitswap": f"{tiny}-latents"})
        yield


def image(dtype: str = "|u1", shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    """Of a texture, with noise in as many bits as there are."""
    y, x = (np.arange(n) for n in (*shape, 1)[:2])
    kind = np.dtype(dtype)
    waves = np.sin(x / 7)[None, :] + np.cos(y / 5)[:, None]
    texture = waves.reshape(*waves.shape, *[1] * (len(shape) - 2)) + np.random.default_rng(0).normal(0, 0.1, shape)
    if kind.kind == "b":
        return texture > 0
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return np.clip((texture + 2) / 4 * (high - low) + low, low, high).astype(kind)


# numcodecs


@pytest.mark.parametrize("codec", NEURAL)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numcodecs_round_trip(codec: type[Ifl], dtype: str, order: str) -> None:
    array = np.asarray(image(dtype), order=order)  # type: ignore[call-overload]
    found = codec().decode(codec().encode(array))
    assert found.dtype == array.dtype and found.flags.fnc == array.flags.fnc
    np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (9, 8)),
        ("XY", (9, 8)),
        ("YXC", (9, 8, 3)),
        ("CYX", (3, 9, 8)),
        ("ZYX", (5, 9, 8)),
        ("YXZ", (9, 8, 5)),
        ("TCZYX", (2, 3, 2, 9, 8)),
        ("NYXC", (4, 9, 8, 4)),
        ("yxc", (9, 8, 1)),
        ("NYX", (1, 9, 1)),
        (None, (9, 8)),
        (None, (9, 8, 3)),
        (None, (5, 9, 8)),
        (None, (2, 3, 2, 9, 8)),
        (None, (2, 2, 2, 2, 2, 2, 5, 4)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_axes_come_back_unsqueezed(axes: str | None, shape: tuple[int, ...], order: str) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 9, shape), np.uint8, order=order)  # type: ignore[call-overload]
    codec = Ifl(axes=axes)
    found = codec.decode(codec.encode(array))
    np.testing.assert_array_equal(found, array, strict=True)


def test_chunks_of_axes_are_coded_together() -> None:
    """Images of a stack share one file; bands are coded as colours."""
    stack = np.stack([image(shape=(40, 50, 3))] * 3)
    info = read_info(Ifl(axes="NYXC", fallback=False).encode(stack))
    assert (info.width, info.height, info.bands, info.methods) == (50, 120, 3, ("photo",))


@pytest.mark.parametrize("codec", NEURAL)
def test_config_holds_what_is_not_the_default(codec: type[Ifl], tiny: str, tiny_patch: str) -> None:
    name = codec.codec_id
    assert codec().get_config() == {"id": name}
    assert codec(axes="YX", fallback="raw").get_config() == {"id": name, "axes": "YX", "fallback": "raw"}
    default = models.load(None, name)
    assert codec(model=default.name).get_config() == {"id": name}
    other = models.load(tiny_patch)
    chosen = Ifl(model=tiny_patch)
    assert chosen.get_config() == {"id": "ifl", "model": other.id.hex()}
    assert read_info(chosen.encode(image(shape=(20, 20)))).model in (other.id.hex(), None)
    for one in (codec(), codec(axes="YX", fallback=False), chosen):
        assert get_codec(json.loads(json.dumps(one.get_config()))) == one
        assert eval(repr(one), {"Ifl": Ifl, "Bsw": Bsw}) == one
        assert pickle.loads(pickle.dumps(one)) == one
    assert codec() != codec(axes="YX")


def test_a_file_without_axes_is_decoded_too() -> None:
    np.testing.assert_array_equal(Ifl().decode(encode(image(), fallback="raw")), image())


def test_an_unknown_model_is_named_where_it_is_needed() -> None:
    with pytest.raises(UnknownModelError, match="no model named 'nowhere'"):
        Ifl(model="nowhere")
    codec = get_codec({"id": "ifl", "model": "0123456789abcdef"})  # from another machine
    with pytest.raises(UnknownModelError, match="0123456789abcdef"):
        codec.encode(image())


def test_entry_points() -> None:
    from importlib.metadata import entry_points

    for group, names in (
        ("numcodecs.codecs", ("ifl", "bsw")),
        ("zarr.codecs", ("pil_neuralcodec.ifl", "pil_neuralcodec.bsw")),
    ):
        found = {
            point.name: point.load() for point in entry_points(group=group) if point.value.startswith("pil_neuralcodec")
        }
        assert set(found) == set(names)
    assert isinstance(numcodecs.get_codec({"id": "ifl"}), Ifl)


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, np.frombuffer])
def test_chunks_are_read_from_any_buffer(make: Any) -> None:
    array = image()
    data = Ifl().encode(array)
    data = np.frombuffer(data, np.uint8) if make is np.frombuffer else make(data)
    np.testing.assert_array_equal(Ifl().decode(data), array)


def test_arrays_are_read_from_read_only_and_foreign_buffers() -> None:
    array = image()
    array.flags.writeable = False
    codec = Ifl()
    assert codec.encode(array) == codec.encode(memoryview(array)) == codec.encode(array[:, ::-1][:, ::-1])
    assert codec.decode(codec.encode(array)).flags.writeable


def test_out() -> None:
    for array in (image(), np.asfortranarray(image("<u2"))):
        codec = Ifl()
        for out in (np.empty_like(array), np.empty(array.shape, array.dtype, order="F" if array.flags.fnc else "C")):
            assert codec.decode(codec.encode(array), out=out) is out
            np.testing.assert_array_equal(out, array)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((4, 4), object), TypeError, "samples of object"),
        (np.zeros((4, 4), "f4"), TypeError, "float32.*another codec"),
        (np.zeros((4, 4), "u4"), TypeError, "uint32"),
        (np.zeros((4, 4), "M8[s]"), TypeError, "datetime64"),
        (np.zeros(4, "u1"), ValueError, r"shape \(4,\)"),
        (b"abcd", (TypeError, ValueError), "cannot code"),
        (np.zeros((1,) * 9, "u1"), ValueError, "2 to 8 axes"),
    ],
)
@pytest.mark.parametrize("codec", NEURAL)
def test_what_is_no_image_is_refused(codec: type[Ifl], array: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        codec().encode(array)


@pytest.mark.parametrize("axes", ["Y", "YY", "YXCZ", "ZC", "Y?"])
def test_axes_that_do_not_fit_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match="do not fit shape"):
        Ifl(axes=axes).encode(np.zeros((4, 4), "u1"))


def test_huge_chunks_are_refused() -> None:
    array = np.broadcast_to(np.zeros((), "u1"), (20000, 20000))
    with pytest.raises(ValueError, match="at most 178956970 pixels"):
        Ifl().encode(array)


def test_damage_is_an_error() -> None:
    codec = Ifl()
    data = codec.encode(image())
    for bad in (b"", data[:-1], data[:30], bytes(len(data)), data[:200] + b"\0" + data[201:]):
        if bad != data:
            with pytest.raises(FormatError):
                codec.decode(bad)


def test_fixtures_decode_for_ever() -> None:
    """``tests/golden/arrays/<name>.json`` holds the configuration, .npy the array, .chunk its bytes."""
    names = sorted(path.stem for path in FIXTURES.glob("*.json"))
    assert len(names) >= 8
    for name in names:
        codec = get_codec(json.loads((FIXTURES / f"{name}.json").read_text()))
        expected = np.load(FIXTURES / f"{name}.npy")
        found = codec.decode((FIXTURES / f"{name}.chunk").read_bytes())
        np.testing.assert_array_equal(found, expected, strict=True)
        assert found.flags.fnc == expected.flags.fnc


def one_reading(shape: tuple[int, ...]) -> bool:
    """Whether a shape says what its axes are; others are refused, see test_axes.py."""
    try:
        return bool(default_axes(shape))
    except ValueError:
        return False


@given(
    array=npst.arrays(
        st.sampled_from(DTYPES), npst.array_shapes(min_dims=2, max_dims=4, max_side=6).filter(one_reading)
    )
)
@settings(max_examples=40, deadline=None)
def test_numcodecs_any_array(array: np.ndarray) -> None:
    np.testing.assert_array_equal(Ifl().decode(Ifl().encode(array)), array, strict=True)


# parts


@given(picked=st.data())
@settings(max_examples=12, deadline=None)
def test_parts(picked: st.DataObject) -> None:
    shape, axes = (3, 2, 33, 21, 3), "TZYXC"
    array = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint16)
    payload = _stack(axes)
    part = []
    for size in shape:
        start = picked.draw(st.integers(0, size - 1))
        part.append((start, picked.draw(st.integers(start + 1, size))))
    found = decode(payload, part=part)
    np.testing.assert_array_equal(found, array[tuple(slice(*bound) for bound in part)], strict=True)


_stacks: dict[str, bytes] = {}


def _stack(axes: str) -> bytes:
    if axes not in _stacks:
        array = np.random.default_rng(0).integers(0, 200, (3, 2, 33, 21, 3)).astype(np.uint16)
        _stacks[axes] = encode(array, axes=axes, fallback=False)
    return _stacks[axes]


@pytest.mark.parametrize(
    "part", [[(0, 1)] * 4, [(0, 4), *[(0, 1)] * 4], [(2, 2), *[(0, 1)] * 4], [(-1, 1), *[(0, 1)] * 4]]
)
def test_parts_that_are_not_there(part: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError):
        decode(_stack("TZYXC"), part=part)


def test_a_picture_has_regions_instead() -> None:
    with pytest.raises(ValueError, match="region"):
        decode(encode(image()), part=[(0, 1), (0, 1)])


def test_only_the_tiles_of_a_part_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from pil_neuralcodec.flow.tile import TileCoder

    decoded: list[int] = []
    plain = TileCoder.decode

    def counted(self: TileCoder, payloads: list[bytes], *rest: Any, **named: Any) -> np.ndarray:
        decoded.append(len(payloads))
        return plain(self, payloads, *rest, **named)

    monkeypatch.setattr(TileCoder, "decode", counted)
    decode(_stack("TZYXC"), part=[(1, 2), (0, 2), (0, 33), (0, 21), (0, 3)])
    assert sum(decoded) == 2
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=(8, 64, 64), dtype="u1", chunks=(8, 64, 64), serializer=IflCodec(fallback=False), compressors=None
    )
    array[:] = np.stack([image(shape=(64, 64))] * 8)
    decoded.clear()
    np.testing.assert_array_equal(array[3, 10:20], image(shape=(64, 64))[10:20])
    assert sum(decoded) == 1


# zarr


def created(array: np.ndarray, codec: Any = None, version: int = 3, **options: Any) -> zarr.Array[Any]:
    """A zarr array in memory that holds ``array``, opened anew."""
    store = MemoryStore()
    if version == 2:
        options = {"compressors": codec or Ifl(), "zarr_format": 2} | options
    else:
        options = {"serializer": codec or IflCodec(), "compressors": None} | options
    made = zarr.create_array(store, shape=array.shape, dtype=array.dtype, **options)
    made[...] = array
    return zarr.open_array(store, mode="r+")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_types(dtype: str, version: int) -> None:
    array = image(dtype)
    found = created(array, version=version, chunks=(30, 30))
    assert found.dtype == (array.dtype if version == 2 else array.dtype.newbyteorder("="))  # 3 has no others
    np.testing.assert_array_equal(found[...], array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("codec", NEURAL)
def test_zarr_2_orders(order: str, codec: type[Ifl]) -> None:
    array = image("<u2", (20, 30, 3))
    found = created(array, codec(axes="YXC"), 2, chunks=(16, 16, 3), order=order)
    assert found.metadata.compressor == codec(axes="YXC")  # type: ignore[union-attr]
    np.testing.assert_array_equal(found[...], array)
    np.testing.assert_array_equal(found[3:17, ::3, 1], array[3:17, ::3, 1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_zarr_3_orders(order: str) -> None:
    array = np.asarray(image("<u2", (20, 30, 3)), order=order)  # type: ignore[call-overload]
    found = created(array, chunks=(16, 16, 3), config={"order": order})
    np.testing.assert_array_equal(found[...], array)


@pytest.mark.parametrize("codec", [IflCodec, BswCodec])
def test_zarr_3_metadata(codec: type[IflCodec], tiny: str) -> None:
    plain, chosen = codec(), codec(axes="YX", fallback=False)
    assert plain.to_dict() == {"name": codec.name}
    assert chosen.to_dict() == {"name": codec.name, "configuration": {"axes": "YX", "fallback": False}}
    for one in (plain, chosen, IflCodec(model=f"{tiny}-patch")):
        assert type(one).from_dict(json.loads(json.dumps(one.to_dict()))) == one
        assert pickle.loads(pickle.dumps(one)) == one
    assert created(image(), {"name": codec.name}).metadata.codecs == (plain,)  # type: ignore[union-attr]
    found = created(image(), chosen)
    assert found.metadata.codecs == (chosen,)  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="quality"):
        codec.from_dict({"name": codec.name, "configuration": {"quality": 9}})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "f4"}, TypeError, "float32"),
        ({"dtype": "u4"}, TypeError, "uint32"),
        ({"shape": (10,)}, ValueError, "2 to 8 axes"),
        ({"serializer": IflCodec(axes="ZYX")}, ValueError, "do not fit shape"),
        ({"shape": (6, 50, 60), "chunks": (3, 50, 60)}, ValueError, "two readings"),
    ],
)
def test_zarr_3_refuses_when_the_array_is_made(options: dict[str, Any], error: Any, message: str) -> None:
    options = {"shape": (10, 10), "dtype": "u1", "serializer": IflCodec(), "compressors": None} | options
    with pytest.raises(error, match=message):
        zarr.create_array(MemoryStore(), **options)


def test_the_wrong_argument_is_refused() -> None:
    """As docs/arrays.md has it."""
    with pytest.raises(TypeError, match="Expected a BytesBytesCodec"):
        zarr.create_array(MemoryStore(), shape=(9, 9), dtype="u1", compressors=IflCodec())


def test_a_chunk_of_another_array_is_refused() -> None:
    small, wide = created(image(shape=(8, 8))), created(image("<u2", (9, 9)))
    with pytest.raises(FormatError, match="belongs to another array"):
        _with_chunk(created(image(shape=(9, 9))), small)[...]
    with pytest.raises(FormatError, match="belongs to another array"):
        _with_chunk(created(image(shape=(9, 9))), wide)[...]


def _with_chunk(array: zarr.Array[Any], other: zarr.Array[Any]) -> zarr.Array[Any]:
    array.store._store_dict["c/0/0"] = other.store._store_dict["c/0/0"]  # type: ignore[attr-defined]
    return array


def test_groups_sharding_resize_and_partial_writes() -> None:
    array = image("<u2", (70, 50))
    group = zarr.create_group(MemoryStore())
    found = group.create_array(
        "deep/stack",
        shape=array.shape,
        dtype=array.dtype,
        chunks=(24, 24),
        shards=(48, 48),
        serializer=IflCodec(),
        compressors=None,
        fill_value=7,
    )
    found[...] = array
    np.testing.assert_array_equal(group["deep/stack"][...], array)  # type: ignore[index]
    found[3:20, 40:] = 9
    array[3:20, 40:] = 9
    np.testing.assert_array_equal(found[...], array)
    found.resize((80, 30))
    expected = np.full((80, 30), 7, array.dtype)
    expected[:70] = array[:, :30]
    np.testing.assert_array_equal(found[...], expected)
    np.testing.assert_array_equal(found[33:35, 17], expected[33:35, 17])
    found.append(array[:5, :30])
    np.testing.assert_array_equal(found[80:], array[:5, :30])


def test_an_array_grows_through_a_shape_of_two_readings() -> None:
    """The shape of chunks is the only one that counts."""
    frame = image(shape=(1, 50, 60))
    found = zarr.create_array(
        MemoryStore(), shape=(0, 50, 60), chunks=(1, 50, 60), dtype="u1", serializer=IflCodec(), compressors=None
    )
    for _ in range(4):
        found.append(frame)
    np.testing.assert_array_equal(found[...], np.concatenate([frame] * 4))


def test_missing_chunks_hold_the_fill_value() -> None:
    found = created(np.zeros((20, 20), np.uint8), chunks=(8, 8), fill_value=3)
    found[9, 9] = 200
    expected = np.zeros((20, 20), np.uint8)
    expected[9, 9] = 200
    np.testing.assert_array_equal(found[...], expected)
    empty = zarr.create_array(
        MemoryStore(), shape=(20, 20), dtype="u1", serializer=IflCodec(), compressors=None, fill_value=3
    )
    assert (empty[2:7, 5] == 3).all()


shapes = npst.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5)
numpy_arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: zst.numpy_arrays(shapes=shapes, dtype=np.dtype(dtype)))


@given(picked=st.data(), version=st.sampled_from([2, 3]))
@settings(max_examples=25, deadline=None)
def test_zarr_any_array_any_index(picked: st.DataObject, version: int) -> None:
    """With zarr's own strategies for arrays, chunks and indices."""
    array, chunks = picked.draw(zst.np_array_and_chunks(arrays=numpy_arrays))
    assume(one_reading(chunks))
    options: dict[str, Any] = {"chunks": chunks}
    if version == 2:
        options["order"] = picked.draw(st.sampled_from("CF"))
    elif picked.draw(st.booleans()):
        options["shards"] = picked.draw(zst.shard_shapes(shape=array.shape, chunk_shape=chunks))
    found = created(array, version=version, **options)
    np.testing.assert_array_equal(found[...], array)
    index = picked.draw(zst.basic_indices(shape=array.shape))
    np.testing.assert_array_equal(found[index], array[index])
    zarr_index, numpy_index = picked.draw(zst.orthogonal_indices(shape=array.shape))
    np.testing.assert_array_equal(found.oindex[zarr_index], array[numpy_index])
    value = np.asarray(array[index])[..., ::-1] if np.ndim(array[index]) else array[index]
    found[index] = value
    expected = array.copy()
    expected[index] = value
    np.testing.assert_array_equal(found[...], expected)


# processes and threads


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method: str) -> None:
    """After use in this process; with all threads of the pool inside the gate while it forks."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    array, codec = image("<u2"), Ifl()
    data = codec.encode(array)
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads while it forks
        here = [threads.submit(codec.decode, data) for _ in range(8)]
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.map_async(codec.decode, [data] * 4).get(timeout=120)
        found += [future.result() for future in here]
    for one in found:
        np.testing.assert_array_equal(one, array)


def test_many_threads() -> None:
    pictures = [np.roll(image(shape=(20, 25)), i, axis=1) for i in range(20)]
    codec = Ifl()
    payloads = [codec.encode(picture) for picture in pictures]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(codec.decode, payloads))
    for one, picture in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one, picture)


def test_the_gate_bounds_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from pil_neuralcodec import api

    inside, most, lock = [0], [0], threading.Lock()
    plain = api.decode_opened

    def watched(*args: Any, **named: Any) -> np.ndarray:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        try:
            return plain(*args, **named)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(api, "decode_opened", watched)
    data = Ifl().encode(image())
    monkeypatch.setattr(gate, "CHUNKS", gate.Gate(3))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Ifl().decode, [data] * 16))
    assert most[0] <= 3


def test_import_and_configuration_take_no_torch() -> None:
    code = (
        "import sys, pil_neuralcodec.numcodecs, pil_neuralcodec.zarr, numcodecs; "
        "numcodecs.get_codec({'id': 'ifl'}); assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# other libraries


def cluster_example() -> str:
    """The Python of docs/arrays.md for a cluster, with a smaller image."""
    text = (Path(__file__).parents[1] / "docs" / "arrays.md").read_text(encoding="utf-8")
    text = re.sub(r"\b(512|256|128)\b", lambda size: str(int(size[0]) // 4), text)
    (found,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "LocalCluster" in block)
    return found


def test_dask_cluster(tmp_path: Path) -> None:
    """The documentation's example: dask.array into zarr and back, by worker processes of a cluster."""
    import dask.array

    (tmp_path / "example.py").write_text(cluster_example())
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    found = zarr.open_array(tmp_path / "cluster.zarr", mode="r")
    assert isinstance(found.metadata.codecs[0], IflCodec)  # type: ignore[union-attr]
    image = dask.array.random.default_rng(0).poisson(200, (128, 128), chunks=64).astype("u2").compute()
    np.testing.assert_array_equal(found[...], image)
    assert float(done.stdout) == image.mean()


def test_other_libraries_read_through_pillow(tmp_path: Path) -> None:
    import imageio.v3
    import skimage.io
    import tifffile
    from PIL import Image

    import pil_neuralcodec  # noqa: F401

    picture, deep = data.coffee()[:60, :70], image("<u2")
    for name, array in (("a.ifl", picture), ("b.bsw", picture), ("deep.ifl", deep)):
        Image.fromarray(array).save(tmp_path / name)
        np.testing.assert_array_equal(imageio.v3.imread(tmp_path / name), array)
        np.testing.assert_array_equal(skimage.io.imread(tmp_path / name), array)
    imageio.v3.imwrite(tmp_path / "c.ifl", picture)
    names = [tmp_path / "a.ifl", tmp_path / "c.ifl"]
    sequence = tifffile.FileSequence(lambda path: np.asarray(Image.open(path)), names)
    np.testing.assert_array_equal(sequence.asarray(), np.stack([picture, picture]))


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numcodecs_into_an_array_that_lies_otherwise(dtype: str, order: Any) -> None:
    array = image("<u2", (20, 30))
    for source in (array, np.asfortranarray(array), array.astype(">u2")):
        codec = Ifl(fallback="filtered")
        out = np.zeros(array.shape, dtype, order)
        assert codec.decode(codec.encode(source), out) is out
        np.testing.assert_array_equal(out, array)
