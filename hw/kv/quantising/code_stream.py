"""Code stream: a page's elements to its codes, in the order of a page.

The walk addresses the elements and the parameters of their groups, whose answers stay until the next read;
code lanes divide what arrives. The first lane's adder works for ``GroupScale`` while no codes are made.

For BitMoD's data types the lanes divide all elements once before, by the largest magnitudes of their groups,
which are parameters as well, and a ``TypeChooser`` counts the ratios.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.config import Config
from hw.kv.fixed_point import QUOTIENT_BITS, WINDOW_BITS
from hw.kv.formats import Kind, by_bits, is_bitmod, is_divided
from hw.kv.page_shape import beats, entries, entry_address
from hw.kv.page_walk import PageWalk
from hw.kv.payloads import HALF_BITS, SELECTOR_BITS, Axis, code_beat, page_format
from hw.kv.quantising.code_lane import RATIO_STEPS, CodeLane, group_parameters, steps
from hw.kv.quantising.element_walk import ElementWalk
from hw.kv.quantising.type_chooser import TypeChooser, scored_place
from hw.kv.quantising.window_adder import WindowAdder, addend

__all__ = ["CodeStream"]


class CodeStream(wiring.Component):
    """Encode page after page.

    A beat takes ``steps`` + 1 cycles of a format that is divided, 2 of another one.

    Members:
        form, kind, spare (in): of the page, held, as of ``CodeLane``.
        address, parameters, store (in): parameters of a group, and where its entry lies
            (``hw.kv.page_shape.entry_address``); all of a page are stored before its codes are made.
        restart (in): the next page is another one.
        coding (in): codes are made; else the first adder is that of the scale.
        hold (in): but not yet.
        read, token, beat (out): look up this beat of elements.
        elements (in): the beat, a cycle later, until the next ``read``.
        beats (out stream): the codes. Everything stands still while it is not ready, ``valid`` or not.
        addend, count, offset (in), sum (out): a ``WindowAdder`` that looks in every cycle, for the scale.

    With ``kv.bitmod``:
        scoring (in): instead of codes, make choices; parameters are the largest magnitudes.
        chosen (out): all of the page's are made.
        selector (out): the choice of the group at ``address``, a cycle later, while not ``coding``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        chosen = {"scoring": In(1), "chosen": Out(1), "selector": Out(SELECTOR_BITS)}
        super().__init__(
            {
                "form": In(page_format(config)),
                "kind": In(Kind),
                "spare": In(range(QUOTIENT_BITS)),
                "address": In(range(entries(config))),
                "parameters": In(group_parameters),
                "store": In(1),
                "restart": In(1),
                "coding": In(1),
                "hold": In(1),
                "read": Out(1),
                "token": Out(range(config.kv.page_tokens)),
                "beat": Out(range(beats(config))),
                "elements": In(data.ArrayLayout(HALF_BITS, config.kv.lanes)),
                "beats": Out(stream.Signature(code_beat(config.kv.lanes))),
                "addend": In(addend),
                "count": In(1),
                "offset": In(WINDOW_BITS),
                "sum": Out(WINDOW_BITS + 1),
                **(chosen if config.kv.bitmod else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walk = walk = PageWalk(config)
        m.d.comb += [
            walk.form.eq(self.form),
            walk.restart.eq(self.restart),
            walk.advance.eq(self.read),
            self.token.eq(walk.token),
            self.beat.eq(walk.beat),
        ]
        last = walk.last
        if config.kv.bitmod:
            m.submodules.chooser = TypeChooser(config)
            last = Mux(self.scoring, self._walk_groups(m), last)
        channel = self.beat << ceil_log2(config.kv.lanes)
        place = entry_address(self.form, self.token, channel, config)
        looks, loads, divides = self._pace(m, last)
        if config.kv.bitmod:
            self._score(m, place, loads)
        for number, parameters in enumerate(self._parameters(m, place)):
            lane = m.submodules[f"lane_{number}"] = CodeLane(config)
            adder = m.submodules[f"adder_{number}"] = WindowAdder()
            m.d.comb += [
                lane.kind.eq(self.kind),
                lane.spare.eq(self.spare),
                lane.coding.eq(self.form.coding),
                lane.element.eq(self.elements[number]),
                lane.parameters.eq(parameters),
                lane.difference.eq(adder.sum),
                lane.load.eq(loads),
                lane.step.eq(divides),
                adder.addend.eq(lane.addend),
                adder.offset.eq(self._addend(lane.parameters.offset)),
                adder.look.eq(looks),
                adder.count.eq(1),
                self.beats.payload.codes[number].eq(lane.code),
            ]
            if number == 0:
                self._lend(m, adder)
            if config.kv.bitmod:
                chooser = m.submodules.chooser
                m.d.comb += [
                    lane.bitmod.eq(is_bitmod(self.form, config)),
                    chooser.beat.ratios[number].eq(lane.ratio),
                    chooser.beat.negatives[number].eq(lane.negative),
                ]
        return m

    def _walk_groups(self, m: Module) -> Value:
        """Another walk while choices are made; whether it is at its last step."""
        m.submodules.groups = groups = ElementWalk(self.config)
        m.d.comb += [
            groups.form.eq(self.form),
            groups.restart.eq(self.restart),
            groups.advance.eq(self.read),
        ]
        with m.If(self.scoring):
            m.d.comb += [self.token.eq(groups.token), self.beat.eq(groups.beat)]
        return groups.last

    def _score(self, m: Module, place: Value, loads: Value) -> None:
        """Choices, from what the lanes make of the largest magnitudes."""
        groups, chooser = m.submodules.groups, m.submodules.chooser
        was_read = Signal(scored_place(self.config), reset_less=True)
        loaded = Signal(scored_place(self.config), reset_less=True)
        with m.If(self.read):
            m.d.sync += [
                was_read.entry.eq(place),
                was_read.opens.eq(groups.opens),
                was_read.ends.eq(groups.ends),
                was_read.last.eq(groups.last),
            ]
        with m.If(loads):
            m.d.sync += loaded.eq(was_read)
        m.d.comb += [
            chooser.form.eq(self.form),
            chooser.beat.place.eq(loaded),
            self.chosen.eq(chooser.chosen),
        ]

    def _lend(self, m: Module, adder: WindowAdder) -> None:
        """An adder to the scale."""
        m.d.comb += self.sum.eq(adder.sum)
        with m.If(~self.coding):
            m.d.comb += [
                adder.addend.eq(self.addend),
                adder.offset.eq(self.offset),
                adder.look.eq(1),
                adder.count.eq(self.count),
            ]

    def _addend(self, offset: Value) -> Value:
        """What is added to an element; a selector is not."""
        if not self.config.kv.bitmod:
            return offset
        low = Mux(is_bitmod(self.form, self.config), 0, offset[:SELECTOR_BITS])
        return Cat(low, offset[SELECTOR_BITS:])

    def _keep_choices(self, m: Module, write: WritePort, read: ReadPort) -> None:
        """Choices in the place of offsets, and of magnitudes that have been used; scales are yet to come."""
        chooser, lane_bits = m.submodules.chooser, ceil_log2(self.config.kv.lanes)
        with m.If(chooser.keep.any()):
            m.d.comb += [write.addr.eq(chooser.entry[lane_bits:]), write.en.eq(chooser.keep)]
            for lane, selector in enumerate(chooser.selectors):
                m.d.comb += write.data[lane].offset.eq(selector)
        with m.If(~self.coding):
            m.d.comb += [read.addr.eq(self.address[lane_bits:]), read.en.eq(1)]

    def _parameters(self, m: Module, place: Value) -> list[Value]:
        """Parameters of every lane's element, a cycle after it is looked up."""
        lanes = self.config.kv.lanes
        lane_bits = ceil_log2(lanes)
        row = data.ArrayLayout(group_parameters, lanes)
        depth = entries(self.config) // lanes
        m.submodules.parameter_memory = memory = Memory(shape=row, depth=depth, init=[])
        write = memory.write_port(granularity=1)
        read = memory.read_port()
        which = Signal(max(lane_bits, 1))
        m.d.comb += [
            write.addr.eq(self.address[lane_bits:]),
            write.data.eq(Value.cast(self.parameters).replicate(lanes)),
            write.en.eq(self.store << self.address[:lane_bits] if lane_bits else self.store),
            read.addr.eq(place[lane_bits:]),
            read.en.eq(self.read),
        ]
        with m.If(self.read):
            m.d.sync += which.eq(place[:lane_bits])
        by_token = self.form.axis == Axis.TOKEN
        shared = read.data[which] if lane_bits else read.data[0]
        if self.config.kv.bitmod:
            self._keep_choices(m, write, read)
            with m.If(~self.coding):
                m.d.sync += which.eq(self.address[:lane_bits])
            m.d.comb += self.selector.eq(shared.offset)
        return [Mux(by_token, shared, read.data[number]) for number in range(lanes)]

    def _pace(self, m: Module, last: Value) -> tuple[Value, Value, Value]:
        """When beats are read and leave; returns when adders look, and when lanes load and divide."""
        divisions_of = by_bits(m, self.form.coding, steps, "divisions_of")
        divisions = Mux(is_divided(self.kind), divisions_of, 0)
        if self.config.kv.bitmod:
            divisions = Mux(self.scoring, RATIO_STEPS, divisions)
        looks = Signal()
        loads = Signal()
        finishes = Signal()
        ends = Signal()  # the last beat has been read
        last_read = Signal()
        last_loaded = Signal()
        pace = Signal.like(divisions_of)  # cycles until the next read
        left = Signal.like(divisions_of)  # divisions of the present beat
        advance = self.beats.ready
        m.d.comb += [
            self.read.eq(self.coding & ~self.hold & ~ends & advance & (pace == 0)),
            self.beats.valid.eq(finishes & ~self.scoring if self.config.kv.bitmod else finishes),
            self.beats.payload.coding.eq(self.form.coding),
            self.beats.payload.last.eq(last_loaded),
        ]
        with m.If(advance):
            m.d.sync += [
                looks.eq(self.read),
                loads.eq(looks),
                finishes.eq(left == 1),
                pace.eq(pace - (pace != 0)),
                left.eq(left - (left != 0)),
            ]
        with m.If(self.read):
            m.d.sync += [last_read.eq(last), ends.eq(last), pace.eq(Mux(divisions == 0, 1, divisions))]
        with m.If(advance & loads):
            m.d.sync += [left.eq(divisions), finishes.eq(divisions == 0), last_loaded.eq(last_read)]
        with m.If(self.restart):
            m.d.sync += ends.eq(0)
        if self.config.kv.bitmod:
            m.d.comb += m.submodules.chooser.count.eq(finishes & advance & self.scoring)
        return looks & advance, loads & advance, (left != 0) & advance
