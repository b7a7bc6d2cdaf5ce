"""Build the page that shows `.ifl` and `.bsw` files in a browser, and serve it: `python web/build.py [--serve]`.

The folder `build/web` then has all that the page needs, models by their ids among it. The compiler is the one of the
package `ziglang`, or `CXX` with a compiler for wasm32-wasi, such as that of wasi-sdk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parent / "weights"
TARGET = HERE.parent / "build" / "web"
OBJECTS = HERE.parent / "build" / "wasm"
"""What the compiler makes; not in the folder that is served."""
JPEG_WEIGHTS = HERE.parent / "pil_neuralcodec" / "jpeg" / "model.npz"


def compiler() -> list[str]:
    """The command of a C++ compiler for WebAssembly. Raises ``SystemExit`` where there is none."""
    if "CXX" in os.environ:
        return os.environ["CXX"].split()
    if subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True).returncode == 0:
        return [sys.executable, "-m", "ziglang", "c++", "-target", "wasm32-wasi"]
    raise SystemExit("no compiler for WebAssembly: pip install ziglang, or set CXX")


def model_id(path: Path) -> str:
    """The id of a model, as its file tells it."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack_from("<Q", data)[0]])
    return str(json.loads(header["__metadata__"]["model"])["id"])


def jpeg_weights() -> bytes:
    """The arrays of the method JPEG, one after the other."""
    names = ("mean_sizes", "mean_edges", "sizes", "edges", "frequencies")
    with zipfile.ZipFile(JPEG_WEIGHTS) as archive:
        arrays = [archive.read(f"{name}.npy") for name in names]
    return b"".join(array[10 + struct.unpack_from("<H", array, 8)[0] :] for array in arrays)


def build(work: Path) -> Path:
    """Compile the module in a folder. Returns its path."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_CXX_COMPILER": ";".join(compiler()),
    }
    definitions = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run(["cmake", "-S", HERE, "-B", work, *generator, *definitions], check=True)
    subprocess.run(["cmake", "--build", work, "--parallel"], check=True)
    return work / "neuralcodec.wasm"


def assemble(target: Path, module: Path) -> None:
    """Fill a folder with the page, the compiled module, and the models."""
    shutil.copytree(HERE / "page", target, dirs_exist_ok=True)
    shutil.copyfile(module, target / "neuralcodec.wasm")
    models = target / "models"
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir()
    (models / "jpeg.bin").write_bytes(jpeg_weights())
    for path in WEIGHTS.glob("*.safetensors"):
        shutil.copyfile(path, models / f"{model_id(path)}.safetensors")


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder on this machine alone; port 0 is any that is free."""
    return ThreadingHTTPServer(("localhost", port), partial(SimpleHTTPRequestHandler, directory=str(folder)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the page that shows .ifl and .bsw files.")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder, build/web unless given")
    parser.add_argument("--serve", type=int, nargs="?", const=8000, metavar="PORT", help="then serve it here")
    arguments = parser.parse_args()
    assemble(arguments.target, build(OBJECTS))
    if arguments.serve is not None:
        print(f"http://localhost:{arguments.serve}/")
        server(arguments.target, arguments.serve).serve_forever()


if __name__ == "__main__":
    main()
