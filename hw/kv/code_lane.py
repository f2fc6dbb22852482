"""Code lane: one float16 element to its code, with the parameters of its group.

Meaning: rule ``native`` of ``golden.kv.rules``, ``golden.kv.sign`` and ``golden.kv.ternary``. The element less
the group's minimum, exact, counts half units of the scale; two bits of the quotient by its mantissa follow
each cycle from compare and subtract, and one rounding to nearest even ends it. There is no divider, and no
width depends on the range of float16 but that of the subtraction.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.fixed_point import (
    FRACTION_BITS,
    MANTISSA_BITS,
    QUOTIENT_BITS,
    UNITS,
    WINDOW_BITS,
    field,
    mantissa,
    window,
)
from hw.kv.payloads import CODE_BITS, HALF_BITS, Coding

__all__ = ["DENSE_BITS", "LATENCY", "CodeLane", "Kind", "group_parameters", "kind_of"]

_STEPS = 2
"""Bits of the quotient in a cycle."""

LATENCY = 3 + QUOTIENT_BITS // _STEPS
"""Cycles, with ``advance``, from the inputs to ``code``."""

DENSE_BITS = {Coding.BITS1: 1, Coding.BITS2: 2, Coding.BITS3: 3, Coding.BITS4: 4, Coding.BITS8: 8}
"""Codings of the affine rule and their bits."""

group_parameters = data.StructLayout({"scale": HALF_BITS, "offset": WINDOW_BITS})
"""What encodes a group's elements: the scale, a float16, and what is added to an element in its window.

