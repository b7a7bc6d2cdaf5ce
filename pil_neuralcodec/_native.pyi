"""Compiled kernels. Arrays are C-contiguous and have exactly these types, else a call raises ``TypeError``.

``native`` says which instruction sets may be used; ``nets.native_backend`` is written with these classes.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

class FeatureMap:
    """Images of activations, of pixels or of an output layer's sums, in the layout of one instruction set."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, h, w, C)."""

    @property
    def offset(self) -> int:
        """What is added to pixels."""

    def view(self) -> npt.NDArray[Any]:
        """Its memory as an array (N, h, w, C): int32 of sums, uint8 of activations and of pixels plus ``offset``."""

    def upsample(self, height: int, width: int, top: int = 0, left: int = 0) -> FeatureMap:
        """See ``nets.backends.Network``. Raises ``ValueError`` for a part that is not there, or for sums."""

class Layer:
    """A layer with its weights packed for one instruction set."""

    def __call__(self, x: FeatureMap, skip: FeatureMap | None = None, threads: int = 1) -> FeatureMap:
        """Run it, without the interpreter's lock. Raises ``ValueError`` for inputs of another kind or shape."""

    def at(self, x: FeatureMap, skip: FeatureMap | None, row: int, column: int, threads: int = 1) -> FeatureMap:
        """Run it at every second position of ``x`` and ``skip`` from (row, column) on, each 0 or 1."""

class Kernels:
    """The kernels of one instruction set."""

    @property
    def name(self) -> str:
        """The instruction set."""

    def layer(
        self,
        name: str,
        weight: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32],
        shift: npt.NDArray[np.int32],
        pixel_input: bool = False,
        is_output: bool = False,
        positions: int = 0,
    ) -> Layer:
        """Pack a layer, see ``nets.spec.ConvSpec``. Raises ``ValueError`` if a bound of ``nets.spec`` does not hold."""

    def from_activations(self, activations: npt.NDArray[np.uint8], border: int) -> FeatureMap:
        """A copy of (N, h, w, C) with a border of zeros. Raises ``ValueError`` for values above 127."""

    def from_pixels(
        self,
        pixels: npt.NDArray[np.int8],
        border: int,
        rows: npt.NDArray[np.int8] | None = None,
        columns: npt.NDArray[np.int8] | None = None,
    ) -> FeatureMap:
        """A copy of (N, h, w, P) with a border of zeros; and the position channels of rows (N, C, h) and of columns
        (N, C, w), see ``nets.positions``."""

    def bands(self, powers: npt.NDArray[np.int64]) -> Bands:
        """With a copy of ``coders.logistic.WEIGHT``."""

    def predictor(self, weights: npt.NDArray[np.uint32], levels: npt.NDArray[np.uint8]) -> Predictor:
        """With copies of the tables of ``methods.predictor_blend``."""

    def logistic(
        self,
        sigmoid: npt.NDArray[np.int32],
        inverse_scale: npt.NDArray[np.int32],
        log2: npt.NDArray[np.int32],
    ) -> Logistic:
        """Copies of the tables of ``coders.logistic``."""

    def multiply_adds(self, steps: int) -> int:
        """Multiply in registers alone, to measure the core's peak. Returns the number of multiply-adds; 0 without an
        instruction for them."""

def environment(name: str) -> str | None:
    """The value of an environment variable."""

def instruction_sets() -> list[str]:
    """Instruction sets that have kernels in this build and that this machine can run, fastest first."""

def kernels(name: str) -> Kernels:
    """The kernels of one of ``instruction_sets()``. Raises ``ValueError`` for another name."""

Mapping = tuple[int, int] | None
"""``flow.range_mapping.RangeMapping.numbers``; None for samples of 8 bits."""

_Ints = npt.NDArray[np.int32]

