"""Folding: a query or weights times the steps along the reduction, and the offset term of each vector.

Meaning: ``golden.attention.scores`` (keys by channel) and ``golden.attention.sums`` (values by token). A step
of 1 and an offset of 0 without a centre pass the operand unchanged, with an offset term of 0: keys by token
and values by channel.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from hw.attention import payloads
from hw.attention.folding_lane import LATENCY, PLACE_BITS, ROW_BITS, FoldingLane
from hw.config import Config
from hw.kv.payloads import Side
from hw.numbers.carry_save import compress
from hw.sharing import share

__all__ = ["LATENCY", "Folding"]

_GRID = 32
"""Stands for ``top`` in the grid of keys."""
_BASE = 89
"""A product of the exponent fields e of tf32 and f of float16 has the place ``e + f - 89 - grid``."""


class Folding(wiring.Component):
    """Fold ``activation_lanes`` elements a cycle.

    One beat a cycle in and out, without a gap between vectors. A beat's activations are offered ``LATENCY``
    cycles after it was accepted, a vector's offset term one cycle after the activations of its last beat.
    Nothing moves while either output waits, so whoever takes offset terms must not wait for later beats.

    Members:
        beats (in stream): operands with their steps and offsets.
        folded (out stream): products with the steps.
        terms (out stream): offset terms, one a vector.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "beats": In(stream.Signature(payloads.folding_beat(config))),
                "folded": Out(stream.Signature(payloads.folded_beat(config))),
                "terms": Out(stream.Signature(payloads.offset_term)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = self.beats.p
        advance = Signal()
        valid = Signal(LATENCY)
        last = Signal(LATENCY, reset_less=True)
        saturates = Signal(reset_less=True)
        m.d.comb += [
            advance.eq((~self.folded.valid | self.folded.ready) & (~self.terms.valid | self.terms.ready)),
            self.beats.ready.eq(advance),
        ]
        with m.If(advance):
            m.d.sync += [
                saturates.eq(beat.side == Side.KEY),
                valid.eq(Cat(self.beats.valid, valid)),
                last.eq(Cat(beat.last, last)),
                self.folded.valid.eq(valid[-2]),
                self.terms.valid.eq(valid[-1] & last[-1]),
            ]
        with m.Else():
            with m.If(self.folded.ready):
                m.d.sync += self.folded.valid.eq(0)
            with m.If(self.terms.ready):
                m.d.sync += self.terms.valid.eq(0)

        m.d.comb += self.folded.p.last.eq(last[-1])

        offset_base = Signal(PLACE_BITS)
        step_base = Signal(PLACE_BITS)
        m.d.comb += [
            offset_base.eq(-_BASE - Mux(beat.side == Side.KEY, _GRID, beat.top)),
            step_base.eq(offset_base + beat.centre),
        ]
        lanes = [share(m, f"lane_{number}", FoldingLane(self.config)) for number in range(len(beat.elements))]
        for number, lane in enumerate(lanes):
            element = beat.elements[number]
            m.d.comb += [
                lane.advance.eq(advance),
                lane.operand.eq(element.operand),
                lane.step.eq(element.step),
                lane.offset.eq(element.offset),
                lane.step_base.eq(step_base),
                lane.offset_base.eq(offset_base),
                lane.centred.eq(beat.centre.any()),
                lane.saturates.eq(saturates),
                self.folded.p.elements[number].eq(lane.folded),
            ]
        self._sum(m, advance, valid[-1], last[-1], lanes)
        return m

    def _sum(
        self, m: Module, advance: Value, valid: Value, last: Value, lanes: Sequence[FoldingLane]
    ) -> None:
        """Add all rows, then the sum to that of the beats before."""
        rows = [row for lane in lanes for row in lane.rows]
        width = ROW_BITS + ceil_log2(len(rows))
        sums = [Signal(width, name=f"held_row_{number}", reset_less=True) for number in range(3)]
        units = Signal(bits_for(len(rows)), reset_less=True)
        first = Signal(init=1)
        base = Signal(payloads.TERM_BITS)
        m.d.comb += base.eq(Mux(first, 0, self.terms.p))
        excess = Const(-(len(rows) << ROW_BITS - 1), signed(payloads.TERM_BITS)).as_unsigned()
        left, right = compress(m, [*sums, base, excess, units], payloads.TERM_BITS, name="total")
        ones = compress(m, [unit for lane in lanes for unit in lane.units], len(units), name="ones")
        with m.If(advance):
            m.d.sync += [
                Cat(sums).eq(Cat(compress(m, rows, width, 3, name="rows"))),
                units.eq(ones[0] + ones[1]),
            ]
        with m.If(advance & valid):
            m.d.sync += [
                self.terms.p.eq((left + right)[: payloads.TERM_BITS]),
                first.eq(last),
            ]
