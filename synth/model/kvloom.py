"""kvloom as the system model sees it: tiles in the area of the FP16 array.

Cycles are those of ``synth.model.timeline`` and ``synth.model.page_timeline``, bytes those of
``golden.weights.layout`` and ``golden.kv.pages``.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import SCHEMES, Scheme
from golden.numbers import datatypes, scales
from golden.weights.packet import HEADER_BITS, Packet
from hw.config import Config, KvConfig
from hw.kv.quantiser import page_cycles as writer_cycles
from synth.model.accelerators import FP16_MACS
from synth.model.areas import Areas
from synth.model.networks import Network
from synth.model.page_timeline import page_cycles
from synth.model.timeline import product_cycles, vector_cycles

__all__ = ["KV", "WEIGHTS", "Kvloom", "fits", "kvloom", "tiles"]

KV: dict[str, Scheme | None] = {
    "fp16": None,
    **SCHEMES,
    "native2_64": Scheme(Format("native", 2, "channel", 64), Format("native", 2, "token", 64)),
    "native2_token": Scheme(
        Format("native", 2, "token", None), Format("native", 2, "token", None), "strict", 0
    ),
    "ternary_folded": Scheme(
        Format("ternary_mean", 2, "channel", 32), Format("ternary_mean", 2, "token", 32)
    ),
    "sign_folded": Scheme(Format("sign", 1, "channel", 32), Format("sign", 1, "token", 32)),
}
"""KV schemes by name: those of ``golden.kv.schemes``, float16, 2 bits in groups of 64 and of 128, and signs
and trits in KIVI's arrangement, whose scales are all folded into activations."""

WEIGHTS = datatypes.names()

_TILE = Config(
    rows=16,
    lanes=16,
    group=128,
    rescale_units=2,
    memory_bits=1024,
    maximum_inputs=32768,
    kv=KvConfig(page_tokens=64),
)
"""The tile whose area is measured; a word holds a chunk of 4-bit codes, which takes pages of 64 tokens."""


def tiles(areas: Areas) -> int:
    """Tiles in the area of the FP16 array."""
    fp16, tile = areas.unit("fp16_mac"), areas.unit("tile")
    assert fp16 is not None
    assert tile is not None
    return max(int(FP16_MACS * fp16.area / tile.area), 1)


@dataclass(frozen=True)
class Kvloom:
    """Tiles that share a memory.

    A matrix is split by rows over some tiles and by tokens over the others, whichever is faster; each tile
    reads pages of its own. The vector of a product is aligned before the product begins, since it depends on
    the one before.

    Attributes:
        weights: data type.
        kv: a name in ``KV``.
        tiles: how many.
        config: of a tile.
    """

    weights: str
    kv: str
    tiles: int
    config: Config = _TILE

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise ValueError(f"weights {self.weights!r} must be one of {', '.join(WEIGHTS)}")
        if self.kv not in KV:
            raise ValueError(f"kv {self.kv!r} must be one of {', '.join(KV)}")

    @property
    def name(self) -> str:
        return "kvloom"

    @property
    def label(self) -> str:
        return f"kvloom {self.weights} {self.kv}"

    @property
    def peak(self) -> float:
        products = self.config.rows * self.config.lanes * self.config.columns * self.tiles
        return products / datatypes.get(self.weights).term_count

    def _packet(self, inputs: int, outputs: int) -> Packet:
        config, dtype = self.config, datatypes.get(self.weights)
        scale = scales.get("int8")
        return Packet(dtype, scale, outputs, inputs, config.group, config.rows, config.lanes)

    def linear(self, inputs: int, outputs: int, tokens: int) -> tuple[float, int]:
        return _linear(self, inputs, outputs, tokens)

    def _pages(self, network: Network, context: int) -> tuple[tuple[PageLayout | None, int, int], ...]:
        """Of keys and of values: layout of a page, pages and float16 tokens of a head."""
        scheme = KV[self.kv]
        if scheme is None:
            return ((None, 0, context),) * 2
        found = []
        quantized = scheme.quantized(np.array([context - 1]))
        page = self.config.kv.page_tokens
        sides = (("key", scheme.key, quantized[0]), ("value", scheme.value, quantized[1]))
        for side, form, leaving in sides:
            tokens = int(leaving[0])
            if scheme.order == "paged":
                tokens -= tokens % page
            layout = PageLayout(form, side, page, network.head, self.config.rows, self.config.lanes)
            self._check(layout)
            found.append((layout, ceil(tokens / page), context - tokens))
        return tuple(found)

    def _check(self, layout: PageLayout) -> None:
        """Refuse what the page tile refuses: scales of outputs whose groups are not those of the array."""
        form = layout.format
        length = form.group or (layout.channels if form.axis == "token" else layout.tokens)
        folded = (form.axis == "channel") == (layout.side == "key")
        if not folded and length != self.config.group:
            raise ValueError(
                f"kv {self.kv!r} has groups of {length} along the inputs of its {layout.side}s, "
                f"which must be those of the array, {self.config.group}"
            )

    def attention(self, network: Network, tokens: int, context: int, batch: int) -> float:
        queries = tokens * network.heads // network.kv_heads
        cycles = 0.0
        for layout, pages, recent in self._pages(network, context):
            if layout is not None:
                cycles += ceil(batch * network.kv_heads * pages / self.tiles) * page_cycles(
                    self.config, layout
                )
            # float16 tokens of the window take two terms; their unit is not part of the circuits
            cycles += batch * network.kv_heads * recent * network.head * 2 / self._products
        return queries * cycles

    @property
    def _products(self) -> int:
        return self.tiles * self.config.rows * self.config.lanes

    def cached(self, network: Network, context: int) -> int:
        elements = network.head * network.kv_heads
        return sum(
            (layout.bytes * pages * network.kv_heads if layout else 0) + 2 * recent * elements
            for layout, pages, recent in self._pages(network, context)
        )

    def writing(self, network: Network, tokens: int) -> float:
        scheme = KV[self.kv]
        if scheme is None:
            return 0.0
        pages = tokens / self.config.kv.page_tokens
        each = sum(
            writer_cycles(self.config, layout.format, layout.groups, layout.elements)
            for layout, *_ in self._pages(network, 4096)
            if layout is not None
        )
        return pages * network.kv_heads * each / self.tiles


@cache
def _linear(one: Kvloom, inputs: int, outputs: int, tokens: int) -> tuple[float, int]:
    """Cycles and bytes of the best split over rows and tokens."""
    config, choices = one.config, []
    whole = one._packet(inputs, outputs)
    for across in sorted({one.tiles // down for down in range(1, one.tiles + 1)}):
        share = ceil(whole.blocks / (one.tiles // across)) * config.rows
        vector = vector_cycles(config, inputs)
        each = max(product_cycles(config, one._packet(inputs, min(share, outputs))), vector)
        packets = ceil(outputs / share)
        size = ceil((whole.bits + (packets - 1) * HEADER_BITS) / 8)
        choices.append((vector + ceil(tokens / (across * config.columns)) * each, size))
    return min(choices)


def fits(kv: str, network: Network) -> bool:
    """Whether the tile can read a network's cache in a KV scheme."""
    try:
        Kvloom(WEIGHTS[0], kv, 1).cached(network, 4096)
    except ValueError:
        return False
    return True


def kvloom(areas: Areas, weights: str, kv: str) -> Kvloom:
    """kvloom in the area of the FP16 array.

    Raises:
        ValueError: no such data type or KV scheme.
    """
    return Kvloom(weights, kv, tiles(areas))
