"""Weights and tables of the method JPEG, `pil_neuralcodec/jpeg/model.npz`, fitted to a folder of JPEG files.

``python benchmarks/jpeg_model.py DIR OUT.npz`` reads the coefficients of the files in DIR (baseline, without restarts)
and, of smaller versions of every third of them, makes coefficients at other qualities. Weights minimise the code length
of discretised logistics, frequency by frequency; tables are then counts, smoothed by their neighbours. The weights are
part of the format: another run changes it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pil_neuralcodec.jpeg import coefficients as coding
from pil_neuralcodec.jpeg.contexts import EDGES, FEATURES, ZIGZAG, Component, Context
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.quantisation import CHROMA, LUMA, scaled
from pil_neuralcodec.jpeg.search import BASIS
from pil_neuralcodec.jpeg.transform import to_blocks

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import jpeg_reader

QUALITIES = (40, 60, 75, 80, 85, 88, 90, 92, 94, 95, 97, 98, 100)
KEPT = 250  # coefficients of an image, for each frequency and set
FITTED = 8000
STEPS = 120
SMOOTHING = 30

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Key = tuple[int, int | str, int]  # component, set or "dc", frequency or kind


def of_file(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Quantised coefficients (64, rows, columns) and steps (64,) of each component."""
    file = jpeg_reader.read(path.read_bytes())
    v, h = file.factors[-1]
    layout = Layout(*file.size, len(file.factors), vertical=v, horizontal=h)
    parts = []
    for c, values in enumerate(file.coefficients):
        rows, columns = layout.blocks(c)
        parts.append(values[:, :, :rows, :columns].reshape(64, rows, columns))
    return parts, [table.reshape(64) for table in file.tables]


