"""Float32 sum: to nearest even, subnormals are zeros, one a cycle.

Meaning: ``golden.vector.arithmetic.add``. Of two numbers the larger one stays, the smaller one moves. What
is moved up by two places or more is exact, so that nothing is both moved up and rounded.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.numbers.pipeline import hold
from hw.vector.float_multiplier import FRACTION, NAN

__all__ = ["LATENCY", "FloatAdder"]

LATENCY = 4
"""Cycles from operands to their sum."""
_INFINITE = 255
_SIGNIFICAND = FRACTION + 1
_GUARD = 3
_WIDTH = _SIGNIFICAND + _GUARD
_LEVELS = 5


class FloatAdder(wiring.Component):
    """Add; never halts. Registers: operands in order, the smaller one in place, the total, the sum.

    Members:
        a, b (in): bits of the operands.
        sum (out): of the operands ``LATENCY`` cycles ago.
    """

    a: In(32)
    b: In(32)
    sum: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        large, small, distance, flags = self._order(m)
        field, significand = hold(m, None, "field", large[FRACTION:]), self._significand(large)
        significand = hold(m, None, "significand", significand)
        moved = hold(m, None, "moved", self._move(m, self._significand(small), distance))
        flags = hold(m, None, "later_flags", flags)

        subtract = flags[0]
        total = Signal(_WIDTH + 1)
        # The complement's missing one comes in at the lowest place.
        extended = Cat(Const(0, _GUARD), significand)
        m.d.comb += total.eq(extended + Cat(moved ^ subtract.replicate(_WIDTH), subtract) + subtract)
        zeros = self._leading_zeros(m, total[:_WIDTH])
        sum_bits = self._round(
            m,
            hold(m, None, "total", total),
            hold(m, None, "zeros", zeros),
            hold(m, None, "later_field", field),
            hold(m, None, "last_flags", flags),
        )
        m.d.comb += self.sum.eq(hold(m, None, "sum", sum_bits))
        return m

    def _leading_zeros(self, m: Module, value: Value) -> Value:
        """Of a value that is not 0."""
        window: Value = Cat(Const(0, (1 << _LEVELS) - len(value)), value)
        zeros: list[Value] = []
        for level in reversed(range(_LEVELS)):
            half = 1 << level
            empty = Signal(name=f"empty_{half}")
            following = Signal(half, name=f"window_{half}")
            m.d.comb += [
                empty.eq(~window[half:].any()),
                following.eq(Mux(empty, window[:half], window[half:])),
            ]
            window, zeros = following, [empty, *zeros]
        return Cat(zeros)

    def _significand(self, magnitude: Value) -> Value:
        normal = magnitude[FRACTION:].any()
        return Cat(magnitude[:FRACTION] & normal.replicate(FRACTION), normal)

    def _order(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Magnitudes of the larger and the smaller one, their distance, and flags."""
        a, b = self.a, self.b
        swap = Signal()
        distance = Signal(8)
        m.d.comb += [
            swap.eq(a[:-1] < b[:-1]),
            distance.eq(Mux(swap, b[FRACTION:-1] - a[FRACTION:-1], a[FRACTION:-1] - b[FRACTION:-1])),
        ]
        full = [operand[FRACTION:-1].all() for operand in (a, b)]
        nan = [each & operand[:FRACTION].any() for each, operand in zip(full, (a, b), strict=True)]
        differ = a[-1] ^ b[-1]
        flags = Cat(
            differ,
            Mux(swap, b[-1], a[-1]),
            a[-1] & b[-1],
            full[0] | full[1],
            nan[0] | nan[1] | (full[0] & full[1] & differ),
        )
        large = hold(m, None, "large", Mux(swap, b[:-1], a[:-1]))
        small = hold(m, None, "small", Mux(swap, a[:-1], b[:-1]))
        return large, small, hold(m, None, "distance", distance), hold(m, None, "flags", flags)

    def _move(self, m: Module, significand: Value, distance: Value) -> Value:
        """The smaller one in its place; the lowest bit is set if anything below it is."""
        value: Value = Cat(Const(0, _GUARD), significand)
        lost: Value = Const(0, 1)
        for level in reversed(range(_LEVELS)):
            places = 1 << level
            moved = Signal(_WIDTH, name=f"moved_{places}")
            dropped = Signal(name=f"dropped_{places}")
            m.d.comb += [
                moved.eq(Mux(distance[level], value >> places, value)),
                dropped.eq(lost | (distance[level] & value[:places].any())),
            ]
            value, lost = moved, dropped
        far = distance[_LEVELS:].any()
        found = Signal(_WIDTH)
        m.d.comb += found.eq(Mux(far, significand[-1], Cat(value[0] | lost, value[1:])))
        return found

    def _round(self, m: Module, total: Value, zeros: Value, field: Value, flags: Value) -> Value:
        _, sign, zero_sign, infinite, nan = flags
        carry, leading, second = total[_WIDTH], total[_WIDTH - 1], total[_WIDTH - 2]
        kept = Signal(FRACTION)
        up = Signal()
        far_field = Signal(9)
        pattern = Signal(FRACTION + 9)
        m.d.comb += [
            kept.eq(Mux(carry, total[4:-1], Mux(leading, total[3:-2], total[2:-3]))),
            up.eq(
                Mux(
                    carry,
                    total[3] & (total[:3].any() | total[4]),
                    Mux(leading, total[2] & (total[:2].any() | total[3]), total[1] & (total[0] | total[2])),
                )
            ),
            far_field.eq(field + carry - ~(carry | leading)),
            pattern.eq(Cat(kept, far_field) + up),
        ]
        near = Signal()
        shifted = Signal(_WIDTH)
        near_field = Signal(signed(9))
        m.d.comb += [
            near.eq(~(carry | leading | second)),
            shifted.eq(total[:_WIDTH] << zeros),
            near_field.eq(field - zeros),
        ]
        empty = ~total.any()
        tiny = Mux(near, near_field <= 0, ~far_field.any()) | empty
        over = ~near & (pattern[FRACTION:] >= _INFINITE)
        number = Mux(near, Cat(shifted[_GUARD : _WIDTH - 1], near_field[:8]), pattern[:31])
        magnitude = Signal(31)
        bits = Signal(32)
        m.d.comb += [
            magnitude.eq(Mux(infinite | over, _INFINITE << FRACTION, Mux(tiny, 0, number))),
            bits.eq(Mux(nan, NAN, Cat(magnitude, Mux(empty & ~infinite, zero_sign, sign)))),
        ]
        return bits
