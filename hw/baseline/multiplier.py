"""Products of short integers by a carry-save tree that takes the earliest bits first.

Measured without gain at 1 ns for FP16 significands: a Dadda tree and a tree that ripples through the low
columns (both slower), a word-level ``*`` (twice the full adders), a multiplier without full-adder cells
(larger). Not built, because the registers alone cost more than slower gates could save: a cut between the
tree and its final addition.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value

__all__ = ["Column", "add_columns", "partial_products"]

Column = list[tuple[float, Value]]
"""Complements of bits of one place, each with the time of its arrival in delays of a full adder."""


def partial_products(
    m: Module, a: Value, b: Value, times: tuple[Sequence[float], Sequence[float]]
) -> list[Column]:
    """Columns of the bits that a product of unsigned integers is the sum of.

    Args:
        m: module that gets the gates.
        a: one factor.
        b: the other factor.
        times: arrival of the bits of both.
    """
    columns: list[Column] = [[] for _ in range(len(a) + len(b))]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            partial = Signal(name=f"partial_{i}_{j}")
            m.d.comb += partial.eq(~(x & y))
            columns[i + j].append((max(times[0][i], times[1][j]), partial))
    return columns


def add_columns(m: Module, columns: list[Column], name: str = "") -> Value:
    """Sum of columns, modulo two to the power of their number; they are used up.

    Full adders of complements give complements, so the tree can start from NAND gates.

    Args:
        m: module that gets the gates.
        columns: of the lowest place first.
        name: what the names of their signals begin with.
    """
    sum_delay, carry_delay = 1.1, 0.9
    for place, column in enumerate(columns):
        while len(column) > 2:
            column.sort(key=lambda bit: bit[0])
            # Early in the tree a full adder may end a column, later that would make carries ripple.
            count = 2 if len(column) == 3 and place > 1 else 3
            times, (x, y, *rest) = zip(*column[:count], strict=True)
            del column[:count]
            total = Signal(name=f"{name}sum_{place}_{len(column)}")
            carry = Signal(name=f"{name}carry_{place}_{len(column)}")
            if rest:
                m.d.comb += [total.eq(x ^ y ^ rest[0]), carry.eq((x & y) | (rest[0] & (x ^ y)))]
                delay = 1.0
            else:
                m.d.comb += [total.eq(~(x ^ y)), carry.eq(x | y)]
                delay = 0.45
            column.append((max(times) + delay * sum_delay, total))
            if place + 1 < len(columns):
                columns[place + 1].append((max(times) + delay * carry_delay, carry))
    rows = [
        Cat(~column[row][1] if row < len(column) else Const(0, 1) for column in columns) for row in range(2)
    ]
    return (rows[0] + rows[1])[: len(columns)]
