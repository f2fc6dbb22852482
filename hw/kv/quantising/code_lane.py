"""Code lane: one float16 element to its code, with the parameters of its group.

Meaning: rule ``native`` of ``golden.kv.rules``, ``golden.kv.sign`` and ``golden.kv.ternary``. The element
less the group's minimum, exact, counts half units of the scale; compare and subtract give two bits a cycle of
its quotient by the scale's mantissa, and one rounding to nearest even ends it. There is no divider, and no
width depends on the range of float16 but that of the subtraction.

Codes of BitMoD's data types (``golden.kv.bitmod``) come from the same quotient. So does the ratio of an
element to its group's largest magnitude, which stands in the place of the scale before there is one.
"""

import itertools

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.kv import bitmod
from golden.numbers import datatypes
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
from hw.kv.formats import (
    BITMOD_NAMES,
    DENSE_BITS,
    Kind,
    by_bits,
    half_range,
    is_divided,
    largest_code,
    look_up,
)
from hw.kv.payloads import CODE_BITS, HALF_BITS, SELECTOR_BITS, Coding
from hw.kv.quantising.type_chooser import RATIO_BITS
from hw.kv.quantising.window_adder import addend

__all__ = [
    "RATIO_SPARE",
    "RATIO_STEPS",
    "STEP_BITS",
    "CodeLane",
    "group_parameters",
    "spare_places",
    "steps",
]

STEP_BITS = 2
"""Bits of the quotient in a cycle."""

RATIO_STEPS = 4
"""Cycles of division for a ratio to the largest magnitude."""

RATIO_SPARE = QUOTIENT_BITS - STEP_BITS * RATIO_STEPS + bitmod.INDEX_BITS - 1
"""How far below the largest magnitude's field the reference lies then: half units become ratios."""

_VALUE_BITS = STEP_BITS * 3
"""Bits of the quotient, in half units, that codes of BitMoD's data types are looked up by."""

group_parameters = data.StructLayout({"scale": HALF_BITS, "offset": WINDOW_BITS})
"""What encodes a group's elements: the scale, a float16, and what is added to an element in its window.

That is the minimum with the opposite sign (affine), or -1 less the threshold in units, rounded down (trits).
With BitMoD's data types it is the group's selector and nothing to add.
"""


def steps(bits: int) -> int:
    """Cycles of division for an affine code of so many bits: twice the code, and one place to overflow."""
    return -(-(bits + 2) // STEP_BITS)


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

    With ``kv.bitmod``, where the kind is symmetric:
        bitmod (in): the code is one of BitMoD's data types.
        ratio, negative (out): in the cycle of the code, of an element to the parameters' scale, which is the
            largest magnitude; ``spare`` was ``RATIO_SPARE`` and there were ``RATIO_STEPS`` steps.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        chosen = {
            "bitmod": In(1),
            "ratio": Out(RATIO_BITS),
            "negative": Out(1),
        }
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
                **(chosen if config.kv.bitmod else {}),
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

        quotient, inexact = self._quotient(m, work, sticky)
        code = self._stored(
            m, self._centred(m, Mux(divisor.any(), self._rounded(m, quotient, inexact), 0), simple[0])
        )
        if self.config.kv.bitmod:
            m.d.comb += [
                self.ratio.eq(Mux(divisor.any(), work[:RATIO_BITS], 0)),
                self.negative.eq(~simple[0]),
            ]
            special = self._special(m, quotient, inexact, divisor)
            code = Mux(self.bitmod, special, code)
        m.d.comb += self.code.eq(Mux(is_divided(self.kind), code, simple))
        return m

    def _divide(self, m: Module, name: str, remainder: Value, bit: Value, divisor: Value):
        """One step: a bit of the quotient and what remains, below the divisor again."""
        longer = Cat(bit, remainder)
        less = Signal(signed(len(longer) + 1), name=f"less_{name}")
        m.d.comb += less.eq(longer - divisor)
        taken = ~less[-1]
        return taken, Mux(taken, less[:MANTISSA_BITS], longer[:MANTISSA_BITS])

    def _quotient(self, m: Module, work: Value, sticky: Value) -> tuple[Value, Value]:
        """What has been divided, and whether anything is left."""
        mask = by_bits(m, self.coding, lambda bits: largest_code(STEP_BITS * steps(bits)), "mask")
        quotient = work[:QUOTIENT_BITS] & mask
        inexact = sticky | work[QUOTIENT_BITS:].any() | (work[:QUOTIENT_BITS] & ~mask).any()
        return quotient, inexact

    def _special(self, m: Module, quotient: Value, inexact: Value, divisor: Value) -> Value:
        """The code of BitMoD's data types, a tie to the smaller value; 0 where the scale is."""
        selector = Signal(SELECTOR_BITS, reset_less=True)
        doubled = Signal(_VALUE_BITS)
        magnitude = Signal(CODE_BITS)
        with m.If(self.load):
            m.d.sync += selector.eq(self.parameters.offset)
        found = []
        for coding, name in BITMOD_NAMES.items():
            inner, _, outer, _ = datatypes.get(name).specials
            for special in (inner, outer, None):
                table = _codes(name, special)
                signal = look_up(m, f"{name}_{special or 'plain'}", doubled, table, CODE_BITS)
                found.append(Mux(self.coding == coding, signal, 0))
        inner, outer, plain = (found[place] | found[place + 3] for place in range(3))
        has_sign = selector[0] == self.negative
        with m.If(divisor.any()):
            m.d.comb += doubled.eq(quotient + (inexact | self.negative))
        m.d.comb += magnitude.eq(Mux(has_sign, Mux(selector[1], outer, inner), plain))
        sign = Mux(self.coding == Coding.BITS3, self.negative << 2, self.negative << 3)
        return magnitude | Mux(magnitude.any() & self.negative, sign, 0)

    def _rounded(self, m: Module, quotient: Value, inexact: Value) -> Value:
        """Half the quotient to nearest even, at most the largest code."""
        largest = by_bits(m, self.coding, largest_code, "largest")
        top = Signal(CODE_BITS)
        m.d.comb += top.eq(Mux(self.kind == Kind.SYMMETRIC, largest >> 1, largest))
        up = quotient[0] & (inexact | quotient[1])
        nearest = Signal(QUOTIENT_BITS)
        m.d.comb += nearest.eq(quotient[1:] + up)
        above = nearest[CODE_BITS:].any() | (nearest[:CODE_BITS] & ~top).any()
        return Mux(above, top, nearest[:CODE_BITS])

    def _centred(self, m: Module, steps: Value, positive: Value) -> Value:
        """The unsigned code: of a symmetric one, half the range plus or minus its steps."""
        half = by_bits(m, self.coding, half_range, "half")
        code = Signal(CODE_BITS, name="centred")
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


def _codes(name: str, special: int | None) -> list[int]:
    """Codes without their signs by the doubled quotient, one more where it is to go up at a midpoint."""
    values = bitmod.magnitudes_with(name, special)
    plain = bitmod.magnitudes_with(name, None)
    middles = [low + high for low, high in itertools.pairwise(values)]
    nearest = [values[sum(doubled > middle for middle in middles)] for doubled in range(1 << _VALUE_BITS)]
    return [plain.index(value) if value in plain else len(plain) for value in nearest]


def _digit(low: Value, negative: Value) -> Value:
    """Sign and magnitude of ``low``, less a power of two where negative; the lowest one becomes "-0"."""
    return Cat(Mux(negative, -low, low)[: len(low)], negative)
