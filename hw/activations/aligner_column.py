"""Aligner column: the elements of one token, shifted to their group's exponent, rounded and added up."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.activations.exponent_keys import exponent_of, key_of, unit_key
from hw.config import Config
from hw.numbers.carry_save import compress
from hw.payloads import EXPONENT_BITS, MANTISSA_BITS

__all__ = ["AlignerColumn"]

_FRACTION_BITS = MANTISSA_BITS - 1


class AlignerColumn(wiring.Component):
    """Align the elements of one token column, in three cycles; everything moves with ``advance`` only.

    Members:
        elements, format, key (in): a beat and its group's key.
        advance (in): every stage takes what is before it.
        finish (in): ``advance``, and there is a beat before the last stage.
        first, first_of_group (in): that beat is the first one of its vector, of its group.
        aligned, exponent, sum, special (out): registers of the last stage.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = config.activation_lanes
        super().__init__(
            {
                "elements": In(data.ArrayLayout(config.element_bits, lanes)),
                "format": In(1),
                "key": In(EXPONENT_BITS),
                "advance": In(1),
                "finish": In(1),
                "first": In(1),
                "first_of_group": In(1),
                "aligned": Out(data.ArrayLayout(signed(config.activation_bits), lanes)),
                "exponent": Out(EXPONENT_BITS),
                "sum": Out(signed(config.sum_bits)),
                "special": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        exponents = [Signal(EXPONENT_BITS, reset_less=True, name=f"exponent_{stage}") for stage in range(2)]
        specials = [Signal(reset_less=True, name=f"special_{stage}") for stage in range(2)]
        lanes = [_Lane(self.config) for _ in self.elements]
        for number, lane in enumerate(lanes):
            m.submodules[f"lane_{number}"] = lane
            m.d.comb += [
                lane.element.eq(self.elements[number]),
                lane.format.eq(self.format),
                lane.key.eq(self.key),
                lane.advance.eq(self.advance),
            ]
        with m.If(self.advance):
            m.d.sync += [
                Cat(exponents).eq(Cat(exponent_of(self.key, self.format), exponents[0])),
                Cat(specials).eq(Cat(Cat(lane.special for lane in lanes).any(), specials[0])),
            ]
        total = self._total(m, lanes)
        with m.If(self.finish):
            m.d.sync += [
                *(self.aligned[number].eq(lane.ones + lane.carry) for number, lane in enumerate(lanes)),
                self.sum.eq(total),
                self.exponent.eq(exponents[1]),
                self.special.eq(specials[1] | (self.special & ~self.first)),
            ]
        return m

    def _total(self, m: Module, lanes: Sequence["_Lane"]) -> Value:
        """The group's sum up to this beat, by a carry-save tree."""
        bits, width = self.config.activation_bits, self.config.sum_bits
        base = Signal(width)
        m.d.comb += base.eq(Mux(self.first_of_group, 0, self.sum))
        # An inverted sign bit makes an integer unsigned and 2**(bits - 1) larger.
        unsigned = [Cat(lane.ones[:-1], ~lane.ones[-1]) for lane in lanes]
        excess = Const(-(len(lanes) << bits - 1), signed(width)).as_unsigned()
        operands = [excess, base, *(lane.carry for lane in lanes), *unsigned]
        left, right = compress(m, operands, width, name="total")
        return (left + right)[:width]


class _Lane(wiring.Component):
    """One element's distance, then its shifted and rounded magnitude: two registered stages.

    Members:
        element, format, key (in): the element and its group's key.
        advance (in): both stages take what is before them.
        special (out): the element at the input is a NaN or an infinity; combinational.
        ones, carry (out): the integer is their sum.
    """

    def __init__(self, config: Config) -> None:
        self.bits = config.activation_bits
        super().__init__(
            {
                "element": In(config.element_bits),
                "format": In(1),
                "key": In(EXPONENT_BITS),
                "advance": In(1),
                "special": Out(1),
                "ones": Out(signed(self.bits)),
                "carry": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        significand = Signal(MANTISSA_BITS, reset_less=True)
        shift = Signal(ceil_log2(self.bits), reset_less=True)
        zero = Signal(reset_less=True)
        negative = Signal(reset_less=True)
        key, special = key_of(self.element, self.format)
        normal = key.any()
        effective = Signal(EXPONENT_BITS)
        distance = Signal(EXPONENT_BITS)
        m.d.comb += [
            self.special.eq(special),
            effective.eq(key | Mux(normal, 0, unit_key(self.format))),
            distance.eq(self.key - effective),
        ]
        steps = exponent_of(distance, self.format)
        wide, narrow = self.element[:-9], self.element[-16:-6]
        fraction = Mux(self.format, wide << _FRACTION_BITS - len(wide), narrow)
        quotient, up = self._shifted(m, significand, shift)
        with m.If(self.advance):
            m.d.sync += [
                significand.eq(Cat(fraction[:_FRACTION_BITS], normal)),
                Cat(shift, zero).eq(Cat(steps[: len(shift)], special | steps[len(shift) :].any())),
                negative.eq(self.element[-1]),
                self.ones.eq(Cat(Mux(zero, 0, quotient) ^ negative.replicate(self.bits - 1), negative)),
                self.carry.eq((up & ~zero) ^ negative),
            ]
        return m

    def _shifted(self, m: Module, significand: Value, shift: Value) -> tuple[Value, Value]:
        """``significand * 2**(bits - 12 - shift)`` rounded down, and whether the nearest is one more."""
        fraction_bits = max(1, MANTISSA_BITS + 1 - self.bits)
        value = Signal(self.bits - 1 + fraction_bits)
        sticky = Signal()
        m.d.comb += value.eq(significand << max(0, self.bits - MANTISSA_BITS))
        for stage in reversed(range(len(shift))):
            wider, lost, step = value, sticky, 1 << stage
            value = Signal.like(wider, name=f"value_{stage}")
            sticky = Signal(name=f"sticky_{stage}")
            m.d.comb += value.eq(Mux(shift[stage], wider[step:], wider))
            m.d.comb += sticky.eq(lost | (shift[stage] & wider[:step].any()))
        quotient, below = value[fraction_bits:], value[: fraction_bits - 1]
        up = value[fraction_bits - 1] & (sticky | below.any() | quotient[0])
        return quotient, up & ~quotient.all() if self.bits <= MANTISSA_BITS else up
