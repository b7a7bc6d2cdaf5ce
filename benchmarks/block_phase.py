"""What it is worth to know where the blocks of a JPEG file lie: ``python benchmarks/block_phase.py FILE...``.

For each photograph where a phase is found, its bits per subpixel by networks that are told of it, and by the same
networks told nothing; at most the first 512 x 512 pixels. In the end which phases there are, and the sums. With
``--find`` nothing is coded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np

from pil_neuralcodec.api import encode
from pil_neuralcodec.flow.block_phase import NO_PHASE, BlockPhase, find_phase
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.training.data import read_rgb


def coded(pixels: np.ndarray, model: str, find: Callable[[np.ndarray], BlockPhase]) -> int:
    """Bytes of the file, with phases found so."""
    with patch.object(TileCoder, "phase_of", lambda self, planes: find(planes)):
        return len(encode(pixels, model=model, fallback=False))


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
@click.option("--find", is_flag=True, help="Only say which phases there are.")
def main(files: tuple[Path, ...], model: str, find: bool) -> None:
    """Compare."""
    sizes, found = [], Counter[BlockPhase]()
    for path in files:
        pixels = np.ascontiguousarray(read_rgb(path)[:512, :512])
        phase = find_phase(to_planes(pixels[None])[0])
        found[phase] += 1
        if find or phase == NO_PHASE:
            continue
        known, unknown = coded(pixels, model, find_phase), coded(pixels, model, lambda planes: NO_PHASE)
        sizes.append((known, unknown, pixels.size))
        told, not_told = (8 * size / pixels.size for size in (known, unknown))
        click.echo(f"{path.name} {phase}: told {told:.3f}, not {not_told:.3f} ({told / not_told - 1:+.1%})")
    click.echo(", ".join(f"{count} with {tuple(phase)}" for phase, count in found.most_common()))
    if sizes:
        known, unknown, samples = np.sum(sizes, axis=0)
        click.echo(f"together: told {8 * known / samples:.4f}, not {8 * unknown / samples:.4f}")


if __name__ == "__main__":
    main()
