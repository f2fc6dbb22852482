"""Products of decoded 4-bit codes in an integer sum: what ANT's and OliVe's elements have in common.

A decoder turns each code into an integer and an exponent; the integers of two operands are multiplied, their
exponents added, the product is shifted by their sum and accumulated. Decoders, multipliers and shifters are
one stage, the addition is another. The papers put decoders at the edges of an array, one for a row or a
column. Here each unit has its own two, as components, so that their share can be told.
"""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.baseline.integer_sum import ACCUMULATOR, LATENCY, accumulate, multiply

__all__ = ["LATENCY", "DecodedMac", "decoded", "two_bits_signed"]


def decoded(lanes: int, exponent_bits: int) -> data.ArrayLayout:
    """What a decoder makes of its codes: values ``integer << exponent``."""
    return data.ArrayLayout(data.StructLayout({"integer": signed(4), "exponent": exponent_bits}), lanes)


def two_bits_signed(magnitude: Value, sign: Value) -> Value:
    """A magnitude of two bits with its sign, four bits of two's complement."""
    low = magnitude[1] ^ (sign & magnitude[0])
    return Cat(magnitude[0], low, (sign & magnitude.any()).replicate(2))


class DecodedMac(wiring.Component):
    """``acc += a * b`` of 4-bit codes, or of several at once, in 32 bits that wrap, one a cycle.

    Every bit of every result is defined by a golden model.

    Latency LATENCY = 2 cycles, throughput one multiply-accumulate a cycle for every code of an operand;
    there are no stalls. A cycle without work keeps the accumulator when ``a`` or ``b`` is zero and ``first``
    is low. There is no reset: the accumulator starts with ``first``.

    Args:
        config: unused; the unit has no parameters.
        decoder: makes a combinational decoder, from ``code`` and what else says what it means to ``decoded``.
        product_bits: of a product, signed.

    Members:
        a, b: codes.
        a_NAME, b_NAME: other inputs NAME of the decoders.
        first: the accumulator restarts from 0 before the sum.
        acc: sum that the operands of LATENCY cycles ago went into, a register.
    """

    def __init__(self, config: Any, decoder: Callable[[], wiring.Component], product_bits: int) -> None:
        self.config = config
        self._decoders = {"a": decoder(), "b": decoder()}
        self._product_bits = product_bits
        members = self._decoders["a"].signature.members
        self._selects = [name for name, member in members.items() if member.flow == In and name != "code"]
        super().__init__(
            {
                **{operand: members["code"] for operand in "ab"},
                **{f"{operand}_{name}": members[name] for operand in "ab" for name in self._selects},
                "first": In(1),
                "acc": Out(signed(ACCUMULATOR)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for operand, decoder in self._decoders.items():
            m.submodules[f"decode_{operand}"] = decoder
            m.d.comb += decoder.code.eq(getattr(self, operand))
            for name in self._selects:
                m.d.comb += getattr(decoder, name).eq(getattr(self, f"{operand}_{name}"))
        products = []
        pairs = zip(*(decoder.decoded for decoder in self._decoders.values()), strict=True)
        for lane, (x, y) in enumerate(pairs):
            amount = Signal(len(x.exponent) + 1, name=f"amount_{lane}")
            product = Signal(signed(self._product_bits), name=f"shifted_{lane}")
            m.d.comb += [
                amount.eq(x.exponent + y.exponent),
                product.eq(multiply(m, x.integer, y.integer, f"lane_{lane}_") << amount),
            ]
            products.append(product)
        m.d.comb += self.acc.eq(accumulate(m, products, self.first))
        return m
