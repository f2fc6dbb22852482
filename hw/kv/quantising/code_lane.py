"""Code lane: one float16 element to its code, with the parameters of its group.

Meaning: rule ``native`` of ``golden.kv.rules``, ``golden.kv.sign`` and ``golden.kv.ternary``. The element
less the group's minimum, exact, counts half units of the scale; compare and subtract give two bits a cycle of
its quotient by the scale's mantissa, and one rounding to nearest even ends it. There is no divider, and no
width depends on the range of float16 but that of the subtraction.
"""

from collections.abc import Callable

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
)
from hw.kv.payloads import CODE_BITS, HALF_BITS, Coding
from hw.kv.quantising.window_adder import addend

__all__ = [
    "DENSE_BITS",
    "STEP_BITS",
    "CodeLane",
    "Kind",
    "by_bits",
    "by_coding",
    "group_parameters",
    "half_range",
    "is_divided",
    "kind_of",
    "largest_code",
    "spare_places",
    "steps",
]

STEP_BITS = 2
"""Bits of the quotient in a cycle."""

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
    SYMMETRIC = 3


def kind_of(form: data.View) -> Value:
    """The kind of a page format."""
    by_magnitude = Mux(form.coding == Coding.BITS1, Kind.SIGN, Kind.SYMMETRIC)
    return Mux(form.coding == Coding.TRITS, Kind.TERNARY, Mux(form.magnitude, by_magnitude, Kind.AFFINE))


def is_divided(kind: Value) -> Value:
    """Whether codes are quotients: affine or symmetric."""
    return (kind == Kind.AFFINE) | (kind == Kind.SYMMETRIC)


