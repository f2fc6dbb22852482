"""Row blocks for the rescaler: everything that it is given, and the golden results."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from golden.numbers import floats, scales
from golden.numbers.reach import reach
from golden.pe.output_converter import convert
from golden.pe.rescale import contribution, output_exponent
from golden.weights.packet import OUTPUTS
from hw import payloads
from hw.config import Config

__all__ = ["RowBlock"]


class RowBlock:
    """The groups of one row block with golden results.

    The numbers stay within what the widths guarantee; the extreme ones fill the accumulators to the brim.
    Where it ``overflows``, large sums are too large for FP16.
    """

    def __init__(
        self, config: Config, offset: bool, groups: int, extreme: bool = False, overflows: bool = False
    ) -> None:
        self.config = config
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.offset, self.groups = offset, groups
        self.dtype, self.scale = random.choice(config.datatypes), random.choice(scales.FORMATS)
        self.reach = reach(config.group, config.activation_bits, self.dtype, self.scale, offset)
        self.output, self.activations = random.choice(OUTPUTS), random.choice(("fp16", "bf16"))
        self.count = random.randint(1, config.rows)
        self.last, self.error = random.getrandbits(1), random.getrandbits(1)
        self._draw_scales(extreme)
        self._draw_activations(extreme)
        if overflows:
            self.output, self.special[:], self.exponents[:], self.reference[:] = "fp16", False, 127, 30
        self.patterns, self.overflows = self._results()

    def _draw(self, low: int, high: int, *shape: int) -> np.ndarray:
        return self.rng.integers(low, high + 1, shape)

    def _draw_scales(self, extreme: bool) -> None:
        """Mantissas, distances and zero points, ``[group, row]``."""
        shape, form = (self.groups, self.config.rows), self.scale
        half = (1 << self.dtype.bits - 1) * self.dtype.asymmetric
        top = (1 << form.significand_bits) - 1
        farthest = (1 << form.distance_bits) - 1
        self.mantissa = self._draw(min(form.mantissa_bits == 0, top), top, *shape)
        self.distance = self._draw(0, farthest, *shape) >> self._draw(0, 8, *shape)
        self.zero_point = self._draw(-half, half, *shape)
        self.offset_mantissa = self._draw(-2047, 2047, *shape)
        self.offset_distance = self._draw(0, 255, *shape) >> self._draw(0, 8, *shape)
        self.exponents = self._draw(-128, 127, self.config.rows) >> self._draw(0, 7, self.config.rows)
        if extreme:
            self.mantissa[:], self.zero_point[:], self.offset_mantissa[:] = top, half, 2047
            self.distance[:], self.offset_distance[:] = 0, 0

    def _draw_activations(self, extreme: bool) -> None:
        """Dot products ``[group, column, row]``; sums and distances ``[group, column]``; references."""
        groups, columns, rows = self.groups, self.config.columns, self.config.rows
        most = self.config.group * self.config.largest_activation
        highest = {"fp16": 30, "bf16": 254}[self.activations]
        self.sums = self._draw(-most, most, groups, columns) >> self._draw(0, 16, groups, columns)
        size = most * self.dtype.largest
        self.dots = self._draw(-size, size, groups, columns, rows)
        self.dots >>= self._draw(0, 20, groups, columns, rows)
        self.reference = self._draw(1, highest, columns)
        self.below = self._draw(0, highest - 1, groups, columns) % self.reference
        self.below >>= self._draw(0, 8, groups, columns)
        self.special = self._draw(0, 7, columns) == 0
        if extreme:
            sign = random.choice((-1, 1))
            self.dots[:], self.sums[:], self.below[:] = sign * size, sign * most, 0

    def _results(self) -> tuple[np.ndarray, np.ndarray]:
        """Golden patterns and overflows, ``[row, column]``."""
        numerics, sums, below = self.config.numerics, self.sums[:, :, None], self.below[:, :, None]
        operand = self.dots + self.zero_point[:, None] * sums
        far = below + self.distance[:, None]
        total = contribution(operand, self.mantissa[:, None], far, self.reach, numerics).sum(axis=0)
        if self.offset:
            far = below + self.offset_distance[:, None]
            extra = contribution(sums, self.offset_mantissa[:, None], far, self.reach, numerics)
            total += extra.sum(axis=0)
        assert np.abs(total).max() <= 1 << self.config.accumulator_bits - 1
        bias = floats.EXPONENT_BIAS[self.activations]
        exponent = np.stack(
            [output_exponent(self.exponents, int(one), bias, self.reach, numerics) for one in self.reference]
        )
        patterns, overflows = convert(total, exponent, self.special[:, None], self.output)
        return patterns.T, overflows.T

    def dot_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``dots``, each with a bias of its own."""
        for group, dots in enumerate(self.dots):
            bias = random.getrandbits(self.config.product_bits)
            shown = (dots + bias) % (1 << self.config.product_bits)
            yield {"dots": shown.tolist(), "bias": bias, "final": int(group + 1 == self.groups)}

    def scale_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``scales``."""
        names = ("scale", "scale_distance", "zero_point", "offset", "offset_distance")
        fields = (self.mantissa, self.distance, self.zero_point, self.offset_mantissa, self.offset_distance)
        for numbers in zip(*(field.tolist() for field in fields), strict=True):
            rows = [dict(zip(names, row, strict=True)) for row in zip(*numbers, strict=True)]
            yield {"rows": rows, "reach": self.reach, "has_offset": int(self.offset)}

    def summary_beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of ``summaries``."""
        kind = payloads.ActivationFormat[self.activations.upper()]
        names = ("distance", "sum", "reference", "special")
        for below, sums in zip(self.below.tolist(), self.sums.tolist(), strict=True):
            parts = zip(below, sums, self.reference.tolist(), self.special.astype(int).tolist(), strict=True)
            yield {"columns": [dict(zip(names, part, strict=True)) for part in parts], "format": kind}

    def channel_beat(self) -> dict[str, Any]:
        """Payload of ``channels``."""
        return {
            "rows": [{"exponent": exponent} for exponent in self.exponents.tolist()],
            "count": self.count,
            "output": OUTPUTS.index(self.output),
            "reach": self.reach,
            "last": self.last,
            "error": self.error,
        }

    def check(self, beats: Iterator[tuple[dict[str, Any], int]]) -> None:
        """Compare the block's result beats, its overflow flag included."""
        for row in range(0, self.count, self.config.rescale_units):
            end = min(row + self.config.rescale_units, self.count)
            beat, overflow = next(beats)
            assert beat["rows"][: end - row] == self.patterns[row:end].tolist(), (row, self.dtype.name)
            assert beat["count"] == end - row
            assert beat["last"] == (self.last and end == self.count)
            assert beat["error"] == self.error
            assert overflow == self.overflows[row:end].any()
