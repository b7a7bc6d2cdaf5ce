"""Training: learns, resumes, exports a model that the codec uses and that training can start from again."""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch")

import torch

import pil_neuralcodec
from pil_neuralcodec import models
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.errors import UnknownModelError
from pil_neuralcodec.flow.architecture import TAPS, PhotoArchitecture
from pil_neuralcodec.flow.block_phase import BLOCK, PAIR, BlockPhase
from pil_neuralcodec.flow.polyphase import baseline as exact_baseline
from pil_neuralcodec.flow.polyphase import taps as exact_taps
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS
from pil_neuralcodec.nets.spec import ConvSpec, fit_exponents, worst_case
from pil_neuralcodec.nets.training import TrainableConv
from pil_neuralcodec.training.__main__ import main
from pil_neuralcodec.training.data import Crops, Patches, grained
from pil_neuralcodec.training.loop import Schedule, evaluate, train
from pil_neuralcodec.training.muon import Muon
from pil_neuralcodec.training.narrow import narrow
from pil_neuralcodec.training.photo import (
    TrainablePhotoNet,
    baseline,
    bits_and_logits,
    mixture_bits,
    position_inputs,
    taps,
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data

    folder = tmp_path_factory.mktemp("data") / "photographs"
    folder.mkdir()
    coffee = data.coffee()
    for i in range(12):
        part = Image.fromarray(coffee[30 * i : 30 * i + 70, 20 * i : 20 * i + 90])
        part.save(folder / (f"{i}.png" if i % 3 else f"{i}.jpg"))
    return folder


def run(kind: str, photographs: Path, out: Path, **options: object) -> Result:
    """One call of the training's command line: ``photo``, ``patch`` or ``bitswap``."""
    given = []
    for name, value in options.items():
        given += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return CliRunner().invoke(main, [kind, "--data", str(photographs), "--out", str(out), *given])


def learn(kind: str, photographs: Path, out: Path, steps: tuple[int, int], **options: object) -> float:
    """Train a small model, then take it up again for longer: bits per subpixel after the first run, which the second
    must improve."""
    small: dict[str, object] = {"width": 8, "blocks": "1,0,0/0,0,0", "mixtures": 2, "batch": 4, "learning_rate": 0.003}
    for number in steps:
        result = run(kind, photographs, out, **small | options, steps=number)
        assert result.exit_code == 0, (result.output, result.exception)
    with (out / "curve.csv").open(newline="") as file:
        by_step = {int(row["step"]): float(row["held_out"]) for row in csv.DictReader(file)}
    assert by_step[steps[1]] < by_step[steps[0]] < 8
    return by_step[steps[0]]


def likelihood(photographs: Path, model: Path) -> float:
    """What the training's report says: coded bits over those of the model's likelihood."""
    result = CliRunner().invoke(main, ["likelihood", str(photographs / "1.png"), "--model", str(model)])
    assert result.exit_code == 0, (result.output, result.exception)
    return float(result.output.split("=")[1])


def test_a_short_run_learns_resumes_and_releases_a_model(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    learn("photo", photographs, out, (5, 20))
    assert (out / "curve.png").stat().st_size > 1000

    model = models.load(out / "photo.safetensors")
    assert model.card["held_out_images"] >= 1 and model.card["length"] == "20 steps"
    pixels = np.asarray(Image.open(photographs / "1.png"))
    data = pil_neuralcodec.encode(pixels, model=out / "photo.safetensors", fallback=False)
    folder = str(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURALCODEC_MODELS", folder)
        assert np.array_equal(pil_neuralcodec.decode(data), pixels)

    again = TrainablePhotoNet(model.architecture)
    again.load(model.layers)
    for name, spec in again.export().items():
        real = [layer.weight * 2.0 ** -layer.shift[:, None, None, None] for layer in (spec, model.layers[name])]
        assert np.array_equal(*real), name


def test_a_model_grows_from_a_smaller_one(photographs: Path, tiny: str, tmp_path: Path) -> None:
    """Blocks that are added change nothing by themselves."""
    start = models.load(tiny).architecture
    assert isinstance(start, PhotoArchitecture) and start.blocks == ((1, 0, 0), (0, 0, 1))
    options = {"start": tiny, "steps": 1, "learning_rate": 0, "grain": 0.5, "grow": "2,0,1/1,0,1"}
    result = run("photo", photographs, tmp_path / "run", **options)
    assert result.exit_code == 0, (result.output, result.exception)
    model = models.load(tmp_path / "run" / "photo.safetensors")
    assert isinstance(model.architecture, PhotoArchitecture)
    assert model.architecture.blocks == ((2, 0, 1), (1, 0, 1))
    bits = []
    for one in (model, models.load(tiny)):
        net = TrainablePhotoNet(one.architecture)  # type: ignore[arg-type]
        net.load(one.layers)
        bits.append(float(evaluate(net, Crops([photographs])).sum()))
    assert bits[0] == pytest.approx(bits[1], rel=1e-3)


def test_a_patch_flow_begins_with_all_that_a_photo_model_knows(photographs: Path, tiny: str, tmp_path: Path) -> None:
    """But for the position encoding, which images without JPEG blocks leave empty."""
    result = run("patch", photographs, tmp_path, start=tiny, steps=1, learning_rate=0, batch=2, crop=16)
    assert result.exit_code == 0, (result.output, result.exception)
    model, begun = models.load(tiny), models.load(tmp_path / "patch.safetensors")
    positions = 0
    for shape in model.architecture.layers():
        spec, new = model.layers[shape.name], begun.layers[shape.name]
        seen = shape.inputs - shape.positions
        old, real = (one.weight[:, :seen] * 2.0 ** -one.shift[:, None, None, None] for one in (spec, new))
        assert new.weight.shape[1] == seen and np.array_equal(old, real), shape.name
        positions += shape.positions
    assert positions


def test_the_channels_that_matter_are_kept(photographs: Path, tmp_path: Path) -> None:
    wide = TrainablePhotoNet(PhotoArchitecture(8, ((1, 0, 1), (0, 1, 0)), 2))
    planes, phases = Crops([photographs]).batch(4, 32)
    with torch.no_grad():
        for shape in wide.shapes:
            if not shape.pixel_input:
                wide.layer(shape.name).weight[:, [1, 6]] = 0.0  # nothing reads these
    expected = wide(planes, phases=phases)
    net = TrainablePhotoNet(PhotoArchitecture(6, wide.arch.blocks, 2))
    assert not torch.allclose(net(planes, phases=phases), expected, rtol=1e-3)
    narrow(net, wide, planes, phases)
    torch.testing.assert_close(net(planes, phases=phases), expected)
    models.save(tmp_path / "wide.safetensors", wide.arch, wide.export())
    start = str(tmp_path / "wide.safetensors")
    run("photo", photographs, tmp_path / "narrow", start=start, narrow=6, steps=2, batch=2, crop=16)
    assert models.load(str(tmp_path / "narrow" / "photo.safetensors")).architecture.describe()["width"] == 6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_grain_is_noise_that_keeps_the_picture(seed: int, count: int) -> None:
    planes = torch.full((count, 3, 32, 32), 100.0)
    torch.manual_seed(seed)
    noisy = grained(planes, np.random.default_rng(seed))
    assert noisy.shape == planes.shape and torch.equal(noisy, noisy.round())
    deviations = noisy.std(dim=(1, 2, 3))
    assert ((deviations > 0.2) & (deviations < 12)).all()
    assert ((noisy.mean(dim=(1, 2, 3)) - 100).abs() < 3).all()
    assert grained(planes * 0, np.random.default_rng(seed)).min() == 0


def test_a_users_model_is_trained_used_and_named(photographs: Path, tiny: str, tmp_path: Path) -> None:
    from pil_neuralcodec import cli

    out = tmp_path / "mine.safetensors"
    arguments = ["train", "--data", photographs, "--out", out, "--model", tiny, "--steps", 10, "--learning-rate", 0.003]
    arguments = [str(argument) for argument in arguments]
    result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    mean = re.search(r"mean\W+([\d.]+)\W+([\d.]+)\W+(-[\d.]+)%", result.output)
    assert mean and float(mean[2]) < float(mean[1]), result.output
    assert [path.name for path in tmp_path.glob("mine*")] == ["mine.safetensors"]  # and no run any more
    model = models.load(out)
    assert model.card["started_from"] == models.load(tiny).id.hex() != model.id.hex()

    image = Image.open(photographs / "1.png")
    image.save(tmp_path / "mine.ifl", model=out, fallback=False)
    with pytest.raises(UnknownModelError, match=f"{model.id.hex()}.*NEURALCODEC_MODELS"):
        pil_neuralcodec.decode(tmp_path / "mine.ifl")
    assert np.array_equal(pil_neuralcodec.decode(tmp_path / "mine.ifl", model=out), np.asarray(image))
    command = ["decode", str(tmp_path / "mine.ifl"), "--model"]
    assert CliRunner().invoke(cli.main, [*command, str(out)]).exit_code == 0
    with Image.open(tmp_path / "mine.png") as written:
        assert written.tobytes() == image.tobytes()
    other = CliRunner().invoke(cli.main, [*command, tiny, "--force"])
    assert other.exit_code == 1 and f"{model.id.hex()} is not in" in other.output
    assert f"is not '{tiny}', which is {models.load(tiny).id.hex()}" in other.output
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURALCODEC_MODELS", str(tmp_path))
        with Image.open(tmp_path / "mine.ifl") as opened:
            assert opened.tobytes() == image.tobytes()
    for options in (
        [],
        ["--force", "--out", "x.pt"],
        ["--force", "--model", f"{tiny}-patch"],
        ["--force", "--data", "nowhere"],
    ):
        assert CliRunner().invoke(cli.main, [*arguments, *options]).exit_code != 0


def test_training_stops_where_nothing_is_gained(photographs: Path, tiny: str, tmp_path: Path) -> None:
    """At a rate of nothing, after two looks in vain."""
    model = models.load(tiny)
    net = TrainablePhotoNet(model.architecture)
    net.load(model.layers)
    crops = Crops([photographs], held_out=4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    schedule = Schedule(5.0, learning_rate=0.0, rounded=1.0)
    train(crops, tmp_path / "run", net, schedule, interval=0.0, patience=2)
    with (tmp_path / "run" / "curve.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_latent_variable_model_learns_and_is_released(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    learn("bitswap", photographs, out, (6, 20), latents="3,4", crop=16, listening=2)

    path = out / "bitswap.safetensors"
    model = models.load(path)
    assert len(model.card["held_out_by_parts"]) == 2 + 6
    pixels = np.asarray(Image.open(photographs / "1.png"))
    data = pil_neuralcodec.encode(pixels, "bsw", model=path, fallback=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURALCODEC_MODELS", str(out))
        assert np.array_equal(pil_neuralcodec.decode(data), pixels)
    assert 0.7 < likelihood(photographs, path) < 1.05  # adaptation helps a poor model a lot


def test_the_latents_of_a_photo_flow_are_trained_alone(photographs: Path, tiny: str, tmp_path: Path) -> None:
    options = {"start": tiny, "keep_flow": True, "latents": "3", "crop": 16, "batch": 2, "steps": 2}
    assert run("bitswap", photographs, tmp_path / "run", **options).exit_code == 0
    flow, model = models.load(tiny), models.load(tmp_path / "run" / "bitswap.safetensors")
    assert isinstance(model.architecture, BitswapArchitecture) and isinstance(flow.architecture, PhotoArchitecture)
    assert model.architecture.likelihood == replace(flow.architecture, backward_adaptation=True)
    for name, layer in flow.layers.items():
        # The same numbers, perhaps in other units.
        units, kept = (2.0**-spec.shift for spec in (layer, model.layers[name]))
        assert np.array_equal(layer.weight.T * units, model.layers[name].weight.T * kept), name
        assert np.array_equal(layer.bias * units, model.layers[name].bias * kept), name


def test_a_patch_flow_learns_and_is_released(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = np.stack([np.asarray(Image.open(path).resize((16, 16))) for path in sorted(photographs.iterdir())])
    np.savez(tmp_path / "small.npz", images=np.concatenate([small, small[:, ::-1], small[:, :, ::-1]]))
    options = {"array": tmp_path / "small.npz", "crop": 16}
    before = learn("patch", photographs, out, (5, 20), **options)

    path = out / "patch.safetensors"
    model = models.load(path)
    assert model.kind == "patch" and model.card["data"] == ["photographs", "small.npz"]
    assert likelihood(photographs, path) == pytest.approx(1, abs=0.02)
    started = run("patch", photographs, tmp_path / "2", **options, batch=4, learning_rate=0.003, steps=1, start=path)
    assert started.exit_code == 0, (started.output, started.exception)
    assert float(started.output.split('"held_out_bits_per_subpixel": ')[1].split(",")[0]) < before


def test_patches_are_mirrored_images_or_crops_of_shrunken_photographs(photographs: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "small.npz", images=images)
    patches = Patches([photographs], [tmp_path / "small.npz"], share=1.0)
    names = [name for name, _ in patches.validation]
    assert names.count("small.npz[0]") == 1 and sum("npz" in name for name in names) == 3
    batch = patches.batch(3, 64).planes.numpy()
    assert batch.shape == (12, 3, 32, 32)
    known = images[..., [1, 0, 2]].transpose(0, 3, 1, 2).astype(np.float32)
    for patch in batch:
        assert ((known == patch).all((1, 2, 3)) | (known[..., ::-1] == patch).all((1, 2, 3))).sum() == 1
    assert Patches([photographs], [], share=1.0).batch(3, 64).planes.shape == (3, 3, 64, 64)


def test_a_sample_lies_in_its_cell() -> None:
    """The logit's distribution function is between those of the value's ends, tails included."""
    torch.manual_seed(4)
    logits, centre, scales = torch.randn(3, 1, 4, 1, 256)
    centre = centre * 90
    target = torch.arange(256.0).view(1, 1, 1, -1)
    bits, values = bits_and_logits(logits, centre, scales, target - 128, target)
    assert bits == mixture_bits(logits, centre, scales, target - 128, target)
    weight = torch.softmax(logits.double() * np.log(2), 1)
    edges = [
        (weight * torch.sigmoid((target.double() - 128 + half - centre) / 2 ** scales.double())).sum(1, keepdim=True)
        for half in (-0.5, 0.5)
    ]
    edges[0][..., 0], edges[1][..., -1] = 0, 1
    share = torch.sigmoid(values.double())
    assert (edges[0] - 2**-22 <= share).all() and (share <= edges[1] + 2**-22).all()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (40, 2, 3, 3), (6, 6)])
def test_muon_moves_all_directions_alike(shape: tuple[int, ...], half: bool) -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape) * torch.logspace(-2, 0, shape[0]).view(-1, *[1] * (len(shape) - 1))
    Muon([weight], lr=0.5, half=half).step()
    matrix = weight.detach().reshape(shape[0], -1)
    singular = torch.linalg.svdvals(matrix) / (0.5 * 0.2 * max(matrix.shape) ** 0.5)
    assert 0.5 < float(singular.min()) <= float(singular.max()) < 1.4
    assert float((matrix * weight.grad.reshape(shape[0], -1)).sum()) < 0  # downhill


def test_gradients_pass_through_the_rounding() -> None:
    torch.manual_seed(0)
    gradients = []
    for rounded in (False, True):
        conv = TrainableConv(3, 2, 3)
        with torch.no_grad():
            conv.weight.fill_(1 / 64)
            conv.bias.fill_(1 / 8)
        conv.set_rounded(rounded)
        x = (torch.arange(48.0).view(1, 3, 4, 4) / 128).requires_grad_()
        conv(x).sum().backward()
        assert x.grad is not None and conv.weight.grad is not None and conv.bias.grad is not None
        gradients.append((x.grad, conv.weight.grad, conv.bias.grad))
    for real, through in zip(*gradients, strict=True):
        assert real.abs().sum() > 0 and torch.equal(real, through)


def test_twins_compute_what_the_exact_layer_does() -> None:
    torch.manual_seed(0)
    conv = TrainableConv(5, 7, 3)
    conv.set_rounded(True)
    conv.eval()
    spec = conv.export()
    q = torch.randint(0, 128, (2, 5, 6, 6))
    skip = torch.randint(0, 128, (2, 7, 6, 6))
    with torch.no_grad():
        out = conv(q / 16, skip / 16) * 16
    acc = torch.nn.functional.conv2d(q.double(), torch.as_tensor(spec.weight).double(), padding=1)
    acc += torch.as_tensor(spec.bias).double().view(-1, 1, 1)
    exact = torch.round(acc * 2.0 ** -torch.as_tensor(spec.shift).double().view(-1, 1, 1) + skip).clamp(0, 127)
    assert (out - exact).abs().max() < 1e-4


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 3)])
def test_a_part_of_the_positions_is_computed_as_all_are(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    for kernel, out_frac in ((3, None), (1, None), (3, np.array([4, 8]))):
        conv = TrainableConv(3, 2, kernel, output_frac=out_frac)
        x = torch.rand(2, 3, rows, columns)
        skip = None if out_frac is not None else torch.rand(2, 2, rows, columns)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = conv(x, skip, (row, column))
            assert torch.allclose(part, conv(x, skip)[..., row::2, column::2], atol=1e-6)


def test_exponents_keep_every_bound() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-4, 1.0, 1.9):
        weight = rng.choice([-scale, scale], (4, 300, 3, 3))
        bias = rng.normal(0, 1, 4)
        e = fit_exponents(weight, bias, np.full(4, 4), pixel_input=False)
        w = np.rint(weight * 2.0 ** e[:, None, None, None]).astype(np.int8)
        assert worst_case(w, np.rint(bias * 2.0 ** (e + 4)).astype(np.int32), pixel_input=False).max() < 2**23
    with pytest.raises(ValueError, match="accumulator"):
        ConvSpec(np.full((1, 100, 9, 9), 127, np.int8), np.zeros(1, np.int32), np.full(1, 4, np.int32))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_baseline_of_training_is_the_codecs(count: int) -> None:
    rng = np.random.default_rng(count)
    known = [rng.integers(0, 256, (2, 3, 8, 4)).astype(np.int32) for _ in range(count)]
    ours = baseline([torch.as_tensor(k).float() for k in known]).numpy()
    assert np.array_equal(ours, exact_baseline(known))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_taps_of_training_are_the_codecs(count: int) -> None:
    rng = np.random.default_rng(count)
    known = [rng.integers(0, 256, (2, 3, 8, 4)).astype(np.int32) for _ in range(count)]
    mean, deviations = taps([torch.as_tensor(k).float() for k in known])
    assert deviations.shape == (2, 3, TAPS, 8, 4)
    for tile, band in itertools.product(range(2), range(3)):
        total, quarters = (part[..., 0, :, :] for part in exact_taps([k[tile : tile + 1, band] for k in known]))
        assert np.array_equal(4 * mean[tile, band].numpy(), total)
        assert np.array_equal(4 * deviations[tile, band].numpy(), quarters)


def test_probabilities_of_the_likelihood_sum_to_one() -> None:
    torch.manual_seed(3)
    logits, centre, scales = torch.randn(3, 1, 4, 1, 1) * 2
    total = 0.0
    for value in range(256):
        target = torch.full((1, 1, 1, 1), float(value))
        total += 2.0 ** -float(mixture_bits(logits, centre, scales, target - 250.0, target))
    assert total == pytest.approx(1.0, abs=1e-3)


def test_crops_are_parts_of_photographs_turned_at_random(tmp_path: Path) -> None:
    y, x = np.mgrid[:90, :120].astype(np.uint8)
    for i in range(2):
        Image.fromarray(np.stack([x, y, x ^ y], 2)).save(tmp_path / f"{i}.png")
    crops = Crops([tmp_path], seed=1)
    crops._chance = np.array([1.0, 0.0])  # the photograph itself, not its shrunken copy
    g, r, b = crops.batch(64, 16).planes.numpy().astype(int).transpose(1, 0, 2, 3)
    assert np.array_equal(g ^ r, b)
    turned = g[:, 0, 0] != g[:, 0, 1]
    assert 5 < turned.sum() < 40
    for rows, columns, down, right in zip(
        g[~turned], r[~turned], g[~turned, 1, 0] - g[~turned, 0, 0], r[~turned, 0, 1] - r[~turned, 0, 0], strict=True
    ):
        assert abs(down) == abs(right) == 1
        assert np.array_equal(rows, rows[0, 0] + down * np.arange(16)[:, None] + np.zeros(16, int))
        assert np.array_equal(columns, columns[0, 0] + right * np.arange(16) + np.zeros((16, 1), int))


def test_no_photographs_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["photo", "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, FileNotFoundError)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, BLOCK + PAIR)] * 2), min_size=1, max_size=3), st.sampled_from((2, 4, 8, 16)))
def test_training_sees_the_positions_that_the_codec_sees(codes: list[tuple[int, int]], stride: int) -> None:
    found = position_inputs(torch.tensor(codes), 20, 12, stride)
    for seen, (rows, columns) in zip(found, codes, strict=True):
        positions = TRANSFORMS[0].positions([BlockPhase(rows, columns)], (20, 12), stride)
        [exact] = positions.appended(np.empty((1, 20, 12, 0), np.int8))
        assert np.array_equal(seen, exact.transpose(2, 0, 1))


def test_an_averaged_network_lags_behind_the_last_step(photographs: Path, tmp_path: Path) -> None:
    """Bits of the average over all steps lie between those of the start and those of the last step."""
    crops = Crops([photographs])
    bits = {}
    for average in (0, 10**6):
        torch.manual_seed(0)
        net = TrainablePhotoNet(PhotoArchitecture(8, ((0, 0, 0),), 2))
        start = float(evaluate(net, crops).sum())
        crops.rng = np.random.default_rng(0)
        schedule = Schedule(0.0, steps=30, learning_rate=0.003, warm_up=5, batch=2, rounded=0.5, average=average)
        out = tmp_path / str(average)
        bits[average] = train(crops, out, net, schedule)
        assert bits[average] == pytest.approx(float(evaluate(net, crops).sum()), rel=1e-3)
        assert train(crops, out, net, schedule) == pytest.approx(bits[average], nan_ok=True)  # nothing is left to do
    assert bits[0] < bits[10**6] < start


def test_crops_show_photographs_as_they_are_coded(tmp_path: Path) -> None:
    """With the conversion undone that JPEG files have been through; or with a share of both, whatever they are."""
    from skimage import data

    for i, shape in enumerate(((240, 180), (200, 190), (170, 210))):
        Image.fromarray(data.coffee()).resize(shape).save(tmp_path / f"{i}.jpg", quality=95)
    coded, shares = Crops([tmp_path]), Crops([tmp_path], past=0.25)
    for (name, planes), (_, rgb) in zip(coded.validation, shares.validation, strict=True):
        pixels = np.asarray(Image.open(tmp_path / name))
        assert np.array_equal(rgb, pixels[..., [1, 0, 2]].transpose(2, 0, 1))
        assert np.array_equal(planes, conversion(Past.JPEG).to_planes(pixels)[..., [1, 0, 2]].transpose(2, 0, 1))
    assert len(shares) == 2 * len(coded)
