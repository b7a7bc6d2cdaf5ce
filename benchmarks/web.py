"""Time to decode a photograph in headless Chromium, and by the compiled core: `python benchmarks/web.py [MODEL ...]`.

Needs `python web/build.py`, the extra `web` and Chromium. Times are the best of three; in Chromium one worker decodes, which
starts anew each time and loads its model, natively as many threads as there are cores.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage import data

import pil_neuralcodec

BUILD = Path(__file__).resolve().parents[1] / "web" / "build.py"
DECODE = """async (text) => {
    const { open } = await import("./neuralcodec.js");
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), begin = performance.now();
    await open(bytes, { workers: 1 }).decode();
    return (performance.now() - begin) / 1000;
}"""


def _build() -> Any:
    spec = importlib.util.spec_from_file_location("web_build", BUILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _natively(payload: bytes) -> float:
    begin = time.perf_counter()
    with Image.open(io.BytesIO(payload)) as image:
        image.load()
    return time.perf_counter() - begin


def main(models: list[str]) -> None:
    """Print a line for the module, and one for each model."""
    build = _build()
    module = build.TARGET / "neuralcodec.wasm"
    print(f"neuralcodec.wasm: {module.stat().st_size:,} bytes, {len(gzip.compress(module.read_bytes(), 9)):,} by gzip")
    image = np.ascontiguousarray(data.astronaut())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        build.assemble(Path(folder), module)
        server = build.server(Path(folder), 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_port}/")
        for model in models:
            payload = pil_neuralcodec.encode(image, model=model, fallback=False)
            text = base64.b64encode(payload).decode()
            there = min(page.evaluate(DECODE, text) for _ in range(3))
            here = min(_natively(payload) for _ in range(3))
            print(f"{model}: {there:.2f} s in Chromium {browser.version}, {here:.2f} s by the compiled core")
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:] or ["photo-9", "photo-fast-1"])
