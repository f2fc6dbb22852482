"""Term encoder: the codes of one row to one bit-serial term a lane and cycle.

Meaning: ``golden.numbers.datatypes`` (``DataType.terms``). As in BitMoD (HPCA 2025, section IV-A) one encoder
serves every data type and takes a group's special value from a four-entry register file; its terms are digits
instead of powers of two. FP3, FP4, Flint4 and the digits of all integers are a sign and a magnitude already,
so hardly anything is left to encode: only a few magnitudes mean other multiples from type to type. A wider
minifloat is shifted by its exponent and sent in octal digits. The codes of a programmable table choose among
its terms.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.numbers.datatypes import LANE_BITS, MAXIMUM_TERMS, SPECIALS
from hw import payloads
from hw.config import Config
from hw.numbers.one_hot import choose

__all__ = ["TermEncoder"]

_DIGIT_BITS = 4
_OCTAL_BITS = 3
_MINIFLOATS = {"e2m3": (2, 3), "e3m2": (3, 2)}
"""Exponent and mantissa bits, by decoder."""


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
        term_table (in): with ``term_table`` of the configuration; constant while its codes are there. A
            group of weights may turn the signs (``selector`` 1); keys and values have them in their scales.
        by_lane, lane_specials (in): with ``lane_selectors`` of the configuration: special terms are these,
            which are 0 unless ``by_lane``, and not what ``selector`` says.
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
                **({"term_table": In(payloads.term_table)} if config.term_table else {}),
                **(self._lane_ports() if config.lane_selectors else {}),
            }
        )

    def _lane_ports(self) -> dict[str, wiring.Member]:
        specials = data.ArrayLayout(payloads.term, self.config.lanes)
        return {"by_lane": In(1), "lane_specials": In(specials)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        decoders = {name: Signal(name=f"is_{name}") for name in self.config.decoders}
        for number, line in enumerate(decoders.values()):
            m.d.comb += line.eq(self.format.decoder == number)
        special = Signal(payloads.term)
        m.d.comb += special.eq(self.format.specials[self.selector | self.step[0]])
        specials = self._specials(m, special) if self.config.lane_selectors else [special] * len(self.codes)
        digits = self._table_digits(m) if self.config.term_table else []
        for lane, (code, own) in enumerate(zip(self.codes, specials, strict=True)):
            held = Signal(payloads.term, name=f"term_{lane}", reset_less=True)
            term = self._term(m, lane, code, own, decoders)
            if digits:
                term = Mux(decoders["table"], _of_code(m, lane, code[_DIGIT_BITS:], digits), term)
            m.d.sync += held.as_value().eq(term)
            m.d.comb += self.terms[lane].eq(held)
        return m

    def _specials(self, m: Module, of_row: data.View) -> list[data.View]:
        """Every lane's special term: its own or that of the row."""
        specials = []
        for lane, own in enumerate(self.lane_specials):
            special = Signal(payloads.term, name=f"special_{lane}")
            m.d.comb += special.eq(Mux(self.by_lane, 0, of_row.as_value()) | own.as_value())
            specials.append(special)
        return specials

    def _table_digits(self, m: Module) -> list[Value]:
        """Terms of the present digit of every code of the table."""
        digits = []
        for number, row in enumerate(self.term_table):
            digit = Signal(payloads.term, name=f"table_digit_{number}")
            m.d.comb += digit.as_value().eq(Mux(self.step[0], row[1].as_value(), row[0].as_value()))
            digits.append(self._turned(m, number, digit) if self.config.table else digit.as_value())
        return digits

    def _turned(self, m: Module, number: int, digit: data.View) -> Value:
        """A digit with the sign of its group."""
        own = Signal(payloads.term, name=f"table_term_{number}")
        m.d.comb += [
            own.select.eq(digit.select),
            own.negative.eq(digit.negative ^ (self.selector[0] & digit.select.any())),
        ]
        return own.as_value()

    def _term(
        self, m: Module, lane: int, code: Value, special: data.View, decoders: dict[str, Signal]
    ) -> Value:
        """Term of a code: its present digit, unless that is "-0", which is special."""
        digit = self._digit(m, lane, code, decoders)
        magnitude, sign = digit[:-1], digit[-1]
        # Magnitudes select as in FP4, but 5, 6 and 7 of an integer select 8, 5 and 9, and 7 of Flint4 9.
        fp4, flint4 = decoders.get("fp4", 0), decoders.get("flint4", 0)
        plain = Signal(name=f"plain_{lane}")
        large = Signal(name=f"large_{lane}")
        last = Signal(name=f"last_{lane}")
        m.d.comb += [
            plain.eq(~(Value.cast(fp4) | flint4)),
            large.eq(plain & magnitude[2]),
            last.eq((large & magnitude[0]) | (flint4 & magnitude.all())),
        ]
        select = Cat(
            Mux(large, magnitude[1], magnitude[0]),
            magnitude[1] & ~large & ~last,
            magnitude[2] & ~last,
            last,
        )
        # The first digit of two is special at both ends of its range: the positive one where the other digit
        # is negative. Types of one digit have zeros there.
        flip = self._two_digits & ~self.step[0] & code[_DIGIT_BITS - 1]
        replaced = Cat(special.negative & ~flip, special.select)
        return Mux(sign & ~magnitude.any(), replaced, Cat(sign, select))

    @property
    def _two_digits(self) -> bool:
        """Whether an integer of two digits is supported."""
        return any(entry.decoder == "integer" and entry.term_count > 1 for entry in self.config.datatypes)

    def _digit(self, m: Module, lane: int, code: Value, decoders: dict[str, Signal]) -> Value:
        """Sign and magnitude of the present digit."""
        high, low = code[_DIGIT_BITS:], code[:_DIGIT_BITS]
        floats = {name: line for name, line in decoders.items() if name in _MINIFLOATS}
        lines, digits = list(floats.values()), [self._octal_digit(m, lane, code, name) for name in floats]
        if len(floats) < len(decoders):
            lines.append(~Cat(lines).any() if lines else Value.cast(1))
            digits.append(Mux(self.step[0], low, high) if self._two_digits else high)
        return digits[0] if len(digits) == 1 else choose(lines, digits)

    def _octal_digit(self, m: Module, lane: int, code: Value, name: str) -> Value:
        """Sign and present octal digit of a minifloat, whose exponent 0 has no leading one."""
        exponent_bits, mantissa_bits = _MINIFLOATS[name]
        code = code[LANE_BITS - 1 - exponent_bits - mantissa_bits :]
        mantissa, exponent = code[:mantissa_bits], code[mantissa_bits:-1]
        terms = next(entry.term_count for entry in self.config.datatypes if entry.name == name)
        magnitude = Signal(_OCTAL_BITS * terms, name=f"{name}_magnitude_{lane}")
        m.d.comb += magnitude.eq(Cat(mantissa, exponent.any()) << (exponent - exponent.any())[:exponent_bits])
        digits = [magnitude.word_select(terms - 1 - step, _OCTAL_BITS) for step in range(terms)]
        return Cat(choose([self.step == step for step in range(terms)], digits), code[-1])


def _of_code(m: Module, lane: int, code: Value, entries: Sequence[Value]) -> Value:
    """The entry of a code."""
    chosen = Signal(payloads.term, name=f"table_choice_{lane}")
    with m.Switch(code):
        for number, entry in enumerate(entries):
            with m.Case(number):
                m.d.comb += chosen.as_value().eq(entry)
    return chosen.as_value()
