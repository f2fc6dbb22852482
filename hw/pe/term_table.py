"""Term table: programmable tables of 16 values that a data type's codes stand for, as terms.

Meaning: ``golden.numbers.datatypes.table``. Values come as 8-bit integers and are kept as what the encoders
send: two digits each, split once where they enter instead of at every lane.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers import datatypes
from golden.numbers.datatypes import LANE_BITS
from hw import payloads

__all__ = ["TermTable"]

_DIGIT_BITS = 4


class TermTable(wiring.Component):
    """Keep one table or several.

    Members:
        values (in stream): -127..127, those of the first table first, of each the value of code 0 first; 16
            of them make a table. Always ready.
        terms (out): ``payloads.term_table``; an array of them if there are several.

    Args:
        tables: how many.
    """

    config = None

    def __init__(self, tables: int = 1) -> None:
        kept = payloads.term_table
        shape = data.ArrayLayout(kept, tables) if tables > 1 else kept
        super().__init__({"values": In(stream.Signature(signed(LANE_BITS))), "terms": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value = self.values.payload
        low = Signal(signed(_DIGIT_BITS))
        high = Signal(signed(_DIGIT_BITS + 1))
        rows = Signal.like(self.terms.as_value(), name="rows", reset_less=True)
        m.d.comb += [
            self.values.ready.eq(1),
            low.eq(value[:_DIGIT_BITS]),
            high.eq((value - low) >> _DIGIT_BITS),
            self.terms.as_value().eq(rows),
        ]
        row = Cat(_term(m, "high", high), _term(m, "low", low))
        with m.If(self.values.valid):
            m.d.sync += rows.eq(Cat(rows[len(row) :], row))
        return m


def _term(m: Module, name: str, digit: Value) -> Value:
    """A digit -8..8 as a term."""
    magnitudes = datatypes.table("any", (0,) * datatypes.TABLE_ROWS).magnitudes
    size = Signal(_DIGIT_BITS, name=f"{name}_size")
    term = Signal(payloads.term, name=f"{name}_term")
    m.d.comb += [size.eq(Mux(digit < 0, -digit, digit)), term.negative.eq(digit < 0)]
    with m.Switch(size):
        for magnitude in range((1 << _DIGIT_BITS - 1) + 1):
            with m.Case(magnitude):
                m.d.comb += term.select.eq(magnitudes.index(magnitude))
    return term.as_value()
