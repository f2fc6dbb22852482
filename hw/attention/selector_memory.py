"""Selector memory: the selectors of BitMoD's pages, those of a chunk's rows or lanes at once.

A page has them group after group, in the order of its scales. A chunk of the array wants those of successive
tokens of a group's channels, or of successive channels. So what is wanted at once is spread over banks as it
is written: item i lies in bank i modulo the number of banks, where an item is a token with the selectors of
all its groups (axis token) or the one selector of a channel and its tokens (axis channel).
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.attention.payloads import chunk_selectors, selector_page, selector_word
from hw.attention.product_shape import inputs_of, is_folded, most_outputs, outputs_of
from hw.config import Config
from hw.kv.page_shape import channels, groups_of_token, in_groups
from hw.kv.payloads import SELECTOR_BITS, SHORTEST_GROUP, Axis, Side

__all__ = ["SelectorMemory", "selectors_fit"]

_STEPS = 16
"""Cycles in which a word of selectors is written."""

_PAGES = 4
"""Pages whose selectors have been written and whose last chunk has not left."""


def _per_step(config: Config) -> int:
    """Selectors that are written in a cycle."""
    return config.memory_bits // SELECTOR_BITS // _STEPS


def _banks(config: Config) -> int:
    return max(config.rows, config.lanes, _per_step(config))


def _depth(config: Config) -> int:
    """Words of a page in a bank: of one with the most groups by either axis, rounded up to a power of two."""
    tokens, banks = config.kv.page_tokens, _banks(config)
    by_token = tokens // banks << ceil_log2(_token_words(config))
    by_channel = -(-(tokens // SHORTEST_GROUP * config.kv.channels) // (banks * _per_step(config)))
    return 1 << ceil_log2(max(by_token, by_channel))


def _token_words(config: Config) -> int:
    """Most words of a token."""
    return -(-(config.kv.channels // SHORTEST_GROUP) // _per_step(config))


def selectors_fit(form: data.View, config: Config) -> Value:
    """Whether a step writes whole tokens, or is a part of one."""
    step = _per_step(config)
    counts = range(1, config.kv.channels // SHORTEST_GROUP + 1)
    whole = [count for count in counts if count % step == 0 or step % count == 0]
    return (form.axis == Axis.CHANNEL) | Cat(groups_of_token(form) == count for count in whole).any()


class SelectorMemory(wiring.Component):
    """Send the selectors of page after page, those of a chunk a cycle, again for each turn of queries.

    A word of selectors is taken every 16 cycles. They are offered two cycles after the last one of their page
    has been written.

    Members:
        words (in stream): words of selectors, each with its page.
        chunks (out stream): for each chunk of the pages, as ``CodeMemory`` sends its codes.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(selector_word(config))),
                "chunks": Out(stream.Signature(chunk_selectors(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = _per_step(self.config)
        width = SELECTOR_BITS * step
        banks = []
        for number in range(_banks(self.config)):
            bank = memory.Memory(shape=width, depth=_PAGES * _depth(self.config), init=[])
            m.submodules[f"bank_{number}"] = bank
            banks.append(bank)
        m.submodules.written_pages = pages = SyncFIFO(width=selector_page(self.config).size, depth=_PAGES)
        self._write(m, banks, pages)
        self._read(m, banks, pages)
        return m

    def _write(self, m: Module, banks: Sequence[memory.Memory], pages: SyncFIFO) -> None:
        """A few selectors of a word a cycle, in all banks that have a part of them."""
        config, step = self.config, _per_step(self.config)
        word = Signal(selector_word(config), reset_less=True)
        active = Signal()
        number = Signal(range(_STEPS))
        word_ends = Signal()
        page_ends = Signal()
        count = Signal(range(config.kv.channels // SHORTEST_GROUP + 1))  # selectors of an item
        item = Signal(range(config.kv.page_tokens // SHORTEST_GROUP * config.kv.channels))
        group = Signal.like(count, name="written_group")  # within the item
        slot = Signal(range(_PAGES))
        item_ends = Signal()
        m.d.comb += [
            count.eq(Mux(word.page.axis == Axis.TOKEN, groups_of_token(word.page), 1)),
            word_ends.eq(active & (number == _STEPS - 1)),
            page_ends.eq(word_ends & word.last),
            item_ends.eq(group + step >= count),
            self.words.ready.eq((~active | word_ends) & (pages.w_level + page_ends < _PAGES)),
            pages.w_data.eq(word.page),
            pages.w_en.eq(page_ends),
        ]
        with m.If(active):
            m.d.sync += [
                number.eq(number + 1),
                word.data.eq(word.data >> SELECTOR_BITS * step),
                group.eq(Mux(item_ends, 0, group + step)),
            ]
        sizes = [1 << log for log in range(exact_log2(step) + 1)]
        kinds = []  # how many selectors of an item a step has, one-hot
        for size in sizes:
            kind = Signal(name=f"step_of_{size}")
            m.d.comb += kind.eq(count == size if size < step else count >= step)
            kinds.append(kind)
            with m.If(active & item_ends & kind):
                m.d.sync += item.eq(item + step // size)
        with m.If(page_ends):
            m.d.sync += [item.eq(0), slot.eq(slot + 1)]
        with m.If(word_ends):
            m.d.sync += active.eq(0)
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += [word.eq(self.words.payload), active.eq(1)]
        address, own_place = self._address(m, "written", word.page.axis, item, group)
        # A word has some selectors of a token, or one selector of channels that lie apart.
        places = Mux(word.page.axis == Axis.TOKEN, Const(-1, step), 1 << own_place)[:step]
        low = item[: exact_log2(len(banks))]
        for bank_number, bank in enumerate(banks):
            write = bank.write_port(granularity=SELECTOR_BITS)
            enable: Value = Const(0, 1)
            content: Value = Const(0, SELECTOR_BITS * step)
            for size, kind in zip(sizes, kinds, strict=True):
                items = step // size
                start = bank_number % items * size * SELECTOR_BITS
                enable = enable | (kind & (low[exact_log2(items) :] == bank_number // items))
                own = word.data[start : start + size * SELECTOR_BITS]
                content = content | Mux(kind, own.replicate(items), 0)
            m.d.comb += [
                write.addr.eq(Cat(address, slot)),
                write.data.eq(content),
                write.en.eq(Mux(active & enable, places, 0)),
            ]

    def _address(self, m: Module, name: str, axis: Value, item: Value, place: Value) -> tuple[Signal, Signal]:
        """Word of an item's selector of a group in its bank, among those of its page, and place in it."""
        config = self.config
        rest = item[exact_log2(_banks(config)) :]
        low = exact_log2(_per_step(config))
        within = place[low:][: ceil_log2(_token_words(config))]
        address = Signal(exact_log2(_depth(config)), name=f"{name}_address")
        own_place = Signal(low, name=f"{name}_place")
        m.d.comb += [
            address.eq(Mux(axis == Axis.TOKEN, Cat(within, rest), rest[low:])),
            own_place.eq(Mux(axis == Axis.TOKEN, place, rest)),
        ]
        return address, own_place

    def _read(self, m: Module, banks: Sequence[memory.Memory], pages: SyncFIFO) -> None:
        """Chunk after chunk, turn after turn."""
        config = self.config
        page = Signal(selector_page(config))
        advance = Signal()
        slot = Signal(range(_PAGES), name="read_slot")
        token = Signal(range(config.kv.page_tokens))
        channel = Signal(range(config.kv.channels))
        item = Signal(range(config.kv.page_tokens // SHORTEST_GROUP * config.kv.channels), name="read_item")
        group = Signal(range(config.kv.channels // SHORTEST_GROUP + 1), name="read_group")
        by_token = page.axis == Axis.TOKEN
        m.d.comb += [
            page.eq(pages.r_data),
            advance.eq(~self.chunks.valid | self.chunks.ready),
            item.eq(Mux(by_token, token, in_groups(page, token) * channels(page) + channel)),
            group.eq(Mux(by_token, in_groups(page, channel), 0)),
        ]
        self._walk(m, page, pages, advance, token, channel, slot)
        low = Signal(exact_log2(len(banks)), reset_less=True)
        within = Signal(exact_log2(_per_step(config)), reset_less=True)
        by_lane = Signal(reset_less=True)
        present = Signal()
        address, place = self._address(m, "read", page.axis, item, group)
        found = []
        for bank in banks:
            read = bank.read_port()
            m.d.comb += [read.addr.eq(Cat(address, slot)), read.en.eq(advance)]
            found.append(read.data.word_select(within, SELECTOR_BITS))
        out = self.chunks.payload
        with m.If(advance):
            m.d.sync += [
                present.eq(pages.r_rdy),
                low.eq(item),
                within.eq(place),
                by_lane.eq(is_folded(page)),
                self.chunks.valid.eq(present),
                out.by_lane.eq(by_lane),
                out.rows.eq(_aligned(found, low, config.rows)),
                out.lanes.eq(_aligned(found, low, config.lanes)),
            ]

    def _walk(
        self,
        m: Module,
        page: data.View,
        pages: SyncFIFO,
        advance: Value,
        token: Signal,
        channel: Signal,
        slot: Signal,
    ) -> None:
        """First token and channel of chunk after chunk."""
        config = self.config
        outer = Signal(range(most_outputs(config)))
        inner = Signal(range(most_outputs(config)))
        turn = Signal.like(page.last_turn)
        block_ends = Signal()
        turn_ends = Signal()
        is_key = page.side == Side.KEY
        m.d.comb += [
            token.eq(Mux(is_key, outer, inner)),
            channel.eq(Mux(is_key, inner, outer)),
            block_ends.eq(inner == inputs_of(page, config) - config.lanes),
            turn_ends.eq(block_ends & (outer == outputs_of(page, config) - config.rows)),
            pages.r_en.eq(pages.r_rdy & advance & turn_ends & (turn == page.last_turn)),
        ]
        with m.If(pages.r_rdy & advance):
            m.d.sync += inner.eq(Mux(block_ends, 0, inner + config.lanes))
            with m.If(block_ends):
                m.d.sync += outer.eq(Mux(turn_ends, 0, outer + config.rows))
            with m.If(turn_ends):
                m.d.sync += turn.eq(turn + 1)
            with m.If(pages.r_en):
                m.d.sync += [turn.eq(0), slot.eq(slot + 1)]


def _aligned(found: Sequence[Value], low: Value, count: int) -> Value:
    """So many neighbours of the banks, from a multiple of their number on."""
    if len(found) == count:
        return Cat(found)
    return Cat(found).word_select(low[exact_log2(count) :], SELECTOR_BITS * count)
