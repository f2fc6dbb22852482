"""Activation buffer: aligned vectors, one of them streamed again and again while the next ones load."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw import payloads
from hw.activations.vector_ring import LONGEST_VECTORS, VectorRing
from hw.config import Config
from hw.payloads import EXPONENT_BITS, ActivationFormat

__all__ = ["ActivationBuffer"]

ATTENTION_VECTORS = 8
"""Most vectors with ``config.attention``, where they are short."""


class ActivationBuffer(wiring.Component):
    """Hold vectors; stream the chunks and the group summaries of one, as often as commands ask for.

    The vectors are used in the order in which they came. ``vector_*`` describe the one that the next command
    applies to; a command is accepted while ``vector_valid`` only. A command without ``keep`` is its vector's
    last one; with ``count`` 0 it frees the vector unread.

    Two vectors of any length fit; with ``config.attention`` up to eight, if together they have no more
    chunks, nor groups, than two of ``maximum_inputs``. Their chunks lie in a ring, and so do their groups;
    each vector begins with a chunk of its own.

    ``activations`` and ``summaries`` are independent: either one may lag behind by any number of groups of a
    command, and chunks of the next command follow while the summaries of one command still wait. A vector has
    left as soon as its last chunk and its last summary are in their output registers.

    A beat of ``aligned`` is accepted in every cycle while there is room. One chunk and one summary a cycle
    leave, without a gap between groups, passes and commands (a ``count`` of 0 costs a cycle). Both begin 2
    cycles after their command was accepted; ``vector_valid`` comes one cycle after the vector's last beat. A
    chunk that its group does not fill ends with zeros.

    ``passes.ready`` depends on ``activations.ready`` and ``summaries.ready``. The outputs come from the
    registers of the memories; ``distance`` has a subtractor behind them.

    Members:
        aligned (in): vectors of at most ``maximum_inputs``; all groups but the last one of a vector are full.
        vector_valid (out): a complete vector waits for a command.
        vector_beats, vector_groups (out): its length in beats of ``aligned`` and in groups.
        passes (in): commands.
        activations (out): chunks of every pass.
        summaries (out): one beat a group of every pass.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.parts = config.lanes // config.activation_lanes
        self.vectors = ATTENTION_VECTORS if config.attention else LONGEST_VECTORS
        self.beats = config.maximum_inputs // config.activation_lanes
        super().__init__(
            {
                "aligned": In(stream.Signature(payloads.aligned_beat(config))),
                "vector_valid": Out(1),
                "vector_beats": Out(bits_for(self.beats)),
                "vector_groups": Out(bits_for(config.maximum_groups)),
                "passes": In(stream.Signature(payloads.passes)),
                "activations": Out(stream.Signature(payloads.activations(config))),
                "summaries": Out(stream.Signature(payloads.summary(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.chunks = chunks = VectorRing(self.beats // self.parts, self.vectors, commands=1)
        m.submodules.groups = groups = VectorRing(self.config.maximum_groups, self.vectors, commands=2)
        shape = self._about()
        vectors = [Signal(shape, reset_less=True, name=f"vector_{number}") for number in range(self.vectors)]
        part = Signal(range(self.parts))
        loading = Signal(range(2 * self.vectors))
        claiming = Signal(range(2 * self.vectors))
        self._load(m, (chunks, groups), vectors, loading, part)
        readers = {
            "present": claiming,
            "chunks": chunks.vector_next,
            "groups": groups.vector_next,
            "summaries": groups.vector,
        }
        of = {}
        for name, number in readers.items():
            of[name] = Signal(shape, name=f"present_of_{name}")
            m.d.comb += of[name].eq(Array(vectors)[number[:-1]])
        m.d.comb += [
            chunks.last_next.eq(of["chunks"].last_beat >> exact_log2(self.parts)),
            groups.last_next.eq(of["groups"].last_group),
        ]
        self._claim(m, (chunks, groups), of["present"], loading, claiming)
        self._activations(m, chunks, part)
        self._summaries(m, groups, of["summaries"])
        return m

    def _about(self) -> data.StructLayout:
        """What is known of a whole vector."""
        column = data.StructLayout({"reference": EXPONENT_BITS, "special": 1})
        return data.StructLayout(
            {
                "last_beat": range(self.beats),
                "last_group": range(self.config.maximum_groups),
                "columns": data.ArrayLayout(column, self.config.columns),
                "format": ActivationFormat,
            }
        )

    def _load(
        self,
        m: Module,
        rings: tuple[VectorRing, VectorRing],
        vectors: list[Signal],
        loading: Signal,
        part: Signal,
    ) -> None:
        """Take beats, fill chunks and groups with them, and keep what is known of their vector."""
        p, (chunks, groups) = self.aligned.p, rings
        ready = Signal(init=1)
        taken = Signal()
        first = Signal(init=1)
        closes = Signal()
        loading_next = Signal.like(loading)
        m.d.comb += [
            self.aligned.ready.eq(ready),
            taken.eq(self.aligned.valid & ready),
            closes.eq(p.last | (part == self.parts - 1)),
            loading_next.eq(loading + (taken & p.last)),
            chunks.filled.eq(taken & closes),
            groups.filled.eq(taken & p.group_last),
        ]
        for ring in rings:
            m.d.comb += [ring.loading.eq(loading), ring.loading_next.eq(loading_next)]
        # A register, since it drives a write enable for each bit.
        m.d.sync += [loading.eq(loading_next), ready.eq(chunks.room_next & groups.room_next)]
        with m.If(taken):
            m.d.sync += [part.eq(Mux(closes, 0, part + 1)), first.eq(p.last)]

        about = Signal(self._about())
        largest = Signal(self._about())
        m.d.comb += [
            largest.eq(Array(vectors)[loading[:-1]]),
            about.last_beat.eq(Cat(part, chunks.filling)),
            about.last_group.eq(groups.filling),
            about.format.eq(p.format),
        ]
        for column, kept, old in zip(p.columns, about.columns, largest.columns, strict=True):
            larger = first | (column.exponent > old.reference)
            m.d.comb += [
                kept.special.eq(column.special),
                kept.reference.eq(Mux(larger, column.exponent, old.reference)),
            ]
        for number, vector in enumerate(vectors):
            with m.If(taken & (loading[:-1] == number)):
                m.d.sync += vector.eq(about)

    def _claim(
        self,
        m: Module,
        rings: tuple[VectorRing, VectorRing],
        present: data.View,
        loading: Signal,
        claiming: Signal,
    ) -> None:
        """Give commands for the present vector to both rings, and say how long it is."""
        accept = Signal()
        claimed = Signal()
        m.d.comb += [
            self.vector_valid.eq(loading != claiming),
            self.vector_beats.eq(present.last_beat + 1),
            self.vector_groups.eq(present.last_group + 1),
            self.passes.ready.eq(self.vector_valid & rings[0].ready & rings[1].ready),
            accept.eq(self.passes.valid & self.passes.ready),
            claimed.eq(accept & ~self.passes.p.keep),
        ]
        m.d.sync += claiming.eq(claiming + claimed)
        for ring in rings:
            m.d.comb += [ring.accept.eq(accept), ring.command.eq(self.passes.payload)]

    def _activations(self, m: Module, ring: VectorRing, part: Signal) -> None:
        """Chunks are stored part by part; the last part of a group clears those behind it."""
        config, p = self.config, self.aligned.p
        elements = Signal(p.elements.shape().size, reset_less=True)
        shape = data.ArrayLayout(len(elements), self.parts)
        m.submodules.activations = storage = memory.Memory(shape=shape, depth=ring.size, init=[])
        write = storage.write_port(granularity=1)
        read = storage.read_port()
        m.d.sync += [write.addr.eq(ring.filling_address), elements.eq(p.elements)]
        taken = self.aligned.valid & self.aligned.ready
        for number in range(self.parts):
            behind = p.group_last & (part < number) if number else Const(0)
            cleared = Signal(name=f"cleared_{number}", reset_less=True)
            m.d.sync += [write.en[number].eq(taken & (behind | (part == number))), cleared.eq(behind)]
            m.d.comb += write.data[number].eq(Mux(cleared, 0, elements))

        advance = ~self.activations.valid | self.activations.ready
        m.d.comb += [ring.advance.eq(advance), read.en.eq(advance), read.addr.eq(ring.address)]
        with m.If(advance):
            m.d.sync += self.activations.valid.eq(ring.valid)
        width = config.activation_lanes * config.activation_bits
        for column in range(config.columns):
            lanes = Cat(part.word_select(column, width) for part in read.data)
            m.d.comb += self.activations.p[column].as_value().eq(lanes)

    def _summaries(self, m: Module, ring: VectorRing, vector: data.View) -> None:
        """Exponents and sums come from their memory, what concerns the vector is captured beside it."""
        config, p = self.config, self.aligned.p
        column = data.StructLayout({"exponent": EXPONENT_BITS, "sum": signed(config.sum_bits)})
        shape = data.ArrayLayout(column, config.columns)
        m.submodules.groups_memory = storage = memory.Memory(shape=shape, depth=ring.size, init=[])
        write = storage.write_port()
        read = storage.read_port()
        held_about = Signal(self._about(), reset_less=True)

        advance = ~self.summaries.valid | self.summaries.ready
        m.d.sync += [write.en.eq(ring.filled), write.addr.eq(ring.filling_address)]
        m.d.comb += [
            ring.advance.eq(advance),
            read.en.eq(advance),
            read.addr.eq(ring.address),
            self.summaries.p.format.eq(held_about.format),
        ]
        with m.If(advance):
            m.d.sync += [self.summaries.valid.eq(ring.valid), held_about.eq(vector)]
        for number in range(config.columns):
            entry, summary = read.data[number], self.summaries.p.columns[number]
            m.d.sync += [
                write.data[number].exponent.eq(p.columns[number].exponent),
                write.data[number].sum.eq(p.columns[number].sum),
            ]
            m.d.comb += [
                summary.distance.eq(held_about.columns[number].reference - entry.exponent),
                summary.sum.eq(entry.sum),
                summary.reference.eq(held_about.columns[number].reference),
                summary.special.eq(held_about.columns[number].special),
            ]
