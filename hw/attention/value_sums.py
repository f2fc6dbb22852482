"""Value sums: the sums of weighted values of all queries, in a memory of their own.

Meaning: ``golden.attention.sums`` and ``golden.attention.engine``. A word of the memory holds neighbouring
channels of one query and is read, changed and written a cycle. Sums of which a maximum has moved are shifted
one after another, by the one shifter that all share; that is rare. Sums leave in the cycles in which nothing
is changed.
"""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from golden.attention import widths
from golden.numbers.floats import EXPONENT_BIAS
from hw import payloads as array_payloads
from hw.attention import payloads
from hw.attention.payloads import Access
from hw.attention.value_lanes import (
    AMOUNT_BITS,
    EXCESS,
    FRACTION_BITS,
    MOST_PLACE,
    TERM_BITS,
    VALUE_BITS,
    AddingLane,
    PlacingLane,
)
from hw.config import Config
from hw.sharing import share

__all__ = ["PATIENCE", "ValueSums"]

PATIENCE = 64
"""Cycles that a sum waits for one in which nothing is changed, before segments leave it one."""


class ValueSums(wiring.Component):
    """Keep the sums of ``config.kv.queries`` queries of up to ``config.kv.channels`` channels.

    A segment of dot products takes ``lanes`` sums a cycle, ``lanes`` being half a row block, one of results
    ``rescale_units`` of them; where the maximum has moved, a word takes ``lanes + 1`` cycles. Segments follow
    one another without a gap; no sum may come again but after a word of others.

    Sums that are read are those after all segments that were taken before. They leave in order, one in two
    cycles at most, while no segment has anything under way; what waits here to be added never waits for
    them, except that results, and dot products of a moved maximum, let one by after ``PATIENCE`` cycles.

    Members:
        segments (in stream): what to do; taken with the last beat of it.
        reads (in stream): sums to be read; taken with the last of them, after which they may begin afresh.
        terms (in stream): an offset term for each segment; taken with its first beat.
        dots (in stream): dot products of the segment's row blocks, of all tokens of a page.
        settled (out): each row block of dot products is taken ``rows / lanes`` cycles after it came or after
            the one before, up to the next segment that is no such one or is moved; a register. Segments and
            terms must be there without a gap.
        results (in stream): FP32 results of the segment's row blocks, whole beats.
        sums (out stream): what is read.

    Raises:
        ValueError: groups of the array are shorter than a page, or dot products do not fit.
    """

    def __init__(self, config: Config) -> None:
        self._MustUse__used = True  # Amaranth would warn of a component that is refused here
        if config.group < config.kv.page_tokens:
            raise ValueError(
                f"group {config.group} must be at least {config.kv.page_tokens}, a page's tokens"
            )
        most = config.kv.page_tokens * config.largest_activation << 7
        if most >= 1 << VALUE_BITS - 1:
            raise ValueError(f"activation_bits {config.activation_bits} must be fewer")
        self.config = config
        self.units = config.rescale_units
        self.lanes = max(config.rows // 2, self.units)
        self.words = config.rows // self.lanes
        self.word_bits = ceil_log2(config.kv.channels // self.lanes)
        super().__init__(
            {
                "segments": In(stream.Signature(payloads.value_segment(config))),
                "reads": In(stream.Signature(payloads.value_read(config))),
                "terms": In(stream.Signature(payloads.offset_term)),
                "dots": In(stream.Signature(array_payloads.value_dots(config))),
                "results": In(stream.Signature(array_payloads.result(config))),
                "sums": Out(stream.Signature(payloads.value_sum)),
                "settled": Out(1),
            }
        )
        self._MustUse__used = False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = data.ArrayLayout(signed(widths.SUM_BITS), self.lanes)
        depth = self.config.kv.queries << self.word_bits
        m.submodules.memory = storage = memory.Memory(shape=word, depth=depth, init=[])
        read = storage.read_port()
        write = storage.write_port(granularity=1)
        advance = Signal()
        chosen = Signal(self._beat_layout())
        aligned = Signal(self._beat_layout())
        added = Signal(self._beat_layout())
        with m.If(advance):
            m.d.sync += [aligned.eq(chosen), added.eq(aligned)]
        fetched = Signal()
        yields = Signal()
        at_once = Signal()
        count = Signal(range(self.lanes + 1))
        lane_sum = Signal(signed(widths.SUM_BITS))
        channel = self._read(m, ~aligned.valid & ~added.valid, fetched, yields, lane_sum)
        lane = exact_log2(self.lanes)
        m.d.comb += [
            read.en.eq(advance),
            read.addr.eq(Mux(aligned.valid, aligned.address, Cat(channel[lane:], self.reads.p.query))),
            write.addr.eq(added.address),
            at_once.eq((self.segments.p.access == Access.DOTS) & ~chosen.moved.any()),
            lane_sum.eq(Array(read.data)[Mux(fetched, channel, count)[:lane]]),
        ]
        part, first = self._choose(m, advance & (at_once | ~yields), chosen)
        m.d.sync += self.settled.eq(self.segments.valid & at_once & ~aligned.serial & ~added.serial)
        shares, term = self._align(m, advance, part, first)
        self._add(m, advance, added, shares, term, read.data, count, lane_sum, write)
        return m

    def _read(self, m: Module, free: Value, fetched: Signal, yields: Signal, lane_sum: Value) -> Signal:
        """Fetch sum after sum, in cycles in which the memory is free.

        Args:
            free: nothing has been chosen whose sums are not written.
            fetched: a sum comes from the memory.
            yields: what need not be taken at once leaves a free cycle.
            lane_sum: that sum.

        Returns:
            Its channel, and that of the sum to be fetched next.
        """
        channel = Signal(range(self.config.kv.channels))
        waited = Signal(range(PATIENCE))
        wanted = Signal()
        last = Signal()
        m.d.comb += [
            wanted.eq(self.reads.valid & ~fetched & (~self.sums.valid | self.sums.ready)),
            yields.eq(waited == PATIENCE - 1),
            last.eq(channel == self.reads.p.blocks * self.config.rows - 1),
            self.reads.ready.eq(fetched & last),
        ]
        m.d.sync += fetched.eq(wanted & free)
        with m.If(self.sums.ready):
            m.d.sync += self.sums.valid.eq(0)
        with m.If(fetched):
            m.d.sync += [
                channel.eq(Mux(last, 0, channel + 1)),
                self.sums.p.sum.eq(lane_sum),
                self.sums.p.last.eq(last),
                self.sums.valid.eq(1),
            ]
        with m.If(wanted & free):
            m.d.sync += waited.eq(0)
        with m.Elif(wanted & ~yields):
            m.d.sync += waited.eq(waited + 1)
        return channel

    def _beat_layout(self) -> data.StructLayout:
        """One word on its way: which of its lanes count, and what happens to it."""
        return data.StructLayout(
            {
                "valid": 1,
                "lanes": self.lanes,
                "fresh": 1,
                "serial": 1,
                "moved": payloads.MOVED_BITS,
                "address": self.word_bits + ceil_log2(self.config.kv.queries),
                "last": 1,
            }
        )

    def _choose(self, m: Module, accepts: Value, chosen: data.View) -> tuple[Value, Value]:
        """First stage: walk through a segment.

        Returns:
            The beat's place in its row block, and whether it opens the segment.
        """
        segment, slots = self.segments.p, self.config.slots
        block = Signal.like(segment.blocks)
        part = Signal(range(slots))
        opened = Signal()
        of_results = Signal()
        source = Signal()
        part_last = Signal()
        issue = Signal()
        word = Signal(self.word_bits)
        turn = Mux(of_results, part * self.units // self.lanes, part)
        m.d.comb += [
            of_results.eq(segment.access == Access.RESULTS),
            source.eq(Mux(of_results, self.results.valid, self.dots.valid)),
            part_last.eq(part == Mux(of_results, slots - 1, self.words - 1)),
            word.eq((segment.block + block) * self.words + turn),
            issue.eq(accepts & self.segments.valid & source & (opened | self.terms.valid)),
            chosen.valid.eq(issue),
            chosen.fresh.eq(segment.fresh),
            chosen.moved.eq(Mux(segment.fresh, 0, segment.moved)),
            chosen.serial.eq(issue & chosen.moved.any()),
            chosen.address.eq(Cat(word, segment.query)),
            chosen.last.eq(part_last & (block == segment.blocks - 1)),
            self.segments.ready.eq(issue & chosen.last),
            self.terms.ready.eq(issue & ~opened),
            self.dots.ready.eq(issue & ~of_results & part_last),
            self.results.ready.eq(issue & of_results),
        ]
        for lane in range(self.lanes):
            place = part % (self.lanes // self.units) == lane // self.units
            m.d.comb += chosen.lanes[lane].eq(~of_results | place)
        with m.If(issue):
            m.d.sync += [
                opened.eq(~chosen.last),
                part.eq(Mux(part_last, 0, part + 1)),
                block.eq(Mux(chosen.last, 0, block + part_last)),
            ]
        return part, ~opened

    def _align(self, m: Module, advance: Value, part: Value, first: Value) -> tuple[list[Value], Value]:
        """Second stage.

        Returns:
            Dot products or results on the grid, a register each; and the offset term less ``EXCESS``.
        """
        segment, config = self.segments.p, self.config
        of_results = segment.access == Access.RESULTS
        dots, bias = self.dots.p.dots, self.dots.p.bias
        unit_bits = widths.sum_exponent(0) + MOST_PLACE + EXPONENT_BIAS["tf32"]
        from_dots, from_results = unit_bits + config.activation_bits - 2, unit_bits + FRACTION_BITS
        results = [self.results.p.rows[unit][0] for unit in range(self.units)]
        amounts = []
        for unit, result in enumerate(results):
            exact = Signal(10, name=f"exact_amount_{unit}")
            amount = Signal(AMOUNT_BITS, name=f"amount_{unit}", reset_less=True)
            exponent = Mux(of_results, result[FRACTION_BITS:-1], self.dots.p.exponent)
            m.d.comb += exact.eq(Mux(of_results, from_results, from_dots) + segment.top - exponent)
            with m.If(advance):
                m.d.sync += amount.eq(exact[:AMOUNT_BITS] | exact[AMOUNT_BITS:].any().replicate(AMOUNT_BITS))
            amounts.append(amount)
        rounded = self.terms.p >> widths.TERM_EXTRA - 1
        term = Signal(signed(TERM_BITS), reset_less=True)
        term_added = Signal(signed(TERM_BITS), reset_less=True)
        with m.If(advance & first):
            m.d.sync += term.eq(((rounded + 1) >> 1) - EXCESS)
        with m.If(advance):
            m.d.sync += term_added.eq(term)
        shares = []
        for number in range(self.lanes):
            result = results[number % self.units]
            significand = Cat(result[:FRACTION_BITS], result[FRACTION_BITS:-1].any())
            dot = Array(dots[number :: self.lanes])[part[: bits_for(self.words - 1)]]
            lane = share(m, f"placing_{number}", PlacingLane(config))
            m.d.comb += [
                lane.advance.eq(advance),
                lane.left.eq(Mux(of_results, Mux(result[-1], 0, significand), dot)),
                lane.right.eq(Mux(of_results, Mux(result[-1], significand, 0), bias)),
                lane.of_results.eq(of_results),
                lane.amount.eq(amounts[number % self.units]),
            ]
            shares.append(lane.share)
        return shares, term_added

    def _add(
        self,
        m: Module,
        advance: Value,
        added: data.View,
        shares: Sequence[Value],
        term: Value,
        old: data.View,
        count: Signal,
        lane_sum: Value,
        write: memory.WritePort,
    ) -> None:
        """Third stage: shift lane by lane where need be, add and write."""
        ends = Signal()
        shifted = Signal(signed(widths.SUM_BITS + 1), reset_less=True)
        m.d.comb += [ends.eq(count == self.lanes), advance.eq(~added.serial | ends)]
        with m.If(added.serial):
            m.d.sync += [
                count.eq(Mux(ends, 0, count + 1)),
                shifted.eq(Cat(Const(0, 1), lane_sum).as_signed() >> added.moved),
            ]
        for number, gain in enumerate(shares):
            own = Mux(added.serial, count == number + 1, 1)
            lane = share(m, f"adding_{number}", AddingLane(self.config))
            m.d.comb += [
                lane.old.eq(old[number]),
                lane.fresh.eq(added.fresh),
                lane.shifts.eq(added.serial),
                lane.shifted.eq(shifted),
                lane.share.eq(gain),
                lane.term.eq(term),
                write.data[number].eq(lane.total),
                write.en[number].eq(added.valid & added.lanes[number] & own),
            ]
