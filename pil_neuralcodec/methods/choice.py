"""Which method without a network makes the smallest payload, and which need not be tried."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from .. import gate
from ..container import Method
from ..lazy import cached_property
from . import direct, filtered, webp

_SMALL = 1 << 16
"""Up to so many bytes of samples quick passes look at all of them."""
_SAMPLE_ROWS, _STRIP = 16, 32
_ICON = 24 * 24
"""Pixels up to which WebP's best effort costs nothing."""
_TINY = 16

_BEGUN = 1 << 24
"""Bytes of samples up to which quick passes run beside a network; from there on their memory counts."""


class _Quick:
    """What quick passes say of pixels (H, W, B), each made once, when it is first asked for."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    @cached_property
    def usual(self) -> bytes | None:
        """WebP by its usual effort."""
        return webp.encode(self._pixels, quality=75, effort=4)

    @cached_property
    def _estimate(self) -> int:
        return filtered.estimate(self._pixels)

    @cached_property
    def _strips(self) -> tuple[int, int] | None:
        """A quarter of the rows by WebP with its least effort: bytes, and how many rows these are."""
        rows = _some_rows(self._pixels, _STRIP, 4 * _STRIP)
        body = None if rows is None else webp.encode(rows, quality=0, effort=0)
        return None if rows is None or body is None else (len(body), len(rows))

    @cached_property
    def least(self) -> bytes | None:
        """WebP by its least effort, which makes less of one colour alone than others do."""
        return webp.encode(self._pixels, quality=0, effort=0)

    @cached_property
    def _sample(self) -> tuple[int, int] | None:
        """Every eighth block of rows by the predictor: bytes, and how many rows these are."""
        rows = _some_rows(self._pixels, _SAMPLE_ROWS, 8 * _SAMPLE_ROWS)
        payload = None if rows is None else direct.encode(Method.PREDICTOR, rows)
        return None if rows is None or payload is None else (len(payload), len(rows))

    def predictor_may_win(self, limit: int) -> bool:
        """Whether the predictor can be expected below ``limit`` bytes, from what it makes of some rows.

        On photographs it needs 1.1 to 1.3 times the network's size, or 1.01 to 1.06 where they were JPEG files; the
        sample errs by a tenth either way."""
        height = len(self._pixels)
        if self._pixels.nbytes <= _SMALL or height < 2 * _SAMPLE_ROWS or self._pixels.dtype != np.uint8:
            return True
        return self._sample is not None and self._sample[0] * height < limit * self._sample[1]

    def is_hopeless(self, limit: int) -> bool:
        """Whether neither WebP nor filters can be expected below ``limit`` bytes: there is nothing repetitive to find.

        Measured against the predictor's size, the estimate for filters is 1.13 to 1.8 on photographs, of which filters
        make 1.1 at least, and below 0.9 on drawings and screenshots. Icons lie between, but half of their pixels are
        those beside them; noise is what filters do not shrink at all. Against the network's size the estimate is 1.15
        to 1.4 on photographs of 16 bits, of which filters make at least 0.86, or twice that size. The quick pass of
        WebP is 1.07 to 1.8 on photographs.
        """
        most, of = (5, 4) if self._pixels.dtype.itemsize == 1 else (9, 8)
        is_near = self._estimate * of < limit * most and self._estimate * 20 < self._pixels.nbytes * 19
        if is_near and not self.is_beyond_filters(limit):
            return False
        # Of a photograph some strips show it, which err by a fifth at most.
        if self._strips is not None and 8 * self._strips[0] * len(self._pixels) >= 9 * limit * self._strips[1]:
            return True
        # Where filters are near, so may a usual effort be, which makes a sixth less than the least.
        return self.least is None or len(self.least) * 5 >= limit * (6 if is_near else 5)

    def is_beyond_filters(self, limit: int) -> bool:
        """Whether the estimate is above ``limit`` by so little that it may still stand for filters that win, but the
        samples are those of a photograph, of which it does not."""
        is_between = limit * 10 <= self._estimate * 9 and self._estimate * 4 < limit * 5
        return is_between and self._pixels.dtype.itemsize == 1 and is_busy(self._pixels)


def _some_rows(pixels: np.ndarray, count: int, step: int) -> np.ndarray | None:
    """``count`` rows out of every ``step``, below each other; None where there are fewer."""
    starts = range(0, len(pixels) - count + 1, step)
    return np.concatenate([pixels[start : start + count] for start in starts]) if starts else None


class Begun(NamedTuple):
    """Quick passes, and when they are done."""

    quick: _Quick
    done: Future[Any]


class _Trials:
    """Payloads of one image, of which the smallest is kept."""

    def __init__(self, pixels: np.ndarray, limit: int) -> None:
        self.pixels, self.limit = pixels, limit
        """What a payload has to undercut to be of use."""
        self._best: tuple[int, Method, bytes] | None = None

    def add(self, method: Method, body: bytes | None) -> None:
        """What a method makes of the pixels, if it makes anything of them, without a checksum."""
        if body is not None:
            self._keep(method, direct.with_checksum(body, self.pixels))

    def encode(self, method: Method) -> int | None:
        """Try a method. Returns the size of what it makes of the pixels, if it makes anything of them."""
        payload = direct.encode(method, self.pixels)
        if payload is None:
            return None
        self._keep(method, payload)
        return len(payload)

    def _keep(self, method: Method, payload: bytes) -> None:
        found = len(payload), method, payload
        if found < self._best if self._best else found[0] < self.limit:
            self._best, self.limit = found, found[0]

    def best(self) -> tuple[Method, bytes] | None:
        """The smallest payload, and its method."""
        return None if self._best is None else self._best[1:]


def begin(pixels: np.ndarray) -> Begun | None:
    """Begin what ``smallest`` will want to know of pixels anyway, while a network runs on another core."""
    if pixels.nbytes > _BEGUN or gate.threads() == 1:
        return None
    quick = _Quick(direct.checked(pixels))

    def look() -> None:
        if pixels.nbytes <= _SMALL:
            quick.usual  # noqa: B018
        else:
            quick.predictor_may_win(0)
            quick.is_hopeless(0)

    return Begun(quick, gate.beside(look))


def smallest(
    pixels: np.ndarray,
    *,
    methods: Iterable[int] | None = None,
    below: int | None = None,
    begun: Begun | None = None,
) -> tuple[Method, bytes] | None:
    """The smallest payload as ``(method, payload)``; the lower method number wins a tie.

    ``methods`` are tried all of them; by default every method is, save that slow ones are left out where a quick pass
    shows that they are hopeless. ``below`` is a size in bytes that the payload has to undercut, for example that of
    the network's code: ``None`` comes back when nothing does. What is left out depends on sizes in bytes and on counts
    of pixels only, so the same libraries give the same bytes on every machine. ``begun`` is what ``begin`` gave.
    """
    pixels = direct.checked(pixels)
    trials = _Trials(pixels, pixels.nbytes + (1 << 10) if below is None else below)
    if methods is not None:
        for method in map(Method, methods):
            trials.encode(method)
        return trials.best()
    quick = _Quick(pixels) if begun is None else begun.quick
    if begun is not None:
        begun.done.result()
    if pixels.nbytes <= _SMALL:
        _try_small(trials, quick.usual)
    else:
        # What is hopeless below a size is so below a smaller one, too: this can be asked while the predictor works.
        asked = None if below is None else gate.beside(lambda: quick.is_hopeless(below))
        if below is None or quick.predictor_may_win(below):
            trials.encode(Method.PREDICTOR)
        trials.encode(Method.RAW)
        hopeless = asked is not None and asked.result()
        if not hopeless and trials.limit != below:
            hopeless = quick.is_hopeless(trials.limit)
        if not hopeless:
            _try_large(trials, quick)
    return trials.best()


def _try_small(trials: _Trials, usual: bytes | None) -> None:
    """Try what may win on a small image: the fastest first, whose sizes tell what is hopeless.

    Measured on 93 and 136 images: everything needs at least 3/4 of WebP's usual effort. Where the predictor needs less
    than that effort, nothing repeats, and filters and WebP's best effort do not undercut what the predictor misses by a
    32nd (on 897 images of all kinds). The best effort needs at least 19/20 of the usual one on busy images, and 3/4
    where neighbours are equal, less some bytes. What is larger than an icon and takes its own size by all others is
    noise (to 65 s a megapixel of that effort in vain)."""
    pixels = trials.pixels
    trials.encode(Method.RAW)
    trials.add(Method.WEBP, usual)
    if usual is not None and len(usual) * 3 >= (trials.limit + _TINY) * 4:
        return
    predicted = trials.encode(Method.PREDICTOR)
    nothing_repeats = usual is not None and predicted is not None and predicted <= len(usual)
    if predicted is not None and nothing_repeats and predicted * 32 >= (trials.limit + _TINY) * 33:
        return
    trials.add(Method.FILTERED, filtered.encode(pixels, trials.limit))
    best = trials.best()
    if best is not None and best[0] is Method.RAW and pixels.shape[0] * pixels.shape[1] > _ICON:
        return
    if usual is not None and len(usual) * _least_webp(pixels) < (trials.limit + _TINY) * 20:
        trials.add(Method.WEBP, webp.encode(pixels))


def changes(pixels: np.ndarray) -> int:
    """How many pixels (H, W, B) differ from their left neighbours."""
    differ = pixels[:, 1:, 0] != pixels[:, :-1, 0]
    for band in range(1, pixels.shape[2]):
        differ |= pixels[:, 1:, band] != pixels[:, :-1, band]
    return int(np.count_nonzero(differ))


def is_busy(pixels: np.ndarray) -> bool:
    """Whether three of four pixels (H, W, B) differ from their left neighbours, as in most photographs."""
    height, width = pixels.shape[:2]
    return bool(changes(pixels) * 4 > 3 * height * (width - 1))


def _least_webp(pixels: np.ndarray) -> int:
    """In twentieths of what a usual effort makes, the least that WebP's best effort may make of a small image."""
    height, width = pixels.shape[:2]
    return 19 if height * width > _ICON and is_busy(pixels) else 15


