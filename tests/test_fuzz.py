"""Hostile files: what fuzzing found, some more of its kind, files that claim too much, damage; random round trips.

The scripts below ``fuzz`` and ``proof`` do each of these for longer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import files, targets
from proof import bombs, damage, round_trips

from pil_neuralcodec import arrays, decode, encode, models, native
from pil_neuralcodec.container import Method
from pil_neuralcodec.errors import FormatError, UnsupportedError
from pil_neuralcodec.metadata import Axes, Metadata, Text
from pil_neuralcodec.samples import Picture
from pil_neuralcodec.writer import encode_frames

CRASHERS = sorted((Path(__file__).parent / "fuzz" / "crashers").iterdir())


@pytest.fixture(scope="module")
def every_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The models of fuzzing are found."""
    folder = tmp_path_factory.mktemp("every")
    files.save_all_models(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(folder))
        yield


@pytest.fixture(scope="module")
def seeds(every_model: None) -> dict[str, list[bytes]]:
    """Files to begin with."""
    return files.seeds()


@pytest.mark.parametrize("path", CRASHERS, ids=lambda path: path.name)
def test_crashers(every_model: None, path: Path) -> None:
    """Files that once raised what they should not; a name begins with the target."""
    targets.run(path.name.partition("-")[0], path.read_bytes())


@pytest.mark.parametrize("target", targets.TARGETS)
def test_targets(seeds: dict[str, list[bytes]], target: str) -> None:
    """Every target reads its seeds, and files that are mutations of them."""
    targets.reached.clear()
    for data in seeds[target]:
        targets.run(target, data)
    assert set(targets.reached) == {"decoded"}
    for data in itertools.islice(files.stream(seeds[target], 0, target), 20):
        targets.run(target, data)


def test_mutated_files_get_past_the_checksums(seeds: dict[str, list[bytes]]) -> None:
    """Most of them have a header that reads, and right checksums: mutation reaches what lies behind."""
    made = list(itertools.islice(files.stream(seeds["photo"], 0, "photo"), 100))
    assert sum(files.opened(data) is not None for data in made) > 80
    assert sum(not damage.refused(data) for data in made) > 80


@pytest.mark.parametrize("target", ("predictor", "jpeg", "photo", "patch", "bitswap"))
def test_mutated_files_are_decoded(seeds: dict[str, list[bytes]], target: str) -> None:
    """A third of them at least gets to the symbols, a tenth to the end of these."""
    targets.reached.clear()
    for data in itertools.islice(files.stream(seeds[target], 0, target), 60):
        targets.run(target, data)
    at_the_end = sum(targets.reached[stage] for stage in ("end", "checksum", "decoded"))
    assert at_the_end >= 6 and at_the_end + targets.reached["symbols"] >= 20


def test_small_files_that_claim_much() -> None:
    """What 100 bytes cannot hold is refused by what the header says, before anything is read."""
    names = []
    for name, data in bombs.tampered():
        assert len(data) <= 100
        with pytest.raises(FormatError, match=r"bytes of \w+ cannot hold \d+ x \d+ pixels"):
            decode(data)
        names.append(name)
    assert {name.partition(",")[0] for name in names} == {method.name for method in Method}


@pytest.mark.parametrize("path", damage.files(), ids=lambda path: path.name)
def test_damaged_golden_files(path: Path) -> None:
    """Some hundred prefixes and flipped bits of each."""
    data = path.read_bytes()
    assert damage.damaged(data, 1 + len(data) // 20) > 20


@pytest.mark.parametrize("seed", range(8))
def test_round_trips(every_model: None, seed: int) -> None:
    """10,000 of them; where numpy does it all, a quarter."""
    count = 313 if native.core() is None else 1250
    assert round_trips.trips(count, seed, most_sides=(1, 2, 3, 5, 8)).total() >= count


def test_a_chunk_of_several_frames_is_refused() -> None:
    pixels = files.scene((5, 4, 1))
    data = encode_frames(iter([Picture("L", pixels), Picture("L", pixels + 1)]), "ifl", fallback="raw")
    with pytest.raises(FormatError, match="a file of 2 frames is no chunk"):
        arrays.decode(data)


def test_a_part_of_a_chunk_without_axes() -> None:
    array = files.scene((9, 7, 3))
    assert (arrays.decode(encode(array), array.shape, [(2, 5), (0, 7), (1, 2)]) == array[2:5, :, 1:2]).all()


@pytest.mark.parametrize("letters", ["YX" + "".join(map(chr, range(160, 240))), "YXé", "YXc", "YX1"])
def test_axes_are_capital_letters(letters: str) -> None:
    """Others, of which there may be more than an array can have axes, are refused."""
    payloads = Metadata(axes=Axes("YX", (1, 1))).pack()
    (kind,) = payloads
    told = bytes([0, len(letters)]) + letters.encode("latin-1") + b"\1" * len(letters)
    with pytest.raises(FormatError, match="malformed axes"):
        Metadata.unpack({kind: told})


@pytest.mark.parametrize(
    ("field", "most", "one"), [("text", 1 << 16, Text("k", "")), ("transparency", 255, 1)], ids=["text", "transparency"]
)
def test_metadata_are_of_few_parts(field: str, most: int, one: object) -> None:
    """Many small ones would take hundreds of times the memory and the time of as many bytes."""
    full = Metadata(**{field: (one,) * most})
    ((kind, data),) = full.pack().items()
    assert Metadata.unpack({kind: data}) == full
    each = (len(data) - 1) // most if field == "transparency" else len(data) // most
    with pytest.raises(FormatError, match="malformed .*(more than|too many)"):
        Metadata.unpack({kind: data + data[-each:]})
    with pytest.raises(UnsupportedError, match="at most"):
        replace(full, **{field: (one,) * (most + 1)}).pack()
