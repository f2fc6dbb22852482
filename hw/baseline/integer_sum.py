"""Integer sum of signed products, one a cycle: what the integer units have in common.

Two stages: the product is registered, then added. The accumulator is one register of 32 bits that wraps.
"""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed

from hw.baseline.multiplier import Column, add_columns

__all__ = ["ACCUMULATOR", "LATENCY", "accumulate", "multiply"]

ACCUMULATOR = 32
"""Bits of an accumulator."""

LATENCY = 2
"""Cycles from operands to the sum with them."""


def multiply(m: Module, a: Value, b: Value, name: str = "") -> Value:
    """Product of two signed integers, signed, of as many bits as both.

    The bits of weight -1 are complemented and a constant makes up for it (Baugh and Wooley).

    Args:
        m: module that gets the gates.
        a: one factor.
        b: the other factor.
        name: what the names of its signals begin with.
    """
    width = len(a) + len(b)
    columns: list[Column] = [[] for _ in range(width)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            negative = (i == len(a) - 1) != (j == len(b) - 1)
            partial = Signal(name=f"{name}partial_{i}_{j}")
            m.d.comb += partial.eq((x & y) if negative else ~(x & y))
            columns[i + j].append((0.0, partial))
    correction = (1 << len(a) - 1) + (1 << len(b) - 1) + (1 << width - 1)
    for place in range(width):
        if correction >> place & 1:
            columns[place].append((0.0, Const(0, 1)))
    return add_columns(m, columns, name).as_signed()


def accumulate(m: Module, products: Sequence[Value], first: Value) -> Value:
    """Register signed products and add them to an accumulator; gives the accumulator.

    Args:
        m: module that gets the registers.
        products: signed.
        first: the accumulator restarts from zero with these products.
    """
    restart = Signal(reset_less=True)
    acc = Signal(signed(ACCUMULATOR), name="total", reset_less=True)
    total: Value = Mux(restart, 0, acc)
    for index, product in enumerate(products):
        held = Signal(signed(len(product)), name=f"product_{index}", reset_less=True)
        m.d.sync += held.eq(product)
        total = total + held
    m.d.sync += [restart.eq(first), acc.eq(total)]
    return acc
