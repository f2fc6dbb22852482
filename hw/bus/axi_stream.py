"""AXI4-Stream (ARM IHI 0051) interfaces of a generated top, and how they meet Amaranth streams."""

from amaranth.hdl import Cat, Shape, ShapeLike, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Signature", "handshake_from", "handshake_to", "keep_elements", "kept"]

BYTE = 8


class Signature(wiring.Signature):
    """AXI4-Stream, from the sender's side; port names flatten to ``name_tdata``, ``name_tvalid``, ...

    The rules of Amaranth streams hold: ``tvalid`` never waits for ``tready``, and the rest stays as it is
    while a beat waits.

    Args:
        shape: shape of ``tdata``, a whole number of bytes.
        keep: with ``tkeep``, one bit a byte; bytes without it are missing.
        user: shape of ``tuser``, of no bits where there is none.
        last: with ``tlast``, which closes a packet; a stream without it has packets of one beat.

    Raises:
        ValueError: ``shape`` is not a whole number of bytes.

    Members:
        tdata, tvalid, tready: always.
        tlast, tkeep, tuser: if asked for.
    """

    def __init__(self, shape: ShapeLike, keep: bool = False, user: ShapeLike = 0, last: bool = True) -> None:
        width = Shape.cast(shape).width
        if width == 0 or width % BYTE:
            raise ValueError(f"tdata width {width} must be a positive multiple of {BYTE}")
        self.bytes = width // BYTE
        members = {"tdata": Out(shape), "tvalid": Out(1), "tready": In(1)}
        if last:
            members["tlast"] = Out(1)
        if keep:
            members["tkeep"] = Out(self.bytes)
        if Shape.cast(user).width:
            members["tuser"] = Out(user)
        super().__init__(members)


def handshake_from(axi: wiring.PureInterface, inner: stream.Interface) -> list[Value]:
    """Assignments that take beats from AXI4-Stream; the payload is left to the caller."""
    return [inner.valid.eq(axi.tvalid), axi.tready.eq(inner.ready)]


def handshake_to(inner: stream.Interface, axi: wiring.PureInterface) -> list[Value]:
    """Assignments that send beats over AXI4-Stream; the payload is left to the caller."""
    return [axi.tvalid.eq(inner.valid), inner.ready.eq(axi.tready)]


def kept(axi: wiring.PureInterface) -> Value:
    """``tdata`` with zeros in place of missing bytes."""
    return Value.cast(axi.tdata) & Cat(bit.replicate(BYTE) for bit in axi.tkeep)


def keep_elements(shape: data.ArrayLayout, count: Value) -> Value:
    """``tkeep`` for ``tdata`` of an array of which only the first ``count`` elements are meant."""
    width = Shape.cast(shape.elem_shape).width // BYTE
    return Cat((count > element).replicate(width) for element in range(shape.length))
