"""The patch flow: the stack comes back, chains grow, sets of images and images in blocks, damage, the trained twin."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from conftest import random_layers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from pil_neuralcodec import container, decode, encode, read_info
from pil_neuralcodec.coders.lanes import ExhaustedError, Lanes, WordStack
from pil_neuralcodec.coders.stack import Stack, StackWriter, height
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.coders.widths import widen
from pil_neuralcodec.errors import ChecksumError, FormatError, UnsupportedError
from pil_neuralcodec.flow.architecture import PatchArchitecture, Pyramid
from pil_neuralcodec.flow.patch import PatchFlow
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.metadata import Axes, Metadata
from pil_neuralcodec.methods import bitsback
from pil_neuralcodec.methods.bitsback import ChainReader
from pil_neuralcodec.methods.patch import block_size, decode_chain, encode_chain, read_blocks
from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.nets.spec import ConvSpec

ARCH = PatchArchitecture(Pyramid(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2), ((0, 2), (3, 1)))


NETWORK = open_network(random_layers(ARCH, 1, 30), "numpy")


def photograph(rows: int, columns: int, bands: int = 3) -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[100 : 100 + rows, 100 : 100 + columns, :bands])


def images(count: int, rows: int, columns: int, bands: int = 3) -> np.ndarray:
    """Different parts of a photograph, (count, rows, columns, bands)."""
    whole = data.astronaut()
    at = [(37 * i % (512 - rows), 91 * i % (512 - columns)) for i in range(count)]
    return np.stack([whole[y : y + rows, x : x + columns, :bands] for y, x in at])


def tall_stack(words: int = 60000, lanes: int = 16) -> Lanes:
    stack = Lanes(1, WordStack(np.random.default_rng(0).integers(0, 2**16, words).astype(np.uint16)))
    widen(stack, lanes)
    return stack


@settings(max_examples=12, deadline=None)
@example(count=1, rows=1, columns=1, bands=3, kind="noise", seed=0)
@example(count=4, rows=20, columns=15, bands=3, kind="photograph", seed=0)
@given(
    count=st.integers(1, 4),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    bands=st.sampled_from([1, 3]),
    kind=st.sampled_from(["photograph", "noise", "flat"]),
    seed=st.integers(0, 255),
)
def test_popping_images_brings_the_stack_back(
    count: int, rows: int, columns: int, bands: int, kind: str, seed: int
) -> None:
    rng, shape = np.random.default_rng(seed), (count, rows, columns, bands)
    pixels = {
        "photograph": images(*shape),
        "flat": np.full(shape, seed, np.uint8),
        "noise": rng.integers(0, 256, shape).astype(np.uint8),
    }[kind]
    planes = to_planes(pixels)
    stack = tall_stack()
    before = stack.copy()
    flow = PatchFlow(ARCH, NETWORK, planes.shape)
    nothing = flow.forward(planes, Stack(stack))
    assert nothing.size == 0 and height(stack) != height(before)
    assert np.array_equal(flow.inverse(nothing, Stack(stack)), planes)
    assert np.array_equal(stack.heads, before.heads)
    assert np.array_equal(stack.stack.to_array(), before.stack.to_array())
    writer = SymbolWriter()
    flow.put(planes, writer)
    reader = SymbolReader(writer.finish())
    assert np.array_equal(flow.get(reader), planes)
    reader.close()


def test_an_exhausted_stack_is_an_error() -> None:
    with pytest.raises(ExhaustedError):
        PatchFlow(ARCH, NETWORK, (9, 3, 32, 32)).forward(to_planes(images(9, 32, 32)), Stack(tall_stack(40)))


@settings(max_examples=8, deadline=None)
@example(rows=24, columns=23, block=(9, 8), bands=3)
@example(rows=1, columns=40, block=(1, 1), bands=1)
@given(
    rows=st.integers(1, 24),
    columns=st.integers(1, 24),
    block=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    bands=st.sampled_from([1, 3]),
)
def test_images_and_blocks_of_any_size(rows: int, columns: int, block: tuple[int, int], bands: int) -> None:
    block = max(block[0], rows // 3 + 1), max(block[1], columns // 3 + 1)  # nine at most, of up to four shapes
    pixels = photograph(rows, columns, bands)
    payload = encode_chain(pixels, block, NETWORK, ARCH)
    assert np.array_equal(decode_chain(payload, pixels.shape, NETWORK, ARCH), pixels)


def test_batches_grow_with_the_stack() -> None:
    sheet = images(150, 8, 8).reshape(-1, 8, 3)
    payload = encode_chain(sheet, (8, 8), NETWORK, ARCH)
    sizes = [len(batch) for batch in read_blocks(ChainReader(payload), *sheet.shape).batches]
    assert sizes[:-1] == sorted(sizes[:-1]) and sizes[-2] >= 8 * sizes[0] and sum(sizes) == 149
    assert np.array_equal(decode_chain(payload, sheet.shape, NETWORK, ARCH), sheet)


def test_images_that_lend_nothing_are_coded_directly() -> None:
    layers = random_layers(ARCH, 1, -50)  # sure of itself, and wrong only about what is not flat
    for name, spec in layers.items():
        if name.endswith("head"):
            layers[name] = ConvSpec(
                spec.weight * 0, np.where(spec.shift > 0, spec.bias * 0, 0).astype(np.int32), spec.shift, is_output=True
            )
    network = open_network(layers, "numpy")
    sheet = np.full((40 * 8, 8, 3), 99, np.uint8)
    payload = encode_chain(sheet, (8, 8), network, ARCH)
    assert np.array_equal(decode_chain(payload, sheet.shape, network, ARCH), sheet)


def test_the_format_is_pinned() -> None:
    """Exact output of a fixed model: what may only change with a new version of the format."""
    payloads = [
        encode_chain(photograph(70, 75), (32, 25), NETWORK, ARCH),
        encode_chain(images(20, 32, 32).reshape(-1, 32, 3), (32, 32), NETWORK, ARCH),
    ]
    assert [(len(payload), zlib.crc32(payload)) for payload in payloads] == PINNED


PINNED = [(12953, 1204436834), (50639, 1737184983)]


def test_damage_behind_sound_checksums_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hostile file could hold: each byte changed in turn gives an error of ours and no wrong pixels."""
    pixels = photograph(7, 9)  # a block coded directly, and three by bits-back
    payload = encode_chain(pixels, (4, 5), NETWORK, ARCH)
    for at in [*range(24), *range(24, len(payload), 73)]:
        damaged = bytearray(payload)
        damaged[at] ^= 0x55
        with pytest.raises((FormatError, UnsupportedError)):
            decode_chain(bytes(damaged), pixels.shape, NETWORK, ARCH)
    for size in range(0, len(payload), 91):
        with pytest.raises(FormatError):
            decode_chain(payload[:size], pixels.shape, NETWORK, ARCH)
    with monkeypatch.context() as other:
        other.setattr(bitsback, "checksum", lambda pixels: 5)
        payload = encode_chain(pixels, (4, 5), NETWORK, ARCH)
    with pytest.raises(ChecksumError):
        decode_chain(payload, pixels.shape, NETWORK, ARCH)


