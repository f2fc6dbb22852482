"""Value sums: the sums of weighted values of all queries, in a memory of their own.

Meaning: ``golden.attention.sums`` and ``golden.attention.engine``. A word of the memory holds neighbouring
channels of one query and is read, changed and written a cycle. Sums of which a maximum has moved are shifted
one after another, by the one shifter that all share; that is rare.
"""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

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

__all__ = ["ValueSums"]


class ValueSums(wiring.Component):
    """Keep the sums of ``config.kv.queries`` queries of up to ``config.kv.channels`` channels.

    A segment of dot products takes ``lanes`` sums a cycle, ``lanes`` being half a row block, one of results
    ``rescale_units`` of them; where the maximum has moved, a word takes ``lanes + 1`` cycles. A segment that
    is read gives a sum a cycle, in order. Segments follow one another without a gap; no sum may come again
    but after a word of others.

    Members:
        segments (in stream): what to do; taken with the last beat of it.
        terms (in stream): an offset term for each segment that is not read; taken with its first beat.
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
        m.d.comb += [read.en.eq(advance), read.addr.eq(aligned.address), write.addr.eq(added.address)]
        part, first = self._choose(m, advance, chosen)
        at_once = (self.segments.p.access == Access.DOTS) & ~chosen.moved.any()
        busy = aligned.serial | added.serial
        m.d.sync += self.settled.eq(self.segments.valid & at_once & ~busy)
        shares, term = self._align(m, advance, part, first)
        self._add(m, advance, added, shares, term, read.data, write)
        return m

    def _beat_layout(self) -> data.StructLayout:
        """One word on its way: which of its lanes count, and what happens to it."""
        return data.StructLayout(
            {
                "valid": 1,
                "lanes": self.lanes,
                "reads": 1,
                "fresh": 1,
                "serial": 1,
                "moved": payloads.MOVED_BITS,
                "address": self.word_bits + ceil_log2(self.config.kv.queries),
                "last": 1,
            }
        )

    def _choose(self, m: Module, advance: Value, chosen: data.View) -> tuple[Value, Value]:
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
        with m.Switch(segment.access):
            with m.Case(Access.DOTS):
                m.d.comb += source.eq(self.dots.valid)
            with m.Case(Access.RESULTS):
                m.d.comb += source.eq(self.results.valid)
            with m.Default():
                m.d.comb += source.eq(1)
        m.d.comb += [
            of_results.eq(segment.access == Access.RESULTS),
            part_last.eq(part == Mux(of_results, slots - 1, self.words - 1)),
            word.eq((segment.block + block) * self.words + turn),
            chosen.reads.eq(segment.access == Access.READ),
            issue.eq(advance & self.segments.valid & source & (opened | chosen.reads | self.terms.valid)),
            chosen.valid.eq(issue),
            chosen.fresh.eq(segment.fresh),
            chosen.moved.eq(Mux(chosen.reads | segment.fresh, 0, segment.moved)),
            chosen.serial.eq(issue & (chosen.moved.any() | chosen.reads)),
            chosen.address.eq(Cat(word, segment.query)),
            chosen.last.eq(part_last & (block == segment.blocks - 1)),
            self.segments.ready.eq(issue & chosen.last),
            self.terms.ready.eq(issue & ~opened & ~chosen.reads),
            self.dots.ready.eq(issue & (segment.access == Access.DOTS) & part_last),
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
        write: memory.WritePort,
    ) -> None:
        """Third stage: shift lane by lane where need be, add and write; or give lane by lane."""
        shifts = Signal()
        step = Signal()
        ends = Signal()
        count = Signal(range(self.lanes + 1))
        shifted = Signal(signed(widths.SUM_BITS + 1), reset_less=True)
        lane_sum = Signal(signed(widths.SUM_BITS))
        m.d.comb += [
            shifts.eq(added.serial & ~added.reads),
            step.eq(~self.sums.valid | self.sums.ready),
            ends.eq(count == Mux(added.reads, self.lanes - 1, self.lanes)),
            advance.eq(~added.serial | (ends & step)),
            lane_sum.eq(Array(old)[count[: bits_for(self.lanes - 1)]]),
            self.sums.p.sum.eq(shifted[1:]),
        ]
        with m.If(self.sums.ready):
            m.d.sync += self.sums.valid.eq(0)
        with m.If(added.serial & step):
            m.d.sync += [
                count.eq(Mux(ends, 0, count + 1)),
                shifted.eq(Cat(Const(0, 1), lane_sum).as_signed() >> added.moved),
            ]
            with m.If(added.reads):
                m.d.sync += [self.sums.valid.eq(1), self.sums.p.last.eq(added.last & ends)]
        for number, gain in enumerate(shares):
            own = Mux(shifts, count == number + 1, 1)
            lane = share(m, f"adding_{number}", AddingLane(self.config))
            m.d.comb += [
                lane.old.eq(old[number]),
                lane.fresh.eq(added.fresh),
                lane.shifts.eq(shifts),
                lane.shifted.eq(shifted),
                lane.share.eq(gain),
                lane.term.eq(term),
                write.data[number].eq(lane.total),
                write.en[number].eq(added.valid & ~added.reads & added.lanes[number] & own),
            ]
