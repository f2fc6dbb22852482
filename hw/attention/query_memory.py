"""Query memory: two lists of queries in the base-2 domain; one is read while the next one comes.

Each token column has a memory of its own for its queries, which are read together.

Meaning: ``golden.attention.scores.fold``.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.payloads import operand_beat, query_beat, query_request, turns
from hw.attention.query_unit import PACE, QueryUnit, scaled, unscaled
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP
from hw.numbers.pipeline import hold

__all__ = ["DELAY", "PACE", "QueryMemory"]

DELAY = 4
"""Cycles from the last beat of a list to the first one of operands, if their request waits."""

_BANKS = 2


class QueryMemory(wiring.Component):
    """Bring lists of queries to the base-2 domain and keep them until their last request.

    An element takes ``PACE`` cycles, beats and lists follow without a gap. A list waits for a bank, and
    while the flags of the two lists before it wait. A request waits until its list is complete; then its
    beats come one a cycle, the first one a cycle after the request, also from request to request.
    ``requests.ready`` depends on ``operands.ready`` and, with the last request of a list, on
    ``damaged.ready``.

    Bad queries never harm those beside them: one of another length than ``16 * channels`` is cut or filled
    up with zeros, ``channels`` beyond the configuration's count as the most, and queries behind the last
    that have room are left out. A request of other channels than its list's is answered as it asks, with
    anything in place of what is missing.

    Members:
        queries (in stream): lists of queries, their elements in order.
        requests (in stream): which turn of queries is wanted, in any order and as often as wanted; of the
            oldest list. Where one ends that does not continue, its list's queries should end.
        operands (out stream): the elements of each request; of a query that the list has not, anything.
        specials (out stream): which queries of a list have NaN or infinity, +0 in its place; one a list.
        damaged (out stream): a query of a list was not as it should be, or a request; one a list.
        error (out): a query was cut, filled up or left out; or a list had requests of other channels.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "queries": In(stream.Signature(query_beat(config))),
                "requests": In(stream.Signature(query_request(config))),
                "operands": Out(stream.Signature(operand_beat(config))),
                "specials": Out(stream.Signature(config.kv.queries)),
                "damaged": Out(stream.Signature(1)),
                "error": Out(1),
            }
        )
        groups = config.kv.channels // SHORTEST_GROUP
        self.most = groups
        self.group_beats = SHORTEST_GROUP // config.activation_lanes
        self.latter = Signal()
        self.present = Signal()
        self.lane = Signal(range(config.activation_lanes))
        self.beat = Signal(range(groups * self.group_beats))
        self.query = Signal(range(config.kv.queries + 1))
        self.last_group = Signal(range(groups))
        self.filling = Signal()
        self.cutting = Signal()
        self.full = Signal(_BANKS)
        self.writing = Signal()
        self.kept = Signal()
        self.faulty = Signal()
        self.completes = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, queries = self.config.activation_lanes, self.config.kv.queries
        m.submodules.unit = unit = QueryUnit(self.config)
        self._walk(m)
        self._flag(m, unit.special)
        elements = self.queries.payload.elements
        m.d.comb += [
            unit.latter.eq(self.latter),
            unit.half.eq(elements[self.lane]),
            unit.groups.eq(self.last_group),
            unit.blank.eq(self.filling),
        ]

        # A place is taken in an element's latter cycle; in the next latter one there is its number.
        place = Cat(self.query[:-1], self.writing, self.beat)
        address = hold(m, self.latter, "address", place)
        lane = hold(m, self.latter, "lane", self.lane)
        written = hold(m, self.latter, "written", self.kept, reset=True)
        completed = hold(m, self.latter, "completed", self.completes, reset=True)
        bank = address[exact_log2(queries)]
        column = address[: exact_log2(self.config.columns)]
        reads = []
        for own in range(self.config.columns):
            m.submodules[f"storage_{own}"] = storage = memory.Memory(
                shape=data.ArrayLayout(scaled, lanes),
                depth=_BANKS * turns(self.config) * self.most * self.group_beats,
                init=[],
            )
            write = storage.write_port(granularity=1)
            m.d.comb += write.addr.eq(address[len(column) :])
            for number in range(lanes):
                chosen = (lane == number) & (column == own)
                m.d.comb += [
                    write.data[number].eq(unit.result),
                    write.en[number].eq(written & self.latter & chosen),
                ]
            read = storage.read_port()
            reads.append(read)
        released = self._read(m, reads)
        for number in range(_BANKS):
            with m.If(completed & self.latter & (bank == number)):
                m.d.sync += self.full[number].eq(1)
            with m.If(released[number]):
                m.d.sync += self.full[number].eq(0)
        return m

    def _last(self, group: Value) -> Value:
        """Number of the last beat of a group of channels."""
        within = exact_log2(self.group_beats)
        return Cat(Const(self.group_beats - 1, within), group)

    def _walk(self, m: Module) -> None:
        """From element to element, beat to beat, query to query, list to list."""
        beat = self.queries.payload
        moves = Signal()
        wrong = Signal()  # the number of channels
        at_end = Signal()
        closes = Signal()
        excess = self.query[-1]
        with m.Switch(beat.channels):
            with m.Case(*range(1, self.most + 1)):
                m.d.comb += self.last_group.eq(beat.channels - 1)
            with m.Default():
                m.d.comb += [self.last_group.eq(self.most - 1), wrong.eq(1)]
        m.d.comb += [
            at_end.eq(self.beat >= self._last(self.last_group)),
            moves.eq(self.latter & self.present & (self.lane == self.config.activation_lanes - 1)),
            self.queries.ready.eq(moves & (at_end | ~beat.last)),
            closes.eq(moves & at_end & beat.last),
            self.completes.eq(closes & beat.ends),
            self.kept.eq(self.present & ~self.cutting & ~excess),
            self.faulty.eq(closes & (wrong | self.filling | self.cutting | excess)),
        ]
        m.d.sync += self.latter.eq(~self.latter)
        with m.If(self.latter & self.present):
            m.d.sync += self.lane.eq(self.lane + 1)
        with m.If(moves):
            m.d.sync += [
                self.filling.eq(~at_end & beat.last),
                self.cutting.eq(at_end & ~beat.last),
            ]
            with m.If(~at_end):
                m.d.sync += self.beat.eq(self.beat + 1)
        with m.If(closes):
            m.d.sync += [self.beat.eq(0), self.query.eq(Mux(beat.ends, 0, self.query + ~excess))]
        with m.If(self.completes):
            m.d.sync += self.writing.eq(~self.writing)

    def _flag(self, m: Module, special: Value) -> None:
        """Gather a list's flags; while they wait behind those of the list before no other one begins."""
        queries = self.config.kv.queries
        flags = Signal(queries)
        complete = Signal(queries, reset_less=True)
        waits = Signal()
        leaves = Signal()
        sent = self.specials
        m.d.comb += [leaves.eq(waits & (~sent.valid | sent.ready)), sent.payload.eq(complete)]
        with m.If(~self.latter):
            room = ~self.full.bit_select(self.writing, 1) & (~waits | leaves)
            m.d.sync += self.present.eq(self.queries.valid & room)
        for query in range(queries):
            # The beat before zeros that fill up stays at the input: it has been flagged as it should be.
            with m.If(self.latter & self.kept & special & (self.query == query)):
                m.d.sync += flags[query].eq(1)
        with m.If(sent.ready):
            m.d.sync += sent.valid.eq(0)
        with m.If(leaves):
            m.d.sync += [sent.valid.eq(1), complete.eq(flags), flags.eq(0), waits.eq(0)]
        with m.If(self.completes):
            m.d.sync += waits.eq(1)

    def _read(self, m: Module, reads: Sequence[memory.ReadPort]) -> list[Value]:
        """Answer requests; which bank is released."""
        place = Signal.like(self.beat)
        sent, request = self.operands, self.requests.payload
        reading = Signal()
        advance = Signal()
        fetches = Signal()
        ends = Signal()
        releases = Signal()
        last = Signal.like(self.beat)
        room = self._judge(m, reading, ends, releases)
        m.d.comb += [
            last.eq(self._last((request.channels - 1)[: len(self.last_group)])),
            advance.eq(~sent.valid | sent.ready),
            fetches.eq(self.requests.valid & self.full.bit_select(reading, 1) & advance & room),
            ends.eq(fetches & (place == last)),
            releases.eq(ends & request.last),
            self.requests.ready.eq(ends),
        ]
        with m.If(fetches):
            m.d.sync += place.eq(Mux(ends, 0, place + 1))
        with m.If(advance):
            m.d.sync += [sent.valid.eq(fetches), sent.payload.last.eq(ends)]
        with m.If(releases):
            m.d.sync += reading.eq(~reading)
        shown: Value = place
        if self.config.kv.split_keys:
            within = exact_log2(self.group_beats)
            shown = Signal.like(place, name="place_of_part")
            m.d.comb += shown.eq(Cat(place[:within], place[within:] + request.start))
        for read, elements in zip(reads, sent.payload.elements, strict=True):
            m.d.comb += [read.en.eq(advance), read.addr.eq(Cat(request.turn, reading, shown))]
            for number, out in zip(read.data, elements, strict=True):
                m.d.comb += out.eq(unscaled(number))
        return [releases & (reading == bank) for bank in range(_BANKS)]

    def _judge(self, m: Module, reading: Value, ends: Value, releases: Value) -> Value:
        """What is wrong with a list; whether the present request may be answered."""
        request, damaged = self.requests.payload, self.damaged
        faulty_lists = Signal(_BANKS)
        kept = [
            Signal.like(self.last_group, name=f"last_group_{bank}", reset_less=True) for bank in range(_BANKS)
        ]
        for bank, held in enumerate(kept):
            with m.If(self.latter & self.present & (self.writing == bank)):
                m.d.sync += held.eq(self.last_group)
        with m.If(self.faulty):
            m.d.sync += faulty_lists.bit_select(self.writing, 1).eq(1)
        with m.If(releases):
            m.d.sync += faulty_lists.bit_select(reading, 1).eq(0)

        others = Signal()  # a request before wanted other channels
        differs = Signal()
        late = Signal()  # an error that came with another one
        errors = Signal(2)
        unlike: Value = request.channels != Mux(reading, kept[1], kept[0]) + 1
        if self.config.kv.split_keys:
            end = request.start + request.channels
            unlike = ~request.continues & (end != Mux(reading, kept[1], kept[0]) + 1)
        m.d.comb += [
            differs.eq(others | unlike),
            errors.eq(self.faulty + (releases & differs) + late),
        ]
        m.d.sync += [self.error.eq(errors.any()), late.eq(errors > 1)]
        with m.If(ends):
            m.d.sync += others.eq(differs & ~request.last)
        with m.If(damaged.ready):
            m.d.sync += damaged.valid.eq(0)
        with m.If(releases):
            m.d.sync += [
                damaged.valid.eq(1),
                damaged.payload.eq(faulty_lists.bit_select(reading, 1) | differs),
            ]
        return ~request.last | ~damaged.valid | damaged.ready
