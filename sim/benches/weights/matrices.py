"""Matrices as the payloads of the streams, computed from their numbers with nothing of the packed layout."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.reach import reach
from golden.weights.packet import HEADER_BITS, OUTPUTS, Packet
from golden.weights.quantized import QuantizedWeights
from hw.config import Config

__all__ = ["Expected", "format_value", "random_weights"]


def format_value(config: Config, dtype: DataType) -> dict[str, Any]:
    """``payloads.matrix_format`` of a data type."""
    first, second = dtype.programming
    return {
        "decoder": config.decoders.index(dtype.decoder),
        "last_term": dtype.term_count - 1,
        "programming": first + 2 * second,
        "specials": [{"negative": one.negative, "select": one.select} for one in dtype.special_terms],
    }


def random_weights(
    config: Config, dtype: str, scale: str, outputs: int, inputs: int, group: int, offset: bool
) -> QuantizedWeights:
    """A matrix of any bit pattern that the fields hold, drawn from the run's seed."""
    rng = np.random.default_rng(random.getrandbits(32))
    kind, form = datatypes.get(dtype), scales.get(scale)
    per_group = (outputs, -(-inputs // group))
    half = 1 << kind.bits - 1
    zero = kind.asymmetric and not offset
    unsigned = kind.asymmetric and offset and random.random() < 0.5

    def draw(low: int, high: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return rng.integers(low, high + 1, shape).astype(dtype)

    top = (1 << form.mantissa_bits) - 1
    return QuantizedWeights(
        dtype=kind,
        group=group,
        scale_format=form,
        codes=draw(0, len(kind.integers) - 1, (outputs, inputs), np.uint8),
        selector=draw(0, (1 << kind.selector_bits) - 1, per_group, np.uint8),
        scale_mantissa=draw(int(top == 0), max(top, 1), per_group, np.uint16),
        scale_distance=draw(0, (1 << form.distance_bits) - 1, per_group, np.uint8),
        zero_point=draw(half * unsigned + (1 - half) * zero, half * (zero or unsigned), per_group, np.int16),
        offset_mantissa=draw(-2048, 2047, per_group, np.int16) if offset else None,
        offset_distance=draw(0, 31, per_group, np.uint8) if offset else None,
        channel_exponent=draw(-128, 127, (outputs,), np.int16),
    )


class Expected:
    """The beats of one packet, stream by stream, from its numbers.

    ``valid_bits`` is where the packet was cut: row blocks that reach beyond it are marked.
    """

    def __init__(
        self,
        config: Config,
        q: QuantizedWeights,
        output: str = "fp16",
        keep_activations: bool = False,
        valid_bits: int | None = None,
    ) -> None:
        self.config, self.q, self.output, self.valid_bits = config, q, output, valid_bits
        self.has_offset = q.offset_mantissa is not None
        self.reach = reach(config.group, config.activation_bits, q.dtype, q.scale_format, self.has_offset)
        self.packet = Packet(
            q.dtype, q.scale_format, *q.shape, q.group, config.rows, config.lanes, self.has_offset
        )
        lanes = config.lanes
        self.header = {
            "inputs": q.shape[1],
            "groups": q.groups,
            "group_chunks": q.group // lanes,
            "last_chunks": -(-(q.shape[1] - (q.groups - 1) * q.group) // lanes),
            "blocks": self.packet.blocks,
            "keep_activations": int(keep_activations),
        }
        self.chunks = list(self._chunks())
        self.scales = list(self._scales())
        self.channels = list(self._channels())

    def _padded(self, values: np.ndarray | None, block: int, group: int, fill: int) -> list[int]:
        """A group's numbers for the rows of a block."""
        rows = self.config.rows
        if values is None:
            return [0] * rows
        present = values[block * rows : (block + 1) * rows, group].tolist()
        return present + [fill] * (rows - len(present))

    def _chunks(self) -> Iterator[dict[str, Any]]:
        config, q = self.config, self.q
        rows, lanes = config.rows, config.lanes
        table = np.array([q.dtype.lane(code) for code in range(len(q.dtype.integers))], np.uint8)
        form, last_block = format_value(config, q.dtype), self.packet.blocks - 1
        for block, group in itertools.product(range(last_block + 1), range(q.groups)):
            codes = q.codes[block * rows : (block + 1) * rows, group * q.group : (group + 1) * q.group]
            missing = rows - codes.shape[0], -codes.shape[1] % lanes
            carried = table[np.pad(codes, ((0, missing[0]), (0, missing[1])))]
            for start in range(0, carried.shape[1], lanes):
                yield {
                    "codes": carried[:, start : start + lanes].tolist(),
                    "selectors": self._padded(q.selector, block, group, 0),
                    "format": form,
                    "last": int(start + lanes == carried.shape[1]),
                    "final": int(group == q.groups - 1),
                    "finished": int(block == last_block),
                }

    def _scales(self) -> Iterator[dict[str, Any]]:
        q = self.q
        counts = q.dtype.asymmetric and (not self.has_offset or q.zero_point.all())
        zero_fill = 1 << q.dtype.bits - 1 if counts else 0
        for block, group in itertools.product(range(self.packet.blocks), range(q.groups)):
            columns = {
                "scale": self._padded(q.scale_mantissa, block, group, int(not q.scale_format.mantissa_bits)),
                "scale_distance": self._padded(q.scale_distance, block, group, 0),
                "zero_point": self._padded(q.zero_point, block, group, zero_fill),
                "offset": self._padded(q.offset_mantissa, block, group, 0),
                "offset_distance": self._padded(q.offset_distance, block, group, 0),
            }
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            yield {"rows": rows, "reach": self.reach, "has_offset": int(self.has_offset)}

    def _channels(self) -> Iterator[dict[str, Any]]:
        q, size = self.q, self.config.rows
        for block in range(self.packet.blocks):
            start = block * size
            exponents = q.channel_exponent[start : start + size].tolist()
            end = HEADER_BITS + (block + 1) * self.packet.block_bits
            yield {
                "rows": [{"exponent": exponent} for exponent in [*exponents, *[0] * size][:size]],
                "count": min(size, q.shape[0] - start),
                "output": OUTPUTS.index(self.output),
                "reach": self.reach,
                "last": int(block == self.packet.blocks - 1),
                "error": int(self.valid_bits is not None and end > self.valid_bits),
            }
