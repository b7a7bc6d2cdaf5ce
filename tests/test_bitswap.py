"""Bit-Swap: the stack comes back, borrowed bits are bounded, images of any size, damage, the twin that is trained."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import random_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from pil_neuralcodec import container, decode, encode, models, read_info
from pil_neuralcodec.bitswap import coder as coder_module
from pil_neuralcodec.bitswap import latents
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.bitswap.coder import ORDERINGS, BlockCoder, moves
from pil_neuralcodec.coders.lanes import ExhaustedError, Lanes, WordStack
from pil_neuralcodec.coders.stack import StackWriter, height
from pil_neuralcodec.coders.widths import widen
from pil_neuralcodec.errors import ChecksumError, FormatError, UnsupportedError
from pil_neuralcodec.flow import band_coder
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.band_coder import put_values
from pil_neuralcodec.flow.block_phase import NO_PHASE, BlockPhase
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.flow.polyphase import level_shape
from pil_neuralcodec.methods import bitsback, bitswap
from pil_neuralcodec.methods.bitsback import ChainReader, numbers
from pil_neuralcodec.methods.bitswap import _direct_rows, decode_chain, encode_chain, read_blocks
from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.reader import Reader

FLOW = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2, backward_adaptation=True)
ARCH = BitswapArchitecture(FLOW, latents=(3, 4, 5), depth=1)


@pytest.fixture(scope="module")
def block_coder() -> BlockCoder:
    return BlockCoder(ARCH, open_network(random_layers(ARCH, 1, 30), "numpy"))


def photograph(rows: int, columns: int, bands: int = 3) -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[100 : 100 + rows, 100 : 100 + columns, :bands])


def tall_stack(words: int = 4000, lanes: int = 16) -> Lanes:
    stack = Lanes(1, WordStack(np.random.default_rng(0).integers(0, 2**16, words).astype(np.uint16)))
    widen(stack, lanes)
    return stack


def test_the_orderings_are_those_of_the_papers() -> None:
    assert moves("bit-swap", 2) == [("q", 1), ("p", 1), ("q", 2), ("p", 2), ("p", 3)]
    assert moves("bb-ans", 2) == [("q", 1), ("q", 2), ("p", 1), ("p", 2), ("p", 3)]
    assert sorted(moves("bit-swap", 5)) == sorted(moves("bb-ans", 5))
    with pytest.raises(ValueError, match="choose from bit-swap, bb-ans"):
        moves("other", 2)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    bands=st.sampled_from([1, 3]),
    ordering=st.sampled_from(ORDERINGS),
    kind=st.sampled_from(["photograph", "noise", "flat"]),
    phase=st.builds(BlockPhase, st.integers(0, 24), st.integers(0, 24)),
    seed=st.integers(0, 99),
)
def test_popping_a_block_brings_the_stack_back(
    block_coder: BlockCoder,
    rows: int,
    columns: int,
    bands: int,
    ordering: str,
    kind: str,
    phase: BlockPhase,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pixels = {
        "photograph": photograph(rows, columns, bands),
        "flat": np.full((rows, columns, bands), seed, np.uint8),
        "noise": rng.integers(0, 256, (rows, columns, bands)).astype(np.uint8),
    }[kind]
    planes = to_planes(pixels[None])[0]
    stack = tall_stack()
    heads, words = stack.heads.copy(), stack.stack.to_array()
    block_coder.push(stack, planes, ordering, phase)
    assert height(stack) != height(tall_stack())
    assert np.array_equal(block_coder.pop(stack, (bands, rows, columns), ordering, phase), planes)
    assert np.array_equal(stack.heads, heads) and np.array_equal(stack.stack.to_array(), words)


def test_bit_swap_borrows_for_one_layer_and_bb_ans_for_all(block_coder: BlockCoder) -> None:
    planes = to_planes(photograph(64, 64)[None])[0]
    lowest = {}
    for ordering in ORDERINGS:
        stack = tall_stack()
        start = height(stack)
        track: list[float] = []

        def watch(move: coder_module.Move, stack: Lanes = stack, track: list[float] = track) -> None:
            track.append(height(stack))

        block_coder.push(stack, planes, ordering, watch=watch)
        lowest[ordering] = start - min(track)
        assert track[0] < start and track[-1] > start
    assert lowest["bb-ans"] > 1.2 * lowest["bit-swap"]


def test_an_exhausted_stack_is_an_error(block_coder: BlockCoder) -> None:
    with pytest.raises(ExhaustedError):
        block_coder.push(tall_stack(40), to_planes(photograph(64, 64)[None])[0])


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 150),
    bands=st.sampled_from([1, 3]),
    ordering=st.sampled_from(ORDERINGS),
)
def test_images_of_any_size(block_coder: BlockCoder, rows: int, columns: int, bands: int, ordering: str) -> None:
    pixels = photograph(rows, columns, bands)
    payload = encode_chain(pixels, block_coder.network, ARCH, ordering)
    assert np.array_equal(decode_chain(payload, pixels.shape, block_coder.network, ARCH), pixels)
    _, found, _, blocks = read_blocks(ChainReader(payload), rows, columns)
    assert found == ordering and blocks[0][1] is not None
    assert sum(h * w for (_, _, h, w), _ in blocks) == rows * columns


def test_one_row_lends_what_a_tile_borrows(block_coder: BlockCoder) -> None:
    pixels = photograph(40, 256).repeat(3, 1)
    payload = encode_chain(pixels, block_coder.network, ARCH)
    areas, told = zip(*read_blocks(ChainReader(payload), 40, 768)[3], strict=True)
    assert areas == ((39, 0, 1, 384), (0, 0, 39, 384), (0, 384, 40, 384))
    assert [size is None for size in told] == [False, True, True]


def test_rows_that_take_few_bytes_are_followed_by_more(block_coder: BlockCoder) -> None:
    pixels = np.concatenate([photograph(90, 300), np.full((30, 300, 3), 7, np.uint8)])
    payload = encode_chain(pixels, block_coder.network, ARCH)
    (area, _), (rest, told) = read_blocks(ChainReader(payload), 120, 300)[3]
    assert 30 < area[2] <= 45 and rest == (0, 0, 120 - area[2], 300) and told is None
    assert np.array_equal(decode_chain(payload, pixels.shape, block_coder.network, ARCH), pixels)


@given(height=st.integers(1, 512), is_start=st.booleans())
def test_rows_to_try_end_with_all_of_them(height: int, is_start: bool) -> None:
    rows = list(_direct_rows(height, is_start=is_start))
    assert rows == sorted(set(rows)) and rows[-1] == height and len(rows) < 30
    assert (0 in rows) != is_start


def test_the_format_is_pinned(block_coder: BlockCoder) -> None:
    """Exact output of a fixed model: what may only change with a new version of the format."""
    arch = replace(ARCH, likelihood=replace(FLOW, backward_adaptation=False))
    payloads = [encode_chain(photograph(130, 140), block_coder.network, arch, ordering) for ordering in ORDERINGS]
    assert [(len(p), zlib.crc32(p)) for p in payloads] == PINNED


PINNED = [(36274, 4242314297), (36273, 759136400)]


class TestFiles:
    """Through the public interface."""

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
    def test_pillow(self, tiny_latents: str, mode: str) -> None:
        image = Image.fromarray(photograph(70, 90)).convert(mode)
        file = io.BytesIO()
        image.save(file, "BSW", model=tiny_latents, fallback=False)
        with Image.open(file) as again:
            assert (again.format, again.mode, again.size) == ("BSW", mode, image.size)
            assert again.tobytes() == image.tobytes()
        info = read_info(file.getvalue())
        assert (info.levels, set(info.methods)) == (1, {"bitswap"})

    def test_the_baseline_ordering(self, tiny_latents: str) -> None:
        pixels = photograph(70, 90)
        files = [encode(pixels, "bsw", model=tiny_latents, fallback=False, ordering=o) for o in ORDERINGS]
        assert files[0] != files[1]
        for payload in files:
            assert np.array_equal(decode(payload), pixels)

    def test_frames_and_fallback(self, tiny_latents: str) -> None:
        frames = [Image.fromarray(photograph(40, 50)), Image.new("RGB", (9, 8), "red"), Image.new("I", (5, 4), 70000)]
        file = io.BytesIO()
        frames[0].save(file, "BSW", save_all=True, append_images=frames[1:], model=tiny_latents)
        with Image.open(file) as again:
            assert again.n_frames == 3
            for number, frame in enumerate(frames):
                again.seek(number)
                assert again.tobytes() == frame.tobytes()

    def test_each_tile_of_a_large_image_is_a_chain(self, tiny_latents: str, monkeypatch: pytest.MonkeyPatch) -> None:
        pixels = photograph(40, 260).repeat(2, 1)
        payload = encode(pixels, "bsw", model=tiny_latents, fallback=False)
        segment = container.read_header(io.BytesIO(payload)).frames[0].segments[0]
        assert (segment.tile_w, segment.tile_h, len(segment.chunks)) == (288, 40, 2)
        assert np.array_equal(decode(payload), pixels)
        damaged = bytearray(payload)
        damaged[segment.chunks[1].offset + 9] ^= 1
        found = Reader(io.BytesIO(damaged)).frame(keep_going=True)
        assert np.array_equal(found[:, :288], pixels[:, :288]) and not found[:, 288:].any()
        decoded: list[tuple[int, ...]] = []
        whole = bitswap.decode_chain

        def watched(payload: bytes, shape: tuple[int, int, int], *rest: Any) -> np.ndarray:
            decoded.append(shape)
            return whole(payload, shape, *rest)

        monkeypatch.setattr(bitswap, "decode_chain", watched)
        assert np.array_equal(decode(payload, region=(300, 2, 310, 9)), pixels[2:9, 300:310])
        assert decoded == [(40, 232, 3)]

    @pytest.mark.parametrize(("side", "chains"), [(40, 1), (130, 5)])
    def test_a_set_of_small_images_is_one_chain(self, tiny_latents: str, side: int, chains: int) -> None:
        images = np.stack([photograph(side, side, 1)[:, ::step] for step in (1, -1, 1, -1, 1)])
        payload = encode(images, "bsw", model=tiny_latents, fallback=False)
        assert len(container.read_header(io.BytesIO(payload)).frames[0].segments[0].chunks) == chains
        assert np.array_equal(decode(payload), images)

    def test_what_one_chain_cannot_do_is_said(self, tiny_latents: str) -> None:
        payload = encode(photograph(300, 300), "bsw", model=tiny_latents, fallback=False)
        with pytest.raises(ValueError, match="chains that decode as a whole, without previews"):
            decode(payload, level=1)
        assert np.array_equal(decode(payload, region=(10, 20, 40, 60)), photograph(300, 300)[20:60, 10:40])
        with Image.open(io.BytesIO(payload)) as image:
            assert image.draft(None, (30, 30)) is None

    def test_models_and_orderings_of_other_formats_are_refused(self, tiny: str, tiny_latents: str) -> None:
        pixels = photograph(20, 20)
        with pytest.raises(UnsupportedError, match="cannot write BSW with the model 'tiny', which is for ifl"):
            encode(pixels, "bsw", model=tiny)
        with pytest.raises(UnsupportedError, match="cannot write IFL with the model 'tiny-latents', which is for bsw"):
            encode(pixels, "ifl", model=tiny_latents)
        with pytest.raises(ValueError, match="the format bsw has"):
            encode(pixels, "ifl", model=tiny, ordering="bb-ans")
        with pytest.raises(ValueError, match="ordering='other'"):
            encode(pixels, "bsw", model=tiny_latents, ordering="other")

    def test_a_file_that_names_a_model_of_another_kind(self, tiny: str, tiny_latents: str) -> None:
        payload = encode(photograph(70, 70), "bsw", model=tiny_latents, fallback=False)
        header = container.read_header(io.BytesIO(payload))
        chunk = container.read_chunk(io.BytesIO(payload), header.frames[0].segments[0].chunks[0])
        segment = container.Segment(container.Method.BITSWAP, (0, 3), (chunk,), 70, 70)
        frame = container.Frame(container.ImageSpec.of("RGB", 70, 70), (segment,))
        swapped = container.write(container.Header((frame,), models.load(tiny).id, format="bsw"))
        with pytest.raises(FormatError, match="of another kind"):
            decode(swapped)


def test_damage_behind_sound_checksums_is_refused(block_coder: BlockCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hostile file could hold: each byte changed in turn gives an error of ours and no wrong pixels."""
    pixels = photograph(70, 65)
    payload = encode_chain(pixels, block_coder.network, ARCH)
    for at in [*range(24), *range(24, len(payload), 797)]:
        damaged = bytearray(payload)
        damaged[at] ^= 0x55
        with pytest.raises((FormatError, UnsupportedError)):
            decode_chain(bytes(damaged), pixels.shape, block_coder.network, ARCH)
    for size in range(0, len(payload), 421):
        with pytest.raises(FormatError):
            decode_chain(payload[:size], pixels.shape, block_coder.network, ARCH)
    with monkeypatch.context() as other:
        other.setattr(bitsback, "checksum", lambda pixels: 5)
        payload = encode_chain(pixels, block_coder.network, ARCH)
    with pytest.raises(ChecksumError):
        decode_chain(payload, pixels.shape, block_coder.network, ARCH)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((4, 0), "impossible number of lanes"),
        ((0, 2), "impossible ordering"),
        ((0, 0, 25 * 25), "block phase is impossible"),
        ((0, 0, 0, 10), "impossible number of rows"),
        ((0, 0, 0, 0), "ends too early"),
        ((2, 0, 0, 0, *[1] * 90), "ends too early"),
        ((0, 0, 0, 9, 2 * 9), "ends too early"),
        ((0, 0, 0, 9, 2 * 9, 1, 1, 1, 1, 1), "ends too early"),
    ],
)
def test_impossible_blocks_are_named(block_coder: BlockCoder, values: tuple[int, ...], text: str) -> None:
    with pytest.raises(FormatError, match=text):
        decode_chain(numbers(*values), (9, 9, 3), block_coder.network, ARCH)


