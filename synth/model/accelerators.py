"""The designs that are compared, each as what the system model asks of it: cycles and bytes.

FP16, ANT, OliVe and BitMoD are the published arrays with every fault mended that a model can mend (equal
area, real shapes of attention, selectors and scales read). Their weights have the width of their data
types, their KV caches the precision of their publications: 16 bits, BitMoD 8. kvloom itself is in
``synth.model.kvloom``.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol

from synth.model.areas import Areas
from synth.model.networks import Network
from synth.model.published import BUFFER_BYTES
from synth.model.published_designs import DESIGNS, Design

__all__ = ["FP16_MACS", "UNITS", "Accelerator", "Published", "published"]

UNITS = {"FP16": "fp16_mac", "BitMoD": "bitmod_pe", "ANT": "ant_mac", "OliVe": "olive_mac", "kvloom": "tile"}
"""What stands for a design in a file of areas: blocks that multiply FP16 activations."""

_HEAD_BITS = 4

FP16_MACS = 768
"""The published FP16 array."""


class Accelerator(Protocol):
    """What the system model asks of a design."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str:
        """Name, weights and KV cache."""
        ...

    @property
    def peak(self) -> float:
        """Multiplications a cycle with its weights."""
        ...

    def linear(self, inputs: int, outputs: int, tokens: int, head: bool = False) -> tuple[float, int]:
        """Cycles of a matrix product, and bytes of its weights; ``head``: those of the output layer."""
        ...

    def attention(self, network: Network, tokens: int, context: int, batch: int) -> float:
        """Cycles of one layer's scores and weighted sums."""
        ...

    def cached(self, network: Network, context: int) -> int:
        """Bytes of one layer's keys and values of one sequence, as attention reads them."""
        ...

    def moved(self, network: Network, tokens: int, context: int) -> float:
        """Bytes of one layer's keys and values of one sequence that are read and written."""
        ...

    def writing(self, network: Network, tokens: int) -> float:
        """Cycles in which one layer's new keys and values are quantised, beside everything else."""
        ...


@dataclass(frozen=True)
class Published:
    """A design of the published comparison.

    Attributes:
        design: its array.
        bits: of a weight; of the output layer at least 4.
        kv_bits: of an element of keys and values.
        selector_bits: bits of a group of 128 weights beside their codes and scales.
        scale_bits: bits of a group's scale.
        columns: of the array for prompts; None for the published number.
    """

    design: Design
    bits: int
    kv_bits: int
    selector_bits: int = 0
    scale_bits: int = 0
    columns: int | None = None

    @property
    def name(self) -> str:
        return self.design.name.partition("-")[0]

    @property
    def label(self) -> str:
        return f"{self.name} W{self.bits} KV{self.kv_bits}"

    @property
    def peak(self) -> float:
        rows, columns = self._array(False)
        return rows * columns * self.design.dot / self.design.terms(self.bits)

    def _array(self, decoding: bool) -> tuple[int, int]:
        rows, columns = self.design.arrays[decoding]
        if self.columns is not None:
            columns = max(self.columns // (1 + decoding), 1)
        return rows, columns

    def _cycles(self, inputs: int, outputs: int, tokens: int, bits: int) -> int:
        """The better of the published arrangements for prompts and for single tokens."""
        return min(
            ceil(inputs / self.design.dot) * ceil(outputs / rows) * ceil(tokens / columns)
            for rows, columns in (self._array(False), self._array(True))
        ) * self.design.terms(bits)

    def linear(self, inputs: int, outputs: int, tokens: int, head: bool = False) -> tuple[float, int]:
        groups, width = ceil(inputs / 128), max(self.bits, _HEAD_BITS) if head else self.bits
        bits = inputs * width + groups * (self.selector_bits + self.scale_bits) + 16
        return self._cycles(inputs, outputs, tokens, width), ceil(bits * outputs / 8)

    def attention(self, network: Network, tokens: int, context: int, batch: int) -> float:
        shared = tokens * network.heads // network.kv_heads
        shapes = ((network.head, context), (context, network.head))
        return batch * network.kv_heads * sum(self._cycles(*shape, shared, self.kv_bits) for shape in shapes)

    def cached(self, network: Network, context: int) -> int:
        return 2 * context * network.kv_width * self.kv_bits // 8

    def moved(self, network: Network, tokens: int, context: int) -> float:
        """As many rows of scores as fit into the buffer at a time, for which keys and values are read."""
        scores = 2 * tokens * (network.heads // network.kv_heads) * context
        return self.cached(network, context) * (ceil(scores / BUFFER_BYTES) + tokens / context)

    def writing(self, network: Network, tokens: int) -> float:
        return 0.0


def published(areas: Areas | None = None) -> tuple[Published, ...]:
    """FP16, ANT, OliVe and BitMoD at 4 and at 3 bits; arrays from areas where these are measured."""
    ant = replace(DESIGNS["ANT"], arrays=DESIGNS["OliVe"].arrays)
    bitmod = DESIGNS["BitMoD-LY"]
    designs = (
        Published(DESIGNS["FP16"], 16, 16),
        Published(ant, 4, 16),
        Published(DESIGNS["OliVe"], 4, 16),
        Published(bitmod, 4, 8, 2, 8),
        Published(bitmod, 3, 8, 2, 8),
    )
    return tuple(replace(one, columns=_columns(one, areas)) for one in designs)


def _columns(one: Published, areas: Areas | None) -> int | None:
    """Columns of an array in the area of the FP16 one; None where an area is absent."""
    unit = areas.unit(UNITS[one.name]) if areas else None
    fp16 = areas.unit("fp16_mac") if areas else None
    if unit is None or fp16 is None or one.name == "FP16":
        return None
    own = one.design.dot / one.design.terms(4)
    elements = unit.rate(own)[1] / own * FP16_MACS * fp16.area / unit.area
    return max(int(elements / one.design.arrays[0][0]), 1)
