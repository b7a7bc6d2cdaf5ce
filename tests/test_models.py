"""Model files: what is written comes back; names, ids and folders; damage is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import random_layers
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pil_neuralcodec import models
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.errors import FormatError, NeuralCodecError, UnknownModelError, UnsupportedError
from pil_neuralcodec.flow.architecture import PatchArchitecture, PhotoArchitecture, Pyramid
from pil_neuralcodec.nets.backends import self_test_digest
from pil_neuralcodec.nets.spec import ConvSpec

ARCHITECTURE = PhotoArchitecture(width=4, blocks=((1, 0, 0), (0, 0, 0)), mixtures=1)

HEAD = "0.0.band0.head"
BIAS = f"{HEAD}.bias"


def make_layers(seed: int = 0) -> dict[str, ConvSpec]:
    rng = np.random.default_rng(seed)
    return {
        shape.name: ConvSpec(
            rng.integers(-20, 21, (shape.outputs, shape.inputs, shape.kernel, shape.kernel)).astype(np.int8),
            rng.integers(-500, 500, shape.outputs).astype(np.int32),
            rng.integers(3, 9, shape.outputs).astype(np.int32),
            shape.pixel_input,
            shape.is_output,
            shape.positions,
        )
        for shape in ARCHITECTURE.layers()
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where models are looked for."""
    monkeypatch.setattr(models.find, "search_folders", lambda: [tmp_path])
    monkeypatch.setattr(models.find, "_own_folders", list)
    return tmp_path


@pytest.fixture
def saved(folder: Path) -> models.Model:
    return models.save(folder / "small.safetensors", ARCHITECTURE, make_layers(), {"data": "none", "bits": 7.5})


def test_round_trip(saved: models.Model, folder: Path) -> None:
    loaded = models.load(folder / "small.safetensors")
    assert (loaded.id, loaded.name, loaded.architecture) == (saved.id, "small", ARCHITECTURE)
    assert loaded.card == {"data": "none", "bits": 7.5}
    assert list(loaded.layers) == [shape.name for shape in ARCHITECTURE.layers()]
    for name, spec in loaded.layers.items():
        original = saved.layers[name]
        for part in ("weight", "bias", "shift"):
            np.testing.assert_array_equal(getattr(spec, part), getattr(original, part))
        assert (spec.pixel_input, spec.is_output) == (original.pixel_input, original.is_output)
    assert loaded.digest == self_test_digest(loaded.network("numpy"))
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize(
    "architecture",
    [ARCHITECTURE, replace(ARCHITECTURE, self_ensemble=True), PatchArchitecture(), BitswapArchitecture()],
)
def test_architectures_come_back_from_their_description(architecture: models.Architecture) -> None:
    description = json.loads(json.dumps(architecture.describe()))
    kind = type(architecture)
    assert kind.from_description(description) == architecture
    with pytest.raises(UnsupportedError, match="with more, which is not known: .*newer version"):
        kind.from_description({**description, "more": 1})
    for wrong in (
        dict(list(description.items())[1:]),
        dict.fromkeys(description, "?"),
        "?",
    ):
        with pytest.raises(ValueError, match="not a|out of range"):
            kind.from_description(wrong)  # type: ignore[arg-type]


