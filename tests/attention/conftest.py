"""The attention engine for one query in Python's integers and fractions, token by token.

Written from the docstrings of ``golden.attention``; of the project it uses only what codes and metadata stand
for (``golden.kv.formats``) and the rows of the tables.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.numbers.tables import EXP2, RECIPROCAL, Table

LOWEST = -(2**19)
MOST_CHANNELS = 256


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def near(x: Fraction) -> int:
    """The nearest integer, ties up."""
    return math.floor(x + Fraction(1, 2))


def exponent(x: Fraction) -> int:
    """Of the leading bit of a number that is not 0."""
    guess = abs(x).numerator.bit_length() - x.denominator.bit_length()
    return guess if power(guess) <= abs(x) else guess - 1


def significant(x: Fraction, bits: int, lowest: int = -1000) -> Fraction:
    """To so many significant bits, ties to even, but not below 2^lowest."""
    if not x:
        return x
    unit = power(max(exponent(x) - bits + 1, lowest))
    return round(x / unit) * unit


def aligned(numbers: Sequence[Fraction], width: int) -> tuple[list[int], Fraction]:
    """Integers and their unit; a unit of 0 if all are 0."""
    largest = max(map(abs, numbers))
    if not largest:
        return [0] * len(numbers), Fraction(0)
    unit, limit = power(exponent(largest) - (width - 2)), 2 ** (width - 1) - 1
    return [max(-limit, min(limit, round(x / unit))) for x in numbers], unit


def looked_up(table: Table, argument: int) -> Fraction:
    segment, place = divmod(argument, 256)
    return Fraction(table.intercepts[segment] * 256 + table.slopes[segment] * place, 2**24)


def clamp(x: int, most: int) -> int:
    return max(-most, min(most, x))


class Cells:
    """Elements of one page: integer, centre, step and offset of each."""

    def __init__(self, form: Format, quantized: Quantized) -> None:
        self.form, self.integers = form, form.integers(quantized.codes, quantized.zero).astype(int)
        self.tokens, self.channels = self.integers.shape
        line = form.line(quantized.scale, quantized.zero)
        self.step, self.offset = (form.spread(part, self.tokens, self.channels) for part in line)
        length = self.channels if form.axis == "token" else self.tokens
        self.group = form.group or length
        plain = form.kind != "affine" or form.signed or form.bits == 1
        self.centre = 0 if plain else 2 ** (form.bits - 1)
        self.largest = 1 if form.kind == "ternary" or form.bits == 1 else 2 ** (form.bits - 1)
        if form.kind == "bitmod":
            self.largest = {3: 12, 4: 16}[form.bits]  # a special value, in halves
        elif form.kind == "table":
            self.largest = 127

    def line(self, t: int, c: int) -> tuple[Fraction, Fraction]:
        return Fraction(float(self.step[t, c])), Fraction(float(self.offset[t, c]))

    def centred(self, t: int, c: int) -> int:
        return int(self.integers[t, c]) - self.centre


class Rational:
    """One query; ``step`` reads a page, ``finish`` divides.

    Attributes:
        maximum, total, sums: as in ``golden.attention.engine.State``.
    """

    def __init__(self, q: np.ndarray, tops: tuple[int, int], width: int = 12, group: int = 128) -> None:
        self.width, self.group, (self.key_top, self.top) = width, group, tops
        factor = significant(Fraction(math.log2(math.e) / math.sqrt(len(q))), 16)
        self.query = [significant(Fraction(float(value)) * factor, 11) for value in q.astype(np.float16)]
        self.maximum, self.total, self.sums = LOWEST, 0, [0] * len(q)

    def _array(self, cells: Cells, runs: list, lines: list | None, top: int) -> Fraction:
        """The array: runs of (integers, unit, codes), each with a step and an offset, or none at all."""
        sums, largest = self.group * (2 ** (self.width - 1) - 1), cells.largest
        if lines is None:
            reach, scale, lines = (
                (sums * largest).bit_length() + 1,
                Fraction(1),
                [(Fraction(1), None)] * len(runs),
            )
        else:
            product = (sums * (largest + cells.centre)).bit_length() + 11
            reach, scale = max(product, sums.bit_length() + 11) + 1, power(top - 25)
        rest = 35 - (math.ceil(MOST_CHANNELS / self.group) - 1).bit_length()
        lowest = max(unit for _, unit, _ in runs) * scale * power(reach - rest)
        if not lowest:
            return Fraction(0)
        total = 0
        for (integers, unit, codes), (step, offset) in zip(runs, lines, strict=True):
            dot = sum(a * v for a, v in zip(integers, codes, strict=True))
            if offset is not None:
                dot += cells.centre * sum(integers)
                total += math.floor(sum(integers) * offset * unit / lowest)
            total += math.floor(dot * step * unit / lowest)
        return significant(total * lowest, 24, -149)

    def score(self, parts: Sequence[Cells], t: int) -> int:
        found = start = 0
        for cells in parts:
            own = near(Fraction(self._product(cells, t, self.query[start : start + cells.channels]), 64))
            found, start = clamp(own + found, (2**19 - 1) * 4096), start + cells.channels
        return found

    def _product(self, cells: Cells, t: int, query: list[Fraction]) -> int:
        unit, most, channels = power(-18), 2**42 - 1, range(cells.channels)
        if cells.form.axis == "token":
            parts = [channels[first : first + cells.group] for first in channels[:: cells.group]]
            runs = [
                (*aligned([query[c] for c in part], self.width), [cells.centred(t, c) for c in part])
                for part in parts
            ]
            main, term = self._array(cells, runs, [cells.line(t, part[0]) for part in parts], self.key_top), 0
        else:
            lines = [cells.line(t, c) for c in channels]
            exact = [q * step for q, (step, _) in zip(query, lines, strict=True)]
            shifts = [q * offset for q, (_, offset) in zip(query, lines, strict=True)]
            terms = [near(x * cells.centre / unit) for x in exact] + [near(x / unit) for x in shifts]
            term = sum(clamp(one, most) for one in terms)
            folded = [significant(x, 11) for x in exact]
            parts = [channels[first : first + self.group] for first in channels[:: self.group]]
            runs = [
                (*aligned([folded[c] for c in part], self.width), [cells.centred(t, c) for c in part])
                for part in parts
            ]
            main = self._array(cells, runs, None, 25)
        return clamp(near(main / unit), 2**51 - 1) + term

    def weight(self, score: int) -> Fraction:
        whole, fraction = divmod(score - self.maximum * 4096, 4096)
        if whole < -32:
            return Fraction(0)
        return near(looked_up(EXP2, fraction) * 1024) * power(whole - 10)

    def share(self, cells: Cells, weights: list[Fraction], c: int) -> int:
        """What a page adds to a channel."""
        grid, tokens = power(self.top - 38), range(cells.tokens)
        if cells.form.axis == "channel":
            parts = [tokens[first : first + cells.group] for first in tokens[:: cells.group]]
            runs = [
                (*aligned([weights[t] for t in part], self.width), [cells.centred(t, c) for t in part])
                for part in parts
            ]
            return near(self._array(cells, runs, [cells.line(part[0], c) for part in parts], self.top) / grid)
        lines = [cells.line(t, c) for t in tokens]
        exact = [w * step for w, (step, _) in zip(weights, lines, strict=True)]
        fine = grid / 4096
        term = sum(near(x * cells.centre / fine) for x in exact)
        term += sum(near(w * offset / fine) for w, (_, offset) in zip(weights, lines, strict=True))
        result = near(Fraction(term, 4096))
        for first in tokens[:: self.group]:
            part = tokens[first : first + self.group]
            integers, unit = aligned([significant(exact[t], 11) for t in part], self.width)
            result += near(
                sum(a * cells.centred(t, c) for a, t in zip(integers, part, strict=True)) * unit / grid
            )
        return result

    def step(self, keys: Cells | Sequence[Cells], values: Cells, valid: Sequence[int]) -> list[int]:
        """Read the valid tokens of a page; returns the scores of all."""
        parts = [keys] if isinstance(keys, Cells) else keys
        scores = [self.score(parts, t) for t in range(values.tokens)]
        before = self.maximum
        self.maximum = max([before, *(-(-scores[t] // 4096) for t in valid)])
        weights = [self.weight(score) if t in valid else Fraction(0) for t, score in enumerate(scores)]
        moved = power(before - self.maximum)
        self.total = near(self.total * moved) + sum(near(w * 2**32) for w in weights)
        self.sums = [near(x * moved) + self.share(values, weights, c) for c, x in enumerate(self.sums)]
        return scores

    def finish(self) -> list[float]:
        if not self.total:
            return [0.0] * len(self.sums)
        length = self.total.bit_length()
        x = math.floor(self.total * power(17 - length))  # 2^16 to 2^17
        first = near(looked_up(RECIPROCAL, (x - 2**16) >> 4) * 2**16)
        factor = near((2 - Fraction(x * first, 2**32)) * 2**20)
        inverse = near(Fraction(first * factor, 2**20)) * power(-16) / power(length - 1 - 32)
        results = []
        for value in self.sums:
            drop = power(max(abs(value).bit_length() - 16, 0))
            kept = math.floor(abs(value) / drop) * drop
            exact = kept * inverse * power(self.top - 38) * (1 if value >= 0 else -1)
            results.append(float(max(-65504, min(65504, significant(exact, 11, -24)))))
        return results


@pytest.fixture(scope="session")
def rational() -> type[Rational]:
    """The engine for one query."""
    return Rational


@pytest.fixture(scope="session")
def cells() -> type[Cells]:
    """A page for it."""
    return Cells