def made(path: Path, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The same of a smaller version at some quality, half of them with halved chroma."""
    image = Image.open(path).convert("RGB")
    scale = rng.uniform(0.5, 0.8)
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.LANCZOS)
    image = image.crop((0, 0, image.width // 16 * 16, image.height // 16 * 16))
    planes = list(np.moveaxis(np.asarray(image.convert("YCbCr")).astype(np.float32), 2, 0))
    if rng.integers(2):
        planes[1:] = [p.reshape(len(p) // 2, 2, -1, 2).mean(axis=(1, 3)) for p in planes[1:]]
    quality = int(rng.choice(QUALITIES))
    tables = [scaled(base, quality) for base in (LUMA, CHROMA, CHROMA)]
    parts = []
    for plane, table in zip(planes, tables, strict=True):
        rows, columns = (n // 8 for n in plane.shape)
        blocks = to_blocks(plane[: 8 * rows, : 8 * columns]).reshape(64, -1) - 128
        parts.append(np.rint(BASIS @ blocks / table[:, None]).astype(np.int64).reshape(64, rows, columns))
    return parts, tables


def collect(
    parts: list[np.ndarray], tables: list[np.ndarray], samples: dict[Key, list[Sample]], rng: np.random.Generator
) -> None:
    """Some coefficients with their contexts, in the order of `coefficients.transfer`."""
    components = [Component(*part.shape[1:], table) for part, table in zip(parts, tables, strict=True)]

    def visit(key: Key, values: np.ndarray, context: Context, step: int) -> None:
        chosen = rng.choice(len(values), KEPT, replace=False) if len(values) > KEPT else slice(None)
        kept = values[chosen], context.sizes[:, chosen], context.edges[:, chosen]
        samples[key].append((*(part.astype(np.int32) for part in kept), np.full(len(kept[0]), step, np.int32)))

    for c, (part, one) in enumerate(zip(parts, components, strict=True)):
        for kind, where, context in one.pyramid():
            visit((min(c, 1), "dc", kind), part[0][where], context, one.table[0])
            one.put(0, where, part[0][where])
    for frequency in ZIGZAG[1:]:
        for c, (part, one) in enumerate(zip(parts, components, strict=True)):
            for number, where in enumerate(one.sets):
                context = one.context(frequency, number, components[:c])
                visit((c, number, frequency), part[frequency][where], context, one.table[frequency])
                one.put(frequency, where, part[frequency][where])


def fit(keys: list[Key], samples: dict[Key, Sample], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights of sizes (keys, FEATURES) and of edges (keys, EDGES), in steps."""
    chosen: list[list[np.ndarray]] = [[], [], []]
    for key in keys:
        values, sizes, edges, steps = samples[key]
        some = rng.choice(len(values), FITTED, replace=len(values) < FITTED)
        for out, part in zip(
            chosen, (values[some], sizes[:, some] / steps[some], edges[:, some] / steps[some]), strict=True
        ):
            out.append(part.astype(np.float32))
    values, sizes, edges = (torch.from_numpy(np.stack(part)) for part in chosen)
    sizes = sizes.clamp(max=4000)
    used = (sizes.abs().sum(2) > 0).float()
    raw = torch.full(sizes.shape[:2], -3.0)
    raw[:, 0] = -1.5
    slopes = torch.zeros(edges.shape[:2])
    slopes[:, 0] = torch.tensor([2.5 * (key[1] == "dc" and key[2] > 0) for key in keys])
    raw.requires_grad_()
    slopes.requires_grad_()
    optimizer = torch.optim.Adam([raw, slopes], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        weights = torch.nn.functional.softplus(raw) * used
        scale = torch.einsum("kj,kjn->kn", weights, sizes).clamp(min=0.01) / 2
        rest = (values - torch.einsum("kj,kjn->kn", slopes / 10, edges)).abs() / scale
        half = 0.5 / scale
        log = torch.nn.functional.logsigmoid(half - rest) + torch.nn.functional.logsigmoid(half + rest)
        log = log + torch.log(-torch.expm1(-2 * half) + 1e-12)
        (-log.clamp(min=-14).mean(1)).sum().backward()
        optimizer.step()
        schedule.step()
    weights = torch.nn.functional.softplus(raw) * used
    return weights.detach().numpy(), (slopes / 10).detach().numpy()


def tables_of(samples: dict[Key, Sample], weights: dict[Key, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Frequencies out of 2**16, int64 (BINS * FRACTIONS, SYMBOLS)."""
    counts = np.zeros((coding.BINS * coding.FRACTIONS, coding.SYMBOLS))
    for key, (values, sizes, edges, steps) in samples.items():
        context = Context(sizes.astype(np.int64), edges.astype(np.int64))
        given = coding.expected(context, steps.astype(np.int64), *(part.astype(np.int64) for part in weights[key]))
        rest, _ = coding._symbols(values.astype(np.int64), given)
        np.add.at(counts, (given.table, np.clip(rest + coding.REACH, 0, coding.SYMBOLS - 1)), 1)
    counts = counts.reshape(coding.BINS, coding.FRACTIONS, coding.SYMBOLS)
    counts[:, 0] = (counts[:, 0] + counts[:, 0, ::-1]) / 2  # where nothing is known of the sign
    out = np.empty(counts.shape, np.int64)
    for level in range(coding.BINS):
        near = counts[max(0, level - 1) : level + 2].sum(axis=(0, 1))
        near /= max(near.sum(), 1)
        shares = (counts[level] + SMOOTHING * near) / (counts[level].sum(axis=1, keepdims=True) + SMOOTHING) + 1e-5
        shares /= shares.sum(axis=1, keepdims=True)
        out[level] = np.maximum(np.rint(shares * 65536), 2)
    out = out.reshape(-1, coding.SYMBOLS)
    out[np.arange(len(out)), out.argmax(axis=1)] += 65536 - out.sum(axis=1)
    return out


def main(folder: Path, target: Path) -> None:
    """Fit, and write the file."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    gathered: dict[Key, list[Sample]] = defaultdict(list)
    for number, path in enumerate(sorted(folder.iterdir())):
        collect(*of_file(path), gathered, rng)
        if number % 3 == 0:
            collect(*made(path, rng), gathered, rng)
    samples: dict[Key, Sample] = {
        key: tuple(np.concatenate(parts, axis=-1) for parts in zip(*all_, strict=True))
        for key, all_ in gathered.items()
    }
    sizes, edges = np.zeros((3, 2, 64, FEATURES), np.int16), np.zeros((3, 2, 64, EDGES), np.int16)
    mean_sizes, mean_edges = np.zeros((2, 3, FEATURES), np.int16), np.zeros((2, 3, EDGES), np.int16)
    weights = {}
    for group in dict.fromkeys(key[:2] for key in samples):
        keys = [key for key in samples if key[:2] == group]
        for key, size, edge in zip(keys, *fit(keys, samples, rng), strict=True):
            pair = (np.clip(np.rint(part * scale), -32767, 32767) for part, scale in ((size, 1 << 8), (edge, 1 << 12)))
            target_sizes, target_edges = (mean_sizes, mean_edges) if key[1] == "dc" else (sizes, edges)
            at = (key[0], key[2]) if key[1] == "dc" else key
            target_sizes[at], target_edges[at] = pair
    # Nothing is known of the first block.
    mean_sizes[:, 0], mean_edges[:, 0], mean_sizes[:, 0, 0] = 0, 0, 256
    for key in samples:
        dc = key[1] == "dc"
        weights[key] = (mean_sizes[key[0], key[2]], mean_edges[key[0], key[2]]) if dc else (sizes[key], edges[key])
    np.savez_compressed(
        target,
        sizes=sizes,
        edges=edges,
        mean_sizes=mean_sizes,
        mean_edges=mean_edges,
        frequencies=tables_of(samples, weights).astype(np.uint16),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