That is the minimum with the opposite sign (affine), or -1 less the threshold in units, rounded down (trits).
"""


class Kind(enum.Enum, shape=2):
    """How codes arise."""

    AFFINE = 0
    SIGN = 1
    TERNARY = 2


def kind_of(form: data.View) -> Value:
    """The kind of a page format."""
    sign = form.magnitude & (form.coding == Coding.BITS1)
    return Mux(form.coding == Coding.TRITS, Kind.TERNARY, Mux(sign, Kind.SIGN, Kind.AFFINE))


class CodeLane(wiring.Component):
    """Encode one element a cycle.

    Members:
        advance (in): the whole pipeline moves.
        kind, coding (in): constant while elements are under way.
        element (in): a finite float16.
        parameters (in): of the element's group.
        code (out): as it is stored in a page.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "advance": In(1),
                "kind": In(Kind),
                "coding": In(Coding),
                "element": In(HALF_BITS),
                "parameters": In(group_parameters),
                "code": Out(CODE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        scale = self.parameters.scale
        negative = self.element[-1] & self.element[:-1].any()
        reference = Mux(self.kind == Kind.TERNARY, UNITS, field(scale))
        magnitude = window(m, self.element[:-1], reference, "element")
        subtracted = Signal()  # a trit's magnitude is compared, whatever its sign
        m.d.comb += subtracted.eq(negative & (self.kind != Kind.TERNARY))

        value = self._hold(m, "value", magnitude ^ subtracted.replicate(WINDOW_BITS))
        carry = self._hold(m, "carry", subtracted)
        offset = self._hold(m, "offset", self.parameters.offset)
        divisor = self._hold(m, "divisor_0", mantissa(scale))
        negative = self._hold(m, "negative_0", negative)

        difference = Signal(WINDOW_BITS)
        m.d.comb += difference.eq(value + offset + carry)
        large = ~difference[-1] & (self.kind == Kind.TERNARY)
        dividend = self._hold(m, "dividend", difference[FRACTION_BITS:])
        sticky = self._hold(m, "sticky_0", difference[:FRACTION_BITS].any())
        divisor = self._hold(m, "divisor_1", divisor)
        trit = self._hold(m, "trit_0", Mux(large, Cat(~negative, negative), 0))
        negative = self._hold(m, "negative_1", negative)

        quotient: Value = Cat()
        remainder, rest = dividend[QUOTIENT_BITS:], dividend[:QUOTIENT_BITS]
        for stage in range(QUOTIENT_BITS // _STEPS):
            for step in range(_STEPS):
                taken, remainder = self._divide(m, f"{stage}_{step}", remainder, rest[-1], divisor)
                quotient, rest = Cat(taken, quotient), rest[:-1]
            remainder = self._hold(m, f"remainder_{stage}", remainder)
            quotient = self._hold(m, f"quotient_{stage}", quotient)
            rest = self._hold(m, f"rest_{stage}", rest)
            divisor = self._hold(m, f"divisor_{stage + 2}", divisor)
            sticky = self._hold(m, f"sticky_{stage + 1}", sticky)
            trit = self._hold(m, f"trit_{stage + 1}", trit)
            negative = self._hold(m, f"negative_{stage + 2}", negative)
        inexact = sticky | remainder.any()
        rounded = self._rounded(m, quotient, inexact)
        code = Signal(CODE_BITS)
        m.d.comb += code.eq(self._stored(m, Mux(divisor.any(), rounded, 0)))
        with m.Switch(self.kind):
            with m.Case(Kind.SIGN):
                m.d.comb += code.eq(~negative)
            with m.Case(Kind.TERNARY):
                m.d.comb += code.eq(trit)
        m.d.comb += self.code.eq(self._hold(m, "code", code))
        return m

    def _hold(self, m: Module, name: str, value: Value) -> Signal:
        """A pipeline register."""
        held = Signal(len(value), name=f"held_{name}", reset_less=True)
        with m.If(self.advance):
            m.d.sync += held.eq(value)
        return held

    def _divide(self, m: Module, name: str, remainder: Value, bit: Value, divisor: Value):
        """One step: a bit of the quotient and what remains, below the divisor again."""
        longer = Cat(bit, remainder)
        less = Signal(signed(len(longer) + 1), name=f"less_{name}")
        m.d.comb += less.eq(longer - divisor)
        taken = ~less[-1]
        return taken, Mux(taken, less[:MANTISSA_BITS], longer[:MANTISSA_BITS])

    def _rounded(self, m: Module, quotient: Value, inexact: Value) -> Value:
        """Half a quotient to nearest even, at most the largest code."""
        up = quotient[0] & (inexact | quotient[1])
        nearest = Signal(len(quotient))
        m.d.comb += nearest.eq(quotient[1:] + up)
        top = Signal(CODE_BITS)
        with m.Switch(self.coding):
            for coding, bits in DENSE_BITS.items():
                with m.Case(coding):
                    m.d.comb += top.eq((1 << bits) - 1)
        above = nearest[CODE_BITS:].any() | (nearest[:CODE_BITS] & ~top).any()
        return Mux(above, top, nearest[:CODE_BITS])

    def _stored(self, m: Module, code: Value) -> Value:
        """A code as the array has it, in digits of sign and magnitude (``golden.kv.formats.Format.stored``)."""
        stored = Signal(CODE_BITS)
        with m.Switch(self.coding):
            for coding, bits in DENSE_BITS.items():
                with m.Case(coding):
                    if bits == 1:
                        m.d.comb += stored.eq(code[0])
                    elif bits <= 4:
                        m.d.comb += stored.eq(_digit(code[: bits - 1], ~code[bits - 1]))
                    else:
                        # 16 * (high - 8) + low: a low digit of 8 or more is low - 16 and raises the first one
                        first = Signal(4)
                        m.d.comb += first.eq(code[4:8] + code[3])
                        # where that makes it 8, it is stored like -8
                        m.d.comb += stored.eq(Cat(_digit(code[:3], code[3]), _digit(first[:3], ~first[3])))
        return stored


def _digit(low: Value, negative: Value) -> Value:
    """Sign and magnitude of ``low``, less a power of two where negative; the lowest one becomes "-0"."""
    return Cat(Mux(negative, -low, low)[: len(low)], negative)