class Bands:
    """Parameters of bands, for one instruction set: see ``flow.polyphase`` and ``flow.bands``. Raises ``ValueError``
    for shapes that do not agree and numbers that are out of range."""

    def parameters(
        self,
        known: list[_Ints],
        table: _Ints,
        outputs: _Ints,
        parts: int,
        before: list[_Ints],
        limit: int,
        range: tuple[int, int],
        mapping: Mapping,
        threads: int = 1,
    ) -> _Ints:
        """``bands.BandParameters.predicted``: the total, weights, means, log-scales, coefficients of chain and filter,
        centres, and log-scales limited to ``range``, (rows, N * h, w).

        ``known`` are components (N, 3, h, w), ``table`` (TAPS, 2, 3) has the component, row and column of each tap's
        two samples. Of ``outputs`` (N, h, w, outputs) those of a position lie side by side. ``before`` are the samples
        of the bands before, (N * h, w) each. At most so many ``threads`` work on it."""

    def centres(
        self,
        known: list[_Ints],
        table: _Ints,
        every: int,
        means: _Ints,
        chain: _Ints,
        filters: _Ints,
        before: list[_Ints],
        offsets: npt.NDArray[np.int64],
        limit: int,
    ) -> _Ints:
        """The centres of the mixtures of ``bands.BandParameters``, from its arrays (..., h, w), whose rows are
        ``every`` so many of those of the known components, stacked below each other."""

    def slopes(
        self,
        known: list[_Ints],
        table: _Ints,
        every: int,
        means: _Ints,
        chain: _Ints,
        filters: _Ints,
        before: list[_Ints],
        offsets: npt.NDArray[np.int64],
        limit: int,
        mapping: Mapping,
    ) -> _Ints:
        """``bands.BandParameters.slopes``, (offsets, h, w)."""

    def classes(
        self,
        total: _Ints,
        weights: _Ints,
        scales: _Ints,
        mapping: Mapping,
    ) -> npt.NDArray[np.uint8]:
        """``classes.classes``."""

    def limited(
        self,
        scales: _Ints,
        least: int,
        largest: int,
        classes: npt.NDArray[np.uint8] | None,
        offsets: _Ints | None,
    ) -> _Ints:
        """``classes.limited``."""

    def accepted(
        self,
        values: _Ints,
        base: _Ints,
        weights: _Ints,
        centres: _Ints,
        mapping: Mapping,
    ) -> npt.NDArray[np.int8]:
        """``network_bands.accepted``, of mixtures (K, h, w) and planes (h, w)."""

    def mapped(self, indices: _Ints, mapping: Mapping, out: _Ints) -> None:
        """``RangeMapping.mapped`` of (n,), into ``out``."""

    def input(self, known: list[_Ints], table: _Ints) -> tuple[_Ints, npt.NDArray[np.int8]]:
        """``polyphase.network_input``; ``table`` as of ``parameters``."""

class Distribution:
    """Distributions of the symbols that ``pop`` finds, an item each."""

