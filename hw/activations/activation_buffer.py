"""Activation buffer: two aligned vectors, one of them streamed again and again while the next one loads."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from hw import payloads
from hw.config import Config
from hw.payloads import EXPONENT_BITS, ActivationFormat

__all__ = ["ActivationBuffer"]

BANKS = 2


class ActivationBuffer(wiring.Component):
    """Hold two vectors; stream the chunks and the group summaries of one, as often as commands ask for.

    The vectors are used in the order in which they came. ``vector_*`` describe the one that the next command
    applies to; a command is accepted while ``vector_valid`` only. A command without ``keep`` is its vector's
    last one; with ``count`` 0 it frees the vector unread.

    ``activations`` and ``summaries`` are independent: either one may lag behind by any number of groups of a
    command, and chunks of the next command follow while the summaries of one command still wait. A bank is
    free as soon as the last chunk and the last summary of its vector are in their output registers.

    A beat of ``aligned`` is accepted in every cycle while a bank is free. One chunk and one summary a cycle
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
        config = self.config
        m.submodules.chunks = chunks = _PassReader(config.maximum_inputs // config.lanes, places=1)
        m.submodules.groups = groups = _PassReader(config.maximum_groups, places=2)
        about = self._about()
        banks = [Signal(about, reset_less=True, name=f"bank_{number}") for number in range(BANKS)]
        beat = Signal(range(self.beats))
        group = Signal(range(config.maximum_groups))
        loading = Signal()
        present = Signal()
        self._occupancy(m, loading, present, (chunks, groups))
        self._load(m, banks, loading, beat, group)

        vector = Signal(about)
        m.d.comb += [
            vector.eq(Mux(present, banks[1], banks[0])),
            self.vector_beats.eq(vector.last_beat + 1),
            self.vector_groups.eq(vector.last_group + 1),
        ]
        accept = Signal()
        m.d.comb += self.passes.ready.eq(self.vector_valid & chunks.room & groups.room)
        m.d.comb += accept.eq(self.passes.valid & self.passes.ready)
        for reader in chunks, groups:
            m.d.comb += [reader.accept.eq(accept), reader.command.eq(self.passes.payload)]
            m.d.comb += reader.bank.eq(present)
        step = exact_log2(config.lanes // config.activation_lanes)
        m.d.comb += chunks.last.eq(Mux(chunks.place_bank, banks[1].last_beat, banks[0].last_beat) >> step)
        m.d.comb += groups.last.eq(Mux(groups.place_bank, banks[1].last_group, banks[0].last_group))
        self._activations(m, chunks, loading, beat)
        self._summaries(m, groups, loading, group, banks)
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

    def _occupancy(
        self, m: Module, loading: Signal, present: Signal, readers: tuple["_PassReader", "_PassReader"]
    ) -> None:
        """Which bank loads, which one waits for a command, and which ones a reader still needs."""
        waiting = Signal(BANKS)
        loading_next = Signal()
        ready = Signal(init=1)
        complete = self.aligned.valid & ready & self.aligned.p.last
        claimed = self.passes.valid & self.passes.ready & ~self.passes.p.keep
        completed = Signal(BANKS)
        busy = Signal(BANKS)
        m.d.comb += [
            loading_next.eq(loading ^ complete),
            completed.eq(Mux(loading, complete << 1, complete)),
            self.aligned.ready.eq(ready),
            self.vector_valid.eq(waiting.bit_select(present, 1)),
        ]
        m.d.sync += [
            loading.eq(loading_next),
            present.eq(present ^ claimed),
            waiting.eq(waiting & ~Mux(present, claimed << 1, claimed) | completed),
            ready.eq(~busy.bit_select(loading_next, 1)),  # a register: it drives a write enable for each bit
        ]
        needed_next = []
        for number, reader in enumerate(readers):
            needed, after = (Signal(BANKS, name=f"{name}_{number}") for name in ("needed", "needed_next"))
            m.d.comb += after.eq(needed & ~Mux(reader.place_bank, reader.free << 1, reader.free) | completed)
            m.d.sync += needed.eq(after)
            needed_next.append(after)
        m.d.comb += busy.eq(needed_next[0] | needed_next[1])

    def _load(self, m: Module, banks: list[Signal], loading: Signal, beat: Signal, group: Signal) -> None:
        """Count a vector's beats and groups, and keep what is known of it."""
        p = self.aligned.p
        for bank, about in enumerate(banks):
            with m.If(self.aligned.valid & self.aligned.ready & (loading == bank)):
                m.d.sync += [about.last_beat.eq(beat), about.last_group.eq(group), about.format.eq(p.format)]
                for column, kept in zip(p.columns, about.columns, strict=True):
                    m.d.sync += kept.special.eq(column.special)
                    with m.If((group == 0) | (column.exponent > kept.reference)):
                        m.d.sync += kept.reference.eq(column.exponent)
        with m.If(self.aligned.valid & self.aligned.ready):
            m.d.sync += [beat.eq(Mux(p.last, 0, beat + 1)), group.eq(Mux(p.last, 0, group + p.group_last))]

    def _activations(self, m: Module, reader: "_PassReader", loading: Value, beat: Signal) -> None:
        """Chunks are stored part by part; the last part of a group clears those behind it."""
        config, p = self.config, self.aligned.p
        parts = config.lanes // config.activation_lanes
        step = exact_log2(parts)
        part_bits = p.elements.shape().size
        depth = config.maximum_inputs // config.lanes
        shape = data.ArrayLayout(part_bits, parts)
        m.submodules.activations = storage = memory.Memory(shape=shape, depth=BANKS * depth, init=[])
        write = storage.write_port(granularity=1)
        read = storage.read_port()
        m.d.sync += write.addr.eq(Mux(loading, depth, 0) + (beat >> step))
        taken = self.aligned.valid & self.aligned.ready
        for part in range(parts):
            behind = p.group_last & (beat[:step] < part) if part else Const(0)
            m.d.sync += write.en[part].eq(taken & (behind | (beat[:step] == part)))
            m.d.sync += write.data[part].eq(Mux(behind, 0, p.elements))

        advance = ~self.activations.valid | self.activations.ready
        m.d.comb += [
            reader.advance.eq(advance),
            read.en.eq(advance),
            read.addr.eq(Mux(reader.place_bank, depth, 0) + reader.place),
        ]
        with m.If(advance):
            m.d.sync += self.activations.valid.eq(reader.valid)
        width = config.activation_lanes * config.activation_bits
        for column in range(config.columns):
            lanes = Cat(part.word_select(column, width) for part in read.data)
            m.d.comb += self.activations.p[column].as_value().eq(lanes)

    def _summaries(
        self, m: Module, reader: "_PassReader", loading: Value, group: Signal, banks: list[Signal]
    ) -> None:
        """Exponents and sums come from their memory, what concerns the vector is captured beside it."""
        config, p = self.config, self.aligned.p
        column = data.StructLayout({"exponent": EXPONENT_BITS, "sum": signed(config.sum_bits)})
        shape, depth = data.ArrayLayout(column, config.columns), config.maximum_groups
        m.submodules.groups_memory = storage = memory.Memory(shape=shape, depth=BANKS * depth, init=[])
        write = storage.write_port()
        read = storage.read_port()
        about = Signal(self._about(), reset_less=True)

        advance = ~self.summaries.valid | self.summaries.ready
        m.d.sync += [
            write.en.eq(self.aligned.valid & self.aligned.ready & p.group_last),
            write.addr.eq(Mux(loading, depth, 0) + group),
        ]
        m.d.comb += [
            reader.advance.eq(advance),
            read.en.eq(advance),
            read.addr.eq(Mux(reader.place_bank, depth, 0) + reader.place),
            self.summaries.p.format.eq(about.format),
        ]
        with m.If(advance):
            m.d.sync += self.summaries.valid.eq(reader.valid)
            m.d.sync += about.eq(Mux(reader.place_bank, banks[1], banks[0]))
        for number in range(config.columns):
            entry, summary = read.data[number], self.summaries.p.columns[number]
            m.d.sync += [
                write.data[number].exponent.eq(p.columns[number].exponent),
                write.data[number].sum.eq(p.columns[number].sum),
            ]
            m.d.comb += [
                summary.distance.eq(about.columns[number].reference - entry.exponent),
                summary.sum.eq(entry.sum),
                summary.reference.eq(about.columns[number].reference),
                summary.special.eq(about.columns[number].special),
            ]


class _PassReader(wiring.Component):
    """Count through the places of a vector, ``count`` times for each command.

    Args:
        places: commands that it holds, the one at work included.

    Members:
        accept, command, bank (in): take a command for the vector in ``bank``; only while ``room``.
        room (out): one more command fits; depends on ``advance``.
        valid, place, place_bank (out): where to read; ``place_bank`` is that of the command at work.
        last (in): last place of the vector in ``place_bank``.
        advance (in): the place is read.
        free (out): the command at work ends in this cycle and gives its bank up.
    """

    def __init__(self, depth: int, places: int) -> None:
        self.places = places
        super().__init__(
            {
                "accept": In(1),
                "command": In(payloads.passes),
                "bank": In(1),
                "room": Out(1),
                "valid": Out(1),
                "place": Out(range(depth)),
                "place_bank": Out(1),
                "last": In(range(depth)),
                "advance": In(1),
                "free": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry = data.StructLayout({"command": payloads.passes, "bank": 1})
        held = [Signal(entry, reset_less=True, name=f"held_{number}") for number in range(self.places)]
        count = Signal(range(self.places + 1))
        left = Signal(range(self.places + 1))
        work = held[0]
        ends = Signal()
        empty = Signal()
        number = Signal(len(self.command.count), init=1)
        at_last = Signal()
        m.d.comb += [
            empty.eq(work.command.count == 0),
            at_last.eq(self.place == self.last),
            ends.eq((count != 0) & (empty | (self.advance & at_last & (number == work.command.count)))),
            left.eq(count - ends),
            self.room.eq(left != self.places),
            self.valid.eq((count != 0) & ~empty),
            self.place_bank.eq(work.bank),
            self.free.eq(ends & ~work.command.keep),
        ]
        m.d.sync += count.eq(left + self.accept)
        with m.If(self.valid & self.advance):
            m.d.sync += self.place.eq(Mux(at_last, 0, self.place + 1))
            with m.If(at_last):
                m.d.sync += number.eq(Mux(ends, 1, number + 1))
        for number_, entry_ in enumerate(held):
            with m.If(self.accept & (left == number_)):
                m.d.sync += Cat(entry_.command, entry_.bank).eq(Cat(self.command, self.bank))
            if number_ + 1 < self.places:
                with m.Elif(ends):
                    m.d.sync += entry_.eq(held[number_ + 1])
        return m
