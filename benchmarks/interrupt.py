"""Seconds from Ctrl-C to the end of a process that encodes or decodes: ``python benchmarks/interrupt.py IMAGE``.

The image is encoded by the command line, by Pillow and by single methods, and decoded, each in a process of its own
that gets SIGINT after a while; what it has begun to write must be gone. ``--side`` sets the size that the image is
brought to.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from PIL import Image

import pil_neuralcodec  # noqa: F401  registers .ifl

CALLS = {
    "command line": "from pil_neuralcodec.cli import main; main(['encode', source, '-o', target])",
    "Pillow": "Image.open(source).save(target)",
    "LZMA": "Image.open(source).save(target, fallback='filtered')",
    "WebP": "Image.open(source).save(target, fallback='webp')",
    "predictor": "Image.open(source).save(target, fallback='predictor')",
    "decode": "Image.open(coded).save(target[:-4] + '.png')",
}
"""What runs in a process, on the paths of an image, of its file of ours, and of what is written."""
START = (
    "import sys; from PIL import Image; import pil_neuralcodec.writer; _, source, coded, target = sys.argv; "
    "print('begun', flush=True); "
)
PATIENCE = 20
"""Seconds after which a process is killed."""


@click.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True))
@click.option("--side", default=1500, show_default=True)
@click.option(
    "--after", "delays", multiple=True, default=(0.2, 1.0, 2.0), show_default=True, help="Seconds; repeatable."
)
def main(image: Path, side: int, delays: tuple[float, ...]) -> None:
    """Print a row for each call: seconds from the signal to the end, for each delay."""
    print("| call | " + " | ".join(f"after {delay} s" for delay in delays) + " |\n|---|" + "---|" * len(delays))
    with tempfile.TemporaryDirectory() as folder:
        source, coded = Path(folder, "source.png"), Path(folder, "coded.ifl")
        Image.open(image).convert("RGB").resize((side, side)).save(source)
        Image.open(source).save(coded, fallback=False)
        for name, call in CALLS.items():
            print(
                f"| {name} | " + " | ".join(seconds(call, source, coded, delay) for delay in delays) + " |", flush=True
            )


def seconds(call: str, source: Path, coded: Path, delay: float) -> str:
    """From the signal to the end of the process; "done" where it was done before."""
    target = source.parent / "target.ifl"
    before = set(source.parent.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", START + call, source, coded, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    end = time.perf_counter()
    left = set(source.parent.iterdir()) - before
    for path in left:
        path.unlink()
    if code == 0:
        return "done"
    return f"{end - begin:.2f}" + (f", leaves {', '.join(path.name for path in left)}" if left else "")


if __name__ == "__main__":
    main()