def test_what_is_trained_is_what_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every term of the ELBO by the twin, for given latents, is the code length by the exact networks."""
    torch = pytest.importorskip("torch")
    from pil_neuralcodec.training import bitswap as training

    torch.manual_seed(2)
    net = training.TrainableBitswapNet(replace(ARCH, likelihood=replace(FLOW, backward_adaptation=False)))
    for level in range(FLOW.nets):  # what z1 tells matters
        torch.nn.init.normal_(net.layer(f"p1.into.{level}").weight, std=0.3)
    net.set_rounded(True)
    net.eval()
    planes, phase = to_planes(photograph(64, 64)[None])[0], BlockPhase(3, 12)
    monkeypatch.setattr(training, "_drawn", lambda means, scales: torch.round(means).clamp(-128, 127))
    heard, led_into = [], BitswapArchitecture.led_into

    def watched(arch: BitswapArchitecture, ops: Any, level: int, told: Any, features: Any) -> Any:
        found = led_into(arch, ops, level, told, features)
        heard.append(16 * found[0].permute(1, 2, 0).numpy() if ops is net else ops.to_numpy(found)[0])
        return found

    monkeypatch.setattr(BitswapArchitecture, "led_into", watched)
    with torch.no_grad():
        parts = net(torch.as_tensor(planes[None].astype(np.float32)), phases=torch.tensor([phase])).tolist()

    exact = BlockCoder(net.arch, open_network(net.export(), "numpy"))
    monkeypatch.setattr(band_coder, "is_adapted", lambda stage, shape: False)

    def bits(put: Any) -> float:
        writer = StackWriter()
        put(writer)
        bits = 0.0
        for start, second, total, _ in writer.groups:
            logs = np.log2(np.broadcast_to(second, start.shape))
            bits += float((total - logs if total else logs).sum())
        return bits

    values, costs = {0: planes}, []
    for layer in range(1, 4):
        posterior = exact._posterior(layer, values[layer - 1])
        shape = exact._shape(layer, planes.shape)
        z = np.rint(posterior.centres[0] / 64).astype(int).clip(0, 255)
        values[layer] = z.reshape(shape) + latents.LATENT_MIN
        costs.append(-bits(lambda w, p=posterior, z=z: put_values(w, p, z)))
    for layer in range(2, 5):
        described = exact._prior(layer, values, planes.shape)
        plane = coder_module._plane(values[layer - 1])
        costs[layer - 2] += bits(lambda w, p=described, z=plane: put_values(w, p, z))
    image = bits(lambda w: exact._put_image(w, values[1], planes, phase))
    assert image == pytest.approx(sum(parts[3:]) + 3 * 8, rel=2e-3)
    assert len(heard) == 2 * FLOW.nets
    for trained, coded in zip(heard[: FLOW.nets], heard[FLOW.nets :], strict=True):
        assert coded.std() > 0 and np.array_equal(trained, coded)
    assert costs == pytest.approx(parts[:3], rel=5e-3, abs=2)


def test_every_position_hears_of_its_own_latents(block_coder: BlockCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level's features change under a latent of z1, and around, and nowhere else."""
    network, sides = block_coder.network, (404, 300)
    heard = []
    led_into = BitswapArchitecture.led_into

    def watched(arch: BitswapArchitecture, ops: Any, level: int, told: Any, features: Any) -> Any:
        heard.append((level, network.to_numpy(led_into(arch, ops, level, told, None))[0]))
        return led_into(arch, ops, level, told, features)

    monkeypatch.setattr(BitswapArchitecture, "led_into", watched)
    planes = to_planes(photograph(*sides)[None])[0]
    z = np.random.default_rng(0).integers(-40, 40, (3, *level_shape(*sides, ARCH.halvings(1))))
    other = z.copy()
    other[:, 7, 5] *= -1
    for latents_ in (z, other):
        block_coder._put_image(StackWriter(), latents_, planes, NO_PHASE)
    half = len(heard) // 2
    assert [level for level, _ in heard] == [1, 0, 1, 0]
    for (level, before), (_, after) in zip(heard[:half], heard[half:], strict=True):
        times = 2 ** (ARCH.halvings(1) - level - 2)
        assert before.shape[:2] == level_shape(*sides, level + 2)
        rows, columns = np.nonzero((before != after).any(axis=2))
        assert len(rows)
        assert abs(rows - 7 * times).max() < 5 * times and abs(columns - 5 * times).max() < 5 * times


