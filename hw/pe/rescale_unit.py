"""Rescale unit: one group dot product to its contribution to an output.

Meaning: ``golden.pe.rescale``:  (mantissa * (dot - bias + zero_point * sum)) >> amount, rounded down.
BitMoD (HPCA 2025, section IV-B) multiplies by the scale bit-serially inside every PE and truncates. Since a
row needs it once a group, one pipelined multiplier that many rows share is smaller than many serial ones.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw import payloads
from hw.config import Config
from hw.numbers.carry_save import compress
from hw.numbers.pipeline import hold

__all__ = ["RescaleUnit", "latency"]

_LATENCY = 6
"""Cycles of one product."""


def latency(config: Config) -> int:
    """Cycles, with ``advance``, from the inputs to ``contribution``; the last one adds two products."""
    return _LATENCY + (config.offset_passes == 1)


class RescaleUnit(wiring.Component):
    """Multiply, shift and round down; one contribution a cycle.

    Members:
        advance (in): the whole pipeline moves.
        dot, bias (in): a biased dot product and its bias; equal ones stand for zero.
        sum (in): sum of the group's activations.
        zero_point (in): integer that the sum is multiplied by before the scale.
        mantissa (in): scale or offset.
        amount (in): right shift, one ``advance`` after the other inputs; the product is first shifted left by
            ``config.headroom``.
        offset, offset_amount (in): where ``config.offset_passes`` is 1, the offset that ``sum`` is multiplied
            by as well, and that product's shift, with ``amount``. Each product is rounded down by itself.
        contribution (out): what the output's accumulator gains.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "advance": In(1),
                "dot": In(config.product_bits),
                "bias": In(config.product_bits),
                "sum": In(signed(config.sum_bits)),
                "zero_point": In(signed(config.zero_point_bits)),
                "mantissa": In(signed(payloads.MANTISSA_BITS + 1)),
                "amount": In(config.amount_bits),
                **(self._offset_ports() if config.offset_passes == 1 else {}),
                "contribution": Out(signed(config.accumulator_bits)),
            }
        )

    def _offset_ports(self) -> dict[str, wiring.Member]:
        return {
            "offset": In(signed(payloads.MANTISSA_BITS + 1)),
            "offset_amount": In(self.config.amount_bits),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        operand_bits, scaled_bits = config.operand_bits, config.scaled_bits

        dot = hold(m, self.advance, "dot", (self.dot - self.bias)[: config.product_bits].as_signed())
        zero_point = hold(m, self.advance, "zero_point", self.zero_point)
        total = hold(m, self.advance, "sum", self.sum)
        mantissa, amount = self.mantissa, self.amount

        extended = Cat(dot, dot[-1].replicate(operand_bits))[:operand_bits]
        rows = [extended, *_partial_products(m, "zero_point", total, zero_point, operand_bits)]
        rows = compress(m, rows, operand_bits, name="operand")
        sums = [hold(m, self.advance, f"operand_{n}", row) for n, row in enumerate(rows)]
        operand = hold(m, self.advance, "operand", (sums[0] + sums[1])[:operand_bits].as_signed())
        for stage in range(3):
            mantissa = hold(m, self.advance, f"mantissa_{stage}", mantissa)
        for stage in range(4):
            amount = hold(m, self.advance, f"amount_{stage}", amount)

        rows = _partial_products(m, "scaled", operand, mantissa, scaled_bits)
        rows = compress(m, rows, scaled_bits, name="product")
        sums = [hold(m, self.advance, f"product_{n}", row) for n, row in enumerate(rows)]
        product = hold(m, self.advance, "product", (sums[0] + sums[1])[:scaled_bits].as_signed())
        contribution = self._shifted(m, "contribution", product, amount)
        if config.offset_passes == 1:
            both = contribution + self._offset(m, total)
            contribution = hold(m, self.advance, "both", both[: config.accumulator_bits].as_signed())
        m.d.comb += self.contribution.eq(contribution)
        return m

    def _offset(self, m: Module, total: Value) -> Value:
        """The offset's contribution, beside that of the scale."""
        config = self.config
        width = config.sum_bits + len(self.offset)
        offset, amount = hold(m, self.advance, "offset", self.offset), self.offset_amount
        rows = compress(m, _partial_products(m, "offset", total, offset, width), width, name="offset_sum")
        sums = [hold(m, self.advance, f"offset_sum_{n}", row) for n, row in enumerate(rows)]
        product = hold(m, self.advance, "offset_product_0", (sums[0] + sums[1])[:width].as_signed())
        for stage in range(1, 3):
            product = hold(m, self.advance, f"offset_product_{stage}", product)
        for stage in range(4):
            amount = hold(m, self.advance, f"offset_amount_{stage}", amount)
        return self._shifted(m, "offset_contribution", product, amount)

    def _shifted(self, m: Module, name: str, product: Value, amount: Value) -> Signal:
        """A product at the accumulator's grid, rounded down; registered."""
        config = self.config
        width = max(len(product) + config.headroom, config.accumulator_bits)
        shifted = Signal(signed(width), name=f"shifted_{name}")
        m.d.comb += shifted.eq((product << config.headroom) >> amount)
        return hold(m, self.advance, name, shifted[: config.accumulator_bits].as_signed())


def _partial_products(m: Module, name: str, factor: Value, multiplier: Value, width: int) -> list[Value]:
    """Rows whose sum is ``factor * multiplier`` modulo ``2**width``, both signed (Baugh and Wooley, 1973).

    A row is the factor where a bit of the multiplier is set, its sign bit inverted instead of extended; the
    last one is complemented, since the multiplier's top bit counts negatively. One constant mends the rest.
    """
    bits = len(factor)
    rows: list[Value] = []
    constant = 0
    for place in range(len(multiplier)):
        taken = Mux(multiplier[place], factor, 0)[:bits]
        row = Signal(bits, name=f"{name}_row_{place}")
        if place + 1 < len(multiplier):
            m.d.comb += row.eq(Cat(taken[:-1], ~taken[-1]))
            constant -= 1 << place + bits - 1
        else:
            m.d.comb += row.eq(Cat(~taken[:-1], taken[-1]))
            constant += (1 - (1 << bits - 1)) << place
        rows.append(Cat(Const(0, place), row)[:width] if place else row[:width])
    return [*rows, Const(constant % (1 << width), width)]
