"""Vector unit: functions of float32 vectors in scratch memory.

Meaning: ``golden.vector``; what happens in which cycle: ``hw.vector.routines``.
"""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

from golden.core.commands import UNIT, Function, Opcode
from golden.vector.norm import GUESS
from golden.vector.sigmoid import LOG2E
from hw.config import Config
from hw.vector import sigmoid_unit
from hw.vector.arg_max import ArgMax
from hw.vector.payloads import Status, scratch_read, scratch_write, unit_members
from hw.vector.routines import (
    DATA,
    FOLD,
    FOLD_KEEP,
    FOLD_LAST,
    ROOT,
    ROOT_HALF,
    ROOT_MEAN,
    ROOT_Y,
    STREAMS,
    Activity,
    Operand,
    ScalarY,
    ScalarZ,
    Step,
)
from hw.vector.sigmoid_unit import SigmoidUnit
from hw.vector.vector_lane import ADDING, RESULT, VectorLane, X, Y, Z

__all__ = ["VectorUnit"]

_PLACES = 4
"""Sums of squares behind the lanes, one of every fourth element."""
_TIMER_BITS = 7
_FIRST_SQUARES = 4
_STREAM_OF = {
    Function.COPY: Activity.COPY,
    Function.ADD: Activity.ADD,
    Function.MULTIPLY: Activity.MULTIPLY,
    Function.NORM: Activity.SQUARES,
    Function.ROTARY: Activity.ROTARY,
    Function.SILU_MULTIPLY: Activity.SILU,
    Function.ARG_MAX: Activity.SEARCH,
}
_FLOATS = {
    ScalarY.ONE: 0x3F800000,
    ScalarY.LOG2E: int(LOG2E.view("u4")),
    ScalarY.MINUS_HALF: 0xBF000000,
    ScalarZ.ZERO: 0x80000000,
    ScalarZ.ONE_AND_HALF: 0x3FC00000,
}

choices = data.StructLayout({"x": X, "y": Y, "scalar_y": ScalarY, "z": Z, "scalar_z": ScalarZ, "negative": 1})
"""What the lanes do in a cycle, to factors and to products."""