def test_models_are_found_by_id_without_reading_all_files_again(
    saved: models.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.safetensors").write_bytes(b"no model")
    reads: list[Path] = []
    read_description = models.find.read_description

    def counted(path: Path) -> dict[str, Any]:
        reads.append(path)
        return read_description(path)

    monkeypatch.setattr(models.find, "read_description", counted)
    assert models.by_id(saved.id).name == "small"
    first = len(reads)
    for _ in range(5):
        assert models.by_id(saved.id).name == "small"
    assert len(reads) == first <= 2
    models.save(folder / "small.safetensors", ARCHITECTURE, make_layers(1))  # another model under the old name
    with pytest.raises(UnknownModelError):
        models.by_id(saved.id)


def test_found_by_path_name_and_id(saved: models.Model, folder: Path) -> None:
    path = folder / "small.safetensors"
    found = [models.load(key) for key in (path, str(path), "small", saved.id, saved.id.hex())]
    assert all(model is found[0] for model in found)  # read once
    models.save(path, ARCHITECTURE, make_layers(1))
    assert models.load("small").id != saved.id  # another file under the old name


@pytest.mark.parametrize("format", ["ifl", "bsw"])
def test_default_model(folder: Path, format: str) -> None:
    default = models.NEWEST[models.FORMAT_KINDS[format][0]]
    with pytest.raises(UnknownModelError, match=f"no model named '{default}'"):
        models.load(format=format)
    models.save(folder / f"{default}.safetensors", ARCHITECTURE, make_layers())
    assert models.load(format=format).name == default


def test_models_of_both_kinds(folder: Path) -> None:
    architecture = BitswapArchitecture(PhotoArchitecture(8, ((0, 0, 0),), 1), latents=(2, 2), depth=0)
    saved = models.save(folder / "latent.safetensors", architecture, random_layers(architecture, 1))
    assert saved.kind == "bitswap"
    assert models.load("latent").architecture == architecture and models.load(saved.id).id == saved.id
    assert {kind for kinds in models.FORMAT_KINDS.values() for kind in kinds} == set(models.KINDS)


@pytest.mark.parametrize("name", models.NEWEST)
def test_short_names_are_those_of_released_models(name: str) -> None:
    released = models.load(name)
    assert released.name == models.NEWEST[name] and released.kind == name.partition("-")[0]
    assert set(models.KINDS) <= set(models.NEWEST)


def test_a_kind_stands_for_its_newest_model(folder: Path) -> None:
    architecture = PatchArchitecture(Pyramid(8, ((0, 0, 0),), 1))
    layers = random_layers(architecture, 1)
    models.save(folder / f"{models.NEWEST['patch']}.safetensors", architecture, layers)
    assert models.load("patch").architecture == architecture
    bad = dict(layers)
    spec = layers["0.1.matrix"]
    bad["0.1.matrix"] = ConvSpec(-spec.weight, spec.bias, spec.shift, is_output=True)
    with pytest.raises(ValueError, match="matrix"):
        models.save(folder / "bad.safetensors", architecture, bad)


def test_missing_models_are_named(folder: Path) -> None:
    with pytest.raises(UnknownModelError, match="0011223344556677 is not in .*" + str(folder)):
        models.load("0011223344556677")
    with pytest.raises(UnknownModelError, match="no model named 'nothing'.*" + models.ENVIRONMENT):
        models.load("nothing")
    with pytest.raises(UnknownModelError, match="no model file"):
        models.load(folder / "nothing.safetensors")


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    expected = {}
    for seed, where in enumerate((first, second)):
        where.mkdir()
        expected[where] = models.save(where / "same.safetensors", ARCHITECTURE, make_layers(seed)).id
    monkeypatch.setenv(models.ENVIRONMENT, f"{first}{os.pathsep}{second}")
    assert models.search_folders()[:2] == [first, second]
    assert models.load("same").id == expected[first]
    assert models.load(expected[second]).id == expected[second]
    monkeypatch.delenv(models.ENVIRONMENT)
    weights = models.search_folders()[-2:]
    assert all(where.name == "weights" for where in weights)


def test_id_covers_everything(saved: models.Model) -> None:
    layers = dict(saved.layers)
    ids = {saved.id}
    for part in ("weight", "bias", "shift"):
        values = getattr(layers["0.0.band0.head"], part).copy()
        values.flat[0] += 1
        ids.add(
            models.model_id(
                ARCHITECTURE, layers | {"0.0.band0.head": replace(layers["0.0.band0.head"], **{part: values})}
            )
        )
    ids.add(models.model_id(replace(ARCHITECTURE, mixtures=2), layers))
    assert len(ids) == 5
    assert models.model_id(ARCHITECTURE, dict(reversed(layers.items()))) == saved.id


def test_id_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files carry ids: how they are computed must not change. (New coder tables are a new id, on purpose.)"""
    monkeypatch.setattr(models.identity, "TABLE_HASH", "tables")
    assert models.model_id(ARCHITECTURE, make_fixed_layers()).hex() == "2c41730249f9a255"


def make_fixed_layers() -> dict[str, ConvSpec]:
    return {
        shape.name: ConvSpec(
            (np.arange(shape.outputs * shape.inputs * shape.kernel**2) % 11 - 5)
            .astype(np.int8)
            .reshape(shape.outputs, shape.inputs, shape.kernel, shape.kernel),
            np.arange(shape.outputs, dtype=np.int32),
            np.full(shape.outputs, 5, np.int32),
            shape.pixel_input,
            shape.is_output,
            shape.positions,
        )
        for shape in ARCHITECTURE.layers()
    }


def test_networks_are_kept(saved: models.Model) -> None:
    assert saved.network("numpy") is saved.network("numpy")
    assert saved.network("numpy", "fp64").kernel == "fp64"
    with ThreadPoolExecutor(8) as pool:
        networks = list(pool.map(lambda _: saved.network("numpy", "fp32"), range(8)))
    assert len({id(network) for network in networks}) == 1


def test_layers_of_another_architecture(folder: Path) -> None:
    layers = make_layers()
    with pytest.raises(ValueError, match="'1.2.band2.head' is missing"):
        models.save(folder / "a.safetensors", ARCHITECTURE, {k: v for k, v in layers.items() if k != "1.2.band2.head"})
    with pytest.raises(ValueError, match="'0.0.embed' does not have the shape"):
        models.save(folder / "a.safetensors", ARCHITECTURE, layers | {"0.0.embed": layers["0.1.embed"]})
    assert not list(folder.iterdir())


def rewritten(data: bytes, change: Callable[[dict[str, np.ndarray], dict[str, object]], object]) -> bytes:
    tensors = {name: values.copy() for name, values in load_tensors(data).items()}
    size = int.from_bytes(data[:8], "little")
    description = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["model"])
    change(tensors, description)
    return save_tensors(tensors, metadata={"model": json.dumps(description)})


def moved(data: bytes, name: str, begin: int, end: int) -> bytes:
    """A file whose header says that a tensor begins and ends elsewhere, by so many bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header[name]["data_offsets"][0] += begin
    header[name]["data_offsets"][1] += end
    changed = json.dumps(header, separators=(",", ":")).encode()
    return len(changed).to_bytes(8, "little") + changed + data[8 + size :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-5],
    "cut in the header": lambda data: data[:100],
    "not safetensors": lambda data: b"\xff" * 200,
    "huge header": lambda data: b"\xff" * 7 + b"\x00" + data[8:],
    "no description": lambda data: save_tensors(load_tensors(data)),
    "weight changed": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "no architecture": lambda data: rewritten(data, lambda tensors, about: about.pop("architecture")),
    "a wrong architecture": lambda data: rewritten(data, lambda tensors, about: about.update(architecture={})),
    "no digest": lambda data: rewritten(data, lambda tensors, about: about.pop("self_test")),
    "a card that is none": lambda data: rewritten(data, lambda tensors, about: about.update(card=3)),
    "an endless width": lambda data: rewritten(
        data, lambda tensors, about: about["architecture"].update(width=float("inf"))
    ),
    "a layer missing": lambda data: rewritten(data, lambda tensors, about: tensors.pop(BIAS)),
    "a layer too many": lambda data: rewritten(data, lambda tensors, about: tensors.update(x=np.zeros(1))),
    "another type": lambda data: rewritten(
        data,
        lambda tensors, about: tensors.update({BIAS: tensors[BIAS].astype(np.float32)}),
    ),
    "bytes too many": lambda data: data + b"\0",
    "tensors that overlap": lambda data: moved(data, BIAS, -4, -4),
    "a gap": lambda data: moved(data, BIAS, 4, 0),
    "a tensor before all": lambda data: moved(data, BIAS, -(10**9), -(10**9)),
    "out of bounds": lambda data: rewritten(data, lambda tensors, about: tensors[BIAS].__setitem__(0, 2**30)),
}


