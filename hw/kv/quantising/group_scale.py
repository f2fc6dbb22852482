"""Group scale: the statistics of a group to its scale and to what its elements are encoded with.

Meaning: rules ``native`` and ``native_symmetric`` of ``golden.kv.rules``; ``golden.kv.magnitudes.mean`` of a
group of 2**n elements; the threshold of ``golden.kv.ternary``. A range is divided by the largest code, a
largest magnitude by half of it, a sum by the length of the group. With BitMoD's data types a largest
magnitude is divided by that of the values.
"""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kv import bitmod
from golden.numbers import datatypes
from hw.config import Config
from hw.kv.fixed_point import QUOTIENT_BITS, UNITS, WINDOW_BITS, field
from hw.kv.formats import BITMOD_NAMES, Kind, by_bits, by_coding, is_bitmod, is_divided, largest_code
from hw.kv.page_shape import in_groups
from hw.kv.payloads import CODE_BITS, HALF_BITS, SELECTOR_BITS, page_format
from hw.kv.quantising import serial_quotient
from hw.kv.quantising.code_lane import group_parameters
from hw.kv.quantising.serial_quotient import SerialQuotient
from hw.kv.quantising.statistics import SUM_BITS, extremes
from hw.kv.quantising.window_adder import addend

__all__ = ["GroupScale", "cycles"]

_GAMMA_BITS = 8


def cycles(kind: Kind) -> int:
    """Cycles from one group's entry to the next one, if the parameters are taken at once."""
    return serial_quotient.STEPS + {Kind.AFFINE: 7, Kind.SYMMETRIC: 5}.get(kind, 3)


class _Adder(NamedTuple):
    """What the states of a group tell the adder.

    Attributes:
        operand: float16 whose magnitude is placed.
        reference: of its window.
        opposite: change its sign.
        offset: register of what it is added to, and of what came out.
        gamma: register of the threshold's bits that are still to come.
    """

    operand: Signal
    reference: Signal
    opposite: Signal
    offset: Signal
    gamma: Signal


