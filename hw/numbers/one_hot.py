"""Choice among values by one line each."""

from collections.abc import Iterable

from amaranth.hdl import Const, Mux, Value

__all__ = ["choose"]


def choose(lines: Iterable[Value], candidates: Iterable[Value]) -> Value:
    """AND-OR of the candidate whose line is high, as a balanced tree; zero when none is.

    Args:
        lines: one bit each, at most one of them high.
        candidates: what each line stands for, all unsigned.
    """
    chosen = [Mux(line, candidate, 0) for line, candidate in zip(lines, candidates, strict=True)]
    while len(chosen) > 1:
        pairs = [left | right for left, right in zip(chosen[::2], chosen[1::2], strict=False)]
        chosen = pairs + chosen[2 * len(pairs) :]
    return chosen[0] if chosen else Const(0)
