"""What is claimed of both movers: accesses inside the window and within borders, and offers that stay."""

from collections.abc import Sequence

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Signal, Value

from hw.bus import axi
from hw.config import Config
from hw.core import payloads, read_mover, write_mover

__all__ = ["SMALL", "Constant", "Stays", "documented_window", "legal_accesses", "small_config"]

SMALL = (
    (payloads, "LINE_BITS", 3),
    (payloads, "WORDS_BITS", 4),
    (read_mover, "LINE_BITS", 3),
    (read_mover, "WORDS_BITS", 4),
    (read_mover, "LONGEST_BURST", 4),
    (read_mover, "OUTSTANDING", 2),
    (write_mover, "LINE_BITS", 3),
    (write_mover, "UNANSWERED", 2),
    (axi, "BORDER", 256),
    (axi, "ADDRESS_BITS", 10),
)
"""Module, constant and value: what the proofs make small; 256 bytes stand for 4 KiB."""

_LINE_BYTES = 64


def small_config() -> Config:
    """Words of half a line."""
    return Config().model_copy(update={"memory_bits": 256})


class Constant(Elaboratable):
    """Inputs that never change."""

    def __init__(self, *inputs: Value) -> None:
        self.inputs = Cat(inputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        known, before = Signal(), Signal(len(self.inputs))
        m.d.sync += [known.eq(1), before.eq(self.inputs)]
        m.d.comb += Assume(~known | (self.inputs == before))
        return m


class Stays(Elaboratable):
    """What a channel of a bus offers stays until it is taken.

    Args:
        valid, ready: of the channel.
        content: its fields.
    """

    def __init__(self, valid: Value, ready: Value, content: Sequence[Value]) -> None:
        self.valid, self.ready, self.content = valid, ready, Cat(content)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stalled, before = Signal(), Signal(len(self.content))
        m.d.sync += [stalled.eq(self.valid & ~self.ready), before.eq(self.content)]
        m.d.comb += Assert(~stalled | (self.valid & (self.content == before)))
        return m


def documented_window(m: Module, base: Value, limit: Value) -> None:
    """Base and limit are as the documentation wants them."""
    end = Signal(len(base) + 1)
    m.submodules.window = Constant(base, limit)
    m.d.comb += [
        end.eq(base + limit * _LINE_BYTES),
        Assume(base[: (axi.BORDER - 1).bit_length()] == 0),
        Assume(end <= 1 << len(base)),
    ]


def legal_accesses(
    m: Module, name: str, channel: Sequence[Value], base: Value, limit: Value, width: int
) -> None:
    """A burst that is offered lies in the window, and in 4 KiB.

    Args:
        m: gets the claims.
        name: of the signals.
        channel: valid, address and words less one.
        base, limit: of the window.
        width: bytes of a word.
    """
    valid, address, beats = channel
    place = Signal(len(base), name=f"{name}_place")
    size = Signal(len(beats) + width.bit_length(), name=f"{name}_bytes")
    border = (axi.BORDER - 1).bit_length()
    m.d.comb += [
        place.eq(address - base),
        size.eq((beats + 1) * width),
        Assert(~valid | (place + size <= limit * _LINE_BYTES)),
        Assert(~valid | (address[:border] + size <= axi.BORDER)),
    ]