class GroupScale(wiring.Component):
    """Work out one group in ``cycles(kind)`` cycles.

    Members:
        form, kind, spare (in): format of the page, held; ``spare_places`` of its coding.
        entries (in stream): a group's statistics.
        addend, count, offset (out), sum (in): a ``WindowAdder`` that looks in every cycle.
        parameters (out stream): its scale, and what the code lanes need.

    With ``kv.bitmod``:
        selector (in): with the entry, the group's special value, 0 with other types.
        magnitude (out): the entry's largest magnitude, a float16 without its sign, in the second cycle of it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        chosen = {"selector": In(SELECTOR_BITS), "magnitude": Out(HALF_BITS - 1)}
        super().__init__(
            {
                "form": In(page_format(config)),
                "kind": In(Kind),
                "spare": In(range(QUOTIENT_BITS)),
                "entries": In(stream.Signature(SUM_BITS)),
                "addend": Out(addend),
                "count": Out(1),
                "offset": Out(WINDOW_BITS),
                "sum": In(WINDOW_BITS + 1),
                "parameters": Out(stream.Signature(group_parameters)),
                **(chosen if config.kv.bitmod else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        form, affine, divided = self.form, self.kind == Kind.AFFINE, is_divided(self.kind)
        m.submodules.quotient = quotient = SerialQuotient()
        adder = self._adder(m)
        divisor = Signal(CODE_BITS, reset_less=True)
        top = by_bits(m, form.coding, largest_code, "top")
        m.d.sync += divisor.eq(Mux(divided, Mux(affine, top, top >> 1), 1))
        if self.config.kv.bitmod:
            m.d.comb += self.magnitude.eq(adder.operand)
            with m.If(is_bitmod(form, self.config)):
                m.d.sync += divisor.eq(self._largest_value(m))
        m.d.comb += [
            quotient.dividend.eq(self.sum[: serial_quotient.INTEGER_BITS] << serial_quotient.FRACTION_BITS),
            quotient.divisor.eq(divisor),
            quotient.at_least_one.eq(divided),
        ]
        scale = Signal(HALF_BITS, reset_less=True)
        steps_left = Signal(range(serial_quotient.STEPS))
        with m.FSM(name="work"):
            self._measure(m, adder, quotient, steps_left)
            self._divide(m, adder, quotient, steps_left, scale)
            self._finish(m, adder, scale)
        m.d.comb += [
            self.parameters.payload.scale.eq(scale),
            self.parameters.payload.offset.eq(adder.offset),
        ]
        return m

    def _largest_value(self, m: Module) -> Value:
        """Of BitMoD's data type with the special value."""
        inner, outer = (
            {
                coding: bitmod.magnitudes_with(name, datatypes.get(name).specials[place])[-1]
                for coding, name in BITMOD_NAMES.items()
            }
            for place in (0, 2)
        )
        return Mux(
            self.selector[1],
            by_coding(m, self.form.coding, outer, "outer_value"),
            by_coding(m, self.form.coding, inner, "inner_value"),
        )

    def _adder(self, m: Module) -> _Adder:
        """It gives the opposite of the minimum, the range, and the sum times gamma, bit by bit."""
        affine, divided = self.kind == Kind.AFFINE, is_divided(self.kind)
        low, high = extremes(self.entries.payload)
        below = Signal(reset_less=True)  # the minimum has the largest magnitude
        operand = Signal(HALF_BITS)
        reference = Signal(range(-UNITS, UNITS + 1))
        opposite = Signal()
        offset = Signal(WINDOW_BITS, reset_less=True, name="held_offset")
        gamma = Signal(_GAMMA_BITS, reset_less=True)
        m.d.sync += below.eq(low[:-1] > high[:-1])
        m.d.comb += [
            operand.eq(Mux(affine, low, Mux(below, low, high))),
            reference.eq(UNITS),
            self.addend.magnitude.eq(operand[:-1]),
            self.addend.reference.eq(reference),
            self.addend.negative.eq((operand[-1] ^ opposite) & affine),
            self.addend.number.eq(self.entries.payload),
            self.addend.is_number.eq(~divided),
            self.count.eq(divided | gamma[0]),
            self.offset.eq(offset),
        ]
        return _Adder(operand, reference, opposite, offset, gamma)

    def _measure(self, m: Module, adder: _Adder, quotient: SerialQuotient, steps_left: Signal) -> None:
        """States up to the one in which the quotient takes its dividend."""
        affine, divided = self.kind == Kind.AFFINE, is_divided(self.kind)
        total = self.entries.payload
        with m.State("entry"):
            m.d.comb += adder.opposite.eq(1)
            m.d.sync += [
                adder.offset.eq(0),
                adder.gamma.eq(self.form.gamma),
                steps_left.eq(serial_quotient.STEPS - 1),
            ]
            with m.If(self.entries.valid & divided):
                m.next = "magnitude"
                with m.If(affine):
                    m.next = "minimum"
            with m.Elif(self.entries.valid):
                mean = in_groups(self.form, total << serial_quotient.FRACTION_BITS)
                m.d.comb += [quotient.load.eq(1), quotient.dividend.eq(mean)]
                m.next = "divide"
        with m.State("magnitude"):
            m.next = "minimum"
        with m.State("minimum"):
            _, high = extremes(total)
            m.d.comb += adder.operand.eq(high)
            m.d.sync += adder.offset.eq(self.sum)
            m.next = "range"
            with m.If(~affine):  # the largest magnitude is divided as it is
                m.d.comb += quotient.load.eq(1)
                m.next = "divide"
        with m.State("range"):
            m.d.comb += quotient.load.eq(1)
            m.next = "divide"

    def _divide(
        self, m: Module, adder: _Adder, quotient: SerialQuotient, steps_left: Signal, scale: Signal
    ) -> None:
        """States of the division, in which a sum is multiplied by gamma as well."""
        with m.State("divide"):
            m.d.comb += quotient.advance.eq(1)
            m.d.sync += steps_left.eq(steps_left - 1)
            with m.If(steps_left >= serial_quotient.STEPS - _GAMMA_BITS):
                m.d.sync += [adder.offset.eq(self.sum >> 1), adder.gamma.eq(adder.gamma >> 1)]
            with m.If(steps_left == 0):
                m.next = "round"
        with m.State("round"):
            threshold = ~in_groups(self.form, adder.offset)
            nothing = self.selector if self.config.kv.bitmod else 0
            m.d.sync += [
                scale.eq(quotient.half),
                adder.offset.eq(Mux(is_divided(self.kind), nothing, threshold)),
            ]
            m.next = "done"
            with m.If(self.kind == Kind.AFFINE):
                m.next = "place"

    def _finish(self, m: Module, adder: _Adder, scale: Signal) -> None:
        """States in which the minimum is placed in the window of its scale, and the last one."""
        with m.State("place"):
            m.d.comb += [adder.reference.eq(field(scale) - self.spare), adder.opposite.eq(1)]
            m.d.sync += adder.offset.eq(0)
            m.next = "negate"
        with m.State("negate"):
            m.d.sync += adder.offset.eq(self.sum)
            m.next = "done"
        with m.State("done"):
            m.d.comb += [self.parameters.valid.eq(1), self.entries.ready.eq(self.parameters.ready)]
            with m.If(self.parameters.ready):
                m.next = "entry"