def test_blocks_are_near_equal() -> None:
    assert [block_size(side) for side in (1, 32, 128, 129, 300, 512)] == [1, 32, 128, 65, 100, 128]


class TestFiles:
    """Through the public interface."""

    @pytest.mark.parametrize("shape", [(9, 8, 8, 3), (3, 33, 10, 3), (5, 16, 9, 1), (4, 10, 10, 4), (1, 1, 1, 3)])
    def test_sets_of_images(self, tiny_patch: str, shape: tuple[int, ...]) -> None:
        pixels = np.resize(data.astronaut(), shape)
        payload = encode(pixels, model=tiny_patch, fallback=False)
        found = decode(payload)
        assert found.dtype == np.uint8 and np.array_equal(found, pixels)
        info = read_info(payload)
        assert (info.shape, set(info.methods), info.levels) == (shape, {"patch"}, 1)
        with pytest.raises(ValueError, match="take a part of it"):
            decode(payload, level=1)
        with pytest.raises(UnsupportedError, match="no image"), Image.open(io.BytesIO(payload)):
            pass

    def test_sets_of_gray_images(self, tiny: str, tiny_patch: str) -> None:
        pixels = images(12, 20, 18, 1)[..., 0]
        assert np.array_equal(decode(encode(pixels, model=tiny_patch)), pixels)
        assert read_info(encode(pixels, model=tiny)).shape == (12, 20, 18)  # one image of 18 bands
        assert read_info(encode(pixels[..., :3], model=tiny_patch)).mode == "RGB"

    @pytest.mark.parametrize("axes", ["NYXC", "CYXT", "tzyx", "ZCTYX"])
    @pytest.mark.parametrize("dtype", ["u1", "<u2", ">i2", "f4"])
    def test_axes(self, tiny_patch: str, tiny: str, axes: str, dtype: str) -> None:
        sizes = {"N": 4, "T": 2, "Z": 3, "Y": 7, "X": 6, "C": 3}
        shape = tuple(sizes[letter] for letter in axes.upper())
        pixels = np.resize(data.camera(), shape).astype(dtype)
        for model in (tiny, tiny_patch):
            for array in (pixels, np.asfortranarray(pixels)):
                found = decode(encode(array, model=model, axes=axes))
                assert found.dtype == pixels.dtype and np.array_equal(found, pixels)
                assert (found.flags.c_contiguous, found.flags.f_contiguous) == (
                    array.flags.c_contiguous,
                    array.flags.f_contiguous,
                )

    def test_axes_that_do_not_fit(self, tiny: str) -> None:
        pixels = images(3, 8, 8)
        for axes in ("NYX", "NZXC", "NYYC", "N1XY"):
            with pytest.raises(ValueError, match="axes"):
                encode(pixels, model=tiny, axes=axes)
        with pytest.raises(ValueError, match="single images"):
            encode(pixels, model=tiny, axes="NYXC", mode="RGB")
        with pytest.raises(UnsupportedError, match="complex"):
            encode(pixels.astype(complex), model=tiny, axes="NYXC")

    def test_a_sheet_and_its_axes_must_agree(self, tiny: str) -> None:
        payload = encode(images(3, 8, 8), model=tiny)
        for letters, sizes in (("NYXC", (3, 8, 8, 4)), ("NYXC", (3, 7, 8, 3)), ("YX", (24, 8))):
            header = container.read_header(io.BytesIO(payload))
            segments = tuple(
                container.Segment(
                    s.method,
                    s.bands,
                    tuple(container.read_chunk(io.BytesIO(payload), ref) for ref in s.chunks),
                    s.tile_w,
                    s.tile_h,
                )
                for s in header.frames[0].segments
            )
            metadata = Metadata(axes=Axes(letters, sizes)).pack()
            frame = container.Frame(header.spec, segments)
            changed = container.write(container.Header((frame,), header.model, metadata))
            with pytest.raises(FormatError, match="do not fit"):
                decode(changed)

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
    def test_pillow(self, tiny_patch: str, mode: str) -> None:
        image = Image.fromarray(photograph(33, 130)).convert(mode)
        file = io.BytesIO()
        image.save(file, "IFL", model=tiny_patch, fallback=False)
        with Image.open(file) as again:
            assert (again.format, again.mode, again.size) == ("IFL", mode, image.size)
            assert again.tobytes() == image.tobytes()
            assert again.draft(None, (20, 10)) is None
        assert set(read_info(file.getvalue()).methods) == {"patch"}

    def test_every_backend_writes_the_same(self, tiny_patch: str) -> None:
        pytest.importorskip("torch")
        pixels = images(5, 16, 16)
        payloads = [encode(pixels, model=tiny_patch, fallback=False, device=device) for device in ("numpy", "cpu")]
        assert payloads[0] == payloads[1]
        assert np.array_equal(decode(payloads[0], device="cpu"), pixels)

    def test_other_formats_refuse_the_model(self, tiny_patch: str) -> None:
        with pytest.raises(UnsupportedError, match="cannot write BSW with the model 'tiny-patch', which is for ifl"):
            encode(photograph(20, 20), "bsw", model=tiny_patch)