def _try_large(trials: _Trials, quick: _Quick) -> None:
    """Try WebP and filters on a large image."""
    pixels = trials.pixels
    trials.add(Method.WEBP, quick.least)
    limit = trials.limit
    with_webp = gate.beside(lambda: _good_webp(pixels, limit, quick))
    if not quick.is_beyond_filters(limit):
        trials.add(Method.FILTERED, filtered.encode(pixels))
    good = with_webp.result()
    trials.add(Method.WEBP, quick.usual)
    trials.add(Method.WEBP, good)
    if good is not None and not _is_photo(pixels, quick) and _best_webp_may_win(pixels, len(good), trials.limit):
        trials.add(Method.WEBP, webp.encode(pixels))


def _good_webp(pixels: np.ndarray, limit: int, quick: _Quick) -> bytes | None:
    """WebP's payload by a good effort where it can be expected below ``limit`` bytes.

    A usual effort takes a tenth of the time for 1 to 4 % more, and on photographs is 1.05 to 1.4 times the network's
    size. Where it is smaller and the samples are those of a photograph nevertheless, the window that a higher quality
    searches has nothing more to show."""
    usual = quick.usual
    if usual is None or len(usual) * 100 >= limit * 103:
        return None
    if _is_photo(pixels, quick):
        return webp.encode(pixels, quality=75)
    return webp.encode(pixels, effort=5)


def _is_photo(pixels: np.ndarray, quick: _Quick) -> bool:
    """Whether WebP makes no less of the samples than of a photograph's."""
    return quick.usual is not None and len(quick.usual) * 5 > pixels.nbytes


def _best_webp_may_win(pixels: np.ndarray, good: int, limit: int) -> bool:
    """Whether WebP's best effort can be expected below ``limit`` bytes where a good one makes ``good``.

    It takes up to 14 s a megapixel, three to ten times as long, to try every transform where others guess one. Where
    that makes a 50th less of some rows, it does so of all: the two gains differ by a 50th of the size. On 12 of 17
    drawings and images of few colours there was nothing to gain, and on the others it was 1/17 to 1/7, but for
    tiles that repeat, of which filters make less."""
    if good * 3 >= limit * 4:
        return False
    rows = _some_rows(pixels, _SAMPLE_ROWS, min(256, max(_SAMPLE_ROWS, len(pixels) // 3)))
    if rows is None:
        return True
    guessed, best = webp.encode(rows, effort=5), webp.encode(rows)
    if guessed is None or best is None:
        return True
    return len(best) * 50 < len(guessed) * 49 and good * len(best) < limit * len(guessed)
