"""What is installed: entry point, lazy imports, weights in the wheel, commands and links of the documents."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), ROOT / "weights" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_console_script() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="neuralcodec")
    from pil_neuralcodec import cli

    assert script.load() is cli.main


def test_torch_is_an_extra() -> None:
    required = metadata.requires("pil_neuralcodec") or []
    assert any(line.startswith("torch") and "extra ==" in line for line in required)
    always = [line for line in required if "extra ==" not in line]
    assert not any(line.startswith(("torch", "imagecodecs", "matplotlib")) for line in always)


def test_import_registers_and_imports_no_torch() -> None:
    code = """
import sys
import pil_neuralcodec
from PIL import Image
pil_neuralcodec.register()
Image.init()
print(Image.registered_extensions()[".ifl"], "IFL" in Image.SAVE, sorted({"torch", "matplotlib"} & set(sys.modules)))
"""
    assert run_python(code).strip() == "IFL True []"


def test_opening_a_file_imports_what_it_needs_and_no_more() -> None:
    code = f"""
import sys
import pil_neuralcodec
from PIL import Image
image = Image.open({str(ROOT / "tests" / "golden" / "photo-9-one-pixel.ifl")!r})
print("numpy" in sys.modules)
image.load()
others = ("lzma", "platformdirs", "torch", "pil_neuralcodec.jpeg", "pil_neuralcodec.flow.patch",
          "pil_neuralcodec.methods.filtered", "pil_neuralcodec.methods.patch", "pil_neuralcodec.methods.bitswap")
print(sorted(set(others) & set(sys.modules)))
"""
    by_pillow = run_python("import sys, PIL.Image; print(sorted({'lzma'} & set(sys.modules)))")  # that of Pillow 11
    assert run_python(code).split("\n")[:2] == ["False", by_pillow.strip()]


def test_command_line_starts_without_numpy() -> None:
    code = "import sys, pil_neuralcodec.cli; print(sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    assert run_python(code).strip() == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel that this checkout makes where there is no compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"""
from scikit_build_core import build
print(build.build_wheel({str(folder)!r}, {{"wheel.cmake": "false", "wheel.py-api": "py3"}}))
"""
    built = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    name = built.stdout.split()[-1]
    assert name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(folder / name) as archive:
        return archive.namelist()


def test_wheel_has_weights_and_types(wheel: list[str]) -> None:
    released = {f"pil_neuralcodec/weights/{path.name}" for path in (ROOT / "weights").iterdir()}
    desktop = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pil_neuralcodec" / "desktop").iterdir()}
    assert {"pil_neuralcodec/weights/README.md", "pil_neuralcodec/py.typed", *released, *desktop} <= set(wheel)


def test_wheel_has_nothing_else(wheel: list[str]) -> None:
    info = {name.split("/")[0] for name in wheel} - {"pil_neuralcodec"}
    assert len(info) == 1 and info.pop().endswith(".dist-info")
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pil_neuralcodec").rglob("*.py")}
    assert {name for name in wheel if name.endswith(".py")} == modules
    assert not [name for name in wheel if name.endswith((".so", ".pyd", ".pyc"))]


def test_source_archive_has_what_a_build_needs(tmp_path: Path) -> None:
    code = f"from scikit_build_core import build; print(build.build_sdist({str(tmp_path)!r}))"
    built = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    with tarfile.open(tmp_path / built.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "native").rglob("*") if path.is_file()}
    for folder, suffix in (("benchmarks", ".py"), ("docs", ".md"), ("tests", ".py"), ("weights", ".safetensors")):
        sources |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(f"*{suffix}")}
    assert {"CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml", "tests/golden/manifest.json", *sources} <= names
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]


def requirements() -> list[str]:
    """What pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]


def pins(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if "==" in line]


def test_constraints_pin_every_direct_dependency() -> None:
    pinned = {line.split("==")[0] for line in pins("constraints.txt")}
    assert pinned == {re.split(r"[<>=!~;\[ ]", line)[0] for line in requirements()}


def test_lowest_constraints_are_those_declared() -> None:
    assert pins("constraints-lowest.txt") == sorted(
        {re.sub(r"\[.*?\]", "", line).replace(">=", "==") for line in requirements()}
    )


def test_ci_runs_the_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert script.endswith("\n\n" + blocks[1])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")) if "://" not in t]
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing
