"""Vector unit: functions of float32 vectors in scratch memory.

Meaning: ``golden.vector``; what happens in which cycle: ``hw.vector.routines``.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped
from amaranth.utils import exact_log2

from golden.core.commands import UNIT, Function, Opcode
from hw.config import Config
from hw.vector.arg_max import ArgMax
from hw.vector.lanes import Lanes
from hw.vector.payloads import Status, scratch_read, scratch_write, unit_members
from hw.vector.routines import FOLD_LAST, PLACES, ROOT_Y, TIMER_BITS, Activity
from hw.vector.word_reader import WordReader, place_bits
from hw.vector.word_writer import WordWriter

__all__ = ["VectorUnit"]

_PLACED = ("source", "operand", "destination", "elements", "segment")
_BEGIN = {
    Function.COPY: Activity.COPY,
    Function.ADD: Activity.ADD,
    Function.MULTIPLY: Activity.MULTIPLY,
    Function.NORM: Activity.SQUARES,
    Function.ROTARY: Activity.ROTARY,
    Function.SILU_MULTIPLY: Activity.SILU,
    Function.ARG_MAX: Activity.SEARCH,
}


class VectorUnit(wiring.Component):
    """Work on a vector, ``core.lanes`` elements at a time; ``golden.vector.functions`` says what may overlap.

    Cycles a word of scratch memory: copy, arg-max 1, add, multiply, rotary 2, norm 3, SiLU 4; a norm takes a
    further 141 a segment with four lanes, 171 with two, 231 with one, and every command 10 to 50. One that
    does not fit is answered with ``BAD_FIELD``, and nothing is written.

    Args:
        config: of the accelerator.

    Members:
        commands (in stream): one at a time.
        done (out stream): how each of them ended.
        scratch_read, scratch_write: used while a command is under way.
        largest (out): index that the last arg-max has found.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                **unit_members(config, Opcode.VECTOR),
                "scratch_read": Out(scratch_read(config)),
                "scratch_write": Out(scratch_write(config)),
                "largest": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = place_bits(self.config)
        self._activity = activity = Signal(Activity)
        self._timer = timer = Signal(TIMER_BITS)
        self._function = Signal(8, reset_less=True)
        self._places = {name: Signal(bits, name=f"{name}_words", reset_less=True) for name in _PLACED}
        self._epsilon = Signal(32, reset_less=True)
        self._reciprocal = Signal(32, reset_less=True)
        self._unaligned = Signal(reset_less=True)
        self._status = Signal(Status, reset_less=True)
        self._round = Signal(range(PLACES // self.config.core.lanes))
        self._begins = Signal()
        self._first = Signal(bits)
        m.submodules.reader = self._reader = reader = WordReader(self.config)
        m.submodules.writer = self._writer = writer = WordWriter(self.config)
        m.submodules.lanes = lanes = Lanes(self.config)
        segment = self._places["segment"]
        limit = Signal.like(segment, name="limit")  # there before a stream begins
        m.d.sync += limit.eq(Mux(self._function == Function.ROTARY, segment >> 1, segment))
        for part in (reader, writer):
            names = part.signature.members.keys() & _PLACED
            m.d.comb += [getattr(part, name).eq(self._places[name]) for name in sorted(names)]
            m.d.comb += part.limit.eq(limit)
        for part in (reader, writer, lanes):
            m.d.comb += [part.activity.eq(activity), part.timer.eq(timer)]
        connect(m, reader.port, flipped(self.scratch_read))
        connect(m, writer.port, flipped(self.scratch_write))
        m.d.comb += [
            reader.begins.eq(self._begins),
            reader.first.eq(self._first),
            lanes.round.eq(self._round),
            lanes.epsilon.eq(self._epsilon),
            lanes.reciprocal.eq(self._reciprocal),
            lanes.data.eq(self.scratch_read.data),
            writer.results.eq(lanes.results),
            self.commands.ready.eq(activity == Activity.IDLE),
            self.done.valid.eq(activity == Activity.ANSWER),
            self.done.payload.status.eq(self._status),
        ]
        # Every period of steps divides what a full timer falls back to.
        with m.If(timer.all()):
            m.d.sync += timer.eq(1 << TIMER_BITS - 1)
        with m.Else():
            m.d.sync += timer.eq(timer + 1)
        with m.Switch(activity):
            with m.Case(Activity.IDLE):
                self._capture(m)
            with m.Case(Activity.CHECK):
                self._check(m)
            with m.Case(Activity.ANSWER), m.If(self.done.ready):
                m.d.sync += activity.eq(Activity.IDLE)
        self._follow(m)
        self._search(m)
        return m

    def _begin(self, m: Module, activity: Activity, first: Value | int = 0) -> None:
        m.d.sync += [self._activity.eq(activity), self._timer.eq(0)]
        m.d.comb += [self._begins.eq(1), self._first.eq(first)]

    def _capture(self, m: Module) -> None:
        """All that is used of a command."""
        command = self.commands.payload
        low = exact_log2(self.config.core.lanes)
        segmented = Signal()
        lows = Signal(exact_log2(UNIT))
        places = command.source | command.operand | command.destination | command.elements | command.segment
        m.d.comb += [
            segmented.eq((command.function == Function.NORM) | (command.function == Function.ROTARY)),
            lows.eq(places),
            self._reader.restart.eq(1),
        ]
        with m.If(self.commands.valid):
            m.d.sync += [place.eq(command[name] >> low) for name, place in self._places.items()]
            with m.If(~segmented):
                m.d.sync += self._places["segment"].eq(command.elements >> low)
            m.d.sync += [
                self._function.eq(command.function),
                self._unaligned.eq(lows.any()),
                self._epsilon.eq(command.epsilon),
                self._reciprocal.eq(command.reciprocal),
                self._round.eq(0),
                self._activity.eq(Activity.CHECK),
            ]

    def _check(self, m: Module) -> None:
        """Whether all of it lies in scratch memory; a segment a cycle, whether they fill the vector."""
        size = self.config.core.scratch // self.config.core.lanes
        function, places = self._function, self._places
        elements, segment = places["elements"], places["segment"]
        linear = Signal()
        bad = Signal()
        following = Signal(len(segment) + 1)
        m.d.comb += [
            linear.eq((function == Function.COPY) | (function == Function.ARG_MAX)),
            bad.eq(
                self._unaligned
                | (function > max(Function))
                | ~elements.any()
                | ~segment.any()
                | (places["source"] + elements > size)
                | ((function != Function.ARG_MAX) & (places["destination"] + elements > size))
                | (~linear & (places["operand"] + segment > size))
            ),
            following.eq(self._reader.segment_begin + segment),
            self._reader.advance.eq(1),
            self._writer.restart.eq(1),
        ]
        m.d.sync += self._status.eq(Status.BAD_FIELD)
        with m.If(bad | (following > elements)):
            m.d.sync += self._activity.eq(Activity.ANSWER)
        with m.Elif(following == elements):
            m.d.comb += self._reader.restart.eq(1)
            m.d.sync += self._status.eq(Status.DONE)
            with m.Switch(function):
                for each, activity in _BEGIN.items():
                    with m.Case(each):
                        self._begin(m, activity)

    def _follow(self, m: Module) -> None:
        """From one activity to the next, and a norm from segment to segment."""
        timer, rounds = self._timer, PLACES // self.config.core.lanes
        with m.Switch(self._activity):
            with m.Case(Activity.SQUARES), m.If(self._reader.ends):
                self._begin(m, Activity.FOLD)
            with m.Case(Activity.FOLD), m.If(timer == FOLD_LAST):
                with m.If(self._round == rounds - 1):
                    m.d.sync += self._round.eq(0)
                    self._begin(m, Activity.ROOT)
                with m.Else():
                    following = Signal.like(self._round, name="next_round")
                    m.d.comb += following.eq(self._round + 1)
                    m.d.sync += self._round.eq(following)
                    self._begin(m, Activity.SQUARES, following)
            with m.Case(Activity.ROOT), m.If(timer == ROOT_Y[-1]):
                self._begin(m, Activity.SCALE)
            with m.Case(Activity.SCALE), m.If(self._writer.segment_ends):
                m.d.comb += self._reader.advance.eq(1)
                self._begin(m, Activity.SQUARES)
        with m.If(self._writer.ends):
            m.d.sync += self._activity.eq(Activity.ANSWER)

    def _search(self, m: Module) -> None:
        """Words that are read to the arg-max, whose index stays."""
        lanes = self.config.core.lanes
        m.submodules.search = search = ArgMax(lanes, index_bits=16)
        words = Signal()
        searching = self._activity == Activity.SEARCH
        index = Signal(len(search.largest.payload.index), reset_less=True)
        m.d.sync += words.eq(self.scratch_read.enable & searching)
        m.d.comb += [
            search.numbers.valid.eq(words),
            search.numbers.payload.data.eq(self.scratch_read.data),
            search.numbers.payload.count.eq(lanes),
            # The word behind the last one is not read.
            search.numbers.payload.last.eq(~self.scratch_read.enable),
            search.largest.ready.eq(1),
            self.largest.eq(index),
        ]
        with m.If(search.largest.valid):
            m.d.sync += [index.eq(search.largest.payload.index), self._activity.eq(Activity.ANSWER)]