class Mixtures(Distribution):
    """See ``coders.logistic.LogisticMixture``. Raises ``ValueError`` for numbers that are out of range."""

    def code(
        self, values: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Intervals' starts and frequencies (n,), and the digits that are split off with their radix (m,)."""

    def first(self, symbols: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Replace symbols by their smallest values. Returns the items to which a digit has to be added, and its radix,
        (m,) each."""

    def costs(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Code lengths in 1/65536 bit, (n,)."""

    def class_scales(
        self,
        values: npt.NDArray[np.int64],
        classes: npt.NDArray[np.uint8],
        count: int,
        steps: Sequence[int],
        price: int,
    ) -> npt.NDArray[np.int64]:
        """Offsets (axes, count) of the log-scales of classes (axes, n), see ``flow.adaptation``."""

    def least_squares(
        self,
        values: npt.NDArray[np.int64],
        slopes: npt.NDArray[np.int32],
        precision: npt.NDArray[np.int64],
        reach: npt.NDArray[np.int64],
        log_gain: int,
        gain: int,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Normal matrix and right side of the least squares on slopes (rows, n), see ``flow.adaptation``."""

class Logistic:
    """The tables of mixtures, for one instruction set."""

    def mixtures(
        self,
        weights: npt.NDArray[np.int32],
        centres: npt.NDArray[np.int32],
        scales: npt.NDArray[np.int32],
        values: int,
        clipped: bool = False,
        whole: bool = False,
        prior: Prior | None = None,
        cells: npt.NDArray[np.int32] | None = None,
    ) -> Mixtures:
        """Mixtures of (K, n), which are not copied; the ``prior``'s arrays are (n,)."""

class Lattice:
    """``flow.lattice.lattice``."""

    def __init__(
        self,
        luma: npt.NDArray[np.int32],
        red: npt.NDArray[np.int32],
        blue: npt.NDArray[np.int32],
        green_cb: npt.NDArray[np.int32],
        green_cr: npt.NDArray[np.int32],
        unit: int,
    ) -> None:
        """From the tables of a ``colour.conversions.Conversion``. Raises ``ValueError`` for numbers that are out of
        range."""

    def covers(
        self, green: npt.NDArray[np.int32], red: npt.NDArray[np.int32], blue: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        """Which pixels of bands (h, w) lie on it: (h, w)."""

Prior = tuple[Lattice | None, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""A lattice, and the arrays of a ``flow.lattice.Prior``."""

class Intervals:
    """``flow.monotone.Intervals``."""

    def totals(self) -> npt.NDArray[np.uint32]: ...
    def choose(
        self, digits: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]: ...

class KnotTables:
    """The tables of ``flow.monotone``."""

    def knots(
        self,
        weights: npt.NDArray[np.int32],
        centres: npt.NDArray[np.int32],
        scales: npt.NDArray[np.int32],
        frac: int,
        threads: int = 1,
    ) -> Knots:
        """Mixtures of (K, n), ``frac`` 2..14. Raises ``ValueError`` for weights that do not add up."""

class Knots:
    """``flow.monotone.Curves`` of n items."""

    def fine(self) -> npt.NDArray[np.uint32]: ...
    def intervals(self, values: npt.NDArray[np.int64]) -> Intervals:
        """Raises ``ValueError`` for values beyond 0..255."""

    def cells(
        self, places: npt.NDArray[np.int64]
    ) -> tuple[
        npt.NDArray[np.int64],
        npt.NDArray[np.uint32],
        npt.NDArray[np.uint32],
        npt.NDArray[np.uint32],
        npt.NDArray[np.uint32],
    ]: ...
    def lines(
        self, places: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]: ...
    def lines_of(
        self, noise: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]: ...

def knot_tables(logistic: Logistic, log: npt.NDArray[np.int32]) -> KnotTables:
    """With a copy of ``flow.monotone.LOG``."""

def scaled(
    values: npt.NDArray[np.int64],
    digits: npt.NDArray[np.int64],
    up: npt.NDArray[np.uint32],
    down: npt.NDArray[np.uint32],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """``(up * values + digits) // down`` (n,), and what remains; ``up`` and ``down`` are one for all, or one each."""

class AdaptedBand(Distribution):
    """See ``flow.backward.BandAdapter``. Its items are those of a band in coding order, to be got once."""

    def __init__(
        self,
        logistic: Logistic,
        weights: npt.NDArray[np.int32],
        centres: npt.NDArray[np.int32],
        scales: npt.NDArray[np.int32],
        known: list[npt.NDArray[np.int32]],
        table: npt.NDArray[np.int32],
        nearest: npt.NDArray[np.int32],
        earlier: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]],
        inverse: npt.NDArray[np.int64],
        deviation: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        squares: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        sums: npt.NDArray[np.int64],
        threads: int,
        prior: Prior | None = None,
        cells: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """Of mixtures (K, h, w), components and samples of taps as in ``Bands.parameters``, and surprises of the
        ``nearest`` samples (4, h, w); of each band before its surprises and its samples (h, w). None is copied.
        Then two tables by log-scale, and the arrays of ``flow.learners.Learned``, which are.
        ``threads`` may work on it."""

    def code(self, values: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Starts and frequencies of values (h, w), in coding order (h * w,)."""

    def surprises(self) -> npt.NDArray[np.int32]:
        """Of all samples, (h, w)."""

    def learned(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The arrays of ``flow.learners.Learned``, as they are now."""

class FrequencyTables:
    """See ``coders.table.FrequencyTables``: ``ends`` (tables, symbols) are the sums of frequencies up to each one."""

    def __init__(self, ends: npt.NDArray[np.uint32], bits: int) -> None: ...
    def items(self, tables: npt.NDArray[np.int64]) -> Distribution:
        """Items by a table each, (n,), which are not copied."""

class AdaptiveTables:
    """See ``coders.table.AdaptiveTables``: ``frequencies`` (tables, symbols) to begin with."""

    def __init__(self, frequencies: npt.NDArray[np.uint32], bits: int) -> None: ...

class JpegStep(Distribution):
    """Coefficients that are coded at once, see ``jpeg.compiled``: n of them."""

    def __len__(self) -> int: ...
    def code(self) -> tuple[npt.NDArray[np.uint32], ...] | None:
        """The component's coefficients become known. Returns the starts and frequencies of their symbols (n,); the low
        bits that are split off, and their radix; of those beyond a table's ends bits, and digits with their radix. None
        where a coefficient is too large."""

    def radix(self) -> npt.NDArray[np.uint32]:
        """Of the low bits that are split off."""

    def accept(
        self,
        symbols: npt.NDArray[np.int64],
        low: npt.NDArray[np.int64],
        bits: npt.NDArray[np.int64],
        beyond: npt.NDArray[np.int64],
    ) -> bool:
        """Coefficients become known. False where one is too large."""

class JpegComponent:
    """See ``jpeg.contexts.Component``. Weights are int64 (FEATURES,) and (EDGES,)."""

    def means(self) -> list[int]:
        """Of the steps in which DC is coded, which weights they take."""

    def mean(self, index: int, sizes: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> JpegStep:
        """A step of DC."""

    def step(
        self,
        frequency: int,
        part: int,
        others: list[JpegComponent],
        sizes: npt.NDArray[np.int64],
        edges: npt.NDArray[np.int64],
    ) -> JpegStep:
        """Another frequency in one of the two sets of blocks."""

def jpeg_component(
    tables: AdaptiveTables, steps: npt.NDArray[np.int64], coefficients: npt.NDArray[np.int16]
) -> JpegComponent:
    """A component of ``coefficients`` (64, rows, columns), quantised by ``steps`` (64,); they become known in place."""

def jpeg_samples(coefficients: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Samples (8 * rows, 8 * columns) of coefficients (64, rows, columns), quantised by ``steps`` (64,)."""

def jpeg_enlarge(
    plane: npt.NDArray[np.uint8],
    rows: int,
    columns: int,
    vertical: int,
    horizontal: int,
    fancy: bool,
    top: int,
    left: int,
    height: int,
    width: int,
) -> npt.NDArray[np.uint8]:
    """``jpeg.transform.upsample`` of the plane's first rows and columns, and of it a part (height, width)."""

def jpeg_rgb(
    luma: npt.NDArray[np.uint8], cb: npt.NDArray[np.uint8], cr: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """``jpeg.transform.to_rgb`` of planes (height, width)."""

class Predictor:
    """The predictor's loops, see ``methods.predictor``. Pixels (H, W, bands) may have any strides; ``order`` is that in
    which bands are coded."""

    def residuals(
        self, pixels: npt.NDArray[np.uint8], order: list[int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Residuals + 128 modulo 256 and levels, (bands, H, W), and how often each occurs, (bands, levels, 256)."""

    @staticmethod
    def symbols(
        tables: FrequencyTables,
        choices: npt.NDArray[np.int64],
        residuals: npt.NDArray[np.uint8],
        levels: npt.NDArray[np.uint8],
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Starts and frequencies of all symbols in the order in which they are decoded, and where each step ends."""

    def decoder(
        self, tables: FrequencyTables, choices: npt.NDArray[np.int64], out: npt.NDArray[np.uint8], order: list[int]
    ) -> PredictorDecoder:
        """Fills ``out``; ``choices`` (bands, levels) are rows of the tables."""

class PredictorDecoder:
    """Decodes wavefront by wavefront."""

    def pop(self, heads: npt.NDArray[np.uint64], words: npt.NDArray[np.uint16], size: int, count: int) -> int:
        """Pop the next samples. Returns the stack's new size; -1 if it holds too little."""

_Samples = TypeVar("_Samples", npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint32])

def filter_rows(samples: _Samples) -> tuple[_Samples, npt.NDArray[np.uint8]]:
    """Rows (H, W, bands), each less its prediction by the filter of ``methods.filtered`` that gives the smallest sum of
    magnitudes, and which that was, (H,)."""

def unfilter_rows(rows: _Samples, filters: npt.NDArray[np.uint8]) -> None:
    """Undo filters 0..3, one for each row of (H, W, bands), in place."""

# What follows moves items low..high of a group between arrays and lanes, see ``coders.engine``: ``words`` is the stack,
# bottom first, ``size`` how many of them are in use. Without the interpreter's lock.

def solve(matrix: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The solution (n,) of a positive definite system (n, n), see ``flow.adaptation``."""

def pop(
    distribution: Distribution,
    heads: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint16],
    size: int,
    low: int,
    high: int,
    out: npt.NDArray[np.int64],
) -> int:
    """Pop symbols into ``out[low:high]``. Returns the stack's new size; -1 if it holds too little."""

def pop_digits(
    radix: npt.NDArray[np.uint32],
    heads: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint16],
    size: int,
    low: int,
    high: int,
    out: npt.NDArray[np.int64],
) -> int:
    """Pop digits into ``out[low:high]``; ``radix`` is one for all, or one each. Returns as ``pop``."""

def push(
    start: npt.NDArray[np.uint32],
    freq: npt.NDArray[np.uint32],
    bits: int,
    heads: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint16],
    size: int,
    low: int,
    high: int,
    enough: int,
) -> tuple[int, int]:
    """Push symbols, until the stack has ``enough`` words. Returns its size, and ``high`` less what was pushed. The
    stack must have room for two words for each item, and one more."""

def push_groups(
    start: npt.NDArray[np.uint32],
    freq: npt.NDArray[np.uint32],
    bits: int,
    ends: npt.NDArray[np.int64],
    heads: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint16],
    size: int,
    high: int,
) -> int:
    """Push the symbols below ``high`` of groups end to end, which end at ``ends``; room as for ``push``. Returns the
    stack's new size."""

def push_digits(
    digits: npt.NDArray[np.uint32],
    radix: npt.NDArray[np.uint32],
    heads: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint16],
    size: int,
    low: int,
    high: int,
    enough: int,
) -> tuple[int, int]:
    """Push digits, as ``push``; ``radix`` is one for all, or one each."""
