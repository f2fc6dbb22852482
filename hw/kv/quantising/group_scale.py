"""Group scale: the statistics of a group to its scale and to what its elements are encoded with.

Meaning: rules ``native`` and ``native_symmetric`` of ``golden.kv.rules``; ``golden.kv.magnitudes.mean`` of a
group of 2**n elements; the threshold of ``golden.kv.ternary``. A range is divided by the largest code, a
largest magnitude by half of it, a sum by the length of the group.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.fixed_point import QUOTIENT_BITS, UNITS, WINDOW_BITS, field
from hw.kv.formats import Kind, by_bits, is_divided, largest_code
from hw.kv.page_shape import in_groups
from hw.kv.payloads import CODE_BITS, HALF_BITS, page_format
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


class GroupScale(wiring.Component):
    """Work out one group in ``cycles(kind)`` cycles.

    Members:
        form, kind, spare (in): format of the page, held; ``spare_places`` of its coding.
        entries (in stream): a group's statistics.
        addend, count, offset (out), sum (in): a ``WindowAdder`` that looks in every cycle.
        parameters (out stream): its scale, and what the code lanes need.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        form, total = self.form, self.entries.payload
        affine, divided = self.kind == Kind.AFFINE, is_divided(self.kind)
        low, high = extremes(total)
        below = Signal(reset_less=True)  # the minimum has the largest magnitude
        m.d.sync += below.eq(low[:-1] > high[:-1])
        larger = Mux(below, low, high)
        m.submodules.quotient = quotient = SerialQuotient()

        # The adder gives the opposite of the minimum, the range, and the sum times gamma, bit by bit.
        offset = Signal(WINDOW_BITS, reset_less=True)
        gamma = Signal(_GAMMA_BITS, reset_less=True)
        operand, reference, opposite = Signal(HALF_BITS), Signal(range(-UNITS, UNITS + 1)), Signal()
        result = self.sum
        m.d.comb += [
            operand.eq(Mux(affine, low, larger)),
            reference.eq(UNITS),
            self.addend.magnitude.eq(operand[:-1]),
            self.addend.reference.eq(reference),
            self.addend.negative.eq((operand[-1] ^ opposite) & affine),
            self.addend.number.eq(total),
            self.addend.is_number.eq(~divided),
            self.count.eq(divided | gamma[0]),
            self.offset.eq(offset),
        ]

        scale, divisor = Signal(HALF_BITS, reset_less=True), Signal(CODE_BITS, reset_less=True)
        count = Signal(range(serial_quotient.STEPS))
        fraction_bits = serial_quotient.FRACTION_BITS
        m.d.comb += [
            quotient.dividend.eq(result[: serial_quotient.INTEGER_BITS] << fraction_bits),
            quotient.divisor.eq(divisor),
            quotient.at_least_one.eq(divided),
        ]
        top = by_bits(m, form.coding, largest_code, "top")
        m.d.sync += divisor.eq(Mux(divided, Mux(affine, top, top >> 1), 1))

        with m.FSM(name="work"):
            with m.State("entry"):
                m.d.comb += opposite.eq(1)
                m.d.sync += [offset.eq(0), gamma.eq(form.gamma), count.eq(serial_quotient.STEPS - 1)]
                with m.If(self.entries.valid & divided):
                    m.next = "magnitude"
                    with m.If(affine):
                        m.next = "minimum"
                with m.Elif(self.entries.valid):
                    m.d.comb += quotient.load.eq(1)
                    m.d.comb += quotient.dividend.eq(in_groups(form, total << fraction_bits))
                    m.next = "divide"
            with m.State("magnitude"):
                m.next = "minimum"
            with m.State("minimum"):
                m.d.comb += operand.eq(high)
                m.d.sync += offset.eq(result)
                m.next = "range"
                with m.If(~affine):  # the largest magnitude is divided as it is
                    m.d.comb += quotient.load.eq(1)
                    m.next = "divide"
            with m.State("range"):
                m.d.comb += quotient.load.eq(1)
                m.next = "divide"
            with m.State("divide"):
                m.d.comb += quotient.advance.eq(1)
                m.d.sync += count.eq(count - 1)
                with m.If(count >= serial_quotient.STEPS - _GAMMA_BITS):
                    m.d.sync += [offset.eq(result >> 1), gamma.eq(gamma >> 1)]
                with m.If(count == 0):
                    m.next = "round"
            with m.State("round"):
                threshold = ~in_groups(form, offset)
                m.d.sync += [scale.eq(quotient.half), offset.eq(Mux(divided, 0, threshold))]
                m.next = "done"
                with m.If(affine):
                    m.next = "place"
            with m.State("place"):
                m.d.comb += [reference.eq(field(scale) - self.spare), opposite.eq(1)]
                m.d.sync += offset.eq(0)
                m.next = "negate"
            with m.State("negate"):
                m.d.sync += offset.eq(result)
                m.next = "done"
            with m.State("done"):
                m.d.comb += [self.parameters.valid.eq(1), self.entries.ready.eq(self.parameters.ready)]
                with m.If(self.parameters.ready):
                    m.next = "entry"
        m.d.comb += [self.parameters.payload.scale.eq(scale), self.parameters.payload.offset.eq(offset)]
        return m
