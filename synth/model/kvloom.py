"""kvloom as the system model sees it: tiles, each with its attention engine, that share a memory.

Cycles are those of ``synth.model.timeline`` and ``synth.model.attention_timeline``, bytes those of
``golden.weights.layout`` and ``golden.kv.pages``.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import SCHEMES, WINDOW, Scheme
from golden.numbers import datatypes, scales
from golden.weights.packet import HEADER_BITS, Packet
from hw.config import Config, KvConfig, preset
from hw.kv.payloads import HALF_BITS
from hw.kv.quantiser import page_cycles
from hw.kv.token_writer import token_cycles
from synth.model.accelerators import FP16_MACS
from synth.model.areas import Areas
from synth.model.attention_timeline import Run, attention_cycles
from synth.model.networks import Network
from synth.model.timeline import product_cycles, vector_cycles

__all__ = ["COLUMNS", "KV", "WEIGHTS", "Kvloom", "edge", "fits", "kvloom", "tiles"]


def _scheme(rule: str, bits: int) -> Scheme:
    """KIVI's arrangement, the newest 32 tokens in 8-bit pages."""
    key, value = Format(rule, bits, "channel", 32), Format(rule, bits, "token", 32)
    return Scheme(key, value, "paged", 32, WINDOW)


_TOKEN = Format("native", 2, "token", None)

KV: dict[str, Scheme] = {
    **{name: scheme for name, scheme in SCHEMES.items() if scheme.window_format is not None},
    "native2_token": Scheme(_TOKEN, _TOKEN, "strict", 0),
    "ternary_folded": _scheme("ternary_scaled", 2),
    "sign_folded": _scheme("sign", 1),
}
"""KV schemes by name that the attention engine reads: those of ``golden.kv.schemes`` whose window lies in
pages, 2 bits with one group a token, and signs and trits in KIVI's arrangement."""

WEIGHTS = datatypes.names()

