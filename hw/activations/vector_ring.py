"""Vector ring: places of a memory, filled vector after vector, read as often as commands ask for."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw import payloads

__all__ = ["LONGEST_VECTORS", "VectorRing"]

LONGEST_VECTORS = 2
"""Vectors as long as can be that the memory has room for."""


class VectorRing(wiring.Component):
    """Say which place to fill, and count through those of a vector, ``count`` times for each command.

    The memory has ``size`` places. Of two vectors each has its own half. More than two lie in a ring: each
    begins where the one before ends. A place is filled again when the command that gave its vector up has
    ended.

    Args:
        depth: places of the longest vector.
        vectors: most complete vectors, a power of two; they are numbered modulo twice as many.
        commands: those that it holds, the one at work included.

    Members:
        loading, loading_next (in): number of the vector that is filled in this cycle, and in the next one.
        filled (in): the place is complete in this cycle; only if there was room.
        filling, filling_address (out): place to fill, counted within its vector, and in the memory.
        room_next (out): in the next cycle a place may be filled.
        accept, command (in): take a command for the next vector; only while ``ready``.
        ready (out): one more command fits; depends on ``advance``.
        vector, vector_next (out): number of the vector that is read in this cycle, and in the next one.
        last_next (in): last place of the latter.
        valid, address (out): where to read in the memory.
        advance (in): the place is read.
    """

    def __init__(self, depth: int, vectors: int, commands: int) -> None:
        self.depth = depth
        self.vectors = vectors
        self.commands = commands
        self.is_ring = vectors > LONGEST_VECTORS
        places = LONGEST_VECTORS * depth
        self.size = 1 << ceil_log2(places) if self.is_ring else places
        super().__init__(
            {
                "loading": In(range(2 * vectors)),
                "loading_next": In(range(2 * vectors)),
                "filled": In(1),
                "filling": Out(range(depth)),
                "filling_address": Out(range(self.size)),
                "room_next": Out(1),
                "accept": In(1),
                "command": In(payloads.passes),
                "ready": Out(1),
                "vector": Out(range(2 * vectors)),
                "vector_next": Out(range(2 * vectors)),
                "last_next": In(range(depth)),
                "valid": Out(1),
                "address": Out(range(self.size)),
                "advance": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        work = Signal(payloads.passes)
        busy = Signal()
        ends = Signal()
        empty = Signal()
        free = Signal()
        place = Signal(range(self.depth))
        number = Signal(len(self.command.count), init=1)
        at_last = Signal()
        last = Signal(range(self.depth), reset_less=True)
        self._commands(m, work, busy, ends)
        m.d.comb += [
            empty.eq(work.count == 0),
            at_last.eq(place == last),
            self.valid.eq(busy & ~empty),
            ends.eq(busy & (empty | (self.advance & at_last & (number == work.count)))),
            free.eq(ends & ~work.keep),
        ]
        with m.If(self.valid & self.advance):
            m.d.sync += place.eq(Mux(at_last, 0, place + 1))
            with m.If(at_last):
                m.d.sync += number.eq(Mux(ends, 1, number + 1))
        completes = Signal()
        m.d.comb += [completes.eq(self.loading != self.loading_next), self.vector_next.eq(self.vector + free)]
        m.d.sync += [self.vector.eq(self.vector_next), last.eq(self.last_next)]
        with m.If(self.filled):
            m.d.sync += self.filling.eq(Mux(completes, 0, self.filling + 1))
        numbered = (self.loading_next ^ self.vector_next) != self.vectors
        if self.is_ring:
            left = Mux(empty, last, place)
            m.d.comb += self.room_next.eq(numbered & ~self._turn(m, left, free))
        else:
            m.d.comb += [
                self.room_next.eq(numbered),
                self.filling_address.eq(Mux(self.loading[0], self.depth, 0) + self.filling),
                self.address.eq(Mux(self.vector[0], self.depth, 0) + place),
            ]
        return m

    def _turn(self, m: Module, place: Value, free: Value) -> Value:
        """Addresses in a ring; the result says that it has no place to fill in the next cycle.

        Args:
            place: place to read; the last one of a vector that is freed unread.
        """
        first = Signal(range(self.size))
        behind = Signal(range(self.size))
        full = Signal()
        full_next = Signal()
        m.d.comb += [
            self.address.eq(first + place),
            behind.eq(self.filling_address + 1),
            full_next.eq(~free & (full | (self.filled & (behind == first)))),
        ]
        m.d.sync += full.eq(full_next)
        with m.If(self.filled):
            m.d.sync += self.filling_address.eq(behind)
        with m.If(free):
            m.d.sync += first.eq(self.address + 1)
        return full_next

    def _commands(self, m: Module, work: Signal, busy: Signal, ends: Signal) -> None:
        """A queue of commands whose head is the one at work."""
        held = [
            Signal(payloads.passes, reset_less=True, name=f"held_{number}") for number in range(self.commands)
        ]
        count = Signal(range(self.commands + 1))
        left = Signal(range(self.commands + 1))
        m.d.comb += [
            work.eq(held[0]),
            busy.eq(count != 0),
            left.eq(count - ends),
            self.ready.eq(left != self.commands),
        ]
        m.d.sync += count.eq(left + self.accept)
        for number, entry in enumerate(held):
            with m.If(self.accept & (left == number)):
                m.d.sync += entry.eq(self.command)
            if number + 1 < self.commands:
                with m.Elif(ends):
                    m.d.sync += entry.eq(held[number + 1])
