"""Float32 product: to nearest even, subnormals are zeros, one a cycle.

Meaning: ``golden.vector.arithmetic.multiply``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold

__all__ = ["BIAS", "FRACTION", "LATENCY", "NAN", "FloatMultiplier"]

LATENCY = 4
"""Cycles from operands to their product."""
FRACTION = 23
BIAS = 127
NAN = 0x7FC00000
_INFINITE = 255
_SIGNIFICAND = FRACTION + 1


class FloatMultiplier(wiring.Component):
    """Multiply; never halts. Registers: operands, rows of the sum, the sum, the product.

    Members:
        a, b (in): bits of the operands.
        product (out): of the operands ``LATENCY`` cycles ago.
    """

    a: In(32)
    b: In(32)
    product: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = [hold(m, None, name, value) for name, value in (("a", self.a), ("b", self.b))]
        fields, significands, zeros, infinites, nans = [], [], [], [], []
        for name, operand in zip("ab", operands, strict=True):
            field = Signal(8, name=f"field_{name}")
            full = Signal(name=f"full_{name}")
            some = Signal(name=f"some_{name}")
            zero = Signal(name=f"zero_{name}")
            m.d.comb += [
                field.eq(operand[FRACTION:-1]),
                full.eq(field.all()),
                some.eq(operand[:FRACTION].any()),
                zero.eq(~field.any()),
            ]
            fields.append(field)
            significands.append(Cat(operand[:FRACTION], Const(1, 1)))
            zeros.append(zero)
            infinites.append(full & ~some)
            nans.append(full & some)

        left, right = compress(m, self._rows(m, *significands), 2 * _SIGNIFICAND)
        exponent = Signal(signed(10))
        zero = zeros[0] | zeros[1]
        infinite = infinites[0] | infinites[1]
        m.d.comb += exponent.eq(fields[0] + fields[1] - BIAS)
        flags = Cat(
            operands[0][-1] ^ operands[1][-1],
            zero & ~infinite,
            infinite,
            nans[0] | nans[1] | (zero & infinite),
        )
        left, right = hold(m, None, "left", left), hold(m, None, "right", right)
        exponent, flags = hold(m, None, "exponent", exponent), hold(m, None, "flags", flags)

        total = Signal(2 * _SIGNIFICAND)
        m.d.comb += total.eq(left + right)
        low = FRACTION - 1
        upper, below = hold(m, None, "upper", total[low:]), hold(m, None, "below", total[:low].any())
        exponent, flags = hold(m, None, "later_exponent", exponent), hold(m, None, "later_flags", flags)
        m.d.comb += self.product.eq(hold(m, None, "product", self._round(m, upper, below, exponent, flags)))
        return m

    def _rows(self, m: Module, a: Value, b: Value) -> list[Value]:
        """Rows that add up to a product, one for each of b's digits of -2 to 2 (Booth, radix 4).

        A negative multiple is a complement, whose missing one stands in the row behind. Its sign is inverted
        instead of extended; what mends that is a constant row.
        """
        size = len(a)
        factor: Value = Cat(Const(0, 1), b, Const(0, 2))
        rows: list[Value] = []
        missing: Value = Const(0, 1)
        mended = 0
        for digit in range(size // 2 + 1):
            low, middle, high = factor[2 * digit], factor[2 * digit + 1], factor[2 * digit + 2]
            one, two, negative = (Signal(name=f"{name}_{digit}") for name in ("one", "two", "negative"))
            row = Signal(size + 1, name=f"row_{digit}")
            m.d.comb += [
                one.eq(middle ^ low),
                two.eq((high ^ middle) & ~one),
                negative.eq(high & ~(middle & low)),
                row.eq(
                    (
                        (Cat(a, Const(0, 1)) & one.replicate(size + 1))
                        | (Cat(Const(0, 1), a) & two.replicate(size + 1))
                    )
                    ^ negative.replicate(size + 1)
                ),
            ]
            begin = 2 * digit
            below = Cat(Const(0, begin - 2), missing, Const(0, 1)) if digit else Cat()
            if digit < size // 2:
                rows.append(Cat(below, row, ~negative))
                mended -= 1 << begin + size + 1
                missing = negative
            else:
                rows.append(Cat(below, row))
        return [*rows, Const(mended % (1 << 2 * size), 2 * size)]

    def _round(self, m: Module, upper: Value, below: Value, exponent: Value, flags: Value) -> Value:
        """Bits of the product; ``upper`` has two bits in front of the point."""
        sign, zero, infinite, nan = flags
        long = upper[-1]
        kept = Signal(FRACTION)
        up = Signal()
        field = Signal(signed(10))
        tiny = Signal()
        pattern = Signal(FRACTION + 10)
        m.d.comb += [
            kept.eq(Mux(long, upper[2:-1], upper[1:-2])),
            up.eq(Mux(long, upper[1] & (upper[0] | below | upper[2]), upper[0] & (below | upper[1]))),
            field.eq(exponent + long),
            tiny.eq((field <= 0) | zero),
            pattern.eq(Cat(kept, field) + up),
        ]
        over = infinite | (~tiny & (pattern[FRACTION:-1] >= _INFINITE))
        magnitude = Signal(31)
        bits = Signal(32)
        m.d.comb += [
            magnitude.eq(Mux(over, _INFINITE << FRACTION, Mux(tiny, 0, pattern[:31]))),
            bits.eq(Mux(nan, NAN, Cat(magnitude, sign))),
        ]
        return bits
