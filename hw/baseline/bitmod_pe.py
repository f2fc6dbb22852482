"""BitMoD's processing element as published, pipelined to 1 ns in a 45 nm library.

Four FP16 activations meet four weight terms a cycle; they are aligned here, in every element, to the largest
of their exponents (HPCA 2025, section IV-B and Fig. 5; every width and every open point in
``golden.baseline.bitmod_pe``). The tricks, so that comparisons are fair:

- The accumulator's loop is two cycles long, so two groups are interleaved, as in ``hw.baseline.fp16_mac``.
  Its two registers are the two accumulators.
- The shift by ``bsig`` and the alignment of the sum are one right shifter; the accumulator has another of its
  own beside it instead of a swap before a common one.
- Lanes are negated by complement; the missing ones enter the carry-save tree in free places.
- ``man`` and shifts past the last place clear a lane before the shifter.
- The dequantiser holds no counter: like the terms, the bits of the scale and their enable come from outside,
  one source for all elements of a tile.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.baseline.bitmod_pe import ACCUMULATOR, GUARD, LANES, SCALE_BITS
from hw.numbers.carry_save import compress

__all__ = ["LATENCY", "SLOTS", "BitmodPe", "Term"]

SLOTS = 2
"""Interleaved groups: operands given in cycles of equal remainder modulo SLOTS share an accumulator."""

LATENCY = 4
"""Cycles from the operands of a group's last term to the cycle that takes the first bit of its scale."""

FRACTION, FIELD = 10, 5
SIGNIFICAND = FRACTION + 1
ALIGNED = SIGNIFICAND + GUARD
TERM_EXPONENT, BSIG = 2, 3
EXPONENT = 6
TOTAL = ALIGNED + 1 + (LANES - 1).bit_length()  # signed sum of the lanes
PLACED = TOTAL + 6  # after bsig
SUM = PLACED + 1
RESULT = ACCUMULATOR + SCALE_BITS


class Term(data.Struct):
    """``(-1)^sign * man * 2^exp``, a lane's share of a weight."""

    sign: 1
    exp: TERM_EXPONENT
    man: 1


class _Lane(data.Struct):
    """Aligned for the shifter: significand, or zero; distance to the right; sign of the product."""

    significand: SIGNIFICAND
    distance: (ALIGNED - 1).bit_length()
    sign: 1


