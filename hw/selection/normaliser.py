"""Normaliser: maximum and sum of weights of a query to what its scores are taken relative to.

Meaning: ``golden.selection.importance.normalisers``. The logarithm comes from a table engine that others
share, so this is the work around it.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
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
MOST_CYCLES = TOTAL_BITS + table_engine.LATENCY + 1
"""Cycles of a query, at most: as many fewer as its sum of weights has bits, less one."""


class Normaliser(wiring.Component):
    """Work out the normaliser of one query after the other.

    Members:
        works (in): states are taken.
        states (in stream): of the queries, at the end of a step.
        argument (out): of the logarithm, ``LATENCY`` cycles before ``value`` is taken.
        value (in): the logarithm, in units of 2^-24.
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
                "value": In(VALUE_BITS),
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
        found = Signal()
        steps = Signal(range(table_engine.LATENCY + 1))
        fraction = Signal(SCORE_FRACTION + 1)
        whole = Signal(signed(NORMALISER_BITS - SCORE_FRACTION))
        dropped = VALUE_BITS - SCORE_FRACTION
        m.d.comb += [
            found.eq(total[-1] | (exponent == 0)),
            self.argument.eq(total[-1 - ARGUMENT_BITS : -1]),
            fraction.eq(self.value[dropped:] + self.value[dropped - 1]),
            whole.eq(state.maximum + exponent - TOTAL_FRACTION),
            self.query.eq(state.query),
            self.normaliser.eq(Mux(total[-1], Cat(Const(0, SCORE_FRACTION), whole) + fraction, EMPTY)),
            self.writes.eq(busy & (steps == table_engine.LATENCY)),
            self.states.ready.eq(self.writes),
        ]
        with m.If(~busy):
            m.d.sync += [
                busy.eq(self.works & self.states.valid),
                total.eq(state.total),
                exponent.eq(TOTAL_BITS - 1),
                steps.eq(0),
            ]
        with m.Elif(~found):
            m.d.sync += [total.eq(total << 1), exponent.eq(exponent - 1)]
        with m.Else():
            m.d.sync += steps.eq(steps + 1)
        with m.If(self.writes):
            m.d.sync += busy.eq(0)
        return m
