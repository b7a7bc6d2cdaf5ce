"""Models, and layers of exact integers. Page: Models, Layers.

A feature map is a list of rows of positions, each a list of channels.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from functools import cache
from operator import mul
from pathlib import Path
from typing import Any

from .logistic import LOGARITHM, SIGMOID, inverse_scale, weight
from .numbers import check

Map = list[list[list[int]]]
LANE = 32  # bits


class _Layer:
    """A layer whose output channels lie side by side in long integers, ``LANE`` bits each: a column of weights times
    an input is one product, and their sum is exact, since no accumulator reaches 2**23."""

    def __init__(self, weight: bytes, shape: Sequence[int], bias: Sequence[int], shift: Sequence[int]) -> None:
        self.outputs, self.inputs, self.side, _ = shape
        self.shift = shift
        self.ones = sum(1 << LANE * channel for channel in range(self.outputs))
        self.lift = self.ones << LANE - 1
        self.bias = sum(number << LANE * channel for channel, number in enumerate(bias))
        lifted = weight.translate(bytes(byte ^ 128 for byte in range(256)))
        cells = self.side * self.side
        # columns[ky * side + kx][input]
        self.columns = [
            [self._column(lifted[i * cells + cell :: self.inputs * cells]) for i in range(self.inputs)]
            for cell in range(cells)
        ]

    def _column(self, weights: bytes) -> int:
        spread = bytearray(LANE // 8 * self.outputs)
        spread[:: LANE // 8] = weights
        return int.from_bytes(spread, "little") - 128 * self.ones

    def sums(self, x: Map, row: int, column: int) -> list[int]:
        """The accumulators of a position."""
        total, reach, cell = self.bias, self.side // 2, 0
        for y in range(row - reach, row + reach + 1):
            for at in range(column - reach, column + reach + 1):
                if 0 <= y < len(x) and 0 <= at < len(x[0]):
                    total += sum(map(mul, x[y][at], self.columns[cell]))
                cell += 1
        # Lanes are lifted above 0 to be told apart; what is added to each turns its sign bit.
        lifted = (total + self.lift) ^ self.lift
        return list(struct.unpack(f"<{self.outputs}i", lifted.to_bytes(LANE // 8 * self.outputs, "little")))


class Model:
    """A model file: ``architecture`` and ``kind`` as it describes them, and its layers by name."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        self._header: dict[str, Any] = json.loads(data[8 : 8 + size])
        self._tensors = data[8 + size :]
        description = json.loads(self._header["__metadata__"]["model"])
        self.id, self.kind = bytes.fromhex(description["id"]), description["kind"]
        self.architecture: dict[str, Any] = description["architecture"]
        self._layers: dict[str, _Layer] = {}

    def _bytes(self, name: str) -> bytes:
        begin, end = self._header[name]["data_offsets"]
        return self._tensors[begin:end]

    def numbers(self, name: str) -> tuple[list[int], list[int]]:
        """Weights in their own order, and shifts, of a layer."""
        weight, shift = self._bytes(f"{name}.weight"), self._bytes(f"{name}.shift")
        return list(struct.unpack(f"<{len(weight)}b", weight)), list(struct.unpack(f"<{len(shift) // 4}i", shift))

    def _layer(self, name: str) -> _Layer:
        if name not in self._layers:
            shape = self._header[f"{name}.weight"]["shape"]
            bias, shift = (struct.unpack(f"<{shape[0]}i", self._bytes(f"{name}.{part}")) for part in ("bias", "shift"))
            self._layers[name] = _Layer(self._bytes(f"{name}.weight"), shape, bias, shift)
        return self._layers[name]

    def identity(self) -> bytes:
        """The id that its contents have."""
        digest = hashlib.sha256()

        def add(item: bytes) -> None:
            digest.update(struct.pack("<Q", len(item)) + item)

        about = {
            "semantics": 2,
            "kind": self.kind,
            "architecture": self.architecture,
            "tables": _hash(SIGMOID, [inverse_scale(s) for s in range(-80, 257)], [weight(d) for d in range(257)]),
            "logarithms": _hash(LOGARITHM),
        }
        add(json.dumps(about, sort_keys=True, separators=(",", ":")).encode())
        for name in sorted({name.rpartition(".")[0] for name in self._header if name != "__metadata__"}):
            kind = name.rpartition(".")[2]
            add(name.encode())
            shape = self._header[f"{name}.weight"]["shape"]
            add(struct.pack("<4I2B", *shape, kind == "embed", kind in ("head", "matrix")))
            for part in ("weight", "bias", "shift"):
                add(self._bytes(f"{name}.{part}"))
        return digest.digest()[:8]

    def conv(self, name: str, x: Map, skip: Map | None = None) -> Map:
        """A layer's results."""
        layer, is_output = self._layer(name), name.endswith(".head")
        check(len(x[0][0]) == layer.inputs, "a layer has other inputs")
        halves = [(1 << shift >> 1) - 1 for shift in layer.shift]
        out: Map = []
        for row in range(len(x)):
            out.append([])
            for column in range(len(x[0])):
                totals = layer.sums(x, row, column)
                if skip is not None:
                    totals = [
                        t + (other << s) for t, other, s in zip(totals, skip[row][column], layer.shift, strict=True)
                    ]
                # To the nearest, of two as near to the even one.
                results = [
                    t + half + (t >> s & 1) >> s if s else t
                    for t, half, s in zip(totals, halves, layer.shift, strict=True)
                ]
                if not is_output:
                    results = [0 if r < 0 else 127 if r > 127 else r for r in results]
                out[-1].append(results)
        return out


def _hash(*tables: list[int]) -> str:
    return hashlib.sha256(b"".join(struct.pack(f"<{len(table)}q", *table) for table in tables)).hexdigest()


def repeated(x: Map, height: int, width: int, top: int = 0, left: int = 0) -> Map:
    """Every position twice in both directions, cut to a size."""
    return [[x[(top + row) // 2][(left + column) // 2] for column in range(width)] for row in range(height)]


@cache
def find_model(folder: Path, identity: bytes) -> Model:
    """The model of an id."""
    for path in sorted(folder.glob("*.safetensors")):
        model = Model(path)
        if model.id == identity:
            return model
    raise FileNotFoundError(identity.hex())