NEWER: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another version": lambda about: about.update(semantics=99),
    "another kind": lambda about: about.update(kind="audio"),
    "a kind that is no name": lambda about: about.update(kind=["photo"]),
    "another field": lambda about: about["architecture"].update(mirrors=3),
}


@pytest.mark.parametrize("change", NEWER)
def test_models_of_newer_versions_are_told_from_damage(saved: models.Model, folder: Path, change: str) -> None:
    """Also where a file names them."""
    path = folder / "small.safetensors"
    path.write_bytes(rewritten(path.read_bytes(), lambda tensors, about: NEWER[change](about)))
    for model in (path, saved.id):
        with pytest.raises(UnsupportedError, match=r"small\.safetensors.* newer version"):
            models.load(model)
    good = models.save(folder / "z.safetensors", ARCHITECTURE, make_layers())
    assert models.load(saved.id).name == good.name == "z"


@pytest.mark.parametrize("space", range(4))
def test_tensors_may_lie_anywhere(saved: models.Model, folder: Path, space: int) -> None:
    """Numbers of 32 bits are not always aligned."""
    data = (folder / "small.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    path = folder / "shifted.safetensors"
    path.write_bytes((size + space).to_bytes(8, "little") + data[8 : 8 + size] + b" " * space + data[8 + size :])
    loaded = models.load(path)
    assert loaded.id == saved.id
    assert all(spec.bias.flags.aligned and spec.bias.dtype.isnative for spec in loaded.layers.values())


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(saved: models.Model, folder: Path, damage: str) -> None:
    path = folder / "small.safetensors"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(FormatError, match=r"small\.safetensors"):
        models.load(path)
    with pytest.raises(UnknownModelError):  # a damaged file in the folder is not found, and does not stop the search
        models.load(saved.id)
    good = models.save(folder / "z.safetensors", ARCHITECTURE, make_layers())
    assert models.load(saved.id).name == good.name == "z"


def test_digest_is_checked(saved: models.Model, folder: Path) -> None:
    """A model whose results here are not those of where it was made."""
    path = folder / "small.safetensors"
    path.write_bytes(rewritten(path.read_bytes(), lambda tensors, about: about.update(self_test="0" * 64)))
    with pytest.raises(NeuralCodecError, match="wrong results"):
        models.load(path).network("numpy")
