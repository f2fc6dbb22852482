"""A block behind the names of AXI4-Stream (ARM IHI 0051): what the generator puts at the top."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Shape, ShapeLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, connect, flipped

from hw.bus import axi_stream

__all__ = ["AxiPorts", "Beat", "beat", "streams"]

BYTE = 8
CARRIED = ("data", "elements", "half")
"""Fields of payloads that are what a stream is for, as a mover of bytes takes them; others go with them."""
VALUE = "value"
"""Name of a payload that has no fields."""


@dataclass(frozen=True)
class Beat:
    """Where the fields of a payload lie in a beat of AXI4-Stream.

    Attributes:
        data: layout of ``tdata``, whole bytes.
        user: layout of ``tuser``, without fields where there is no ``tuser``.
        last: there is a ``tlast``, the payload's field of that name.
    """

    data: data.FlexibleLayout
    user: data.FlexibleLayout
    last: bool

    def signature(self) -> axi_stream.Signature:
        """The ports of a stream of such beats, from the sender's side."""
        return axi_stream.Signature(self.data, user=self.user, last=self.last)


def beat(payload: ShapeLike) -> Beat:
    """Divide a payload among ``tdata``, ``tuser`` and ``tlast``.

    A field ``last`` of one bit is ``tlast``. Where there is one, a field ``data``, ``elements`` or ``half``
    is ``tdata``, and the others are ``tuser``. Any other payload is a record: ``tdata`` has all its fields.
    Fields keep their order, the first one lies lowest, and zeros fill ``tdata`` up to whole bytes.
    """
    fields = _fields(payload)
    last = "last" in fields and Shape.cast(fields["last"]).width == 1
    others = {name: shape for name, shape in fields.items() if name != "last" or not last}
    carried = {name: shape for name, shape in others.items() if last and name in CARRIED} or others
    beside = {name: shape for name, shape in others.items() if name not in carried}
    return Beat(_layout(carried, BYTE), _layout(beside), last)


def _fields(payload: ShapeLike) -> Mapping[str, ShapeLike]:
    if isinstance(payload, data.StructLayout | data.FlexibleLayout):
        return {str(name): field.shape for name, field in payload}
    return {VALUE: payload}


def _layout(fields: Mapping[str, ShapeLike], unit: int = 1) -> data.FlexibleLayout:
    """The fields without a gap, filled up to a multiple of ``unit`` bits."""
    placed, width = {}, 0
    for name, shape in fields.items():
        placed[name] = data.Field(shape, width)
        width += Shape.cast(shape).width
    return data.FlexibleLayout(-(-width // unit) * unit, placed)


def streams(component: wiring.Component) -> Iterator[tuple[str, wiring.Member, ShapeLike]]:
    """Name, member and payload of the Amaranth streams among a component's members."""
    for name, member in component.signature.members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            yield name, member, member.signature.members["payload"].shape


class AxiPorts(wiring.Component):
    """A component whose streams have the ports of AXI4-Stream; there is neither a register nor a gate in it.

    Args:
        inner: the component.

    Members:
        As of ``inner``, but streams are ``beat``s.
    """

    def __init__(self, inner: wiring.Component) -> None:
        self.inner = inner
        self._beats = {name: beat(payload) for name, _, payload in streams(inner)}
        members = {
            name: member.flow(self._beats[name].signature()) if name in self._beats else member
            for name, member in inner.signature.members.items()
        }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = self.inner
        for name, member in self.inner.signature.members.items():
            outer, inside = getattr(self, name), getattr(self.inner, name)
            if name in self._beats:
                self._stream(m, self._beats[name], member.flow == In, outer, inside)
            elif member.is_port:
                m.d.comb += inside.eq(outer) if member.flow == In else outer.eq(inside)
            else:
                connect(m, flipped(outer), inside)
        return m

    def _stream(
        self, m: Module, form: Beat, taken: bool, axi: wiring.PureInterface, inner: stream.Interface
    ) -> None:
        """Connect one, whose beats are ``taken`` from outside or sent there."""
        outer = {name: axi.tdata[name] for name, _ in form.data}
        if form.user.size:
            outer |= {name: axi.tuser[name] for name, _ in form.user}
        if form.last:
            outer["last"] = axi.tlast
        whole = form.data.fields.keys() == {VALUE}
        for name, wire in outer.items():
            part = inner.payload if whole else inner.payload[name]
            m.d.comb += part.eq(wire) if taken else wire.eq(part)
        shake = axi_stream.handshake_from(axi, inner) if taken else axi_stream.handshake_to(inner, axi)
        m.d.comb += shake
