"""Matvec unit: a packet of weights times a vector of scratch memory.

Meaning: the operation ``MATVEC`` of ``golden.core.machine``, ``golden.matvec`` for the numbers.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, ceil_log2, exact_log2

from golden.core.commands import LINE_BYTES, Opcode
from hw import payloads
from hw.config import Config
from hw.core.float_conversion import tf32_of_single
from hw.core.payloads import (
    Status,
    operands,
    read_word,
    scratch_read,
    scratch_write,
    unit_members,
    write_request,
)
from hw.payloads import ActivationFormat
from hw.vector.arg_max import numbers
from hw.weights.unpacker import Unpacker

__all__ = ["MatvecUnit"]

_SINGLE = 32
_LONG_DELAY = 3
"""Cycles from a packet's last word until the unpacker has said that it is too long."""


class MatvecUnit(wiring.Component):
    """Multiply, packet after packet.

    The vector takes ``elements / core.lanes`` cycles to load, or ``elements / activation_lanes`` if these are
    more; the packet's words may come long before the command. Results leave as they come, logits to memory
    when they fill a word of it, for which the next results wait.

    A packet that is refused, or bad, takes its words with it; what has left for scratch memory or the arg-max
    then is anything.

    Members:
        commands (in stream), done (out stream): as of every unit.
        scratch_read, scratch_write (out): scratch memory.
        scratch_taken (in): another unit writes there in this cycle; results wait.
        loaded (out): the vector is read, and the results go to scratch memory: others may use it.
        words (in stream): the packets of all commands, in order.
        writes (out stream): logits to memory.
        logits (out stream): results of commands with ``arg_max``.
        beats, passes, chunks, scales, channels (out streams), results (in stream), vector_valid,
        vector_beats, vector_groups (in): the tile's.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        groups = bits_for(config.maximum_groups)
        super().__init__(
            {
                **unit_members(config, Opcode.MATVEC),
                "scratch_read": Out(scratch_read(config)),
                "scratch_write": Out(scratch_write(config)),
                "scratch_taken": In(1),
                "loaded": Out(1),
                "words": In(stream.Signature(read_word(config))),
                "writes": Out(stream.Signature(write_request(config))),
                "logits": Out(stream.Signature(numbers(config.rescale_units))),
                "beats": Out(stream.Signature(payloads.activation_beat(config))),
                "passes": Out(stream.Signature(payloads.passes)),
                "chunks": Out(stream.Signature(payloads.chunk(config))),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
                "channels": Out(stream.Signature(payloads.channels(config))),
                "results": In(stream.Signature(payloads.result(config))),
                "vector_valid": In(1),
                "vector_beats": In(bits_for(config.maximum_inputs // config.activation_lanes)),
                "vector_groups": In(groups),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unpacker = unpacker = Unpacker(self.config)
        for name in "chunks", "scales", "channels":
            connect(m, getattr(unpacker, name), flipped(getattr(self, name)))
        command = Signal(operands(Opcode.MATVEC), reset_less=True)
        status = Signal(Status)
        written = Signal(32)
        m.d.comb += [self.done.payload.status.eq(status), self.done.payload.bytes.eq(written)]
        ended = self._words(m, unpacker, status)
        place = Signal(32, name="result_place")
        taken = Signal(name="results_taken")
        self._collect(m, command, place, taken)
        bad_header = Signal()
        with m.If(unpacker.error_header):
            m.d.sync += bad_header.eq(1)

        with m.FSM(name="multiplying") as machine:
            with m.State("idle"):
                m.d.comb += self.commands.ready.eq(1)
                m.d.sync += [command.eq(self.commands.payload), written.eq(0)]
                with m.If(self.commands.valid):
                    m.next = "load"
                    with m.If(self._refused(self.commands.payload)):
                        m.d.sync += status.eq(Status.BAD_FIELD)
                        m.next = "refuse"
            with m.State("load"), m.If(self._load(m, command)):
                m.next = "pair"
            with m.State("pair"):
                self._pair(m, command, unpacker, bad_header, status)
            with m.State("accept"):  # a cycle after the tile has, whose readiness comes late
                m.d.comb += unpacker.header.ready.eq(1)
                m.next = "multiply"
            with m.State("forget"):  # the vector
                m.d.comb += [self.passes.valid.eq(1), self.passes.payload.count.eq(0)]
                with m.If(self.passes.ready):
                    m.next = "drain"
            with m.State("refuse"):  # the packet
                m.d.comb += [unpacker.header.ready.eq(1), unpacker.reject.eq(1)]
                with m.If(unpacker.header.valid | bad_header):
                    m.next = "drain"
            with m.State("multiply"):
                self._results(m, command, status, written, place, taken)
                with m.If(taken & self.results.payload.last):
                    m.next = "drain"
            with m.State("drain"):
                m.d.comb += self.done.valid.eq(ended & ~self.writes.valid)
                with m.If(self.done.valid & self.done.ready):
                    m.d.sync += [status.eq(Status.DONE), bad_header.eq(0)]
                    m.next = "idle"
        loads = machine.ongoing("idle") | machine.ongoing("load")
        m.d.comb += self.loaded.eq(~loads & ~command.arg_max)
        return m

    def _refused(self, asked: Value) -> Value:
        scratch = self.config.core.scratch
        source_end = asked.source + asked.elements
        results_end = asked.destination + asked.rows
        length = (asked.elements == 0) | (asked.elements > self.config.maximum_inputs)
        return length | (source_end > scratch) | (~asked.arg_max & (results_end > scratch))

    def _words(self, m: Module, unpacker: Unpacker, status: Signal) -> Value:
        """Words to the unpacker; returns that the packet of the present command has come to its end.

        Words of the next packet wait until the command is complete, so that whatever is wrong with a packet
        is its own command's.
        """
        packets = Signal(1)
        ended = Signal()
        delay = Signal(_LONG_DELAY)
        word = self.words.payload
        last = Signal(name="last_word")
        m.d.comb += [
            unpacker.words.valid.eq(self.words.valid & (packets == 0)),
            self.words.ready.eq(unpacker.words.ready & (packets == 0)),
            unpacker.words.payload.data.eq(word.data),
            unpacker.words.payload.last.eq(word.last),
            last.eq(self.words.valid & self.words.ready & word.last),
            ended.eq((packets != 0) & ~delay.any()),
        ]
        m.d.sync += delay.eq(Cat(last, delay)[:_LONG_DELAY])
        finished = self.done.valid & self.done.ready
        m.d.sync += packets.eq(packets + last - finished)
        wrong = unpacker.error_short | unpacker.error_long | unpacker.error_header
        with m.If(wrong & (status == Status.DONE)):
            m.d.sync += status.eq(Status.BAD_PACKET)
        # A cycle late, long before the packet has ended.
        taken = Signal(name="word_taken")
        faults = Signal(2, name="word_faults")
        m.d.sync += [
            taken.eq(self.words.valid & self.words.ready),
            faults.eq(Cat(word.outside, word.failed)),
        ]
        with m.If(taken & faults[0]):
            m.d.sync += status.eq(Status.OUTSIDE)
        with m.Elif(taken & faults[1]):
            m.d.sync += status.eq(Status.BUS_ERROR)
        return ended

    def _load(self, m: Module, command: Value) -> Value:
        """The vector to the tile; returns that its last beat is taken."""
        config, lanes = self.config, self.config.core.lanes
        read, beat = self.scratch_read, self.beats.payload
        words = config.activation_lanes // lanes if config.activation_lanes > lanes else 1
        parts = lanes // config.activation_lanes if lanes > config.activation_lanes else 1
        asked = Signal(16, name="asked_words")
        left = Signal(16, name="left_beats", reset_less=True)
        fresh = Signal(name="fresh_word")
        have = Signal(range(words + 1), name="have_words")
        part = Signal(range(parts), name="beat_part")
        width = config.element_bits
        held = Signal(data.ArrayLayout(width, words * lanes), name="held_elements", reset_less=True)
        started = Signal(name="load_started")
        done = Signal(name="load_done")
        total = Signal(16, name="total_beats")
        taken = Signal(name="beat_taken")
        m.d.comb += [
            total.eq(command.elements >> exact_log2(config.activation_lanes)),
            taken.eq(self.beats.valid & self.beats.ready),
            read.address.eq((command.source >> exact_log2(lanes)) + asked),
        ]
        with m.If(~started):
            m.d.comb += read.enable.eq(1)
            m.d.sync += [started.eq(1), left.eq(total), asked.eq(1), fresh.eq(1), have.eq(0), part.eq(0)]
        with m.Else():
            room = Signal(name="word_room")
            following = Signal.like(have)
            m.d.comb += [
                following.eq(Mux(taken & (part == parts - 1), 0, have)),
                room.eq(following != words),
            ]
            m.d.sync += have.eq(Mux(fresh & room, following + 1, following))
            with m.If(fresh & room):
                for place in range(words):
                    with m.If(following == place):
                        for lane in range(lanes):
                            element = held[place * lanes + lane]
                            m.d.sync += element.eq(tf32_of_single(read.data[lane]))
            with m.If(~fresh | room):
                # The word after the one that is kept now.
                m.d.comb += read.enable.eq(1)
                m.d.sync += [asked.eq(asked + 1), fresh.eq(1)]
            first = held.as_value().word_select(part, config.activation_lanes * width)
            m.d.comb += [
                self.beats.valid.eq((have == words) & (left != 0)),
                beat.elements.as_value().eq(first),
                beat.last.eq(left == 1),
                beat.format.eq(ActivationFormat.BF16),
                beat.halvings.eq(command.halvings),
            ]
            with m.If(taken):
                m.d.sync += left.eq(left - 1)
                if parts > 1:
                    m.d.sync += part.eq(part + 1)
            with m.If(taken & (left == 1)):
                m.d.comb += done.eq(1)
                m.d.sync += [started.eq(0), asked.eq(0)]
        return done

    def _pair(self, m: Module, command: Value, unpacker: Unpacker, bad_header: Value, status: Signal) -> None:
        """Answer the header when the vector is complete."""
        header, config = unpacker.header, self.config
        beats = (header.payload.inputs + (config.activation_lanes - 1)) >> ceil_log2(config.activation_lanes)
        blocks = (command.rows + (config.rows - 1)) >> exact_log2(config.rows)
        fits = Signal()
        m.d.comb += [
            fits.eq(
                (beats == self.vector_beats)
                & (header.payload.groups == self.vector_groups)
                & (command.arg_max | (blocks == header.payload.blocks))
            ),
            unpacker.reject.eq(~fits),
            self.passes.valid.eq(header.valid & self.vector_valid & fits),
            self.passes.payload.count.eq(header.payload.blocks),
            header.ready.eq(header.valid & self.vector_valid & ~fits),
        ]
        with m.If(header.ready):
            with m.If(status == Status.DONE):
                m.d.sync += status.eq(Status.BAD_PACKET)
            m.next = "forget"
        with m.Elif(self.passes.valid & self.passes.ready):
            m.next = "accept"
        with m.Elif(bad_header & self.vector_valid):
            m.next = "forget"

    def _results(
        self, m: Module, command: Value, status: Signal, written: Signal, place: Signal, taken: Signal
    ) -> None:
        """Results where they are wanted."""
        config, results = self.config, self.results
        rows = Cat(row[0] for row in results.payload.rows)
        count = results.payload.count
        m.d.comb += [
            self.logits.payload.data.as_value().eq(rows),
            self.logits.payload.count.eq(count),
            self.logits.payload.last.eq(results.payload.last),
            self.logits.valid.eq(results.valid & command.arg_max & ~self.writes.valid),
            results.ready.eq(
                Mux(command.arg_max, self.logits.ready & ~self.writes.valid, ~self.scratch_taken)
            ),
            taken.eq(results.valid & results.ready),
        ]
        with m.If(taken):
            m.d.sync += place.eq(place + config.rescale_units)
            with m.If(command.arg_max & command.logits):
                m.d.sync += written.eq(written + (count << 2))
        wanted = Signal(name="row_wanted")
        m.d.comb += wanted.eq(results.valid & ~command.arg_max & ~self.scratch_taken & (place < command.rows))
        self._store(m, command.destination, place, rows, count, wanted)
        with m.If(taken & results.payload.last):
            m.d.sync += place.eq(0)
            short = ~command.arg_max & (place + count != command.rows)
            with m.If((results.payload.error | short) & (status == Status.DONE)):
                m.d.sync += status.eq(Status.BAD_PACKET)

    def _collect(self, m: Module, command: Value, place: Value, taken: Value) -> None:
        """Logits to memory, a word at a time; while one waits no results are taken."""
        config, units, request = self.config, self.config.rescale_units, self.writes.payload
        most = config.memory_bits // _SINGLE
        word = Signal(data.ArrayLayout(_SINGLE * units, most // units), name="logits_word", reset_less=True)
        filled = Signal(range(most + 1), name="logits_filled", reset_less=True)
        number = Signal(32, name="logits_words")
        whole = Signal(name="logits_whole")
        results = self.results.payload
        beat = place[: exact_log2(most)] >> exact_log2(units)
        m.d.comb += [
            self.writes.valid.eq(whole),
            request.line.eq(command.results + (number >> exact_log2(LINE_BYTES * 8 // config.memory_bits))),
            request.word.eq(number[: exact_log2(LINE_BYTES * 8 // config.memory_bits)]),
            request.data.eq(word),
            request.enables.eq(_marks(filled, most, 4)),
        ]
        with m.If(self.writes.valid & self.writes.ready):
            m.d.sync += [whole.eq(0), number.eq(number + 1)]
        with m.If(taken & command.arg_max & command.logits):
            m.d.sync += [
                word[beat].eq(Cat(row[0] for row in results.rows)),
                filled.eq(place[: exact_log2(most)] + results.count),
                whole.eq(results.last | (beat == most // units - 1)),
            ]
        with m.If(self.commands.ready):
            m.d.sync += number.eq(0)

    def _store(
        self, m: Module, destination: Value, place: Value, rows: Value, count: Value, wanted: Value
    ) -> None:
        """A beat of results to scratch memory; its words are as wide as a beat, or a multiple of it."""
        units, lanes, write = self.config.rescale_units, self.config.core.lanes, self.scratch_write
        element = Signal(16, name="scratch_element")
        fine = exact_log2(lanes)
        m.d.comb += [
            element.eq(destination + place[:16]),
            write.address.eq(element >> fine),
            write.data.as_value().eq(rows.replicate(lanes // units)),
        ]
        with m.If(wanted):
            m.d.comb += write.enables.eq(_marks(count, units, 1) << element[:fine])


def _marks(count: Value, most: int, width: int) -> Value:
    """``width`` ones for each of the first ``count`` of ``most`` elements."""
    return Cat((count > place).replicate(width) for place in range(most))
