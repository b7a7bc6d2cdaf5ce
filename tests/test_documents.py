"""The documentation says what works: its Python runs, its commands parse, its map of the house is right."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
from PIL import Image

from pil_neuralcodec import cli, models

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pil_neuralcodec"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def reader(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as that of a reader, with a photograph and docs/coffee.png; and networks that are quick."""
    newest = {"photo": tiny, "patch": f"{tiny}-patch", "bitswap": f"{tiny}-latents"}
    monkeypatch.setattr(models.find, "NEWEST", newest)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    coffee = Image.open(ROOT / "docs" / "coffee.png").crop((150, 50, 300, 150))
    coffee.save(tmp_path / "docs" / "coffee.png")
    coffee.crop((0, 0, 64, 48)).save(tmp_path / "photo.png")


@pytest.mark.parametrize("name", [path.name for path in DOCUMENTS if blocks(path, "python")])
@pytest.mark.usefixtures("reader")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files are left open, as readers do
def test_python_runs(name: str) -> None:
    """In order, as one program; what is for a script of its own stands under __main__, and is not run here."""
    (document,) = (path for path in DOCUMENTS if path.name == name)
    names = {"__name__": "document"}
    for block in blocks(document, "python"):
        exec(compile(block, name, "exec"), names)


def test_commands_parse() -> None:
    """Every line with our command has arguments and options that there are."""
    found = 0
    for document in DOCUMENTS:
        for line in "".join(blocks(document, "sh")).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and words[0] in ("&&", "python3", "python"):
                words = words[1:]
            if words and Path(words[0]).name == "neuralcodec":
                found += 1
                _parse([word for word in words[1:] if word != "&&"])
    assert found > 20


def _parse(words: list[str]) -> None:
    words = words[: words.index(">")] if ">" in words else words
    command = cli.main.commands[words[0]]
    try:
        command.make_context(words[0], words[1:], resilient_parsing=False)
    except click.BadParameter as error:
        assert "does not exist" in error.message, (words, error.message)  # a reader's own folder


def rooms() -> dict[str, int]:
    """The rows of the map of the house, counted from above: of each module and folder of the package."""
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    names = ((name, row) for row, cell in enumerate(rows) for name in re.findall(r"`([^`]+)`", cell))
    return {name.removesuffix(".py").removesuffix("/"): row for name, row in names}


def imported(path: Path) -> set[str]:
    """What a file of the package imports from other rooms."""
    folders = path.relative_to(PACKAGE).parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            outer = folders[: len(folders) + 1 - node.level]
            found |= (
                {outer[0]} if outer else {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
            )
    return found - {"_native", *folders[:1], path.stem}


def test_imports_point_downwards() -> None:
    where, seen = rooms(), 0
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(path):
            assert where[other] >= where[room], (
                f"{room} imports {other}, which is above it on the map of CONTRIBUTING.md"
            )
            seen += 1
    assert seen > 100
