"""Dot product of sixteen pairs of FP16 numbers into an FP32 accumulator, one a cycle: FP16 as arrays have it.

What it computes, and what it drops where, is in ``golden.baseline.fp16_dot``. Kept as small as possible at
1 ns in a 45 nm library, so that comparisons with it are fair:

- One maximum, one normaliser, one rounding and one accumulator serve sixteen multipliers. The FP32 sum is
  that of ``hw.baseline.fp32_sum``: the sum of products, cut off to 24 bits, is normalised, so that it costs
  no guard bit.
- Products have Booth's rows (``hw.baseline.booth``). They stay carry-propagate numbers: shifting carry and
  sum apart would cost a second shifter, more than the addition.
- Distances are known as early as products, so registers stand where a lane is narrowest, 28 bits, and
  shifter and first levels of the tree share the next cycle. The tree is cut again where six rows are left.
- Negative rows are complements. The missing ones, and all that their signs extend to above the window, are
  the number of negative rows, counted once and added in two places.
- Leading zeros are counted in digits of DIGIT bits, in parallel with the addition that makes the magnitude: a
  digit is empty where the complement's is and no carry reaches it. What is left moves the next cycle.
- Zeros are not told from numbers, subnormals count as numbers of the smallest normal exponent.

What each bit of the window is worth: ``golden.baseline.fp16_dot.WINDOW``.
"""

import itertools
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.baseline.fp16_dot import LANES, PRODUCT, WINDOW
from hw.baseline import fp32_sum
from hw.baseline.booth import partial_products
from hw.baseline.columns import add, reduce, rows_of
from hw.baseline.fp32_sum import SLOTS, accumulate
from hw.baseline.frame import FRACTION as SUM_FRACTION
from hw.baseline.frame import SCALE, Frame
from hw.baseline.multiplier import Column
from hw.baseline.product_exponents import ProductExponents
from hw.sharing import share

__all__ = ["LATENCY", "SLOTS", "Fp16Dot"]

LATENCY = 4 + fp32_sum.LATENCY
"""Cycles from operands to the sum with them."""

FRACTION = 10
SIGNIFICAND = FRACTION + 1
COUNT = LANES.bit_length()
"""Bits that the sum of LANES rows has more than a row, sign included; bits of the number of negative rows."""

HEIGHT = 6
"""Rows left of LANES when the registers cut the tree of the sum."""

DIGIT = 2
"""Bits of what leading zeros are counted in before the sum's magnitude is known."""

KEPT = SUM_FRACTION + 1
FRAME = Frame(KEPT, (), 0)
SCALE_OFFSET = 26
"""Largest exponent less the scale of a sum without leading zeros."""

_ARRIVAL = (*(0.0,) * FRACTION, 1.0)  # of a significand's bits, in full adders


class Multiply(wiring.Component):
    """Product of two significands; combinational.

    Members:
        a, b: factors.
        product: their product.
    """

    a: In(SIGNIFICAND)
    b: In(SIGNIFICAND)
    product: Out(PRODUCT)

    def __init__(self, config: object = None) -> None:
        self.config = config
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        columns = reduce(m, partial_products(m, self.a, self.b, (_ARRIVAL, _ARRIVAL)))
        m.d.comb += self.product.eq(add(m, *rows_of(columns)))
        return m


