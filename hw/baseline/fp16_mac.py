"""FP16 multiply, FP32 accumulate, correctly rounded: the yardstick for the bit-serial tile.

IEEE 754 binary16 operands and a binary32 accumulator, rounded to nearest even once per accumulation. Kept
as small as possible at 1 ns in a 45 nm library, so that comparisons with it are fair:

- No loop shorter than two cycles closes there, so two accumulators are interleaved and live in the pipeline
  registers themselves. The multiplier works while the result of two cycles ago is normalised.
- Any accumulator reached from 0 is a multiple of 2**-48 and below 2**57: scales have 7 bits, FP32
  subnormals and overflow cannot occur, and the low 7 bits of FP32's exponent are the scale itself.
- The exact product has 22 bits, less than the accumulator's 24: one swap, one right shifter of the smaller
  operand and one 25-bit addition are enough. Products in [1, 4) are not normalised first, the frame has
  room for both.
- A difference is always ``top - low - 1``. The missing one is added by the rounding incrementer, behind ones
  shifted in by the normaliser; a negative difference needs a complement only. So the addition has no
  carry-in, the sticky bit is off its path, and equal exponents need no comparison.
- The shift distance is ``gap`` or its complement, never negated: the accumulator is wired one place lower.
- A carry out of rounding is one extra bit of the significand, not an increment of the scale; the leading bit
  is its complement and is not stored. An accumulator of zero is one that is not selected.
- Products of one subnormal move up by 5 and 3 places, which leaves at most two leading zeros and costs two
  guard bits; the distances come from the operands while they are multiplied. (Products of two subnormals
  need nothing: no accumulator bit lies below them.)
- Leading zeros are counted level by level inside the normaliser. It narrows with every level: bits that
  fall out feed the sticky bit. The next distance is a difference of scales plus that count.
- The carry-save tree takes the earliest bits first; the hidden bits, known late, come last.

Measured without gain at 1 ns: moving subnormal products by 5 only with eight guard bits (the same area), a
shift distance finished before the registers (slower), a Dadda tree and a tree that ripples
through the low columns (both slower), a word-level ``*`` (twice the full adders), a multiplier without
full-adder cells (larger). Not built, because the registers alone cost more than slower gates could save: a
third cut inside the loop, and one between the carry-save tree and its final addition.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LATENCY", "SLOTS", "Fp16Mac"]

LATENCY = 2
"""Cycles from operands to the sum with them."""

SLOTS = 2
"""Interleaved accumulators: operands given in cycles of equal remainder modulo SLOTS share one."""

IN_FRACTION, IN_EXPONENT = 10, 5
FRACTION, EXPONENT = 23, 8
IN_SIGNIFICAND = IN_FRACTION + 1
PRODUCT = 2 * IN_SIGNIFICAND
SCALE = EXPONENT - 1  # bits; the value is FP32's exponent field less 128
BIAS = 2 * (2 ** (IN_EXPONENT - 1) - 1)

MOVES = (5, 3)
"""Places by which products of a subnormal move up, each where the operand has as many leading zeros."""


def _leading_zeros_left() -> int:
    """Most leading zeros that a subnormal keeps after MOVES."""
    zeros = range(IN_SIGNIFICAND)
    for places in MOVES:
        zeros = [count - places if count >= places else count for count in zeros]
    return max(zeros)


def _all_moves() -> list[int]:
    """Places moved for every pattern of MOVES, the first of them in bit 0."""
    return [sum(n for i, n in enumerate(MOVES) if pattern >> i & 1) for pattern in range(2 ** len(MOVES))]


#: The frame of the addition: SUM bits from the carry to the accumulator's last place, GUARD bits below.
SUM = FRACTION + 2
GUARD = 3 + _leading_zeros_left()
SHIFT = (SUM + GUARD - 1).bit_length()


class Product(data.Struct):
    """What the multiplier makes.

    Members:
        significand: product of the significands.
        moves: which of MOVES apply.
        scale: scale of the moved significand.
        sign, zero, nan: of the product.
        special: product is infinity or NaN.
    """

    significand: PRODUCT
    moves: len(MOVES)
    scale: signed(SCALE)
    sign: 1
    zero: 1
    special: 1
    nan: 1


class Aligned(data.Struct):
    """Registers before the addition.

    Members:
        significand, moves: of the product.
        fraction: accumulator without its leading bit.
        overflow: the accumulator's significand is 2, its fraction 0.
        top_product: the product has the larger scale.
        top_accumulator: the accumulator has.
        low_accumulator: the product has and the accumulator counts.
        gap: scale of the product less that of the accumulator less 1, modulo 2**SCALE.
        scale, sign: of the operand with the larger scale.
        subtract: the signs differ.
        special: the sum is infinity or NaN; nothing is selected.
        nan: NaN.
    """

    significand: PRODUCT
    moves: len(MOVES)
    fraction: FRACTION
    overflow: 1
    top_product: 1
    top_accumulator: 1
    low_accumulator: 1
    gap: SCALE
    scale: signed(SCALE)
    sign: 1
    subtract: 1
    special: 1
    nan: 1


class Total(data.Struct):
    """Registers after the addition.

    Members:
        bits: the sum, or ``top - low - 1`` with its GUARD lowest bits complemented.
        negative: of a difference.
        positive: a difference, and not negative.
        sticky: the exact result is not a multiple of the frame's last place.
        scale: of a result whose leading bit is the carry.
        sign: of the top operand.
        special, nan: as in Aligned.
    """

    bits: SUM + GUARD
    negative: 1
    positive: 1
    sticky: 1
    scale: signed(SCALE)
    sign: 1
    special: 1
    nan: 1


def _multiply(m: Module, a: Value, b: Value) -> Value:
    """Product of two significands whose top bits come late, by a carry-save tree of complements.

    Full adders of complements give complements, so the tree can start from NAND gates.
    """
    late, sum_delay, carry_delay = 1.4, 1.1, 0.9  # in full adders, roughly
    columns: list[list[tuple[float, Value]]] = [[] for _ in range(len(a) + len(b))]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            partial = Signal(name=f"partial_{i}_{j}")
            m.d.comb += partial.eq(~(x & y))
            is_late = i == len(a) - 1 or j == len(b) - 1
            columns[i + j].append((late if is_late else 0.0, partial))

    for place, column in enumerate(columns):
        while len(column) > 2:
            column.sort(key=lambda bit: bit[0])
            # Early in the tree a full adder may end a column, later that would make carries ripple.
            count = 2 if len(column) == 3 and place > 1 else 3
            times, (x, y, *rest) = zip(*column[:count], strict=True)
            del column[:count]
            total, carry = (
                Signal(name=f"sum_{place}_{len(column)}"),
                Signal(name=f"carry_{place}_{len(column)}"),
            )
            if rest:
                m.d.comb += [total.eq(x ^ y ^ rest[0]), carry.eq((x & y) | (rest[0] & (x ^ y)))]
                delay = 1.0
            else:
                m.d.comb += [total.eq(~(x ^ y)), carry.eq(x | y)]
                delay = 0.45
            column.append((max(times) + delay * sum_delay, total))
            columns[place + 1].append((max(times) + delay * carry_delay, carry))
    rows = [
        Cat(~column[row][1] if row < len(column) else Const(0, 1) for column in columns) for row in range(2)
    ]
    return (rows[0] + rows[1])[: len(columns)]


class Multiply(wiring.Component):
    """Exact product of two FP16 numbers; combinational.

    Members:
        a, b: FP16 bits.
        product: their product.
    """

    a: In(16)
    b: In(16)
    product: Out(Product)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.product
        significands, exponents, moves, zeros, specials, nans = [], [], [], [], [], []
        for operand in self.a, self.b:
            fraction, exponent = operand[:IN_FRACTION], operand[IN_FRACTION:-1]
            normal = exponent.any()
            significand = rest = Cat(fraction, normal)
            leading = []
            for places in MOVES:
                leading.append(~rest[-places:].any())
                rest = Mux(leading[-1], rest << places, rest)[:IN_SIGNIFICAND]
            significands.append(significand)
            exponents.append(Cat(exponent[0] | ~normal, exponent[1:]))
            moves.append(Cat(leading))
            zeros.append(~normal & ~fraction.any())
            specials.append(exponent.all())
            nans.append(exponent.all() & fraction.any())

        applied = moves[0] | moves[1]
        offsets: list[Value] = [Const(-BIAS - n, signed(SCALE)) for n in _all_moves()]
        for by in applied:
            offsets = [Mux(by, yes, no) for no, yes in zip(offsets[::2], offsets[1::2], strict=True)]
        m.d.comb += [
            p.significand.eq(_multiply(m, *significands)),
            p.moves.eq(applied),
            p.scale.eq(sum(exponents) + offsets[0]),
            p.sign.eq(self.a[-1] ^ self.b[-1]),
            p.zero.eq(zeros[0] | zeros[1]),
            p.special.eq(specials[0] | specials[1]),
            p.nan.eq(nans[0] | nans[1] | (specials[0] & zeros[1]) | (zeros[0] & specials[1])),
        ]
        return m


class Add(wiring.Component):
    """Swap, align and add; combinational.

    Members:
        aligned: operands.
        total: their sum.
    """

    aligned: In(Aligned)
    total: Out(Total)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x, y = self.aligned, self.total
        product = x.significand
        for places, by in zip(MOVES, x.moves, strict=True):
            # The top bits are zero where they would be lost.
            stay = Cat(product[:-places] & ~by.replicate(PRODUCT - places), product[-places:])
            product = ((product << places)[:PRODUCT] & by.replicate(PRODUCT)) | stay

        accumulator = Cat(x.fraction, ~x.overflow, x.overflow)
        raised = FRACTION + 1 - PRODUCT
        top = Signal(SUM)
        low = Signal(FRACTION + 1 + GUARD)
        m.d.comb += [
            top.eq(Mux(x.top_product, product << raised, 0) | Mux(x.top_accumulator, accumulator, 0)),
            low.eq(
                Mux(x.low_accumulator, accumulator << (GUARD - 1), 0)
                | Mux(x.top_accumulator, product << (GUARD + raised), 0)
            ),
        ]

        distance = x.gap ^ x.top_accumulator.replicate(SCALE)
        far = distance[SHIFT:].any()
        lost: Value = Const(0)
        for level in reversed(range(SHIFT)):
            places, by = 1 << level, distance[level] | far
            moved = Signal(len(low), name=f"low_{places}")
            dropped = Signal(name=f"lost_{places}")
            m.d.comb += [moved.eq(Mux(by, low >> places, low)), dropped.eq(lost | (by & low[:places].any()))]
            low, lost = moved, dropped

        upper = Signal(SUM + 1)
        m.d.comb += [
            upper.eq(top + Cat(low[GUARD:] ^ x.subtract.replicate(FRACTION + 1), x.subtract)),
            y.bits.eq(Cat(low[:GUARD], upper[:SUM])),
            y.negative.eq(x.subtract & ~upper[SUM]),
            y.positive.eq(x.subtract & upper[SUM]),
            y.sticky.eq(lost),
            y.scale.eq(x.scale + 1),
            y.sign.eq(x.sign),
            y.special.eq(x.special),
            y.nan.eq(x.nan),
        ]
        return m


class Round(wiring.Component):
    """Normalise and round a sum, and align the next product with it; combinational.

    Members:
        total: the sum.
        product: the next product for the same accumulator.
        first: it starts a new sum.
        acc: FP32 bits of the rounded sum.
        aligned: operands of the next addition.
    """

    total: In(Total)
    product: In(Product)
    first: In(1)
    acc: Out(32)
    aligned: Out(Aligned)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x, p, y = self.total, self.product, self.aligned
        significand, zeros, zero = self._rounded(m)
        fraction, overflow = significand[:FRACTION], significand[FRACTION + 1]

        scale = Signal(signed(SCALE))
        behind = Signal(signed(SCALE + 1))
        gap = Signal(signed(SCALE + 1))
        sign = Signal()
        infinite = Signal()
        special = Signal()
        product_on_top = Signal()
        m.d.comb += [
            scale.eq(x.scale - zeros),
            behind.eq(x.scale - p.scale),
            gap.eq(~behind + zeros),
            sign.eq((x.sign ^ x.negative) & (~zero | x.special)),
            infinite.eq(x.special & ~x.nan & ~self.first),
            special.eq(p.special | (x.special & ~self.first)),
            # A zero on top would push the other operand out of the frame.
            product_on_top.eq(p.special | (~infinite & (self.first | zero | (~p.zero & (gap >= 0))))),
            y.significand.eq(p.significand),
            y.moves.eq(p.moves),
            y.fraction.eq(fraction),
            y.overflow.eq(overflow),
            y.top_product.eq(product_on_top & ~special),
            y.top_accumulator.eq(~product_on_top & ~special),
            y.low_accumulator.eq(product_on_top & ~special & ~self.first & ~zero),
            y.gap.eq(gap[:SCALE]),
            y.scale.eq(Mux(product_on_top, p.scale, scale)),
            y.sign.eq(Mux(product_on_top, p.sign, sign)),
            y.subtract.eq((sign ^ p.sign) & ~special),
            y.special.eq(special),
            y.nan.eq(p.nan | (x.nan & ~self.first) | (p.special & infinite & (p.sign ^ x.sign))),
        ]

        exponent = Signal(SCALE)
        number = (~zero).replicate(SCALE + 1)
        m.d.comb += [
            exponent.eq(Mux(overflow, scale + 1, scale)),
            self.acc[:FRACTION].eq(Cat(fraction[:-1], fraction[-1] | x.nan)),
            self.acc[FRACTION:-1].eq((Cat(exponent, ~exponent[-1]) & number) | x.special.replicate(EXPONENT)),
            self.acc[-1].eq(sign & ~x.nan),
        ]
        return m

    def _rounded(self, m: Module) -> tuple[Value, Value, Value]:
        """Significand with one bit more for the carry of rounding, leading zeros, whether it is zero."""
        x = self.total
        pending = Signal()  # the exact result is bits + 1
        bits = Signal(SUM + GUARD)
        m.d.comb += [
            pending.eq(x.positive & ~x.sticky),
            bits.eq(x.bits ^ Cat(x.positive.replicate(GUARD), x.negative.replicate(SUM))),
        ]

        # Of what falls out at the low end: is some bit set, is every bit set.
        some, every = x.sticky, Const(1)
        zeros = Signal(SHIFT)
        for level in reversed(range(SHIFT)):
            places = 1 << level
            out = max(0, len(bits) - (FRACTION + 1 + places))
            shifted = Cat(pending.replicate(places), bits)[: len(bits)]
            moved = Signal(len(bits) - out, name=f"bits_{places}")
            m.d.comb += [
                zeros[level].eq(~bits[-places:].any()),
                moved.eq(Mux(zeros[level], shifted[out:], bits[out:])),
            ]
            if out:
                fallen = Mux(zeros[level], shifted[:out], bits[:out])
                some, every = some | fallen.any(), every & fallen.all()
            bits = moved

        half, kept = bits[0], bits[1:]
        up = Signal()
        significand = Signal(FRACTION + 2)
        zero = Signal()
        m.d.comb += [
            up.eq((half & (kept[0] | pending | some)) | (kept[0] & pending & every)),
            significand.eq(kept + up),
            zero.eq(~kept[-1] & ~pending),  # pending implies a leading one; said so, it maps smaller
        ]
        return significand, zeros, zero


class Fp16Mac(wiring.Component):
    """``acc += a * b`` in FP16 and FP32, one a cycle, for SLOTS interleaved accumulators.

    Every bit of every result is defined (``golden.baseline.fp16_mac``): subnormal operands are exact, an
    exact zero is +0, infinity stays, NaN stays and is 0x7fc00000, one rounding to nearest even per sum.

    Latency LATENCY = 2 cycles, throughput one multiply-accumulate a cycle; there are no stalls. A cycle
    without work keeps its accumulator when ``a`` and ``b`` are zero and ``first`` is low. There is no reset:
    each accumulator starts with ``first``.

    Args:
        config: unused; the unit has no parameters.

    Members:
        a, b: FP16 bits.
        first: the accumulator of this cycle's slot restarts from +0 before the sum.
        acc: FP32 bits of the sum that the operands of LATENCY cycles ago went into. It leaves the rounding
            logic directly: register it where it is used.
    """

    a: In(16)
    b: In(16)
    first: In(1)
    acc: Out(32)

    def __init__(self, config: object = None) -> None:
        self.config = config
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiply = multiply = Multiply()
        m.submodules.add = add = Add()
        m.submodules.round = rounder = Round()
        aligned = Signal(Aligned, reset_less=True)
        total = Signal(Total, reset_less=True)
        m.d.comb += [
            multiply.a.eq(self.a),
            multiply.b.eq(self.b),
            rounder.product.eq(multiply.product),
            rounder.first.eq(self.first),
            rounder.total.eq(total),
            add.aligned.eq(aligned),
            self.acc.eq(rounder.acc),
        ]
        m.d.sync += [aligned.eq(rounder.aligned), total.eq(add.total)]
        return m
