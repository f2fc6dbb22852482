"""Value lane: one code to its float16, with the numbers of its group.

Meaning: ``golden.kv.formats.Format.decode_half``. Code times scale plus minimum is worked out in full, in
units of 2**-24 where a finite float16 has 40 bits, and rounded once. There is no exponent arithmetic: the
places that the leading bit of the sum moves to the top of its window give the exponent field.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.kv import bitmod
from golden.numbers import datatypes
from hw.config import Config
from hw.kv.fixed_point import FINITE_BITS, MANTISSA_BITS, UNITS, field, mantissa
from hw.kv.formats import (
    BITMOD_NAMES,
    DENSE_BITS,
    Kind,
    by_bits,
    by_coding,
    half_range,
    is_divided,
    look_up,
)
from hw.kv.payloads import CODE_BITS, HALF_BITS, SELECTOR_BITS, Coding
from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold

__all__ = ["LATENCY", "ValueLane"]

LATENCY = 5
"""Cycles, with ``advance``, from a code to its value; the numbers of its group follow it by one."""

_LARGEST = 0x7BFF

_PRODUCT_BITS = CODE_BITS + MANTISSA_BITS
_PLACED_BITS = FINITE_BITS + 1
"""Of a product in units; with more of them the sum is too large whatever the minimum."""

_SUM_BITS = FINITE_BITS + 2

_EARLY_LEVELS, _LATE_LEVELS = (16, 8, 4), (2, 1)
"""Places that the normaliser moves by, before and behind the register between its levels.

