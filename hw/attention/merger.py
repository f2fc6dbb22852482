"""Merger: what several engines have found in their shares of the pages becomes what one would have found.

Meaning: ``golden.attention.engine.merge``.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from golden.attention.widths import SUM_BITS
from hw.attention.payloads import MAXIMUM_BITS, MOVED_BITS, divisor, value_sum
from hw.config import Config

__all__ = ["Merger", "cycles"]

_MOST_PLACES = (1 << MOVED_BITS) - 1


def cycles(engines: int, sums: int) -> int:
    """Cycles of a query with so many sums, while its sums are there and the merged ones are taken."""
    return 2 * engines + 3 + sums * (engines + 1)


class _Phase(enum.Enum, shape=2):
    """What happens to a query, engine after engine."""

    MAXIMUM = 0
    TOTAL = 1
    DIVISOR = 2
    SUMS = 3


class Merger(wiring.Component):
    """Merge query after query of ``config.kv.engines`` engines, engine 0 first, by one shifter.

    A query takes ``cycles``. All engines attend to the same queries, each to pages of its own, with the same
    ``top``; engine 0's counts. Engines that took a bad page for the first one of a list may differ in its
    channels; of such a query there are as many merged sums as the longest has.

    Members:
        divisors_{n}, sums_{n} (in streams): what engine n has found.
        divisors, sums (out streams): all of it; ``special`` and ``error`` are set if any engine's are.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.engines = config.kv.engines
        ports: dict[str, In | Out] = {}
        for number in range(self.engines):
            ports[f"divisors_{number}"] = In(stream.Signature(divisor))
            ports[f"sums_{number}"] = In(stream.Signature(value_sum))
        super().__init__(
            {
                **ports,
                "divisors": Out(stream.Signature(divisor)),
                "sums": Out(stream.Signature(value_sum)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        divisors = [getattr(self, f"divisors_{number}") for number in range(self.engines)]
        sums = [getattr(self, f"sums_{number}") for number in range(self.engines)]
        phase = Signal(_Phase)
        engine = Signal(bits_for(self.engines - 1))
        last_engine = Signal()
        there = Signal()
        steps = Signal()
        m.d.comb += [
            last_engine.eq(engine == self.engines - 1),
            there.eq(Cat(one.valid for one in divisors).all()),
            steps.eq(there),
        ]

        # Of the engine at work: by how much its maximum lies below the largest, and what is shifted by that.
        maxima = Array(one.payload.maximum for one in divisors)
        maximum = Signal(signed(MAXIMUM_BITS), reset_less=True)
        behind = Signal(MAXIMUM_BITS + 1)
        places = Signal(MOVED_BITS, reset_less=True)
        value = Signal(signed(SUM_BITS), reset_less=True)
        placed = Signal()  # value and places are those of the engine before
        first = Signal()
        m.d.comb += behind.eq(maximum - maxima[engine])
        shifted = Signal(signed(SUM_BITS + 1))
        rounded = Signal(signed(SUM_BITS))
        merged = Signal(signed(SUM_BITS), reset_less=True)
        m.d.comb += [
            shifted.eq(Cat(Const(0, 1), value).as_signed() >> places),
            rounded.eq((shifted + 1) >> 1),
        ]
        of_sums = phase == _Phase.SUMS
        ends = Signal()  # the last engine's sum is added in this cycle
        done = Signal(self.engines)  # which engines have given all sums of the query
        own_done = Signal()
        closes = Signal()
        m.d.comb += [own_done.eq(done.bit_select(engine, 1)), closes.eq(done.all())]
        with m.If(of_sums):
            # What is merged may be overwritten only when it has left, and not by the next query's.
            leaves = ~ends & (~self.sums.valid | (self.sums.ready & ~closes))
            given = Array(one.valid for one in sums)[engine] | own_done
            m.d.comb += steps.eq(given & ((engine != 0) | leaves))
        totals = Array(one.payload.total for one in divisors)
        values = Array(one.payload.sum for one in sums)
        fetches = Signal()
        m.d.comb += fetches.eq(steps & ((phase == _Phase.TOTAL) | of_sums))
        with m.If(fetches):
            m.d.sync += [
                places.eq(Mux(behind > _MOST_PLACES, _MOST_PLACES, behind)),
                value.eq(Mux(of_sums, Mux(own_done, 0, values[engine]), totals[engine])),
                first.eq(engine == 0),
            ]
        m.d.sync += placed.eq(fetches)
        with m.If(placed):
            m.d.sync += merged.eq(Mux(first, 0, merged) + rounded)

        lasts = Array(one.payload.last for one in sums)
        with m.If(fetches & of_sums):
            m.d.sync += done.bit_select(engine, 1).eq(own_done | lasts[engine])
        m.d.sync += ends.eq(fetches & last_engine & of_sums)
        out = self.sums
        m.d.comb += [out.payload.sum.eq(merged), out.payload.last.eq(closes)]
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(ends):
            m.d.sync += out.valid.eq(1)

        m.d.comb += [
            self.divisors.valid.eq((phase == _Phase.DIVISOR) & ~placed),
            self.divisors.payload.maximum.eq(maximum),
            self.divisors.payload.total.eq(merged),
            self.divisors.payload.top.eq(divisors[0].payload.top),
            self.divisors.payload.special.eq(Cat(one.payload.special for one in divisors).any()),
            self.divisors.payload.error.eq(Cat(one.payload.error for one in divisors).any()),
        ]
        query_ends = Signal()
        m.d.comb += query_ends.eq(out.valid & out.ready & closes & of_sums)
        with m.If(query_ends):
            m.d.sync += done.eq(0)
        for one in divisors:
            m.d.comb += one.ready.eq(query_ends)
        for number, one in enumerate(sums):
            m.d.comb += one.ready.eq(fetches & of_sums & (engine == number) & ~own_done)
        advances = Signal()
        m.d.comb += advances.eq(fetches | (there & (phase == _Phase.MAXIMUM)))
        with m.If(advances):
            m.d.sync += engine.eq(Mux(last_engine, 0, engine + 1))
        with m.Switch(phase):
            with m.Case(_Phase.MAXIMUM):
                with m.If(there & ((engine == 0) | (maxima[engine] > maximum))):
                    m.d.sync += maximum.eq(maxima[engine])
                with m.If(there & last_engine):
                    m.d.sync += phase.eq(_Phase.TOTAL)
            with m.Case(_Phase.TOTAL), m.If(steps & last_engine):
                m.d.sync += phase.eq(_Phase.DIVISOR)
            with m.Case(_Phase.DIVISOR), m.If(self.divisors.valid & self.divisors.ready):
                m.d.sync += phase.eq(_Phase.SUMS)
            with m.Case(_Phase.SUMS), m.If(query_ends):
                m.d.sync += phase.eq(_Phase.MAXIMUM)
        return m