def steps(bits: int) -> int:
    """Cycles of division for an affine code of so many bits: twice the code, and one place to overflow."""
    return -(-(bits + 2) // STEP_BITS)


def by_coding(m: Module, coding: Value, table: dict[Coding, int], name: str) -> Signal:
    """A number for every coding in the table, 0 for the others."""
    chosen = Signal(range(max(table.values()) + 1), name=name)
    with m.Switch(coding):
        for case, number in table.items():
            with m.Case(case):
                m.d.comb += chosen.eq(number)
    return chosen


def by_bits(m: Module, coding: Value, number: Callable[[int], int], name: str) -> Signal:
    """A number that depends on the bits of a dense code, 0 for trits."""
    return by_coding(m, coding, {case: number(bits) for case, bits in DENSE_BITS.items()}, name)


def largest_code(bits: int) -> int:
    """The largest unsigned code."""
    return (1 << bits) - 1


def half_range(bits: int) -> int:
    """The unsigned code that stands for zero in a symmetric format."""
    return 1 << bits - 1


def spare_places(m: Module, coding: Value) -> Value:
    """How far below its scale's field the reference of an affine group lies.

    With few bits of quotient the window begins further up, so that they come first.
    """
    return by_bits(m, coding, lambda bits: QUOTIENT_BITS - STEP_BITS * steps(bits), "spare_places")


class CodeLane(wiring.Component):
    """Encode an element in ``steps`` + 2 cycles, another one every ``steps`` + 1 (at least 2).

    Members:
        kind, coding, spare (in): constant while elements are under way; ``spare_places`` of the coding.
        element (in): a finite float16.
        parameters (in): of the element's group.
        addend (out): for a ``WindowAdder``, in the cycle in which the element arrives.
        difference (in): from there, a cycle later; element and parameters are still there.
        load (in): that other cycle.
        step (in): two bits of the quotient, ``steps`` times from the next cycle on.
        code (out): in the cycle after the last step, as it is stored in a page.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "kind": In(Kind),
                "coding": In(Coding),
                "spare": In(range(QUOTIENT_BITS)),
                "element": In(HALF_BITS),
                "parameters": In(group_parameters),
                "addend": Out(addend),
                "difference": In(WINDOW_BITS),
                "load": In(1),
                "step": In(1),
                "code": Out(CODE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        negative = self.element[-1] & self.element[:-1].any()
        is_trit = self.kind == Kind.TERNARY
        reference = field(self.parameters.scale) - self.spare
        m.d.comb += [
            self.addend.magnitude.eq(self.element[:-1]),
            self.addend.reference.eq(Mux(is_trit, UNITS, reference)),
            self.addend.negative.eq(negative & (self.kind == Kind.AFFINE)),  # else magnitudes count
        ]

        difference = self.difference
        work = Signal(MANTISSA_BITS + QUOTIENT_BITS, reset_less=True)  # remainder, rest, quotient from below
        divisor = Signal(MANTISSA_BITS, reset_less=True)
        sticky = Signal(reset_less=True)
        simple = Signal(2, reset_less=True)  # code of a sign or a trit
        remainder, rest = work[QUOTIENT_BITS:], work[:QUOTIENT_BITS]
        with m.If(self.step):
            for number in range(STEP_BITS):
                taken, remainder = self._divide(m, f"{number}", remainder, rest[-1], divisor)
                rest = Cat(taken, rest[:-1])
            m.d.sync += work.eq(Cat(rest, remainder))
        with m.If(self.load):
            trit = Mux(difference[-1], 0, Cat(~negative, negative))
            m.d.sync += [
                work.eq(difference[FRACTION_BITS:]),
                sticky.eq(difference[:FRACTION_BITS].any()),
                divisor.eq(mantissa(self.parameters.scale)),
                simple.eq(Mux(is_trit, trit, ~negative)),
            ]

        code = self._stored(
            m, self._centred(m, Mux(divisor.any(), self._rounded(m, work, sticky), 0), simple[0])
        )
        m.d.comb += self.code.eq(Mux(is_divided(self.kind), code, simple))
        return m

    def _divide(self, m: Module, name: str, remainder: Value, bit: Value, divisor: Value):
        """One step: a bit of the quotient and what remains, below the divisor again."""
        longer = Cat(bit, remainder)
        less = Signal(signed(len(longer) + 1), name=f"less_{name}")
        m.d.comb += less.eq(longer - divisor)
        taken = ~less[-1]
        return taken, Mux(taken, less[:MANTISSA_BITS], longer[:MANTISSA_BITS])

    def _rounded(self, m: Module, work: Value, sticky: Value) -> Value:
        """Half the quotient to nearest even, at most the largest code."""
        mask = by_bits(m, self.coding, lambda bits: largest_code(STEP_BITS * steps(bits)), "mask")
        largest = by_bits(m, self.coding, largest_code, "largest")
        top = Signal(CODE_BITS)
        m.d.comb += top.eq(Mux(self.kind == Kind.SYMMETRIC, largest >> 1, largest))
        quotient = work[:QUOTIENT_BITS] & mask
        inexact = sticky | work[QUOTIENT_BITS:].any() | (work[:QUOTIENT_BITS] & ~mask).any()
        up = quotient[0] & (inexact | quotient[1])
        nearest = Signal(QUOTIENT_BITS)
        m.d.comb += nearest.eq(quotient[1:] + up)
        above = nearest[CODE_BITS:].any() | (nearest[:CODE_BITS] & ~top).any()
        return Mux(above, top, nearest[:CODE_BITS])

    def _centred(self, m: Module, steps: Value, positive: Value) -> Value:
        """The unsigned code: of a symmetric one, half the range plus or minus its steps."""
        half, code = by_bits(m, self.coding, half_range, "half"), Signal(CODE_BITS)
        m.d.comb += code.eq(steps)
        with m.If(self.kind == Kind.SYMMETRIC):
            m.d.comb += code.eq(Mux(positive, half + steps, half - steps))
        return code

    def _stored(self, m: Module, code: Value) -> Value:
        """A code in digits of sign and magnitude, as ``golden.kv.formats.Format.stored`` has it."""
        stored = Signal(CODE_BITS)
        with m.Switch(self.coding):
            for coding, bits in DENSE_BITS.items():
                with m.Case(coding):
                    if bits == 1:
                        m.d.comb += stored.eq(code[0])
                    elif bits <= 4:
                        m.d.comb += stored.eq(_digit(code[: bits - 1], ~code[bits - 1]))
                    else:
                        # 16 * (high - 8) + low: a low digit of 8 or more is low - 16 and raises the first;
                        # where that makes it 8, it is stored like -8
                        first = Signal(4)
                        m.d.comb += first.eq(code[4:8] + code[3])
                        m.d.comb += stored.eq(Cat(_digit(code[:3], code[3]), _digit(first[:3], ~first[3])))
        return stored


def _digit(low: Value, negative: Value) -> Value:
    """Sign and magnitude of ``low``, less a power of two where negative; the lowest one becomes "-0"."""
    return Cat(Mux(negative, -low, low)[: len(low)], negative)