Together they bring bit 10 of a sum to the top, the leading bit of the smallest normal number.
"""


class ValueLane(wiring.Component):
    """Decode a code a cycle.

    Members:
        advance (in): the whole pipeline moves; while low, ``value`` stays.
        kind, coding (in): constant while codes are under way.
        code (in): as it is stored in a page.
        scale, minimum (in): of the code of the cycle before; finite float16, the scale not negative. A
            minimum is ignored where there is none.
        value (out): the float16.

    With ``kv.bitmod``, where the kind is symmetric:
        bitmod (in): the code is one of BitMoD's data types.
        selector (in): with ``scale``, its group's special value.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        special = {"bitmod": In(1), "selector": In(SELECTOR_BITS)}
        super().__init__(
            {
                "advance": In(1),
                "kind": In(Kind),
                "coding": In(Coding),
                "code": In(CODE_BITS),
                "scale": In(HALF_BITS),
                "minimum": In(HALF_BITS),
                "value": Out(HALF_BITS),
                **(special if config.kv.bitmod else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        affine = self.kind == Kind.AFFINE

        # First cycle: the code as a factor; that of a sign is 1, that of a trit 0 or 1.
        is_trit = self.kind == Kind.TERNARY
        is_symmetric, unsigned = self.kind == Kind.SYMMETRIC, self._unsigned(m)
        half = by_bits(m, self.coding, half_range, "half")
        below = Signal()
        steps = Signal(CODE_BITS)
        m.d.comb += [
            below.eq(unsigned < half),
            steps.eq(Mux(~is_symmetric, unsigned, Mux(below, half - unsigned, unsigned - half))),
        ]
        factor = Mux(is_divided(self.kind), steps, ~is_trit | self.code[:2].any())
        of_bit = Mux(is_symmetric, below, ~self.code[0])
        opposite = ~affine & Mux(is_trit, self.code[1], of_bit)
        if self.config.kv.bitmod:
            integer, sign = self._plain(m)
            factor, opposite = Mux(self.bitmod, integer, factor), Mux(self.bitmod, sign, opposite)
        factor, opposite = (
            hold(m, self.advance, name, value) for name, value in (("factor", factor), ("opposite", opposite))
        )
        if self.config.kv.bitmod:
            factor, opposite = self._with_special(m, factor, opposite)

        # Second cycle: the product.
        significant = mantissa(self.scale)
        partial = [Cat(Const(0, place), Mux(factor[place], significant, 0)) for place in range(CODE_BITS)]
        left, right = compress(m, partial, _PRODUCT_BITS, name="product")
        product = hold(m, self.advance, "product", (left + right)[:_PRODUCT_BITS])
        places = hold(m, self.advance, "places", field(self.scale))
        minimum = hold(
            m, self.advance, "minimum", Mux(affine, Cat(mantissa(self.minimum), self.minimum[-1]), 0)
        )
        minimum_places = hold(m, self.advance, "minimum_places", field(self.minimum))
        negated = hold(m, self.advance, "negated", opposite & significant.any())

        # Third cycle: both in units, and their sum; the field of one unit is 1.
        placed = self._shifted(m, "placed", product, places, _PRODUCT_BITS + UNITS)[1:]
        addend = self._shifted(m, "addend", minimum[:-1], minimum_places, FINITE_BITS + 1)[1:]
        negative = minimum[-1]
        total = Signal(_SUM_BITS + 1)
        inverted = Cat(addend, Const(0, 3)) ^ negative.replicate(len(total))
        m.d.comb += total.eq(placed[:_PLACED_BITS] + inverted + negative)
        total = hold(m, self.advance, "total", total)
        above = hold(m, self.advance, "above", placed[_PLACED_BITS:].any())
        negated = hold(m, self.advance, "still_negated", negated)

        # Fourth and fifth cycle: the leading bit to the top. A negative sum, inverted, is one less than its
        # magnitude; it moves up with zeros, ones when inverted, and rounding adds the one below them.
        window, negative, sticky = Cat(Const(0, 1), total[:-1]), total[-1], Const(0, 1)
        window, sticky, early = self._normalised(m, window, negative, sticky, _EARLY_LEVELS)
        window, early = hold(m, self.advance, "window", window), hold(m, self.advance, "early", early)
        sign = hold(m, self.advance, "sign", (negative & ~above) | negated)
        sticky, above = hold(m, self.advance, "sticky", sticky), hold(m, self.advance, "still_above", above)
        negative = hold(m, self.advance, "negative", negative)

        window, sticky, late = self._normalised(m, window, negative, sticky, _LATE_LEVELS)
        kept = window ^ negative.replicate(len(window))
        guard, unit = kept[0], kept[1]
        up = Mux(sticky, guard, Mux(negative, guard | unit, guard & unit))
        exponent = Cat(late, early)  # one less, and 0 where the leading bit is missing: the mantissa has it
        finite = Signal(HALF_BITS - 1)
        m.d.comb += finite.eq(Cat(kept[1:], Const(0, len(exponent) - 1)) + Cat(Const(0, 10), exponent) + up)
        large = above | exponent[1:].all() | finite[10:].all()  # the latter by rounding up
        magnitude = Mux(large, _LARGEST, finite)
        m.d.comb += self.value.eq(hold(m, self.advance, "value", Cat(magnitude, sign)))
        return m

    def _plain(self, m: Module) -> tuple[Value, Value]:
        """Magnitude and sign of a code of BitMoD's data types; that of a special value is 0 and negative."""
        magnitude, sign = Const(0, CODE_BITS), Const(0, 1)
        for coding, name in BITMOD_NAMES.items():
            bits = DENSE_BITS[coding]
            values = bitmod.magnitudes_with(name, None)
            found = look_up(m, f"{name}_magnitude", self.code[: bits - 1], values, CODE_BITS)
            magnitude = Mux(self.coding == coding, found, magnitude)
            sign = Mux(self.coding == coding, self.code[bits - 1], sign)
        return magnitude, sign

    def _with_special(self, m: Module, factor: Value, opposite: Value) -> tuple[Value, Value]:
        """Factor and sign with the special value that a magnitude of 0 with a sign stands for."""
        is_special = Signal()
        m.d.comb += is_special.eq(self.bitmod & opposite & ~factor.any())
        inner, outer = (
            by_coding(
                m,
                self.coding,
                {coding: datatypes.get(name).specials[place] for coding, name in BITMOD_NAMES.items()},
                f"special_{place}",
            )
            for place in (0, 2)
        )
        special = Mux(self.selector[1], outer, inner)
        return Mux(is_special, special, factor), Mux(is_special, self.selector[0], opposite)

    def _unsigned(self, m: Module) -> Value:
        """A code of the affine rule out of what is stored for it: the inverse of ``Format.stored``."""
        stored = self.code
        unsigned = Signal(CODE_BITS, name="unsigned_code")
        with m.Switch(self.coding):
            for coding, bits in DENSE_BITS.items():
                with m.Case(coding):
                    if bits == 1:
                        m.d.comb += unsigned.eq(stored[0])
                    elif bits <= 4:
                        negative = stored[bits - 1]
                        m.d.comb += unsigned.eq(Cat(_low(stored[: bits - 1], negative), ~negative))
                    else:
                        # a low digit of -8..-1 is 8..15 and lowers the first one
                        negative, first_negative = stored[3], stored[7]
                        first = Cat(_low(stored[4:7], first_negative), ~first_negative)
                        m.d.comb += unsigned.eq(
                            Cat(_low(stored[:3], negative), negative, (first - negative)[:4])
                        )
        return unsigned

    def _shifted(self, m: Module, name: str, value: Value, amount: Value, width: int) -> Value:
        """Value times a power of two."""
        for level in range(len(amount)):
            moved = Cat(Const(0, 1 << level), value)[:width]
            stage = Signal(len(moved), name=f"{name}_{level}")
            m.d.comb += stage.eq(Mux(amount[level], moved, value))
            value = stage
        return value

    def _normalised(
        self, m: Module, window: Value, negative: Value, sticky: Value, levels: tuple[int, ...]
    ) -> tuple[Value, Value, Value]:
        """Drop what only repeats the sign, by levels.

        Returns:
            The upper bits that remain, whether any bit below was a one, and whether the window stayed, for
            every level, the last one first.
        """
        stayed: list[Value] = []
        for step in levels:
            stays = Signal(name=f"stays_{step}")
            below = Signal(name=f"sticky_{step}")
            following = Signal(len(window) - step, name=f"window_{step}")
            m.d.comb += [
                stays.eq((window[-step:] ^ negative.replicate(step)).any()),
                following.eq(Mux(stays, window[step:], window[:-step])),
                below.eq(sticky | (stays & window[:step].any())),
            ]
            window, sticky = following, below
            stayed.insert(0, stays)
        return window, sticky, Cat(stayed)


def _low(magnitude: Value, negative: Value) -> Value:
    """A digit of sign and magnitude, modulo the power of two above its magnitude."""
    return Mux(negative, -magnitude, magnitude)[: len(magnitude)]
