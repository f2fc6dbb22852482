"""Term encoder: the codes of one row to one bit-serial term a lane and cycle.

Meaning: ``golden.datatypes`` (``DataType.terms``). As in BitMoD (HPCA 2025, section IV-A) one encoder serves
every data type and takes a group's special value from a four-entry register file; its terms are signed
radix-16 digits instead of powers of two.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden import datatypes
from golden.datatypes import LANE_BITS, MAXIMUM_TERMS, SPECIALS, DataType
from hw import payloads
from hw.config import Config
from hw.pe.truth_table import lookup

__all__ = ["TermEncoder"]

_DIGIT_BITS = 4


class TermEncoder(wiring.Component):
    """Encode ``lanes`` codes of one row into terms, one term a cycle.

    Latency one cycle, one term a lane and cycle, no stall: the output register follows the inputs of the
    cycle before. While ``enable`` is low every term is zero.

    Members:
        codes (in): codes, left-aligned in a byte each; held while ``step`` counts through the terms.
        selector (in): which of the four special values the row's group uses.
        format (in): decoder and the special values' terms.
        step (in): number of the term, the most significant digit first.
        enable (in): the inputs are meant.
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
                "enable": In(1),
                "terms": Out(data.ArrayLayout(payloads.term, config.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        special = Signal(payloads.term)
        chosen = Signal(len(self.config.decoders))
        m.d.comb += special.eq(self.format.specials[self.selector])
        for number, bit in enumerate(chosen):
            m.d.comb += bit.eq(self.enable & (self.format.decoder == number))
        for lane in range(self.config.lanes):
            encoded = Value.cast(0)
            for bit, decoder in zip(chosen, self.config.decoders, strict=True):
                encoded = encoded | Mux(bit, self._encode(m, decoder, self.codes[lane], special), 0)
            held = Signal(payloads.term, name=f"term{lane}", reset_less=True)
            m.d.sync += held.as_value().eq(encoded)
            m.d.comb += self.terms[lane].eq(held)
        return m

    def _encode(self, m: Module, decoder: str, code: Value, special: data.View) -> Value:
        """Term of one lane under one decoder."""
        if decoder == "integer":
            return _integer(m, code, self.step[0])
        entries = [entry for entry in self.config.datatypes if entry.decoder == decoder]
        widest = max(entries, key=lambda entry: entry.bits)
        if decoder == "fp4":
            return _fp4(code, special)
        return _table(m, widest, code, self.step)


def _integer(m: Module, code: Value, step: Value) -> Value:
    """Signed radix-16 digit of a left-aligned two's complement code: a nibble and the carry from below it."""
    nibble = Mux(step, code[:_DIGIT_BITS], code[_DIGIT_BITS:])
    carry = code[_DIGIT_BITS - 1] & ~step
    integer = datatypes.get("int4")
    outputs = []
    for index in range(2 << _DIGIT_BITS):
        digit, carried = index & 15, index >> _DIGIT_BITS
        outputs.append(_bits(integer, digit - 16 * (digit > 7) + carried))
    return lookup(m, [*nibble, carry], outputs, payloads.term.size)


def _fp4(code: Value, special: data.View) -> Value:
    """FP3 and FP4 codes are terms already, but for the one that stands for the special value."""
    sign, magnitude = code[-1], code[LANE_BITS - 4 : LANE_BITS - 1]
    return Mux(code[LANE_BITS - 4 :] == 0b1000, special.as_value(), Cat(sign, magnitude))


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


def _bits(entry: DataType, value: int) -> int:
    """A single-term value as the bits of ``payloads.term``."""
    one = entry.terms(value)[-1]
    return one.negative | one.select << 1
