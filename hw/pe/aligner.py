"""Aligner: FP16 or BF16 activations to integers that share one exponent a group.

Meaning: ``golden.pe.aligner``. Inside, an exponent is a key: the upper eight magnitude bits, of which FP16
keeps five (so a step of its exponent is 8) and BF16 all. Keys compare and subtract alike in both formats.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw import payloads
from hw.config import Config
from hw.payloads import EXPONENT_BITS, MANTISSA_BITS, ActivationFormat
from hw.pe.carry_save import compress

__all__ = ["Aligner", "aligned_beat"]


def aligned_beat(config: Config) -> data.StructLayout:
    """``payloads.aligned_beat`` with what a group and a vector have in common.

    ``exponent`` is the group's field E in each of its beats; ``sum`` adds the group's elements up to this
    beat, so it is S with ``group_last``; ``special`` is set from the vector's first NaN or infinity on.
    """
    column = data.StructLayout({"exponent": EXPONENT_BITS, "sum": signed(config.sum_bits), "special": 1})
    return data.StructLayout(
        {
            **payloads.aligned_beat(config).members,
            "columns": data.ArrayLayout(column, config.columns),
            "format": ActivationFormat,
        }
    )


class Aligner(wiring.Component):
    """Align each group of ``group`` elements, or fewer at a vector's end, to its own largest exponent.

    One beat a cycle in and out, without a gap between groups, vectors or formats. A group's first beat is
    offered ``4 + stages`` cycles after its last beat was accepted, where
    ``stages = max(1, ceil(log2(activation_lanes) / 2))``; meanwhile the group waits in a memory of
    ``group / activation_lanes + 1 + stages`` beats. Each token column has its own exponents.

    A vector longer than ``maximum_inputs`` ends there: its other beats are dropped up to ``last``.

    Every output but ``beats.ready`` comes from a register; that one depends on registers only.

    Members:
        beats (in): vectors, each closed by ``last``; ``format`` counts in a vector's first beat.
        aligned (out): ``aligned_beat``.
        error_long (out): high for one cycle for each vector that is too long.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.group_beats = config.group // config.activation_lanes
        self.stages = _stages(config)
        self.depth = self.group_beats + 1 + self.stages
        super().__init__(
            {
                "beats": In(stream.Signature(payloads.activation_beat(config))),
                "aligned": Out(stream.Signature(aligned_beat(config))),
                "error_long": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        elements = self.beats.p.elements.shape()
        entry = data.StructLayout({"elements": elements, "format": 1, "group_last": 1, "last": 1})
        m.submodules.memory = storage = memory.Memory(shape=entry, depth=self.depth, init=[])
        m.submodules.groups = groups = _GroupMarker(self.config)
        write, read = storage.write_port(), storage.read_port()

        # A vector's beats up to ``maximum_inputs`` are written, the others only accepted.
        advance, write_beat, room = Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.aligned.valid | self.aligned.ready),
            self.beats.ready.eq(room | groups.dropping),
            write_beat.eq(self.beats.valid & room & ~groups.dropping),
            groups.valid.eq(self.beats.valid & self.beats.ready),
            groups.beat_last.eq(self.beats.p.last),
            groups.beat_format.eq(self.beats.p.format),
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
        write_next, limit = Signal.like(write.addr), Signal.like(write.addr)
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
        flying = Signal(range(_queued(self.config) + 1))
        m.d.sync += flying.eq(flying + closes - pop)
        return (self._next(write.addr) != read.addr) & (flying != _queued(self.config))

    def _exponents(
        self, m: Module, valid: Value, closes: Value, format_: Value, pop: Value
    ) -> Sequence[Value]:
        """Keys of the group that is read, a token column each."""
        flags = Cat(valid, closes, format_)
        for _ in range(self.stages):
            delayed = Signal(3)
            m.d.sync += delayed.eq(flags)
            flags = delayed
        m.submodules.queue = queue = _KeyQueue(self.config)
        m.d.comb += [queue.push.eq(flags[1]), queue.pop.eq(pop)]
        for column in range(self.config.columns):
            m.submodules[f"maximum_{column}"] = maximum = _MaximumKey(self.config)
            m.d.comb += [
                maximum.elements.eq(self.beats.p.elements[column]),
                maximum.format.eq(format_),
                maximum.valid.eq(flags[0]),
                maximum.closes.eq(flags[1]),
                maximum.unit.eq(_unit(flags[2])),
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
        finish, fresh = Signal(), Signal(2, init=0b11)
        m.d.comb += finish.eq(advance & valid[1])
        with m.If(advance):
            m.d.sync += Cat(valid, self.aligned.valid).eq(Cat(stored, valid))
            m.d.sync += Cat(marks).eq(Cat(beat.group_last, beat.last, beat.format, marks[0]))
        with m.If(finish):
            m.d.sync += [fresh.eq(marks[1][:2]), Cat(p.group_last, p.last, p.format).eq(marks[1])]
        for number, key in enumerate(keys):
            m.submodules[f"column_{number}"] = column = _Column(self.config)
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
        beat_last, beat_format (in): of that beat.
        format (out): format of its vector.
        group_last, last (out): it closes a group, a vector.
        dropping (out): it is beyond ``maximum_inputs``.
        error_long (out): dropping begins in this cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        marks = {name: Out(1) for name in ("format", "group_last", "last", "dropping", "error_long")}
        super().__init__({"valid": In(1), "beat_last": In(1), "beat_format": In(1), **marks})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats = self.config.group // self.config.activation_lanes
        beat, group = Signal(range(beats)), Signal(range(self.config.maximum_groups))
        held, started, too_long = Signal(reset_less=True), Signal(), Signal()
        m.d.comb += [
            self.format.eq(Mux(started, held, self.beat_format)),
            self.group_last.eq(self.beat_last | (beat == beats - 1)),
            too_long.eq((beat == beats - 1) & (group == self.config.maximum_groups - 1)),
            self.last.eq(self.beat_last | too_long),
        ]
        m.d.sync += self.error_long.eq(self.valid & ~self.dropping & too_long & ~self.beat_last)
        with m.If(self.valid):
            m.d.sync += [
                held.eq(self.format),
                started.eq(~self.beat_last),
                self.dropping.eq(~self.beat_last & (self.dropping | too_long)),
                beat.eq(Mux(self.group_last, 0, beat + 1)),
            ]
            with m.If(self.last):
                m.d.sync += group.eq(0)
            with m.Elif(self.group_last):
                m.d.sync += group.eq(group + 1)
        return m


class _MaximumKey(wiring.Component):
    """Largest key of a token column's group, ``stages`` cycles after its last beat.

    Members:
        elements, format (in): of the beat that is accepted.
        valid, closes, unit (in): of the beat accepted ``stages`` cycles ago; ``unit`` stands for key 0.
        key (out): the group's key, in the cycle of ``closes``.
    """

    def __init__(self, config: Config) -> None:
        self.stages = _stages(config)
        super().__init__(
            {
                "elements": In(data.ArrayLayout(16, config.activation_lanes)),
                "format": In(1),
                "valid": In(1),
                "closes": In(1),
                "unit": In(EXPONENT_BITS),
                "key": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        keys = []
        for element in self.elements:
            key, special = _key(element, self.format)
            keys.append(Mux(special, 0, key))
        keys = self._registered(m, self._halved(m, keys))
        for _ in range(self.stages - 1):
            keys = self._registered(m, self._halved(m, self._halved(m, keys)))
        running, largest = Signal(EXPONENT_BITS), Signal(EXPONENT_BITS)
        m.d.comb += largest.eq(self._halved(m, [*self._halved(m, keys), running])[0])
        m.d.comb += self.key.eq(largest | Mux(largest == 0, self.unit, 0))
        with m.If(self.valid):
            m.d.sync += running.eq(Mux(self.closes, 0, largest))
        return m

    def _halved(self, m: Module, keys: Sequence[Value]) -> list[Value]:
        """The larger one of each pair."""
        larger = []
        for left, right in zip(keys[::2], keys[1::2], strict=False):
            key = Signal(EXPONENT_BITS)
            m.d.comb += key.eq(Mux(left > right, left, right))
            larger.append(key)
        return larger or list(keys)

    def _registered(self, m: Module, keys: Sequence[Value]) -> list[Value]:
        held = [Signal(EXPONENT_BITS, reset_less=True) for _ in keys]
        m.d.sync += Cat(held).eq(Cat(keys))
        return held


class _KeyQueue(wiring.Component):
    """Keys of the groups between the last beat written and the last beat read.

    Members:
        push, pushed (in): append keys; there must be room.
        head (out): the oldest group's keys.
        pop (in): remove them.
    """

    def __init__(self, config: Config) -> None:
        self.places = _queued(config)
        keys = data.ArrayLayout(EXPONENT_BITS, config.columns)
        super().__init__({"push": In(1), "pushed": In(keys), "head": Out(keys), "pop": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = [Signal.like(self.head, reset_less=True, name=f"held_{place}") for place in range(self.places)]
        count, free = Signal(range(self.places + 1)), Signal(range(self.places + 1))
        m.d.comb += [self.head.eq(held[0]), free.eq(count - self.pop)]
        m.d.sync += count.eq(free + self.push)
        for place, keys in enumerate(held):
            with m.If(self.push & (free == place)):
                m.d.sync += keys.eq(self.pushed)
            if place + 1 < self.places:
                with m.Elif(self.pop):
                    m.d.sync += keys.eq(held[place + 1])
        return m


class _Column(wiring.Component):
    """Align the elements of one token column, in three cycles; everything moves with ``advance`` only.

    Members:
        elements, format, key (in): a beat and its group's key.
        advance (in): every stage takes what is before it.
        finish (in): ``advance``, and there is a beat before the last stage.
        first, first_of_group (in): that beat is the first one of its vector, of its group.
        aligned, exponent, sum, special (out): registers of the last stage.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = config.activation_lanes
        super().__init__(
            {
                "elements": In(data.ArrayLayout(16, lanes)),
                "format": In(1),
                "key": In(EXPONENT_BITS),
                "advance": In(1),
                "finish": In(1),
                "first": In(1),
                "first_of_group": In(1),
                "aligned": Out(data.ArrayLayout(signed(config.activation_bits), lanes)),
                "exponent": Out(EXPONENT_BITS),
                "sum": Out(signed(config.sum_bits)),
                "special": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        exponents = [Signal(EXPONENT_BITS, reset_less=True, name=f"exponent_{stage}") for stage in range(2)]
        specials = [Signal(reset_less=True, name=f"special_{stage}") for stage in range(2)]
        lanes = [_Lane(self.config) for _ in self.elements]
        for number, lane in enumerate(lanes):
            m.submodules[f"lane_{number}"] = lane
            m.d.comb += [
                lane.element.eq(self.elements[number]),
                lane.format.eq(self.format),
                lane.key.eq(self.key),
                lane.advance.eq(self.advance),
            ]
        with m.If(self.advance):
            m.d.sync += [
                Cat(exponents).eq(Cat(_exponent(self.key, self.format), exponents[0])),
                Cat(specials).eq(Cat(Cat(lane.special for lane in lanes).any(), specials[0])),
            ]
        total = self._total(m, lanes)
        with m.If(self.finish):
            m.d.sync += [
                *(self.aligned[number].eq(lane.ones + lane.carry) for number, lane in enumerate(lanes)),
                self.sum.eq(total),
                self.exponent.eq(exponents[1]),
                self.special.eq(specials[1] | (self.special & ~self.first)),
            ]
        return m

    def _total(self, m: Module, lanes: Sequence["_Lane"]) -> Value:
        """The group's sum up to this beat, by a carry-save tree."""
        bits, width = self.config.activation_bits, self.config.sum_bits
        base = Signal(width)
        m.d.comb += base.eq(Mux(self.first_of_group, 0, self.sum))
        # An inverted sign bit makes an integer unsigned and 2**(bits - 1) larger.
        unsigned = [Cat(lane.ones[:-1], ~lane.ones[-1]) for lane in lanes]
        excess = Const(-(len(lanes) << bits - 1), signed(width)).as_unsigned()
        left, right = compress(m, [excess, base, *(lane.carry for lane in lanes), *unsigned], width)
        return (left + right)[:width]


class _Lane(wiring.Component):
    """One element's distance, then its shifted and rounded magnitude: two registered stages.

    Members:
        element, format, key (in): the element and its group's key.
        advance (in): both stages take what is before them.
        special (out): the element at the input is a NaN or an infinity; combinational.
        ones, carry (out): the integer is their sum.
    """

    def __init__(self, config: Config) -> None:
        self.bits = config.activation_bits
        super().__init__(
            {
                "element": In(16),
                "format": In(1),
                "key": In(EXPONENT_BITS),
                "advance": In(1),
                "special": Out(1),
                "ones": Out(signed(self.bits)),
                "carry": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        significand = Signal(MANTISSA_BITS, reset_less=True)
        shift = Signal(ceil_log2(self.bits), reset_less=True)
        zero, negative = Signal(reset_less=True), Signal(reset_less=True)
        key, special = _key(self.element, self.format)
        normal = key.any()
        effective, distance = Signal(EXPONENT_BITS), Signal(EXPONENT_BITS)
        m.d.comb += [
            self.special.eq(special),
            effective.eq(key | Mux(normal, 0, _unit(self.format))),
            distance.eq(self.key - effective),
        ]
        steps = _exponent(distance, self.format)
        fraction = Mux(self.format, self.element[:7] << 3, self.element[:10])
        quotient, up = self._shifted(m, significand, shift)
        with m.If(self.advance):
            m.d.sync += [
                significand.eq(Cat(fraction[:10], normal)),
                Cat(shift, zero).eq(Cat(steps[: len(shift)], special | steps[len(shift) :].any())),
                negative.eq(self.element[15]),
                self.ones.eq(Cat(Mux(zero, 0, quotient) ^ negative.replicate(self.bits - 1), negative)),
                self.carry.eq((up & ~zero) ^ negative),
            ]
        return m

    def _shifted(self, m: Module, significand: Value, shift: Value) -> tuple[Value, Value]:
        """``significand * 2**(bits - 12 - shift)`` rounded down, and whether the nearest is one more."""
        fraction_bits = max(1, MANTISSA_BITS + 1 - self.bits)
        value, sticky = Signal(self.bits - 1 + fraction_bits), Signal()
        m.d.comb += value.eq(significand << max(0, self.bits - MANTISSA_BITS))
        for stage in reversed(range(len(shift))):
            wider, lost, step = value, sticky, 1 << stage
            value, sticky = Signal.like(wider, name=f"value_{stage}"), Signal(name=f"sticky_{stage}")
            m.d.comb += value.eq(Mux(shift[stage], wider[step:], wider))
            m.d.comb += sticky.eq(lost | (shift[stage] & wider[:step].any()))
        quotient, below = value[fraction_bits:], value[: fraction_bits - 1]
        up = value[fraction_bits - 1] & (sticky | below.any() | quotient[0])
        return quotient, up & ~quotient.all() if self.bits <= MANTISSA_BITS else up


def _stages(config: Config) -> int:
    """Registered stages of the maximum: one comparison first, two in each of the others."""
    return max(1, -(-exact_log2(config.activation_lanes) // 2))


def _queued(config: Config) -> int:
    """Groups that have to be under way so that groups of one beat leave no gap."""
    return _stages(config) + 2


def _unit(format_: Value) -> Value:
    """The key of exponent 1."""
    return Mux(format_, 1, 8)


def _key(element: Value, format_: Value) -> tuple[Value, Value]:
    """Key of an element, and whether the element is a NaN or an infinity."""
    upper, lower = element[10:15], element[7:10] & format_.replicate(3)
    return Cat(lower, upper), upper.all() & (~format_ | lower.all())


def _exponent(key: Value, format_: Value) -> Value:
    """A key, or the difference of two, as a number of exponent steps."""
    return Mux(format_, key, key[3:])
