"""A real file manager shows our files: ``python -m proof.desktop [SCREENSHOT.png]``.

Thunar in a virtual screen opens a folder of photographs and asks tumbler for thumbnails, which finds our MIME types and
our thumbnailer where ``neuralcodec desktop`` has put them. Each thumbnail must look like its photograph. `NEEDED` are,
on Debian: ``apt install thunar tumbler xvfb xfconf dbus imagemagick shared-mime-info``; and the package installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from pil_neuralcodec import save

NEEDED = "thunar", "Xvfb", "dbus-run-session", "import", "update-mime-database", "xfconf-query"
"""Programs that are needed; tumbler lies in no folder of programs."""
PHOTOS = "astronaut", "chelsea", "coffee", "rocket", "retina", "camera"
START = "from pil_neuralcodec.cli import main; main()"
SIDE = 128
"""Pixels of a thumbnail of the size "normal"."""
SCREEN = "660x330"
SHOW = """
Xvfb -displayfd 3 -screen 0 {screen}x24 3>display >/dev/null 2>&1 &
while [ ! -s display ]; do sleep 0.1; done
export DISPLAY=:$(cat display)
xfconf-query -c thunar -p /last-icon-view-zoom-level -n -t string -s THUNAR_ZOOM_LEVEL_150_PERCENT
xfconf-query -c thunar -p /last-window-width -n -t int -s {width}
xfconf-query -c thunar -p /last-window-height -n -t int -s {height}
xfconf-query -c thunar -p /last-side-pane -n -t string -s THUNAR_SIDEPANE_TYPE_HIDDEN
thunar photos &
while [ ! -e seen ]; do sleep 0.1; done
sleep 1
import -window root screen.png
kill %2 %1
"""


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in NEEDED if shutil.which(name) is None]


def show(home: Path, seconds: float = 300) -> Iterator[str]:
    """Make a user's folders in ``home``, with ``photos``, and let a file manager show these: ``screen.png``.

    Lines that say how like thumbnails are. Raises ``AssertionError`` for one that is missing after so many seconds, or
    wrong.
    """
    environment = os.environ | {"HOME": str(home)}
    for name, folder in (
        ("DATA_HOME", "data"),
        ("CACHE_HOME", "cache"),
        ("CONFIG_HOME", "config"),
        ("RUNTIME_DIR", "run"),
    ):
        environment[f"XDG_{name}"] = str(home / folder)
        (home / folder).mkdir(mode=0o700)
    subprocess.run([sys.executable, "-c", START, "desktop"], env=environment, check=True, capture_output=True)
    photos = home / "photos"
    photos.mkdir()
    expected = {}
    for number, name in enumerate(PHOTOS):
        image = Image.fromarray(getattr(skimage.data, name)())
        image.thumbnail((400, 400))
        path = photos / f"{name}.{'bsw' if number == 1 else 'ifl'}"
        save(image, path, model=None if number == 1 else "photo-fast")
        uri = hashlib.md5(path.as_uri().encode(), usedforsecurity=False).hexdigest()
        image.thumbnail((SIDE, SIDE))
        expected[home / "cache" / "thumbnails" / "normal" / f"{uri}.png"] = path.name, image
    width, height = SCREEN.split("x")
    script = SHOW.format(screen=SCREEN, width=width, height=height)
    line = ["dbus-run-session", "--", "bash", "-c", script]
    with (
        open(home / "log", "wb") as log,
        subprocess.Popen(line, cwd=home, env=environment, stdout=log, stderr=log) as one,
    ):
        limit = time.monotonic() + seconds
        while not all(path.exists() for path in expected) and time.monotonic() < limit and one.poll() is None:
            time.sleep(0.1)
        (home / "seen").touch()
    for path, (name, image) in expected.items():
        assert path.exists(), f"no thumbnail of {name}: {(home / 'log').read_text()}"
        with Image.open(path) as small:
            assert small.size == image.size
            error = np.asarray(small.convert("RGB"), float) - np.asarray(image.convert("RGB"), float)
        psnr = 10 * np.log10(255**2 / max(1e-9, float(np.mean(error**2))))
        assert psnr > 30, f"the thumbnail of {name} has {psnr:.1f} dB"
        yield f"{name}: thumbnail of {image.width} x {image.height}, {psnr:.1f} dB"


def main() -> None:
    """Print what was shown, and keep the screenshot."""
    if missing():
        sys.exit(f"not installed: {', '.join(missing())}")
    with tempfile.TemporaryDirectory() as home:
        for line in show(Path(home)):
            print(line)
        if len(sys.argv) > 1:
            shutil.copy(Path(home, "screen.png"), sys.argv[1])


if __name__ == "__main__":
    main()
