"""Aligner: FP16, BF16 or TF32 activations to integers that share one exponent a group.

Meaning: ``golden.activations.aligner``. A group waits in a memory until its largest exponent is known
(``hw.activations.exponent_keys``); then its elements are shifted and rounded
(``hw.activations.aligner_column``).
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw import payloads
from hw.activations.aligner_column import AlignerColumn
from hw.activations.exponent_keys import KeyQueue, MaximumKey, maximum_stages, queued_groups, unit_key
from hw.config import Config
from hw.payloads import HALVING_BITS

__all__ = ["Aligner"]


class Aligner(wiring.Component):
    """Align each group, or what is left of one at a vector's end, to its own largest exponent.

    Groups have ``config.group`` elements, halved as often as the vector's first beat says.

    One beat a cycle in and out, without a gap between groups, vectors or formats. A group's first beat is
    offered ``4 + stages`` cycles after its last beat was accepted, where
    ``stages = max(1, ceil(log2(activation_lanes) / 2))``; meanwhile the group waits in a memory of
    ``group / activation_lanes + 1 + stages`` beats. Each token column has its own exponents.

    A vector longer than ``maximum_inputs`` ends there: its other beats are dropped up to ``last``.

    Every output but ``beats.ready`` comes from a register; that one depends on registers only.

    Members:
        beats (in): vectors, each closed by ``last``; ``format`` and ``halvings`` count in their first beats.
        aligned (out): ``payloads.aligned_beat``.
        error_long (out): high for one cycle for each vector that is too long.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.group_beats = config.group // config.activation_lanes
        self.stages = maximum_stages(config)
        self.depth = self.group_beats + 1 + self.stages
        super().__init__(
            {
                "beats": In(stream.Signature(payloads.activation_beat(config))),
                "aligned": Out(stream.Signature(payloads.aligned_beat(config))),
                "error_long": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        elements = self.beats.p.elements.shape()
        entry = data.StructLayout({"elements": elements, "format": 1, "group_last": 1, "last": 1})
        m.submodules.memory = storage = memory.Memory(shape=entry, depth=self.depth, init=[])
        m.submodules.groups = groups = _GroupMarker(self.config)
        write = storage.write_port()
        read = storage.read_port()

        # A vector's beats up to ``maximum_inputs`` are written, the others only accepted.
        advance = Signal()
        write_beat = Signal()
        room = Signal()
        m.d.comb += [
            advance.eq(~self.aligned.valid | self.aligned.ready),
            self.beats.ready.eq(room | groups.dropping),
            write_beat.eq(self.beats.valid & room & ~groups.dropping),
            groups.valid.eq(self.beats.valid & self.beats.ready),
            groups.beat_last.eq(self.beats.p.last),
            groups.beat_format.eq(self.beats.p.format),
            groups.beat_halvings.eq(self.beats.p.halvings),
            write.en.eq(write_beat),
            write.data.elements.eq(self.beats.p.elements),
            write.data.format.eq(groups.format),
            write.data.group_last.eq(groups.group_last),
            write.data.last.eq(groups.last),
            read.en.eq(advance),
            self.error_long.eq(groups.error_long),
        ]
        closes = Signal()
        m.d.comb += closes.eq(write_beat & groups.group_last)
        stored = Signal()
        pop = Signal()
        m.d.comb += pop.eq(advance & stored & read.data.group_last)
        complete = self._pointers(m, write, read, closes)
        keys = self._exponents(m, write_beat, closes, groups.format, pop)
        m.d.comb += room.eq(self._room(m, write, read, closes, pop))
        with m.If(advance):
            m.d.sync += stored.eq(complete)
        self._columns(m, read.data, stored, advance, keys)
        return m

    def _next(self, pointer: Signal) -> Value:
        return Mux(pointer == self.depth - 1, 0, pointer + 1)

    def _pointers(self, m: Module, write: memory.WritePort, read: memory.ReadPort, closes: Value) -> Value:
        """Move the ring's pointers; the result says that the beat to read belongs to a complete group."""
        write_next = Signal.like(write.addr)
        limit = Signal.like(write.addr)
        complete = Signal()
        m.d.comb += [write_next.eq(self._next(write.addr)), complete.eq(read.addr != limit)]
        with m.If(write.en):
            m.d.sync += write.addr.eq(write_next)
        with m.If(read.en & complete):
            m.d.sync += read.addr.eq(self._next(read.addr))
        # A group may be read so early that its exponent is just there when the memory's data is.
        if self.stages == 1:
            with m.If(closes):
                m.d.sync += limit.eq(write_next)
        else:
            closed = Signal()
            m.d.sync += closed.eq(closes)
            with m.If(closed):
                m.d.sync += limit.eq(write.addr)
        return complete

    def _room(
        self, m: Module, write: memory.WritePort, read: memory.ReadPort, closes: Value, pop: Value
    ) -> Value:
        """Whether the memory takes a beat and the queue one more exponent; one place stays empty."""
        flying = Signal(range(queued_groups(self.config) + 1))
        m.d.sync += flying.eq(flying + closes - pop)
        return (self._next(write.addr) != read.addr) & (flying != queued_groups(self.config))

    def _exponents(
        self, m: Module, valid: Value, closes: Value, format_: Value, pop: Value
    ) -> Sequence[Value]:
        """Keys of the group that is read, a token column each."""
        flags = Cat(valid, closes, format_)
        for _ in range(self.stages):
            delayed = Signal(3)
            m.d.sync += delayed.eq(flags)
            flags = delayed
        m.submodules.queue = queue = KeyQueue(self.config)
        m.d.comb += [queue.push.eq(flags[1]), queue.pop.eq(pop)]
        for column in range(self.config.columns):
            m.submodules[f"maximum_{column}"] = maximum = MaximumKey(self.config)
            m.d.comb += [
                maximum.elements.eq(self.beats.p.elements[column]),
                maximum.format.eq(format_),
                maximum.valid.eq(flags[0]),
                maximum.closes.eq(flags[1]),
                maximum.unit.eq(unit_key(flags[2])),
                queue.pushed[column].eq(maximum.key),
            ]
        return [queue.head[column] for column in range(self.config.columns)]

    def _columns(
        self, m: Module, beat: data.View, stored: Value, advance: Value, keys: Sequence[Value]
    ) -> None:
        """The aligning pipeline: distances, shifted magnitudes, then elements and sums."""
        marks = [Signal(3, reset_less=True, name=f"marks_{stage}") for stage in range(2)]
        valid = [Signal(name=f"valid_{stage}") for stage in range(2)]
        p = self.aligned.p
        finish = Signal()
        fresh = Signal(2, init=0b11)
        m.d.comb += finish.eq(advance & valid[1])
        with m.If(advance):
            m.d.sync += Cat(valid, self.aligned.valid).eq(Cat(stored, valid))
            m.d.sync += Cat(marks).eq(Cat(beat.group_last, beat.last, beat.format, marks[0]))
        with m.If(finish):
            m.d.sync += [fresh.eq(marks[1][:2]), Cat(p.group_last, p.last, p.format).eq(marks[1])]
        for number, key in enumerate(keys):
            m.submodules[f"column_{number}"] = column = AlignerColumn(self.config)
            m.d.comb += [
                column.elements.eq(beat.elements[number]),
                column.format.eq(beat.format),
                column.key.eq(key),
                column.advance.eq(advance),
                column.finish.eq(finish),
                column.first_of_group.eq(fresh[0]),
                column.first.eq(fresh[1]),
                p.elements[number].eq(column.aligned),
                p.columns[number].exponent.eq(column.exponent),
                p.columns[number].sum.eq(column.sum),
                p.columns[number].special.eq(column.special),
            ]


class _GroupMarker(wiring.Component):
    """Count the beats of vectors into groups; combinational marks of the present beat.

    Members:
        valid (in): a beat is accepted.
        beat_last, beat_format, beat_halvings (in): of that beat.
        format (out): format of its vector.
        group_last, last (out): it closes a group, a vector.
        dropping (out): it is beyond ``maximum_inputs``.
        error_long (out): dropping begins in this cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        marks = {name: Out(1) for name in ("format", "group_last", "last", "dropping", "error_long")}
        super().__init__(
            {
                "valid": In(1),
                "beat_last": In(1),
                "beat_format": In(1),
                "beat_halvings": In(HALVING_BITS),
                **marks,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats = self.config.maximum_inputs // self.config.activation_lanes
        beat = Signal(range(beats))
        held_format = Signal(reset_less=True)
        held_halvings = Signal(HALVING_BITS, reset_less=True)
        halvings = Signal(HALVING_BITS)
        started = Signal()
        too_long = Signal()
        m.d.comb += [
            self.format.eq(Mux(started, held_format, self.beat_format)),
            halvings.eq(Mux(started, held_halvings, self.beat_halvings)),
            too_long.eq(beat == beats - 1),
            self.group_last.eq(self.beat_last | self._fills_group(beat, halvings)),
            self.last.eq(self.beat_last | too_long),
        ]
        m.d.sync += self.error_long.eq(self.valid & ~self.dropping & too_long & ~self.beat_last)
        with m.If(self.valid):
            m.d.sync += [
                held_format.eq(self.format),
                held_halvings.eq(halvings),
                started.eq(~self.beat_last),
                self.dropping.eq(~self.beat_last & (self.dropping | too_long)),
                beat.eq(Mux(self.last, 0, beat + 1)),
            ]
        return m

    def _fills_group(self, beat: Value, halvings: Value) -> Value:
        """Whether this beat is the last one of a group of the vector's length."""
        lengths = self.config.group_lengths
        counted = [exact_log2(length // self.config.activation_lanes) for length in lengths]
        ends = [beat[:bits].all() for bits in counted]
        ends += ends[-1:] * ((1 << HALVING_BITS) - len(ends))  # no shorter group than 16
        return Cat(ends).bit_select(halvings, 1)
