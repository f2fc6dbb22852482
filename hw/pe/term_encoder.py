"""Term encoder: the codes of one row to one bit-serial term a lane and cycle.

Meaning: ``golden.datatypes`` (``DataType.terms``). As in BitMoD (HPCA 2025, section IV-A) one encoder serves
every data type and takes a group's special value from a four-entry register file; its terms are signed
radix-16 digits instead of powers of two. FP3, FP4 and the digits of all integers are a sign and a magnitude
already, so hardly anything is left to encode: only the magnitudes 5 to 7 mean other multiples in integers.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.datatypes import LANE_BITS, MAXIMUM_TERMS, SPECIALS, DataType
from hw import payloads
from hw.config import Config
from hw.pe.truth_table import lookup

__all__ = ["TermEncoder"]

_DIGIT_BITS = 4
_DIGITS = {"integer", "fp4"}  # decoders of digits that are a sign and a magnitude


class TermEncoder(wiring.Component):
    """Encode ``lanes`` codes of one row into terms, one term a cycle.

    Latency one cycle, one term a lane and cycle, no stall: the output register follows the inputs of the
    cycle before.

    Members:
        codes (in): codes, left-aligned in a byte each; held while ``step`` counts through the terms.
        selector (in): which of the four special values the row's group uses.
        format (in): decoder and the special values' terms.
        step (in): number of the term, the most significant digit first.
        terms (out): one term a lane.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "codes": In(data.ArrayLayout(LANE_BITS, config.lanes)),
                "selector": In(ceil_log2(SPECIALS)),
                "format": In(payloads.matrix_format(config)),
                "step": In(ceil_log2(MAXIMUM_TERMS)),
                "terms": Out(data.ArrayLayout(payloads.term, config.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        decoders = self.config.decoders
        chosen = {name: self.format.decoder == number for number, name in enumerate(decoders)}
        special = Signal(payloads.term)
        m.d.comb += special.eq(self.format.specials[self.selector | self.step[0]])
        for lane, code in enumerate(self.codes):
            encoded = Value.cast(0)
            if not _DIGITS.isdisjoint(decoders):
                digit = self._digit(m, code, special, chosen.get("integer", Const(0, 1)))
                encoded = Mux(Cat(bit for name, bit in chosen.items() if name in _DIGITS).any(), digit, 0)
            for name in decoders:
                if name not in _DIGITS:
                    encoded = encoded | Mux(chosen[name], self._table(m, name, code), 0)
            held = Signal(payloads.term, name=f"term{lane}", reset_less=True)
            m.d.sync += held.as_value().eq(encoded)
            m.d.comb += self.terms[lane].eq(held)
        return m

    def _digit(self, m: Module, code: Value, special: data.View, integer: Value) -> Value:
        """Term of a digit of sign and magnitude; "-0" is special.

        The first digit of two is special at both ends of its range: the positive one where the other digit is
        negative. Types of one digit have zeros there.
        """
        high, low = code[_DIGIT_BITS:], code[:_DIGIT_BITS]
        several = "integer" in self.config.decoders and len(self.config.shifts) > 1
        digit = Mux(self.step[0], low, high) if several else high
        flip = several & ~self.step[0] & low[-1]
        magnitude, sign = digit[:-1], digit[-1]
        # The magnitudes 0 to 7 select as in FP4; 5, 6 and 7 of an integer are selects 8, 5 and 9.
        upper = Signal()
        m.d.comb += upper.eq(integer & magnitude[2])
        programmable = upper & magnitude[0]
        select = Cat(
            Mux(upper, magnitude[1], magnitude[0]),
            magnitude[1] & ~upper,
            magnitude[2] & ~programmable,
            programmable,
        )
        replaced = Cat(special.negative & ~flip, special.select)
        return Mux(sign & ~magnitude.any(), replaced, Cat(sign, select))

    def _table(self, m: Module, decoder: str, code: Value) -> Value:
        """Term by the table of the widest type of a decoder."""
        entries = [entry for entry in self.config.datatypes if entry.decoder == decoder]
        return _table(m, max(entries, key=lambda entry: entry.bits), code, self.step)


def _table(m: Module, entry: DataType, code: Value, step: Value) -> Value:
    """Magnitude by table, sign by the code's own; a zero magnitude stays positive."""
    steps = ceil_log2(entry.term_count)
    outputs: list[int | None] = []
    for value in entry.integers[: 1 << entry.bits - 1]:
        terms = [] if value is None else [one.negative | one.select << 1 for one in entry.terms(value)]
        outputs += [*terms, *[None] * ((1 << steps) - len(terms))]
    inputs = [*step[:steps], *code[LANE_BITS - entry.bits : LANE_BITS - 1]]
    magnitude = lookup(m, inputs, outputs, payloads.term.size)
    negative = magnitude[0] ^ (code[-1] & magnitude[1:].any())
    return Cat(negative, magnitude[1:])