class BitmodPe(wiring.Component):
    """One group's dot product, four terms a cycle, then the product with its scale, a bit a cycle.

    Bits equal ``golden.baseline.bitmod_pe``. Four multiplications take as many cycles as the type has terms:
    two for FP3 and FP4, three for INT6, four for INT8. There are no stalls and no reset; idle cycles need
    terms of ``man`` 0. A group's scaling begins LATENCY cycles after its last term, takes SCALE_BITS cycles
    with ``scaling`` high, and must end before that of the other slot's group begins.

    Args:
        config: unused; the unit has no parameters.

    Members:
        activations: FP16 bits of the lanes.
        terms: of the lanes' weights.
        bsig: 0..6, the place that the terms share.
        first: a group begins with these operands.
        last: a group ends with these operands.
        scaling: take ``scale_bit``.
        scale_bit: bits of the group's unsigned scale, highest first.
        mantissa: scaled mantissa, valid from the cycle after the last bit until a group ends.
        exponent: of the result.
    """

    activations: In(data.ArrayLayout(16, LANES))
    terms: In(data.ArrayLayout(Term, LANES))
    bsig: In(BSIG)
    first: In(1)
    last: In(1)
    scaling: In(1)
    scale_bit: In(1)
    mantissa: Out(signed(RESULT))
    exponent: Out(EXPONENT)

    def __init__(self, config: object = None) -> None:
        self.config = config
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, maximum = self._align(m)
        largest, bsig, first = _later(m, "stage_1", maximum, self.bsig, self.first)
        (total,) = _later(m, "stage_2", self._multiply(m, lanes))
        mantissa, exponent = self._accumulate(m, total, largest, bsig, first)

        ended: Value = self.last
        for stage in range(LATENCY - 1):
            (ended,) = _later(m, f"ended_{stage}", ended)
        self._dequantise(m, mantissa, exponent, ended)
        return m

    def _align(self, m: Module) -> tuple[list[_Lane], Value]:
        """Stage 1: exponents of the products, distances to their maximum (registered), the maximum."""
        exponents = []
        for index in range(LANES):
            field, term = self.activations[index][FRACTION:-1], self.terms[index]
            exponent = Signal(EXPONENT, name=f"exponent_{index}")
            effective = Cat(field[0] | ~field.any(), field[1:])
            m.d.comb += exponent.eq((effective + term.exp) & term.man.replicate(EXPONENT))
            exponents.append(exponent)
        maximum: list[Value] = exponents
        while len(maximum) > 1:
            maximum = [Mux(a > b, a, b) for a, b in zip(maximum[::2], maximum[1::2], strict=True)]

        lanes = []
        for index, exponent in enumerate(exponents):
            activation, term = self.activations[index], self.terms[index]
            lane = Signal(_Lane, name=f"lane_{index}", reset_less=True)
            distance = Signal(EXPONENT, name=f"distance_{index}")
            m.d.comb += distance.eq(maximum[0] - exponent)
            present = term.man & (distance < ALIGNED)
            significand = Cat(activation[:FRACTION], activation[FRACTION:-1].any())
            m.d.sync += [
                lane.significand.eq(significand & present.replicate(SIGNIFICAND)),
                lane.distance.eq(distance),
                lane.sign.eq(activation[-1] ^ term.sign),
            ]
            lanes.append(lane)
        return lanes, maximum[0]

    def _multiply(self, m: Module, lanes: list[_Lane]) -> Value:
        """Stage 2: lanes shifted, signed and added."""
        rows: list[Value] = []
        for index, lane in enumerate(lanes):
            placed = Cat(Const(0, GUARD), lane.significand)
            aligned = _shift_right(m, placed, lane.distance, f"lane_{index}", Const(0, 1))
            rows.append(Cat(aligned ^ lane.sign.replicate(ALIGNED), lane.sign.replicate(TOTAL - ALIGNED)))
        rows += [Cat(lane.sign) for lane in lanes]
        sums = compress(m, rows, TOTAL)
        return (sums[0] + sums[1])[:TOTAL]

    def _accumulate(
        self, m: Module, total: Value, largest: Value, bsig: Value, first: Value
    ) -> tuple[Value, Value]:
        """Stages 3 and 4, a loop of two cycles; the normalised accumulator of stage 4.

        ``largest``, ``bsig`` and ``first`` come a cycle before the ``total`` that they belong to.
        """
        sum_ = Signal(signed(SUM), reset_less=True)
        common = Signal(EXPONENT, reset_less=True)

        places = _excess(m, sum_)
        mantissa = Signal(signed(ACCUMULATOR), name="normalised_mantissa")
        exponent = Signal(EXPONENT, name="normalised_exponent")
        m.d.comb += [
            mantissa.eq(_shift_right(m, sum_, places, "mantissa", sum_[-1])[:ACCUMULATOR]),
            exponent.eq(common + places),
        ]
        # How far the sum's exponent is ahead; the accumulator's normalisation enters last.
        ahead = Signal(signed(EXPONENT + 1))
        place = Signal(signed(EXPONENT + 2))
        lowest = (1 << BSIG) - 2 - bsig
        m.d.comb += [
            ahead.eq((largest - common).as_signed() - places),
            place.eq((lowest - (largest - common)) + places),
        ]
        behind = ahead[-1] & ~first
        accumulator, sum_distance, accumulator_distance, larger = _later(
            m,
            "stage_3",
            mantissa.as_unsigned() & (~first).replicate(ACCUMULATOR),
            Mux(behind, place, lowest)[: EXPONENT + 1],
            Mux(behind, 0, ahead)[:EXPONENT],
            Mux(behind, exponent, largest),
        )
        placed = Cat(Const(0, (1 << BSIG) - 2), total)
        m.d.sync += [
            sum_.eq(
                _shift_right(m, placed, sum_distance, "sum", total[-1]).as_signed()
                + _shift_right(
                    m, accumulator, accumulator_distance, "accumulator", accumulator[-1]
                ).as_signed()
            ),
            common.eq(larger),
        ]
        return mantissa, exponent

    def _dequantise(self, m: Module, mantissa: Value, exponent: Value, ended: Value) -> None:
        """Stage 5, a bit of the scale a cycle."""
        multiplicand = Signal(signed(ACCUMULATOR), reset_less=True)
        result = Signal(signed(RESULT), reset_less=True)
        kept = Signal(EXPONENT, reset_less=True)
        with m.If(ended):
            m.d.sync += [multiplicand.eq(mantissa), kept.eq(exponent), result.eq(0)]
        with m.Elif(self.scaling):
            m.d.sync += result.eq((result << 1) + Mux(self.scale_bit, multiplicand, 0))
        m.d.comb += [self.mantissa.eq(result), self.exponent.eq(kept)]


def _later(m: Module, name: str, *values: Value) -> tuple[Signal, ...]:
    """The values a cycle later."""
    found = []
    for index, value in enumerate(values):
        register = Signal(len(value), name=f"{name}_{index}", reset_less=True)
        m.d.sync += register.eq(value)
        found.append(register)
    return tuple(found)


def _excess(m: Module, value: Value) -> Value:
    """Bits that a signed number has more than the accumulator's mantissa."""
    beyond = Signal(len(value) - ACCUMULATOR)
    m.d.comb += beyond.eq(value[ACCUMULATOR - 1 : -1] ^ value[-1].replicate(len(value) - ACCUMULATOR))
    top, middle = beyond[7:].any(), beyond[3:7].any()
    quad = Mux(middle, beyond[3:7], Cat(Const(1, 1), beyond[:3]))
    low = Cat(quad[3] | (quad[1] & ~quad[2]), quad[2:].any())
    places = Signal(range(len(beyond) + 1))
    m.d.comb += places.eq(Mux(top, Cat(beyond[8], Const(4, 3)), Cat(low, middle, Const(0, 1))))
    return places


def _shift_right(m: Module, value: Value, distance: Value, name: str, fill: Value) -> Value:
    """Right shift by levels, ``fill`` coming in; distances from ``len(value)`` on give ``fill`` alone."""
    levels = min((len(value) - 1).bit_length(), len(distance))
    for level in reversed(range(levels)):
        places = 1 << level
        moved = Signal(len(value), name=f"{name}_{places}")
        m.d.comb += moved.eq(Mux(distance[level], Cat(value[places:], fill.replicate(places)), value))
        value = moved
    if len(distance) > levels:
        value = Mux(distance[levels:].any(), fill.replicate(len(value)), value)
    return value
