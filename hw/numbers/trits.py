"""Five trits to a byte and back, as ``golden.numbers.trits`` has them; combinational."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers.trits import TRITS
from hw.sharing import share

__all__ = ["TRIT_BITS", "TritDecoder", "TritEncoder", "trit_bytes"]

TRIT_BITS = 2
_OCTET = 8
_ESCAPE = 3


class TritEncoder(wiring.Component):
    """Five trits to their byte.

    Members:
        trits (in): 0..2 each; 3 gives an undefined byte.
        octet (out): the byte.
    """

    config = None

    trits: In(data.ArrayLayout(TRIT_BITS, TRITS))
    octet: Out(_OCTET)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        single = self.trits[4]
        low, low_full = _pair_code(self.trits[0], self.trits[1])
        high, high_full = _pair_code(self.trits[2], self.trits[3])
        upper = Signal(3)
        lower = Signal(3)
        escape = Signal(2)
        m.d.comb += [upper.eq(high), lower.eq(low), escape.eq(single)]
        with m.If(low_full | high_full):
            m.d.comb += [escape.eq(_ESCAPE), upper.eq(Cat(single, high_full))]
        with m.If(low_full):
            m.d.comb += lower.eq(high)
            with m.If(high_full):
                m.d.comb += [upper.eq(3), lower.eq(single)]
        m.d.comb += self.octet.eq(Cat(lower, upper, escape))
        return m


class TritDecoder(wiring.Component):
    """A byte to its five trits.

    Members:
        octet (in): one of the 243 legal bytes.
        trits (out): the trits; some of 0..2 for an illegal byte.
        illegal (out): the byte does not stand for trits.
    """

    config = None

    octet: In(_OCTET)
    trits: Out(data.ArrayLayout(TRIT_BITS, TRITS))
    illegal: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lower, upper, top = self.octet[:3], self.octet[3:6], self.octet[6:]
        escaped = top.all()
        both = Signal()
        low_full = Signal()
        high_full = Signal()
        m.d.comb += [
            both.eq(escaped & ~upper[2] & upper[:2].all()),
            low_full.eq(escaped & (~upper[2] | both)),
            high_full.eq(escaped & (upper[2] | both)),
            self.illegal.eq(escaped & upper[:2].all() & (upper[2] | lower[2] | lower[:2].all())),
        ]
        single = Mux(both, lower[:2], Mux(escaped, upper[:2], top))
        trits = [
            *_pair_trits(lower, low_full),
            *_pair_trits(Mux(escaped, lower, upper), high_full),
            Cat(single[0], single[1] & ~single[0]),
        ]
        m.d.comb += [self.trits[place].eq(trit) for place, trit in enumerate(trits)]
        return m


def _pair_code(first: Value, second: Value) -> tuple[Value, Value]:
    """Three bits of a pair of trits, and whether it is 2, 2, which has none."""
    twos = second[1].replicate(2)
    return Cat(first | twos, second[0] | (second[1] & first[0])), first[1] & second[1]


def _pair_trits(code: Value, full: Value) -> tuple[Value, Value]:
    """Trits of a pair; its three bits do not matter where it is ``full``, that is 2, 2."""
    second_is_two = code[:2].all()
    first = Cat(Mux(second_is_two, code[2], code[0]), code[1] & ~code[0])
    second = Cat(code[2] & ~second_is_two, second_is_two)
    two = Const(2, TRIT_BITS)
    return Mux(full, two, first), Mux(full, two, second)


def trit_bytes(m: Module, trits: Sequence[Value], name: str) -> Value:
    """The bytes of trits, five each."""
    encoded: list[Value] = []
    for start in range(0, len(trits), TRITS):
        encoder = share(m, f"{name}_{start // TRITS}", TritEncoder())
        m.d.comb += encoder.trits.eq(Cat(*trits[start : start + TRITS]))
        encoded.append(encoder.octet)
    return Cat(encoded)