COLUMNS = (1, 2, 4)
"""Columns of ``edge`` that its attention engine can spread queries over."""

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
    attends to KV heads of its own. The vector of a product is aligned before the product begins, since it
    depends on the one before.

    Attributes:
        weights: data type.
        kv: a name in ``KV``.
        tiles: how many.
        head: data type of the output layer.
        config: of a tile.
        title: what it is called.
    """

    weights: str
    kv: str
    tiles: int
    head: str = "bitmod4"
    config: Config = _TILE
    title: str = "kvloom"

    def __post_init__(self) -> None:
        for field, value in (("weights", self.weights), ("head", self.head)):
            if value not in WEIGHTS:
                raise ValueError(f"{field} {value!r} must be one of {', '.join(WEIGHTS)}")
        if self.kv not in KV:
            raise ValueError(f"kv {self.kv!r} must be one of {', '.join(KV)}")

    @property
    def name(self) -> str:
        return "kvloom"

    @property
    def label(self) -> str:
        return f"{self.title} {self.weights} {self.kv}"

    @property
    def peak(self) -> float:
        products = self.config.rows * self.config.lanes * self.config.columns * self.tiles
        return products / datatypes.get(self.weights).term_count

    def linear(self, inputs: int, outputs: int, tokens: int, head: bool = False) -> tuple[float, int]:
        return _linear(self, inputs, outputs, tokens, self.head if head else self.weights)

    def _layout(self, side: str, form: Format, network: Network) -> PageLayout:
        """A page of a format.

        Raises:
            ValueError: the engine does not read it.
        """
        config = self.config
        if network.head > config.kv.channels:
            raise ValueError(f"heads of {network.head} elements must have at most {config.kv.channels}")
        layout = PageLayout(form, side, config.kv.page_tokens, network.head, config.rows, config.lanes)
        length = form.group or (layout.channels if form.axis == "token" else layout.tokens)
        if length not in config.group_lengths:
            allowed = ", ".join(map(str, config.group_lengths))
            raise ValueError(
                f"kv {self.kv!r} has groups of {length} in {side}s, which must be one of {allowed}"
            )
        numbers = config.memory_bits // HALF_BITS
        if layout.groups % numbers:
            raise ValueError(
                f"kv {self.kv!r} has {layout.groups} groups in a page of {side}s, "
                f"which must be a multiple of {numbers}"
            )
        return layout

    def _runs(self, network: Network, context: int) -> tuple[Run, Run]:
        """Pages of a head: those of the scheme, and those of the window, the last of which is not full."""
        scheme, page = KV[self.kv], self.config.kv.page_tokens
        pages = ceil(context / page)
        own = max(context - scheme.residual, 0) // page if scheme.window_format else pages
        key, value = self._layout("key", scheme.key, network), self._layout("value", scheme.value, network)
        if scheme.window_format is None:
            return (key, value, pages), (key, value, 0)
        key_window, value_window = (
            self._layout(side, scheme.window_format, network) for side in ("key", "value")
        )
        return (key, value, own), (key_window, value_window, pages - own)

    def _lists(self, network: Network, tokens: int) -> tuple[int, int]:
        """How often a KV head's pages are read, and by how many queries at a time.

        Those are the query heads of a token, or of some successive ones, a power of two of them.
        """
        heads, most = network.heads // network.kv_heads, self.config.kv.queries
        if heads > most:
            return tokens * ceil(heads / most), most
        together = 1 << min(most // heads, tokens).bit_length() - 1
        return ceil(tokens / together), heads * together

    def attention(self, network: Network, tokens: int, context: int, batch: int) -> float:
        lists, queries = self._lists(network, tokens)
        lists = ceil(lists * batch * network.kv_heads / self.tiles)
        return attention_cycles(self.config, self._runs(network, context), queries, lists)

    def cached(self, network: Network, context: int) -> int:
        pages = sum((key.bytes + value.bytes) * count for key, value, count in self._runs(network, context))
        return pages * network.kv_heads

    def moved(self, network: Network, tokens: int, context: int) -> float:
        read = self._lists(network, tokens)[0] * self.cached(network, context)
        own, window = (
            (key.bytes + value.bytes) / key.tokens for key, value, _ in self._runs(network, context)
        )
        # A token is written to its page of the window and as float16, then read again and written to its own.
        written = own if KV[self.kv].window_format is None else own + window + 2 * 2 * 2 * network.head
        return read + tokens * network.kv_heads * written

    def writing(self, network: Network, tokens: int) -> float:
        page = self.config.kv.page_tokens
        (*own, _), _ = self._runs(network, page)
        each = sum(page_cycles(self.config, one.format, one.groups, one.elements) for one in own) / page
        if KV[self.kv].window_format is not None:
            each += 2 * token_cycles(self.config, network.head)
        return tokens * network.kv_heads * each / self.tiles


def _packet(config: Config, dtype: str, inputs: int, outputs: int) -> Packet:
    scale = scales.get("int8")
    return Packet(datatypes.get(dtype), scale, outputs, inputs, config.group, config.rows, config.lanes)


@cache
def _linear(one: Kvloom, inputs: int, outputs: int, tokens: int, dtype: str) -> tuple[float, int]:
    """Cycles and bytes of the best split over rows and tokens."""
    config, choices = one.config, []
    whole = _packet(config, dtype, inputs, outputs)
    for across in sorted({one.tiles // down for down in range(1, one.tiles + 1)}):
        share = ceil(whole.blocks / (one.tiles // across)) * config.rows
        vector = vector_cycles(config, inputs)
        packet = _packet(config, dtype, inputs, min(share, outputs))
        each = max(product_cycles(config, packet), vector)
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


def kvloom(areas: Areas, weights: str, kv: str, head: str = "bitmod4") -> Kvloom:
    """kvloom in the area of the FP16 array.

    Raises:
        ValueError: no such data type or KV scheme.
    """
    return Kvloom(weights, kv, tiles(areas), head)


def edge(weights: str, kv: str, head: str = "bitmod4", count: int = 1, columns: int = 1) -> Kvloom:
    """So many tiles of the default configuration, which share a memory, their arrays of so many columns.

    Raises:
        ValueError: no such data type or KV scheme.
    """
    config = preset("edge").changed(columns=columns)
    title = f"{count} edge" if columns == 1 else f"{count} edge of {columns} columns"
    return Kvloom(weights, kv, count, head, config, title)
