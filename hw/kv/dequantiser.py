"""Dequantiser: pages as they were read, back to float16, for users without the array.

Meaning: ``golden.kv.formats.Format.decode_half`` of what ``golden.kv.pages.PageLayout`` reads. The numbers of
the next page, its metadata, are taken into one half of two memories, one for scales and one for minima, while
the codes of the present page leave with the numbers of the other half. Codes are not stored: a beat stays at
the input until all of it has left.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.config import Config
from hw.kv import value_lane
from hw.kv.formats import kind_of
from hw.kv.page_shape import entries, field_words, groups_of_token, in_groups
from hw.kv.page_walk import PageWalk
from hw.kv.payloads import (
    CODE_BITS,
    HALF_BITS,
    SELECTOR_BITS,
    Axis,
    page_beat,
    page_format,
    value_beat,
    word,
)
from hw.kv.value_lane import ValueLane
from hw.numbers.one_hot import choose

__all__ = ["PAGE_OVERHEAD", "Dequantiser"]

PAGE_OVERHEAD = value_lane.LATENCY + 1
"""Cycles of a page beyond one for every beat of values."""

_LINE_BITS = 3
"""Of a place, decoded first: short lines need few buffers."""


class Dequantiser(wiring.Component):
    """Decode page after page, in the order in which they lie.

    Throughput: ``kv.lanes`` elements a cycle; a page of D channels takes P * D / lanes +
    ``PAGE_OVERHEAD`` cycles, if its numbers came while the page before left. Latency: ``PAGE_OVERHEAD`` + 1
    cycles from the last word of numbers to the first elements. A source that begins the next beat of codes
    only when the present one has left adds its own cycles: a ``PageReader`` b - 1 a beat of b bits.

    A header is taken when its page begins to leave, and waits until the numbers of its page have come. These
    are finite, and scales are not negative; elements of a group where that is not so are undefined. Rounding
    is to nearest even, values out of range become the largest, and zeros are +0.

    Members:
        headers (in stream): formats of the pages, legal ones.
        numbers (in stream): words of scales, then of minima if the rule is affine, or of selectors with
            BitMoD's data types; ``last`` closes a page.
        beats (in stream): codes, as many as the format says.
        elements (out stream): values.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "headers": In(stream.Signature(page_format(config))),
                "numbers": In(stream.Signature(word(config.memory_bits))),
                "beats": In(stream.Signature(page_beat(config))),
                "elements": Out(stream.Signature(value_beat(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        depth = 2 * entries(config) * HALF_BITS // config.memory_bits
        memories = {
            name: Memory(shape=config.memory_bits, depth=depth, init=[]) for name in ("scales", "minima")
        }
        for name, memory in memories.items():
            m.submodules[name] = memory
        form = Signal(page_format(config), reset_less=True)
        half = Signal()  # the one that is read
        full = Signal()
        begins = Signal()
        advance = Signal()
        step = Signal()
        self._fill(m, list(memories.values()), full, begins, ~half)
        walk, feeding = self._walk(m, form, begins, full, advance, step)
        with m.If(begins):
            m.d.sync += [form.eq(self.headers.payload), half.eq(~half)]

        # The memories look the numbers up while the lanes make factors of the codes.
        index = self._index(form, walk)
        words, within = self._look_up(m, memories, form, index, half, advance)
        lane_bits = ceil_log2(config.kv.lanes)
        if config.kv.bitmod:
            selectors, within_selectors = self._selectors(m, words["minima"], index, advance)
        codes = self._codes(m, step, feeding & advance)
        by_token = form.axis == Axis.TOKEN
        for number in range(config.kv.lanes):
            m.submodules[f"lane_{number}"] = lane = ValueLane(config)
            scale, minimum = (
                self._number(m, f"{name}_{number}", found, within, by_token, number)
                for name, found in words.items()
            )
            m.d.comb += [
                lane.advance.eq(advance),
                lane.kind.eq(kind_of(form)),
                lane.coding.eq(form.coding),
                lane.code.eq(codes.word_select(number, CODE_BITS)),
                lane.scale.eq(scale),
                lane.minimum.eq(minimum),
                self.elements.payload.elements[number].eq(lane.value),
            ]
            if config.kv.bitmod:
                selected = within_selectors[:lane_bits] if lane_bits else Const(0, 1)
                place = Mux(by_token, selected, number)
                m.d.comb += [
                    lane.bitmod.eq(form.bitmod),
                    lane.selector.eq(selectors.word_select(place if lane_bits else 0, SELECTOR_BITS)),
                ]
        return m

    def _selectors(self, m: Module, words: Value, index: Value, advance: Value) -> tuple[Value, Signal]:
        """Selectors for all lanes out of a word of them, and the place of the first one in the word."""
        lane_bits = ceil_log2(self.config.kv.lanes)
        within = Signal(
            ceil_log2(self.config.memory_bits // SELECTOR_BITS), name="within_selectors", reset_less=True
        )
        with m.If(advance):
            m.d.sync += within.eq(index)
        width = SELECTOR_BITS << lane_bits
        return _selected(m, "selectors", words, within[lane_bits:], width), within

    def _walk(
        self, m: Module, form: data.View, begins: Signal, full: Value, advance: Signal, step: Signal
    ) -> tuple[PageWalk, Signal]:
        """Count what goes into the lanes and what leaves; returns the former walk and whether it goes on."""
        m.submodules.walk = walk = PageWalk(self.config)
        m.submodules.leaving = leaving = PageWalk(self.config)
        active = Signal()
        feeding = Signal()
        leaves = Signal()
        error = Signal(reset_less=True)
        under_way = Signal(value_lane.LATENCY)  # the last one is at the output
        m.d.comb += [
            begins.eq(full & ~active),
            advance.eq(~self.elements.valid | self.elements.ready),
            step.eq(feeding & self.beats.valid & advance),
            leaves.eq(self.elements.valid & self.elements.ready),
            walk.form.eq(form),
            walk.restart.eq(begins),
            walk.advance.eq(step),
            leaving.form.eq(form),
            leaving.restart.eq(begins),
            leaving.advance.eq(leaves),
            self.headers.ready.eq(begins),
            self.elements.valid.eq(under_way[-1]),
            self.elements.payload.token.eq(leaving.token),
            self.elements.payload.beat.eq(leaving.beat),
            self.elements.payload.error.eq(leaving.last & error),
            self.elements.payload.last.eq(leaving.last),
        ]
        with m.If(advance):
            m.d.sync += under_way.eq(Cat(step, under_way))
        with m.If(step & walk.last):
            m.d.sync += [feeding.eq(0), error.eq(self.beats.payload.error)]
        with m.If(leaves & leaving.last):
            m.d.sync += active.eq(0)
        with m.If(begins):
            m.d.sync += [active.eq(1), feeding.eq(1)]
        return walk, feeding

    def _look_up(
        self,
        m: Module,
        memories: dict[str, Memory],
        form: data.View,
        index: Value,
        half: Value,
        advance: Value,
    ) -> tuple[dict[str, Value], Signal]:
        """The words of the memories that hold a step's numbers, and the place of the first one in them.

        A word has at least as many numbers as there are lanes.
        """
        place_bits = ceil_log2(self.config.memory_bits // HALF_BITS)
        within = Signal(place_bits, name="within_word", reset_less=True)
        words = {}
        for name, memory in memories.items():
            port = memory.read_port()
            place = index[place_bits:]
            if name == "minima" and self.config.kv.bitmod:  # or selectors, more of them in a word
                place = Mux(form.bitmod, place >> exact_log2(HALF_BITS // SELECTOR_BITS), place)
            m.d.comb += [port.addr.eq(Cat(place, half)), port.en.eq(advance)]
            words[name] = port.data
        with m.If(advance):
            m.d.sync += within.eq(index[:place_bits])
        return words, within

    def _fill(self, m: Module, memories: list[Memory], full: Signal, begins: Value, half: Value) -> None:
        """Take the numbers of the page whose header waits at the input."""
        config = self.config
        form, incoming = self.headers.payload, self.numbers.payload
        per_word = config.memory_bits // HALF_BITS
        count = Signal(range(entries(config) // per_word))
        in_minima = Signal()
        take = Signal()
        m.d.comb += [
            self.numbers.ready.eq(self.headers.valid & ~full),
            take.eq(self.numbers.valid & self.numbers.ready),
        ]
        following = Signal(len(count) + 1)
        m.d.comb += following.eq(count + 1)
        with m.If(take):
            m.d.sync += count.eq(following)
            with m.If(following == field_words(form, config)):
                m.d.sync += [count.eq(0), in_minima.eq(1)]
            with m.If(incoming.last):
                m.d.sync += [count.eq(0), in_minima.eq(0), full.eq(1)]
        with m.If(begins):
            m.d.sync += full.eq(0)
        for memory, chosen in zip(memories, (~in_minima, in_minima), strict=True):
            write = memory.write_port()
            m.d.comb += [
                write.addr.eq(Cat(count, half)),
                write.data.eq(incoming.data),
                write.en.eq(take & chosen),
            ]

    def _index(self, form: data.View, walk: PageWalk) -> Value:
        """Place of the group of a step's first element among the numbers of its field."""
        by_token = form.axis == Axis.TOKEN
        channel = walk.beat << ceil_log2(self.config.kv.lanes)
        rows = Mux(by_token, walk.token, in_groups(form, walk.token))
        product = rows * Mux(by_token, groups_of_token(form), form.channels)
        index = Mux(by_token, product + in_groups(form, channel), (product << 4) + channel)
        return index[: ceil_log2(entries(self.config))]

    def _number(self, m: Module, name: str, held: Value, within: Value, by_token: Value, lane: int) -> Value:
        """The number for a lane: all lanes have the one at ``within``, or each its own from there on."""
        lane_bits = ceil_log2(self.config.kv.lanes)
        own = _selected(m, name, held, within[lane_bits:], HALF_BITS << lane_bits)
        place = Mux(by_token, within[:lane_bits], lane) if lane_bits else 0
        return own.word_select(place, HALF_BITS)

    def _codes(self, m: Module, step: Value, ready: Value) -> Value:
        """As many codes of the beat at the input as there are lanes; the last ones take the beat."""
        lanes = self.config.kv.lanes
        phase = Signal(range(self.config.memory_bits // lanes))
        with m.If(step):
            m.d.sync += phase.eq(phase + 1)
        m.d.comb += self.beats.ready.eq(ready & phase.all())
        codes = Value.cast(self.beats.payload.beat.codes)
        return _selected(m, "codes", codes, phase, CODE_BITS * lanes)


def _selected(m: Module, name: str, value: Value, place: Value, width: int) -> Value:
    """``value.word_select(place, width)`` by one line a word, which takes less than multiplexers."""
    parts = [value[first : first + width] for first in range(0, len(value), width)]
    for level, bits in (("low", place[:_LINE_BITS]), ("high", place[_LINE_BITS:])):
        count = 1 << len(bits)
        lines = Signal(count, name=f"{name}_{level}_lines")
        m.d.comb += lines.eq(1 << bits)
        parts = [choose(lines, parts[first : first + count]) for first in range(0, len(parts), count)]
    return parts[0]
