"""Class map: the class of every token, 1 or 2 bits each, in words of memory.

Meaning: ``golden.selection.classes.packed``. Tokens of a page are neighbours mostly, so a word is read and
written once for as many changes in a row as fall into it.
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.selection.moving.payloads import map_change, map_word

__all__ = ["ClassMap"]


class ClassMap(wiring.Component):
    """Change the classes of tokens.

    Throughput: a change a cycle within a word; for another word 3 cycles and what the memory takes to write
    one and read one. The words of a move are in memory when its last change has been taken and ``writes``
    has nothing more.

    Members:
        changes (in stream): tokens and their new classes.
        reads (out stream): address of a word that is wanted.
        words (in stream): the word.
        writes (out stream): the same with its changes.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        word = map_word(config)
        super().__init__(
            {
                "changes": In(stream.Signature(map_change())),
                "reads": Out(stream.Signature(word["address"].shape)),
                "words": In(stream.Signature(config.memory_bits)),
                "writes": Out(stream.Signature(word)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.config.memory_bits
        change, held = self.changes.payload, self.writes.payload
        inner = exact_log2(width)
        place = Signal(inner + len(held.address))  # of the token's lowest bit in the map
        address = Signal.like(held.address)
        low = Signal(width)  # where the class has its bits
        high = Signal(width)
        changes = Signal()
        here = Signal()
        m.d.comb += [
            place.eq(change.index << change.wide),
            address.eq(place[inner:]),
            low.eq(Const(1, width) << place[:inner]),
            high.eq(Mux(change.wide, low << 1, 0)),
            self.reads.payload.eq(address),
            here.eq(address == held.address),
        ]
        for number in range(width):
            with m.If(changes & low[number]):
                m.d.sync += held.data[number].eq(change.number[0])
            with m.If(changes & high[number]):
                m.d.sync += held.data[number].eq(change.number[1])
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += self.changes.ready.eq(change.last)
                m.d.sync += held.address.eq(address)
                with m.If(self.changes.valid & ~change.last):
                    m.next = "read"
            with m.State("read"):
                m.d.comb += self.reads.valid.eq(1)
                with m.If(self.reads.ready):
                    m.next = "word"
            with m.State("word"):
                m.d.comb += self.words.ready.eq(1)
                m.d.sync += held.data.eq(self.words.payload)
                with m.If(self.words.valid):
                    m.next = "change"
            with m.State("change"):
                m.d.comb += [
                    self.changes.ready.eq(here | change.last),
                    changes.eq(self.changes.valid & here & ~change.last),
                ]
                with m.If(self.changes.valid & (~here | change.last)):
                    m.next = "write"
            with m.State("write"):
                m.d.comb += self.writes.valid.eq(1)
                with m.If(self.writes.ready):
                    m.next = "idle"
        return m