def test_latents_that_say_nothing_leave_the_photo_flow() -> None:
    """What training begins with: the image costs what the photo flow takes for it."""
    torch = pytest.importorskip("torch")
    from pil_neuralcodec.training.bitswap import TrainableBitswapNet
    from pil_neuralcodec.training.photo import TrainablePhotoNet

    net, flow = TrainableBitswapNet(ARCH), TrainablePhotoNet(FLOW)
    for shape in FLOW.layers():
        flow.layer(shape.name).load_state_dict(net.layer(shape.name).state_dict())
    net.set_rounded(True)
    flow.set_rounded(True)
    planes = torch.as_tensor(to_planes(photograph(64, 64)[None]).astype(np.float32))
    phases = torch.tensor([BlockPhase(3, 12)])
    with torch.no_grad():
        assert torch.equal(net(planes, phases=phases)[3:], flow(planes, phases=phases))


def test_architectures_describe_themselves() -> None:
    assert BitswapArchitecture.from_description(ARCH.describe()) == ARCH
    changes: list[dict[str, Any]] = [
        {"latents": []},
        {"latents": [0]},
        {"depth": "x"},
        {"depth": -1},
        {"likelihood": FLOW.describe() | {"width": 0}},
        {"likelihood": FLOW.describe() | {"self_ensemble": True}},
        {"likelihood": FLOW.describe() | {"blocks": [[1, 1, 1]] * 5}},
    ]
    for change in changes:
        with pytest.raises(ValueError, match="architecture|pyramid"):
            BitswapArchitecture.from_description(ARCH.describe() | change)
    sizes = {shape.name: shape for shape in ARCH.layers()}
    assert len(sizes) == len(list(ARCH.layers())) and sizes["q1.embed"].inputs == 48
