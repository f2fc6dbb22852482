"""Small stream components to show and test the simulation package with; each fault must be caught."""

from amaranth.hdl import Assert, Module, Mux, Signal, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Beat", "Fault", "Kind", "PassThrough", "SkidBuffer"]


class Kind(enum.Enum, shape=2):
    """What a beat carries; code 3 stays unused."""

    IDLE = 0
    DATA = 1
    LAST = 2


class Beat(data.Struct):
    """A payload with every sort of field, 36 bits."""

    kind: Kind
    offset: signed(10)
    lanes: data.ArrayLayout(signed(6), 4)


class Fault(enum.Enum):
    """Deliberate faults of the buffer."""

    NONE = "none"
    DROPS = "drops"  # loses the beat that arrives while the output is stalled
    CHANGES = "changes"  # lets the output follow the input while stalled
    WAITS = "waits"  # valid waits for ready, which the stream rules forbid
    ASSERTS = "asserts"  # asserts at the clock that no beat is LAST, which is wrong
    ASSERTS_ALWAYS = "asserts_always"  # the same, combinationally


class SkidBuffer(wiring.Component):
    """Registered output with one spare place, so that ready is a register too.

    Latency 1 cycle, throughput one beat a cycle under any stalls.

    Args:
        fault: deliberate fault.

    Members:
        i: beats in.
        o: beats out, in order.
    """

    i: In(stream.Signature(Beat))
    o: Out(stream.Signature(Beat))

    def __init__(self, fault: Fault = Fault.NONE) -> None:
        self.fault = fault
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare = Signal(Beat)
        spare_full = Signal()
        out_full = Signal()

        # The spare place takes the beat that arrives in the cycle in which the output stalls.
        taken = self.i.valid & self.i.ready
        free = ~out_full | self.o.ready
        m.d.comb += [self.i.ready.eq(~spare_full), self.o.valid.eq(out_full)]
        with m.If(free):
            m.d.sync += [
                self.o.payload.eq(Mux(spare_full, spare, self.i.payload)),
                out_full.eq(spare_full | taken),
                spare_full.eq(0),
            ]
        with m.Elif(taken):
            m.d.sync += [spare.eq(self.i.payload), spare_full.eq(self.fault != Fault.DROPS)]

        m.d.sync += Assert(out_full | ~spare_full)
        m.d.comb += Assert(self.i.ready | out_full)
        match self.fault:
            case Fault.CHANGES:
                with m.If(out_full & ~self.o.ready):
                    m.d.sync += self.o.payload.eq(self.i.payload)
            case Fault.WAITS:
                m.d.comb += self.o.valid.eq(out_full & self.o.ready)
            case Fault.ASSERTS:
                m.d.sync += Assert(~(taken & (self.i.payload.kind == Kind.LAST)))
            case Fault.ASSERTS_ALWAYS:
                m.d.comb += Assert(~(taken & (self.i.payload.kind == Kind.LAST)))
        return m


class PassThrough(wiring.Component):
    """Beats pass in the same cycle; without clock or reset.

    Members:
        i: beats in.
        o: beats out.
    """

    i: In(stream.Signature(Beat))
    o: Out(stream.Signature(Beat))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m
