"""Pipeline registers of arithmetic: what stands between two cycles of a computation."""

from contextlib import nullcontext

from amaranth.hdl import Module, Signal, Value

__all__ = ["hold"]


def hold(m: Module, advance: Value | None, name: str, value: Value, reset: bool = False) -> Signal:
    """A register of the value's own shape, ``held_name``.

    Args:
        m: module that it is added to.
        advance: it takes the value in these cycles only; None: in every one.
        name: of the value.
        value: what it takes.
        reset: to 0; data need none.
    """
    held = Signal(value.shape(), name=f"held_{name}", reset_less=not reset)
    with nullcontext() if advance is None else m.If(advance):
        m.d.sync += held.eq(value)
    return held