class Align(wiring.Component):
    """A product shifted down in the window, complemented if it is negative; combinational.

    Args:
        config: bits of the window.

    Members:
        product: at the window's top.
        distance: how far down it belongs.
        sign: whether it is negative.
        complements: of the row, which is the shifted product, or its complement where that is negative.
    """

    def __init__(self, config: int) -> None:
        self.config = config
        super().__init__(
            {
                "product": In(PRODUCT),
                "distance": In(config.bit_length()),
                "sign": In(1),
                "complements": Out(config),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sign, window = self.sign, self.config
        value: Value = Cat(Const(0, window - PRODUCT), self.product)
        for level in reversed(range(len(self.distance))):
            places = 1 << level
            moved = Signal(window, name=f"moved_{places}")
            m.d.comb += moved.eq(Mux(self.distance[level], value >> places, value))
            value = moved
        m.d.comb += self.complements.eq(value ^ ~sign.replicate(window))
        return m


class Fp16Dot(wiring.Component):
    """``acc += sum of a[i] * b[i]`` of LANES lanes in FP16 and FP32, one a cycle, for SLOTS accumulators.

    Every bit of every result is defined (``golden.baseline.fp16_dot``): products and their sum are exact
    within a window below the largest exponent, one rounding to nearest even per accumulation, an exact zero
    is +0. An infinite or NaN operand makes the sum NaN, 0x7fc00000, which stays until ``first``.

    Latency LATENCY = 6 cycles, throughput LANES multiply-accumulates a cycle; there are no stalls. Sums of
    even and odd cycles are independent. A cycle without work keeps its accumulator when ``a`` and ``b`` are
    zero and ``first`` is low. There is no reset: each accumulator starts with ``first``.

    Args:
        config: unused; the unit has no parameters in the comparison.
        window: bits of an aligned product, at least 22.

    Members:
        a, b: FP16 bits, one a lane.
        first: the accumulator of this cycle's slot restarts from +0 before the sum.
        acc: FP32 bits of the sum that the operands of LATENCY cycles ago went into. It leaves the rounding
            logic directly: register it where it is used.
    """

    a: In(data.ArrayLayout(16, LANES))
    b: In(data.ArrayLayout(16, LANES))
    first: In(1)
    acc: Out(32)

    def __init__(self, config: object = None, window: int = WINDOW) -> None:
        self.config, self.window = config, window
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, ahead = self._multiply(m)
        columns, ahead = self._align(m, lanes), _later(m, "stage_2", *ahead)
        (total,) = _later(m, "total", add(m, *rows_of(reduce(m, columns))))
        ahead = _later(m, "stage_3", *ahead)
        product, first = self._normalise(m, total, *ahead)
        m.d.comb += self.acc.eq(accumulate(m, FRAME, product, first))
        return m

    def _multiply(self, m: Module) -> tuple[list[tuple[Value, ...]], Sequence[Value]]:
        """Stage 1: product, distance and sign of each lane; largest exponent, some special, first."""
        m.submodules.exponents = exponents = ProductExponents(LANES, self.window.bit_length())
        lanes: list[tuple[Value, ...]] = []
        for lane, (a, b) in enumerate(zip(self.a, self.b, strict=True)):
            multiply = share(m, f"multiply_{lane}", Multiply())
            m.d.comb += [
                exponents.a[lane].eq(a[FRACTION:-1]),
                exponents.b[lane].eq(b[FRACTION:-1]),
                multiply.a.eq(Cat(a[:FRACTION], exponents.a_normal[lane])),
                multiply.b.eq(Cat(b[:FRACTION], exponents.b_normal[lane])),
            ]
            made = multiply.product, exponents.distances[lane], a[-1] ^ b[-1]
            lanes.append(_later(m, f"lane_{lane}", *made))
        return lanes, _later(m, "stage_1", exponents.largest, exponents.special, self.first)

    def _align(self, m: Module, lanes: Sequence[tuple[Value, ...]]) -> list[Column]:
        """Stage 2: columns of the sum, at most HEIGHT high but where the number of negative rows is added."""
        columns: list[Column] = [[] for _ in range(self.window + COUNT)]
        signs: list[Column] = [[] for _ in range(COUNT)]
        for lane, (product, distance, sign) in enumerate(lanes):
            align = share(m, f"align_{lane}", Align(self.window))
            m.d.comb += [align.product.eq(product), align.distance.eq(distance), align.sign.eq(sign)]
            for column, bit in zip(columns, align.complements, strict=False):
                column.append((0.0, bit))
            signs[0].append((0.0, ~sign))

        # A negative row lacks one in the last place, and all that is above the window.
        negative = Signal(COUNT)
        m.d.comb += negative.eq(sum(rows_of(reduce(m, signs, name="signs"))))
        corrections = _later(m, "negative", ~negative, negative - 1)
        kept: list[Column] = []
        for place, column in enumerate(reduce(m, columns, HEIGHT, "rows")):
            kept.append([(0.0, bit) for bit in _later(m, f"rows_{place}", *(bit for _, bit in column))])
        for bits, place in zip(corrections, (0, self.window), strict=True):
            for column, bit in zip(kept[place:], bits, strict=False):
                column.append((0.0, bit))
        return kept

    def _normalise(
        self, m: Module, total: Value, largest: Value, special: Value, first: Value
    ) -> tuple[Value, Value]:
        """Stage 4 and what comes before the accumulation: the sum as a product, and ``first``."""
        sign = total[-1]
        folded = Signal(len(total) - 1)
        magnitude = Signal(len(folded))
        m.d.comb += [folded.eq(total ^ sign.replicate(len(folded))), magnitude.eq(folded + sign)]
        zeros = _zero_digits(m, folded, sign)
        upper: Value = magnitude
        for level, bit in enumerate(zeros, DIGIT.bit_length() - 1):
            moved = Signal(len(magnitude), name=f"upper_{1 << level}")
            m.d.comb += moved.eq(Mux(bit, upper << (1 << level), upper))
            upper = moved
        scale = Signal(signed(SCALE))
        m.d.comb += scale.eq(largest - SCALE_OFFSET - DIGIT * Cat(zeros))
        held = _later(m, "stage_4", upper, scale, sign, total.any(), special, first)
        upper, scale, sign, nonzero, special, first = held

        kept, zeros = _without_zeros(m, upper)
        product = Signal(FRAME.product_layout)
        m.d.comb += [
            product.significand.eq(kept[-KEPT:]),
            product.scale.eq(scale.as_signed() - Cat(zeros)),
            product.sign.eq(sign),
            product.zero.eq(~nonzero),
            product.special.eq(special),
            product.nan.eq(special),
        ]
        return product, first


def _zero_digits(m: Module, folded: Value, sign: Value) -> list[Value]:
    """The number of leading zero digits of ``folded + sign``, known before the sum; its bits."""
    empty: list[Value] = [Const(1, 1)]
    for place in range(len(folded) - DIGIT, 0, -DIGIT):
        empty.append(Signal(name=f"empty_{place}"))
        m.d.comb += empty[-1].eq(~(folded[place:].any() | (sign & folded[:place].all())))
    exactly = [more & ~further for more, further in itertools.pairwise([*empty, Const(0, 1)])]
    bits = (len(exactly) - 1).bit_length()
    return [Cat(one for count, one in enumerate(exactly) if count >> bit & 1).any() for bit in range(bits)]


def _without_zeros(m: Module, value: Value) -> tuple[Value, list[Value]]:
    """The value without fewer leading zeros than a digit has bits, and the bits of their number."""
    zeros: list[Value] = []
    for level in reversed(range(DIGIT.bit_length() - 1)):
        places = 1 << level
        empty = Signal(name=f"empty_{places}")
        moved = Signal(len(value), name=f"moved_{places}")
        m.d.comb += [empty.eq(~value[-places:].any()), moved.eq(Mux(empty, value << places, value))]
        value, zeros = moved, [empty, *zeros]
    return value, zeros


def _later(m: Module, name: str, *values: Value) -> tuple[Signal, ...]:
    """The values a cycle later."""
    found = []
    for index, value in enumerate(values):
        register = Signal(len(value), name=f"{name}_{index}", reset_less=True)
        m.d.sync += register.eq(value)
        found.append(register)
    return tuple(found)