class VectorUnit(wiring.Component):
    """Work on a vector, ``core.lanes`` elements at a time; ``golden.vector.functions`` says what may overlap.

    Cycles a word of the scratch memory: copy, arg-max 1, add, multiply, rotary 2, norm 3, SiLU 4; a norm
    takes further ones a segment (``hw.vector.routines``), and everything 10 to 60. A command that does not
    fit is answered with ``BAD_FIELD``, and nothing is written.

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
        lanes = self.config.core.lanes
        bits = 16 - exact_log2(lanes)
        self.activity = activity = Signal(Activity)
        self.timer = timer = Signal(_TIMER_BITS)
        self.function = Signal(8, reset_less=True)
        self.status = Signal(Status)
        for name in ("source", "operand", "destination", "elements", "segment"):
            setattr(self, name, Signal(bits, name=f"{name}_words", reset_less=True))
        self.unaligned = Signal(reset_less=True)
        self.epsilon = Signal(32, reset_less=True)
        self.reciprocal = Signal(32, reset_less=True)
        self.segment_begin = Signal(bits + 1, reset_less=True)
        self.position = Signal(bits, reset_less=True)
        self.remaining = Signal(bits, reset_less=True)
        self.round = Signal(range(_PLACES // lanes))
        self.ends = Signal()  # a stream's last step
        with m.If(timer.all()):
            m.d.sync += timer.eq(1 << _TIMER_BITS - 1)
        with m.Else():
            m.d.sync += timer.eq(timer + 1)
        self._capture(m, bits)
        self._check(m)
        self._read(m, bits)
        found = self._lanes(m)
        self._write(m, bits, found)
        self._search(m)
        m.d.comb += [
            self.commands.ready.eq(activity == Activity.IDLE),
            self.done.valid.eq(activity == Activity.ANSWER),
            self.done.payload.status.eq(self.status),
        ]
        self._follow(m)
        return m

    def _begin(self, m: Module, activity: Value | Activity, position: Value | int = 0) -> None:
        m.d.sync += [self.activity.eq(activity), self.timer.eq(0), self.position.eq(position)]

    def _capture(self, m: Module, bits: int) -> None:
        command = self.commands.payload
        low = exact_log2(self.config.core.lanes)
        with m.If((self.activity == Activity.IDLE) & self.commands.valid):
            for name in ("source", "operand", "destination", "elements"):
                m.d.sync += getattr(self, name).eq(command[name][low:])
            segmented = Signal()
            lows = Signal(exact_log2(UNIT))
            places: Value = Const(0)
            for name in ("source", "operand", "destination", "elements", "segment"):
                places = places | command[name]
            m.d.comb += lows.eq(places)
            m.d.comb += segmented.eq(
                (command.function == Function.NORM) | (command.function == Function.ROTARY)
            )
            m.d.sync += [
                self.segment.eq(Mux(segmented, command.segment, command.elements)[low:]),
                self.remaining.eq(command.elements[low:]),
                self.function.eq(command.function),
                self.epsilon.eq(command.epsilon),
                self.reciprocal.eq(command.reciprocal),
                self.segment_begin.eq(0),
                self.round.eq(0),
                self.unaligned.eq(lows.any()),
                self.status.eq(Status.DONE),
            ]
            self._begin(m, Activity.CHECK)

    def _check(self, m: Module) -> None:
        """Whether everything lies in scratch memory, and how many segments there are."""
        size = self.config.core.scratch // self.config.core.lanes
        linear = Signal()
        bad = Signal()
        following = Signal(len(self.segment_begin) + 1)
        m.d.comb += [
            linear.eq((self.function == Function.COPY) | (self.function == Function.ARG_MAX)),
            bad.eq(
                self.unaligned
                | (self.function > max(Function))
                | ~self.elements.any()
                | ~self.segment.any()
                | (self.source + self.elements > size)
                | ((self.function != Function.ARG_MAX) & (self.destination + self.elements > size))
                | (~linear & (self.operand + self.segment > size))
            ),
            following.eq(self.segment_begin + self.segment),
        ]
        with m.If(self.activity == Activity.CHECK):
            m.d.sync += self.segment_begin.eq(following)
            with m.If(bad | (following > self.elements)):
                m.d.sync += [self.status.eq(Status.BAD_FIELD), self.activity.eq(Activity.ANSWER)]
            with m.Elif(following == self.elements):
                m.d.sync += self.segment_begin.eq(0)
                with m.Switch(self.function):
                    for function, activity in _STREAM_OF.items():
                        with m.Case(function):
                            self._begin(m, activity)

    def _read(self, m: Module, bits: int) -> None:
        """Addresses of what a step reads, two cycles later."""
        activity, timer = self.activity, self.timer
        half = self.segment >> 1
        reads = Signal()
        second = Signal()
        operand = Signal()
        lag = Signal(range(1 + max(step.lag for each in STREAMS.values() for step in each.steps)))
        moves = Signal()  # a round's last step
        with m.Switch(activity):
            for name, each in STREAMS.items():
                with m.Case(name), m.Switch(timer[:2]):
                    for phase in range(4):
                        step = each.steps[phase % len(each.steps)]
                        with m.Case(phase):
                            m.d.comb += [
                                reads.eq(step.read is not None),
                                operand.eq(step.read == Operand.OPERAND),
                                second.eq(step.second),
                                lag.eq(step.lag),
                                moves.eq((phase + 1) % len(each.steps) == 0),
                            ]
        rotary = activity == Activity.ROTARY
        place = Signal(signed(bits + 1))
        limit = Signal(bits)
        asks = Signal()
        m.d.comb += [
            place.eq(self.position - lag),
            limit.eq(Mux(rotary, half, self.segment)),
            asks.eq(reads & (place >= 0) & (place < limit) & (self.segment_begin != self.elements)),
        ]
        stride = Mux(activity == Activity.SQUARES, _PLACES // self.config.core.lanes, 1)
        following = Signal(bits + 1)
        m.d.comb += [following.eq(self.position + stride), self.ends.eq(moves & (following >= limit))]
        with m.If(moves):
            with m.If(rotary & self.ends):
                m.d.sync += [self.position.eq(0), self.segment_begin.eq(self.segment_begin + self.segment)]
            with m.Else():
                m.d.sync += self.position.eq(following)

        port = self.scratch_read
        asked = Signal()
        origin = Signal(len(port.address), reset_less=True)
        within = Signal(len(port.address), reset_less=True)
        address = Signal(len(port.address), reset_less=True)
        enable = Signal()
        m.d.sync += [
            asked.eq(asks),
            origin.eq(Mux(operand, self.operand, self.source + self.segment_begin)),
            within.eq(place + Mux(second, half, 0)),
            enable.eq(asked),
            address.eq(origin + within),
        ]
        m.d.comb += [port.address.eq(address), port.enable.eq(enable)]

    def _choices(self, m: Module) -> Value:
        """Registers of what the lanes do; looked up in the cycle before."""
        chosen = Signal(choices, reset_less=True)
        timer = self.timer

        def early(step: Step) -> list[Any]:
            return [chosen.x.eq(step.x), chosen.y.eq(step.y), chosen.scalar_y.eq(step.scalar_y)]

        def late(step: Step) -> list[Any]:
            return [chosen.z.eq(step.z), chosen.scalar_z.eq(step.scalar_z), chosen.negative.eq(step.negative)]

        with m.Switch(self.activity):
            for name, each in STREAMS.items():
                with m.Case(name):
                    for statements, ahead in ((early, DATA - 1), (late, DATA + ADDING - 1)):
                        with m.Switch(timer[:2]):
                            for phase in range(4):
                                with m.Case((phase + ahead) % 4):
                                    m.d.sync += statements(each.steps[phase % len(each.steps)])
            for name, program in ((Activity.FOLD, FOLD), (Activity.ROOT, ROOT)):
                with m.Case(name):
                    self._program(m, program, early, late)
        opening = Signal(range(DATA + ADDING + _FIRST_SQUARES))
        with m.If((self.activity == Activity.SQUARES) & (timer == 0)):
            m.d.sync += opening.eq(1)
        with m.Elif(opening.any()):
            m.d.sync += opening.eq(opening + 1)
        begin = DATA + ADDING - 1
        with m.If((opening >= begin) & (opening < begin + _FIRST_SQUARES)):
            m.d.sync += late(Step())
        return chosen

    def _program(self, m: Module, program: Mapping[int, Step], early: Any, late: Any) -> None:
        squares = STREAMS[Activity.SQUARES].steps[0]
        idle = squares if program is FOLD else Step()
        m.d.sync += [*early(idle), *late(idle)]
        for cycle, step in program.items():
            with m.If(self.timer == cycle - 1):
                m.d.sync += early(step)
            with m.If(self.timer == cycle + ADDING - 1):
                m.d.sync += late(step)

    def _lanes(self, m: Module) -> list[Value]:
        """The lanes with what they share; their results."""
        lanes = self.config.core.lanes
        activity = self.activity
        chosen = self._choices(m)
        kept = [Signal(32, name=f"kept_{place}", reset_less=True) for place in range(_PLACES)]
        scalar_y = Signal(32)
        scalar_z = Signal(32)
        named_y = {ScalarY.T0: kept[0], ScalarY.T1: kept[1], ScalarY.T2: kept[2]}
        named_y[ScalarY.RECIPROCAL] = self.reciprocal
        named_z = {ScalarZ.T1: kept[1], ScalarZ.T3: kept[3], ScalarZ.EPSILON: self.epsilon}
        for scalar, select, named in (
            (scalar_y, chosen.scalar_y, named_y),
            (scalar_z, chosen.scalar_z, named_z),
        ):
            with m.Switch(select):
                for name in type(next(iter(named))):
                    with m.Case(name):
                        m.d.comb += scalar.eq(named[name] if name in named else _FLOATS[name])
        take_result = Signal(reset_less=True)
        streams = [name for name, each in STREAMS.items() if not each.take_result]
        taking = Signal()
        m.d.comb += taking.eq(1)
        with m.Switch(activity), m.Case(*streams):
            m.d.comb += taking.eq(0)
        m.d.sync += take_result.eq(taking)

        parts = []
        for number in range(lanes):
            m.submodules[f"lane_{number}"] = lane = VectorLane()
            m.d.comb += [
                lane.data.eq(self.scratch_read.data[number]),
                lane.kept.eq(kept[_PLACES - lanes + number]),
                lane.scalar_y.eq(scalar_y),
                lane.scalar_z.eq(scalar_z),
                lane.take_result.eq(take_result),
                *(getattr(lane, name).eq(chosen[name]) for name in ("x", "y", "z", "negative")),
            ]
            parts.append(lane)
        results = [lane.result for lane in parts]
        self._sigmoids(m, parts, results)
        self._keep(m, kept, results)
        return results

    def _sigmoids(self, m: Module, parts: list[VectorLane], results: list[Value]) -> None:
        """Results one by one to the sigmoid unit, its factors back to the lanes."""
        m.submodules.sigmoids = sigmoids = SigmoidUnit()
        waiting = [Signal(32, name=f"waiting_{number}", reset_less=True) for number in range(len(parts))]
        phase = self.timer[:2]
        for number, (place, result) in enumerate(zip(waiting, results, strict=True)):
            following = waiting[number + 1] if number + 1 < len(waiting) else place
            m.d.sync += place.eq(Mux(phase == (DATA + RESULT) % 4, result, following))
        m.d.comb += sigmoids.t.eq(waiting[0])
        silu = self.activity == Activity.SILU
        for number, lane in enumerate(parts):
            x, y = (Signal(32, name=f"factor_{name}_{number}", reset_less=True) for name in "xy")
            captures = (DATA + RESULT + 1 + sigmoid_unit.LATENCY + number) % 4
            with m.If(~silu):
                m.d.sync += x.eq(sigmoid_unit.ONE)
            with m.Elif(phase == captures):
                m.d.sync += [x.eq(sigmoids.r), y.eq(sigmoids.u)]
            m.d.comb += [lane.factor_x.eq(x), lane.factor_y.eq(y)]

    def _keep(self, m: Module, kept: list[Signal], results: list[Value]) -> None:
        """Numbers that are kept: a rotary embedding's a of each lane; a norm's sums, half and root."""
        lanes = len(results)
        own = kept[_PLACES - lanes :]
        with m.Switch(self.activity):
            with m.Case(Activity.ROTARY), m.If(self.timer[:2] == DATA % 4):
                for number, place in enumerate(own):
                    m.d.sync += place.eq(self.scratch_read.data[number])
            with m.Case(Activity.FOLD):
                with m.If(self.timer == FOLD_KEEP):
                    for place, result in zip(own, results, strict=True):
                        m.d.sync += place.eq(result)
                with m.If(self.timer == FOLD_LAST):
                    for number, place in enumerate(kept):
                        with m.If(self.round == number // lanes):
                            m.d.sync += place.eq(results[number % lanes])
            with m.Case(Activity.ROOT):
                root = results[1 % lanes]
                with m.If(self.timer == ROOT_MEAN):
                    m.d.sync += kept[1].eq(GUESS - (root >> 1))
                with m.If(self.timer == ROOT_HALF):
                    m.d.sync += kept[0].eq(results[0])
                with m.If((self.timer == ROOT_Y[0]) | (self.timer == ROOT_Y[1])):
                    m.d.sync += kept[1].eq(root)

    def _write(self, m: Module, bits: int, results: list[Value]) -> None:
        """A word a result, in order; a segment's halves in turn of a rotary embedding."""
        port = self.scratch_write
        timer = self.timer
        writes = Signal()
        enable = Signal()
        following = Signal(len(port.address), reset_less=True)
        address = Signal(len(port.address), reset_less=True)
        with m.Switch(self.activity):
            for name, each in STREAMS.items():
                period = len(each.steps)
                writing = [place for place, step in enumerate(each.steps) if step.write is not None]
                if not writing:
                    continue
                with m.Case(name):
                    phases = [phase for phase in range(4) if phase % period in writing]
                    lookup = DATA + RESULT - 1
                    matches = Signal(name=f"writes_{name.name.lower()}")
                    with m.Switch(timer[:2]), m.Case(*((phase + lookup) % 4 for phase in phases)):
                        m.d.comb += matches.eq(timer >= each.first + lookup)
                    m.d.comb += writes.eq(matches)
        self.writing = writes
        rotary = self.activity == Activity.ROTARY
        half = self.segment >> 1
        second = Signal()
        pair = Signal(bits, reset_less=True)
        last_pair = pair == half - 1
        with m.If(self.activity == Activity.CHECK):
            m.d.sync += [following.eq(self.destination), second.eq(0), pair.eq(0)]
        m.d.sync += [enable.eq(writes), address.eq(following)]
        with m.If(writes):
            m.d.sync += [second.eq(rotary & ~second), self.remaining.eq(self.remaining - 1)]
            with m.If(~rotary):
                m.d.sync += following.eq(following + 1)
            with m.Elif(~second):
                m.d.sync += following.eq(following + half)
            with m.Else():
                m.d.sync += [
                    following.eq(following + 1 - Mux(last_pair, 0, half)),
                    pair.eq(Mux(last_pair, 0, pair + 1)),
                ]
            with m.If(self.remaining == 1):
                m.d.sync += self.activity.eq(Activity.ANSWER)
        m.d.comb += [port.address.eq(address), port.enables.eq(enable.replicate(len(results)))]
        for number, result in enumerate(results):
            m.d.comb += port.data[number].eq(result)

    def _search(self, m: Module) -> None:
        """Words that are read to the arg-max, whose index stays."""
        m.submodules.search = search = ArgMax(self.config.core.lanes)
        there = Signal()
        index = Signal(32, reset_less=True)
        m.d.sync += there.eq(self.scratch_read.enable & (self.activity == Activity.SEARCH))
        m.d.comb += [
            search.numbers.valid.eq(there),
            search.numbers.payload.data.eq(self.scratch_read.data),
            search.numbers.payload.count.eq(self.config.core.lanes),
            search.numbers.payload.last.eq(self.remaining == 1),
            search.largest.ready.eq(1),
            self.largest.eq(index),
        ]
        with m.If(there):
            m.d.sync += self.remaining.eq(self.remaining - 1)
        with m.If(search.largest.valid):
            m.d.sync += [index.eq(search.largest.payload.index), self.activity.eq(Activity.ANSWER)]

    def _follow(self, m: Module) -> None:
        """From one activity to the next."""
        rounds = _PLACES // self.config.core.lanes
        with m.Switch(self.activity):
            with m.Case(Activity.SQUARES), m.If(self.ends):
                self._begin(m, Activity.FOLD)
            with m.Case(Activity.FOLD), m.If(self.timer == FOLD_LAST):
                with m.If(self.round == rounds - 1):
                    m.d.sync += self.round.eq(0)
                    self._begin(m, Activity.ROOT)
                with m.Else():
                    m.d.sync += self.round.eq(self.round + 1)
                    self._begin(m, Activity.SQUARES, self.round + 1)
            with m.Case(Activity.ROOT), m.If(self.timer == ROOT_Y[1]):
                self._begin(m, Activity.SCALE)
            with m.Case(Activity.ANSWER), m.If(self.done.ready):
                m.d.sync += self.activity.eq(Activity.IDLE)
        self._segments(m)

    def _segments(self, m: Module) -> None:
        """A norm's segments one after the other."""
        written = Signal(len(self.segment), reset_less=True)
        with m.If(self.activity == Activity.ROOT):
            m.d.sync += written.eq(self.segment)
        with m.If((self.activity == Activity.SCALE) & self.writing):
            m.d.sync += written.eq(written - 1)
            with m.If((written == 1) & (self.remaining != 1)):
                m.d.sync += self.segment_begin.eq(self.segment_begin + self.segment)
                self._begin(m, Activity.SQUARES)
