"""Normaliser: maximum and sum of weights of a query to what its scores are taken relative to.

Meaning: ``golden.selection.importance.normalisers``. The logarithm is looked for bit by bit in the table of
powers, which is that of the weights.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from golden.attention.widths import SCORE_FRACTION, TOTAL_FRACTION
from golden.numbers.tables import ARGUMENT_BITS, VALUE_BITS
from golden.selection.importance import EMPTY
from hw.attention.payloads import TOTAL_BITS, softmax_state
from hw.config import Config
from hw.numbers import table_engine

__all__ = ["MOST_CYCLES", "NORMALISER_BITS", "Normaliser"]

NORMALISER_BITS = bits_for(EMPTY) + 1
MOST_CYCLES = TOTAL_BITS + ARGUMENT_BITS * (table_engine.LATENCY + 1) + 1
"""Cycles of a query, at most: as many fewer as its sum of weights has bits, less one."""


class Normaliser(wiring.Component):
    """Work out the normaliser of one query after the other.

    Members:
        works (in): states are taken.
        states (in stream): of the queries, at the end of a step.
        argument (out): its power is wanted.
        value (in): the power of the argument ``table_engine.LATENCY`` cycles before, in units of 2^-24.
        query, normaliser (out): a result, while ``writes``.
        writes (out): high for a cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "works": In(1),
                "states": In(stream.Signature(softmax_state(config))),
                "argument": Out(ARGUMENT_BITS),
                "value": In(VALUE_BITS + 1),
                "query": Out(range(config.kv.queries)),
                "normaliser": Out(signed(NORMALISER_BITS)),
                "writes": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state = self.states.payload
        total = Signal(TOTAL_BITS, reset_less=True)
        exponent = Signal(range(TOTAL_BITS), reset_less=True)
        busy = Signal()
        leads = Signal()  # nothing is left to shift
        wait = Signal(range(table_engine.LATENCY + 1), reset_less=True)
        fraction = Signal(ARGUMENT_BITS, reset_less=True)
        place = Signal(ARGUMENT_BITS, reset_less=True)  # the bit that is looked for; none when all are found
        whole = Signal(signed(NORMALISER_BITS - SCORE_FRACTION))
        m.d.comb += [
            leads.eq(total[-1] | (exponent == 0)),
            self.argument.eq(fraction | place),
            whole.eq(state.maximum + exponent - TOTAL_FRACTION),
            self.query.eq(state.query),
            self.normaliser.eq(Mux(total[-1], Cat(fraction, whole), EMPTY)),
            self.writes.eq(busy & (place == 0)),
            self.states.ready.eq(self.writes),
        ]
        with m.If(~busy):
            m.d.sync += [
                busy.eq(self.works & self.states.valid),
                total.eq(state.total),
                exponent.eq(TOTAL_BITS - 1),
                fraction.eq(0),
                place.eq(1 << ARGUMENT_BITS - 1),
                wait.eq(table_engine.LATENCY),
            ]
        with m.Elif(~leads):
            m.d.sync += [total.eq(total << 1), exponent.eq(exponent - 1)]
        with m.Else():
            m.d.sync += wait.eq(Mux(wait == 0, table_engine.LATENCY, wait - 1))
            with m.If(wait == 0):
                m.d.sync += place.eq(place >> 1)
                with m.If(self.value <= total[-1 - VALUE_BITS :]):
                    m.d.sync += fraction.eq(self.argument)
        with m.If(self.writes):
            m.d.sync += busy.eq(0)
        return m