def test_what_is_trained_is_what_is_coded() -> None:
    """The twin's code length, with its sample of the noise, is that of the exact networks with theirs."""
    torch = pytest.importorskip("torch")
    from pil_neuralcodec.training.patch import TrainablePatchNet

    torch.manual_seed(2)
    net = TrainablePatchNet(ARCH)
    with torch.no_grad():
        for shape in ARCH.layers():  # couplings that do something, and no outliers, which have a price of their own
            layer = net.layer(shape.name)
            if shape.is_output and ".band" in shape.name:
                layer.bias[4:6] = torch.tensor([3.0, 5.0])
            if "coupling" in shape.name and shape.is_output:
                layer.weight.normal_(0, 0.05)
            elif shape.name.endswith(".matrix"):
                layer.weight.add_(0.1 * torch.randn(3, 3, 1, 1))
    net.set_rounded(True)
    net.eval()
    network = open_network(net.export(), "numpy")
    for bands in (1, 3):
        planes = to_planes(images(40, 32, 32, bands))
        with torch.no_grad():
            three = torch.as_tensor(np.repeat(planes, 3 // bands, axis=1).astype(np.float32))
            trained = float(net(three, bands).sum()) + 8 * bands * len(planes)
        stack = tall_stack(300000)
        before = height(stack)
        PatchFlow(ARCH, network, planes.shape).forward(planes, Stack(stack))
        assert height(stack) - before == pytest.approx(trained, rel=4e-3)
        writer = StackWriter()
        PatchFlow(ARCH, network, planes.shape).put(planes, writer)
        stack = tall_stack()
        before = height(stack)
        writer.push(stack)
        # What the couplings do is in it: with random ones, harm.
        assert height(stack) - before < 0.99 * trained


def test_architectures_describe_themselves() -> None:
    assert PatchArchitecture.from_description(ARCH.describe()) == ARCH
    for change in ({"frac": 1}, {"frac": 15}, {"lattice": [[0, 2], [2, 3]]}, {"lattice": [[0]]}, {"pyramid": {}}):
        with pytest.raises(ValueError, match="architecture|pyramid"):
            PatchArchitecture.from_description(ARCH.describe() | change)
    names = [shape.name for shape in ARCH.layers()]
    assert len(set(names)) == len(names) and "1.2.coupling3.head" in names
