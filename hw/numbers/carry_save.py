"""Carry-save reduction: many operands to a few rows of bits with full adders only.

A carry-save tree has no carry chain, so its depth grows with the logarithm of the operand count. The order
of reduction is Dadda's (Alta Frequenza 34, 1965): every stage brings the tallest column down to the next of
2, 3, 4, 6, 9, 13, ... and no further, which needs the fewest adders. Written out as full adders, every
synthesiser can use its library's compact adder cell.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value

__all__ = ["Bits", "compress"]

Bits = Sequence[Value | None]
"""Bits of an operand from the lowest one on, None where it has none, which saves an adder."""


def compress(
    m: Module, operands: Sequence[Value | Bits], width: int, rows: int = 2, name: str = "tree"
) -> list[Value]:
    """Reduce unsigned operands to a few of equal sum modulo ``2**width``; combinational.

    Args:
        m: module that the adders are placed in.
        operands: any number of values, all read as unsigned, or their bits; early ones are added first.
        width: width of the results in bits.
        rows: how many results; more of them are ready sooner.
        name: what the adders' signals begin with.
    """
    columns: list[list[Value]] = [[] for _ in range(width)]
    for operand in operands:
        for column, bit in zip(columns, operand, strict=False):
            if bit is not None:
                column.append(bit)
    for stage, height in enumerate(_stages(max(map(len, columns)), rows)):
        carries: list[Value] = []
        for index, column in enumerate(columns):
            place = f"{name}_{stage}_{index}"
            column, carries = _reduce(m, [*column, *carries], len(carries), height, place)
            columns[index] = column
    return [
        Cat(column[row] if row < len(column) else Const(0, 1) for column in columns) for row in range(rows)
    ]


def _stages(height: int, rows: int) -> list[int]:
    """Dadda's column heights below ``height``, descending to ``rows``."""
    stages = [2]
    while stages[-1] * 3 // 2 < height:
        stages.append(stages[-1] * 3 // 2)
    return [stage for stage in reversed(stages) if rows <= stage < height]


def _reduce(
    m: Module, bits: list[Value], late: int, height: int, name: str
) -> tuple[list[Value], list[Value]]:
    """Bring one column down to ``height`` bits; the ``late`` last bits come out of this very stage."""
    totals: list[Value] = []
    carries: list[Value] = []
    waiting = bits[: len(bits) - late]
    arriving = bits[len(bits) - late :]
    while len(waiting) + len(totals) + len(arriving) > height:
        excess = len(waiting) + len(totals) + len(arriving) - height
        take = 3 if excess > 1 else 2
        operands = [waiting.pop(0) if waiting else arriving.pop(0) for _ in range(take)]
        total, carry = _adder(m, operands, f"{name}_{len(totals)}")
        totals.append(total)
        carries.append(carry)
    return [*waiting, *arriving, *totals], carries


def _adder(m: Module, bits: list[Value], name: str) -> tuple[Value, Value]:
    """Sum and carry of two or three bits."""
    total = Signal(name=f"{name}_sum")
    carry = Signal(name=f"{name}_carry")
    if len(bits) == 2:
        m.d.comb += [total.eq(bits[0] ^ bits[1]), carry.eq(bits[0] & bits[1])]
    else:
        a, b, c = bits
        m.d.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | (c & (a ^ b)))]
    return total, carry
