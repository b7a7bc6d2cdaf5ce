"""Time to decode a photograph in headless Chromium, and by the compiled core: `python benchmarks/web.py [MODEL ...]`.

Needs `python web/build.py`, the extra `web` and Chromium. Times are the best of three, in brackets seconds of all
processors. In Chromium one worker decodes, which starts anew each time and loads its model; natively there are as many
threads as cores.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
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


def _processors(browser: bool) -> float:
    """Seconds of processors that this process, or all of the browser's, have taken so far."""
    of = psutil.Process().children(recursive=True) if browser else [psutil.Process()]
    return sum(sum(process.cpu_times()[:2]) for process in of)


def _best(work: Callable[[], object], browser: bool) -> str:
    found = []
    for _ in range(3):
        begin, before = time.perf_counter(), _processors(browser)
        work()
        found.append((time.perf_counter() - begin, _processors(browser) - before))
    return f"{min(wall for wall, _ in found):.2f} s ({min(taken for _, taken in found):.2f})"


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
            there = _best(lambda text=text: page.evaluate(DECODE, text), True)
            here = _best(lambda payload=payload: pil_neuralcodec.decode(payload), False)
            print(f"{model}: {there} in Chromium {browser.version}, {here} by the compiled core")
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:] or ["photo-9", "photo-fast-2"])
