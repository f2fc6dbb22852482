"""Sums as columns of bits: Dadda's carry-save reduction, earliest bits first, and a fast final addition.

Columns hold complements, so that a reduction can start from inverting gates: full adders of complements give
complements. Dadda's order (Alta Frequenza 34, 1965) needs the fewest adders; within it the bits that arrive
first are added first.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value

from hw.baseline.multiplier import Column

__all__ = ["HALF", "add", "reduce", "rows_of"]

HALF = 0.5
"""Delay of a half adder, of an exclusive or, in full adders."""

_SUM, _CARRY = 1.1, 0.9
"""Delays of a full adder's outputs."""

_HEIGHTS = (42, 28, 19, 13, 9, 6, 4, 3, 2)


def reduce(m: Module, columns: Sequence[Column], height: int = 2, name: str = "tree") -> list[Column]:
    """Columns of at most ``height`` bits with the same sum modulo two to the power of their number.

    Args:
        m: module that gets the adders.
        columns: complements of bits with the times of their arrival, in full adders.
        height: 2 or another of Dadda's: 3, 4, 6, 9, 13.
        name: prefix of the adders' names.
    """
    found = [list(column) for column in columns]
    for step in _HEIGHTS:
        if height <= step < max(map(len, found)):
            carries: Column = []
            for place, column in enumerate(found):
                bits = sorted(column, key=_time)
                found[place], carries = _reduced(m, bits, carries, step, f"{name}_{step}_{place}")
    return found


def rows_of(columns: Sequence[Column]) -> tuple[Value, Value]:
    """Two integers whose sum is that of columns of at most two bits."""
    lower, upper = (
        Cat(~column[row][1] if row < len(column) else Const(0, 1) for column in columns) for row in range(2)
    )
    return lower, upper


def add(m: Module, x: Value, y: Value) -> Value:
    """``x + y`` modulo two to the power of their width, by a prefix network of Kogge and Stone."""
    width = len(x)
    halves: list[Value] = []
    carries: list[tuple[Value, Value]] = []
    for place in range(width):
        made, passed = Signal(name=f"made_{place}"), Signal(name=f"passed_{place}")
        half = Signal(name=f"half_{place}")
        m.d.comb += [
            made.eq(x[place] & y[place]),
            passed.eq(x[place] | y[place]),
            half.eq(x[place] ^ y[place]),
        ]
        halves.append(half)
        carries.append((made, passed))
    reach = 1
    while reach < width:
        wider = list(carries)
        for place in range(reach, width):
            (made, passed), (below, through) = carries[place], carries[place - reach]
            carry, open_ = Signal(name=f"made_{reach}_{place}"), Signal(name=f"passed_{reach}_{place}")
            m.d.comb += [carry.eq(made | (passed & below)), open_.eq(passed & through)]
            wider[place] = carry, open_
        carries, reach = wider, 2 * reach
    return Cat(halves[0], *(half ^ carry for half, (carry, _) in zip(halves[1:], carries, strict=False)))


def _time(bit: tuple[float, Value]) -> float:
    return bit[0]


def _reduced(m: Module, bits: Column, carries: Column, height: int, name: str) -> tuple[Column, Column]:
    """A column of at most ``height`` bits, and its carries; ``carries`` come from the column below."""
    sums: Column = []
    carried: Column = []
    while (excess := len(bits) + len(carries) + len(sums) - height) > 0:
        taken = [bits.pop(0) if bits else carries.pop(0) for _ in range(3 if excess > 1 else 2)]
        time, values = max(map(_time, taken)), [value for _, value in taken]
        total, carry = Signal(name=f"{name}_sum_{len(sums)}"), Signal(name=f"{name}_carry_{len(sums)}")
        if len(values) == 3:
            x, y, z = values
            m.d.comb += [total.eq(x ^ y ^ z), carry.eq((x & y) | (z & (x ^ y)))]
            sums.append((time + _SUM, total))
            carried.append((time + _CARRY, carry))
        else:
            x, y = values
            m.d.comb += [total.eq(~(x ^ y)), carry.eq(x | y)]
            sums.append((time + HALF, total))
            carried.append((time + HALF, carry))
    return [*bits, *carries, *sums], carried
