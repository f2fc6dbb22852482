"""Products of attention for a tile: vectors of tf32 by rows of codes, and what golden makes of them."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from golden.attention.product import aligned, dots, rescaled
from golden.attention.widths import MOST_CHANNELS
from golden.numbers import datatypes, floats
from hw.config import Config
from hw.payloads import ActivationFormat, OutputFormat, Route
from sim.benches.weights.matrices import format_value

__all__ = ["KINDS", "Product"]

KINDS = ("dots", "folded", "scaled")
"""Exact dot products; scales of 1, in the longest groups; float16 steps and offsets, in any groups."""


class Product:
    """A vector for each column, by ``blocks`` row blocks of codes.

    Args:
        config: of the tile.
        kind: one of ``KINDS``.
        name: data type of the codes.
        inputs: elements of a vector, a multiple of 16.
        group: elements that share an exponent, of ``config.group_lengths``.
        blocks: row blocks.
        extreme: the largest numbers, all of one sign.
        steady: what the groups say of themselves.
    """

    def __init__(
        self,
        config: Config,
        kind: str,
        name: str,
        inputs: int,
        group: int,
        blocks: int,
        extreme: bool = False,
        steady: bool = False,
    ) -> None:
        self.config, self.kind, self.blocks, self.steady = config, kind, blocks, steady
        self.dtype, self.group = datatypes.get(name), group
        self.rng = np.random.default_rng(random.getrandbits(32))
        rows, shape = blocks * config.rows, (blocks * config.rows, -(-inputs // group))
        values = self.dtype.values()
        own = [np.where(extreme, 2047.0, self._tf32(inputs)) for _ in range(config.columns)]
        self.vectors = np.stack(own)
        self.codes = self.rng.integers(0, len(values), (rows, inputs))
        self.scale, self.top = None, floats.HALF_UNIT
        if extreme:
            self.codes[:] = (values if self.dtype.asymmetric else np.abs(values)).argmax()
        if kind == "scaled":
            self.top = random.randint(1, 30)
            self.scale = self._halves(shape, extreme), self._halves(shape, extreme)
            self.scale = np.abs(self.scale[0]), self.scale[1]
        self.integers = values[self.codes].astype(np.int16)
        self.aligned = aligned(self.vectors, group, config.numerics)

    def _tf32(self, count: int) -> np.ndarray:
        """Numbers of 11 bits, zeros among them, of magnitudes that are near each other or far apart."""
        spread = random.choice((1, 8, 40))
        powers = self.rng.integers(-spread, 1, count) + random.randint(-40, 40)
        found = (
            self.rng.integers(1024, 2048, count) * np.exp2(powers - 10.0) * self.rng.choice([-1, 1], count)
        )
        return np.where(self.rng.random(count) < 0.1, 0, found)

    def _halves(self, shape: tuple[int, ...], extreme: bool) -> np.ndarray:
        """Float16 numbers whose exponent fields are at most ``top``."""
        fields = self.rng.integers(1, self.top + 1, shape)
        mantissas = self.rng.integers(0, 1024, shape) + np.where(fields > 1, 1024, 0)
        if extreme:
            fields[:], mantissas[:] = self.top, 1023 + 1024 * (self.top > 1)
        signs = 1 if extreme else self.rng.choice([-1, 1], shape)
        return (signs * mantissas * np.exp2(fields - float(floats.HALF_UNIT))).astype(np.float16)

    def beats(self) -> Iterator[dict[str, Any]]:
        """Payloads of the activation stream."""
        lanes, words = self.config.activation_lanes, floats.encode(self.vectors.astype(np.float32), "tf32")
        inputs = words.shape[1]
        for start in range(0, inputs, lanes):
            yield {
                "elements": words[:, start : start + lanes].tolist(),
                "last": int(start + lanes == inputs),
                "format": ActivationFormat.BF16,
                "halvings": self.config.group_lengths.index(self.group),
            }

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Payloads of the chunk stream."""
        rows, lanes, inputs = self.config.rows, self.config.lanes, self.vectors.shape[1]
        table = np.array([self.dtype.lane(code) for code in range(len(self.dtype.integers))])
        padded = np.pad(table[self.codes], ((0, 0), (0, -inputs % lanes)))
        last_group = (inputs - 1) // self.group
        for block in range(self.blocks):
            for start in range(0, inputs, lanes):
                end = start + lanes
                yield {
                    "codes": padded[block * rows : (block + 1) * rows, start:end].tolist(),
                    "selectors": [0] * rows,
                    "format": format_value(self.config, self.dtype),
                    "last": int(end >= inputs or end % self.group == 0),
                    "final": int(start // self.group == last_group),
                    "finished": int(block == self.blocks - 1),
                    "route": Route.DOTS if self.kind == "dots" else Route.RESCALED,
                    "steady": int(self.steady),
                }

    def scales(self) -> Iterator[dict[str, Any]]:
        """Payloads of the scales."""
        rows, groups, scaled = self.config.rows, self.aligned.exponents.shape[-1], self.scale is not None
        names = ("scale", "scale_distance", "zero_point", "offset", "offset_distance")
        fields = [np.broadcast_to(field, (self.blocks * rows, groups)) for field in self._scale_fields()]
        for block in range(self.blocks):
            for group in range(groups):
                parts = [field[block * rows : (block + 1) * rows, group].tolist() for field in fields]
                yield {
                    "rows": [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)],
                    "reach": self.config.attention_reach(self.dtype, scaled),
                    "has_offset": int(scaled),
                }

    def _scale_fields(self) -> tuple[Any, ...]:
        if self.scale is None:
            return 1, 0, 0, 0, 0
        zero_point = 1 << self.dtype.bits - 1 if self.dtype.asymmetric else 0
        (step, step_field), (offset, offset_field) = map(floats.half_parts, self.scale)
        return step, self.top - step_field, zero_point, offset, self.top - offset_field

    def channels(self) -> Iterator[dict[str, Any]]:
        """Payloads of the output scales."""
        for block in range(self.blocks):
            yield {
                "rows": [{"exponent": self.top - floats.HALF_UNIT}] * self.config.rows,
                "count": self.config.rows,
                "output": OutputFormat.FP32,
                "reach": self.config.attention_reach(self.dtype, self.scale is not None),
                "last": int(block == self.blocks - 1),
                "error": 0,
            }

    def results(self) -> list[list[int]]:
        """Patterns of float32 of every output, a column each, as golden has them."""
        found = rescaled(
            self.aligned, self.integers, self.group, self.dtype, self.config.numerics, self.scale, self.top
        )
        return found.T.astype(np.float32).view(np.uint32).tolist()

    def dots(self) -> list[tuple[list[list[int]], list[int]]]:
        """Of each group of each row block, dot products ``[column][row]`` and the columns' exponents."""
        rows, exponents = self.config.rows, self.aligned.exponents.T.tolist()
        found = dots(self.aligned, self.integers, self.group)
        blocks = [found[:, block * rows : (block + 1) * rows] for block in range(self.blocks)]
        return [
            (block[..., group].tolist(), exponent)
            for block in blocks
            for group, exponent in enumerate(exponents)
        ]

    @staticmethod
    def random(config: Config, kind: str, steady: bool = False) -> "Product":
        """One of a kind, as long and as wide as it may be."""
        group = config.group if kind == "folded" else random.choice(config.group_lengths)
        longest = min(MOST_CHANNELS, config.maximum_inputs)
        inputs = 16 * random.randint(1, longest // 16)
        name = random.choice(config.types)
        return Product(config, kind, name, inputs, group, random.randint(1, 3), False, steady)
