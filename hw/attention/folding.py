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
    """Fold ``activation_lanes`` elements of every column a cycle.

    One beat a cycle in and out, without a gap between vectors. A beat's activations are offered ``LATENCY``
    cycles after it was accepted, the vectors' offset terms one cycle after the activations of its last beat.
    Nothing moves while either output waits, so whoever takes offset terms must not wait for later beats.

    Members:
        beats (in stream): operands with their steps and offsets.
        folded (out stream): products with the steps.
        terms (out stream): offset terms of the vectors.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "beats": In(stream.Signature(payloads.folding_beat(config))),
                "folded": Out(stream.Signature(payloads.folded_beat(config))),
                "terms": Out(stream.Signature(payloads.offset_terms(config))),
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
        first = Signal(init=1)
        with m.If(advance & valid[-1]):
            m.d.sync += first.eq(last[-1])
        for column in range(self.config.columns):
            lanes = []
            for number, element in enumerate(beat.elements):
                lane = share(m, f"lane_{column}_{number}", FoldingLane(self.config))
                m.d.comb += [
                    lane.advance.eq(advance),
                    lane.operand.eq(element.operands[column]),
                    lane.step.eq(element.step),
                    lane.offset.eq(element.offset),
                    lane.step_base.eq(step_base),
                    lane.offset_base.eq(offset_base),
                    lane.centred.eq(beat.centre.any()),
                    lane.saturates.eq(saturates),
                    self.folded.p.elements[column][number].eq(lane.folded),
                ]
                lanes.append(lane)
            self._sum(m, column, advance, valid[-1], first, lanes)
        return m

    def _sum(
        self, m: Module, column: int, advance: Value, valid: Value, first: Value, lanes: Sequence[FoldingLane]
    ) -> None:
        """Add all rows, then the sum to that of the beats before."""
        term = self.terms.p[column]
        rows = [row for lane in lanes for row in lane.rows]
        width = ROW_BITS + ceil_log2(len(rows))
        sums = [Signal(width, name=f"held_row_{column}_{number}", reset_less=True) for number in range(3)]
        units = Signal(bits_for(len(rows)), name=f"units_{column}", reset_less=True)
        base = Signal(payloads.TERM_BITS, name=f"base_{column}")
        m.d.comb += base.eq(Mux(first, 0, term))
        excess = Const(-(len(rows) << ROW_BITS - 1), signed(payloads.TERM_BITS)).as_unsigned()
        left, right = compress(m, [*sums, base, excess, units], payloads.TERM_BITS, name=f"total_{column}")
        ones = compress(m, [unit for lane in lanes for unit in lane.units], len(units), name=f"ones_{column}")
        with m.If(advance):
            m.d.sync += [
                Cat(sums).eq(Cat(compress(m, rows, width, 3, name=f"rows_{column}"))),
                units.eq(ones[0] + ones[1]),
            ]
        with m.If(advance & valid):
            m.d.sync += term.eq((left + right)[: payloads.TERM_BITS])
