"""Small truth tables as shared binary decision diagrams of multiplexers.

A synthesiser sees only local structure, so a table written as a case statement stays as large as its cases.
A reduced ordered decision diagram (Bryant, IEEE Trans. Computers 35, 1986) shares equal sub-tables between
all output bits, and undefined entries become whatever makes two sub-tables equal.
"""

from collections.abc import Sequence
from functools import cache
from itertools import permutations

from amaranth.hdl import Const, Module, Mux, Signal, Value

__all__ = ["lookup"]

Table = tuple[int | None, ...]


def lookup(m: Module, inputs: Sequence[Value], entries: Sequence[int | None], width: int) -> Value:
    """Look ``entries`` up by ``inputs``; combinational.

    Args:
        m: module that the multiplexers are placed in.
        inputs: one-bit values, least significant first.
        entries: ``2**len(inputs)`` outputs; None where any output will do.
        width: bits of an output.

    Returns:
        The entry's bits as a value of ``width`` bits.
    """
    planes = tuple(tuple(None if e is None else e >> bit & 1 for e in entries) for bit in range(width))
    order = _best_order(planes, len(inputs))
    nodes: dict[Table, Value] = {}
    result = Signal(width)
    for bit, plane in enumerate(planes):
        ordered = _reorder(plane, order)
        m.d.comb += result[bit].eq(_node(m, [inputs[index] for index in order], ordered, nodes))
    return result


@cache
def _best_order(planes: tuple[Table, ...], count: int) -> tuple[int, ...]:
    """Order of the inputs that needs the fewest multiplexers."""
    return min(_orders(count), key=lambda order: _cost(planes, order))


def _orders(count: int) -> list[tuple[int, ...]]:
    """Orders of the inputs worth trying: all of few inputs, rotations of many."""
    if count <= 6:
        return list(permutations(range(count)))
    return [tuple((start + index) % count for index in range(count)) for start in range(count)]


def _reorder(plane: Table, order: tuple[int, ...]) -> Table:
    """The table with input ``order[i]`` in place ``i``."""
    return tuple(
        plane[sum((index >> place & 1) << source for place, source in enumerate(order))]
        for index in range(len(plane))
    )


def _halves(table: Table) -> tuple[Table, Table]:
    half = len(table) // 2
    low, high = table[:half], table[half:]
    merged = _merge(low, high)
    return (low, high) if merged is None else (merged, merged)


def _merge(low: Table, high: Table) -> Table | None:
    """One table that serves both, if their defined entries agree."""
    if any(a is not None and b is not None and a != b for a, b in zip(low, high, strict=True)):
        return None
    return tuple(b if a is None else a for a, b in zip(low, high, strict=True))


def _cost(planes: Sequence[Table], order: tuple[int, ...]) -> int:
    """Multiplexers that the shared diagram takes under one order."""
    seen: set[Table] = set()

    def visit(table: Table) -> None:
        if len(table) == 1 or table in seen:
            return
        low, high = _halves(table)
        if low is not high:
            seen.add(table)
        visit(low)
        visit(high)

    for plane in planes:
        visit(_reorder(plane, order))
    return len(seen)


def _node(m: Module, inputs: Sequence[Value], table: Table, nodes: dict[Table, Value]) -> Value:
    if len(table) == 1:
        return Const(table[0] or 0, 1)
    if table not in nodes:
        low, high = _halves(table)
        below = _node(m, inputs[:-1], low, nodes)
        if low is high:
            nodes[table] = below
        else:
            nodes[table] = Signal()
            m.d.comb += nodes[table].eq(Mux(inputs[-1], _node(m, inputs[:-1], high, nodes), below))
    return nodes[table]
