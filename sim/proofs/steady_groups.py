"""Property of array and value sums: steady groups of dot products always find a place."""

import itertools

from amaranth.hdl import Array as Choice
from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from hw.attention.payloads import Access
from hw.attention.value_sums import ValueSums
from hw.config import Config
from hw.payloads import Route
from hw.pe.array import CAPTURE_LATENCY, Array

__all__ = ["SteadyGroups"]

_WAITING = 6
"""Segments that are there, at most, those at work and those ahead of their groups."""


class SteadyGroups(wiring.Component):
    """Value sums take dot products straight from the array; other groups go to a rescaler.

    A solver chooses all inputs: groups of any length and route, steady ones where their segments let them,
    stalls, segments of every kind, reads at any time. Claimed: every group leaves the array, once and in
    order; never more than ``most`` are inside.

    Each segment of dot products is one row block. It is there before its group starts; so is a segment of
    results, before some group that is rescaled and lies between its neighbours' groups. The rescaler keeps
    its promises.

    Members:
        push, moved, results (in): a segment arrives, of dot products or results.
        valid, last, final (in): of chunks.
        route, steady (in): of the next group.
        passes (in): the group that is rescaled lies behind the segment at the place of the groups.
        promise, rescaled (in): the rescaler will take its group, takes it.
        result_valid (in): results come.
        reads, sums_ready (in): sums are to be read, are taken.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.most = 1 + config.waiting_groups + -(-CAPTURE_LATENCY // 2)
        names = ("push", "moved", "results", "valid", "last", "final", "route", "steady", "passes")
        names += ("promise", "rescaled", "result_valid", "reads", "sums_ready")
        super().__init__({name: In(1) for name in names})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.array = array = Array(self.config)
        m.submodules.sums = sums = ValueSums(self.config)
        dots = array.dots
        unscaled, taken, reading = Signal(), Signal(), Signal()
        with m.If(~reading | sums.reads.ready):
            m.d.sync += reading.eq(self.reads)
        m.d.comb += [
            Assume(~ResetSignal()),
            unscaled.eq(dots.p.route == Route.DOTS),
            taken.eq(dots.valid & dots.ready),
            sums.dots.valid.eq(dots.valid & unscaled),
            dots.ready.eq(Mux(unscaled, sums.dots.ready, self.rescaled)),
            sums.reads.valid.eq(reading),
            sums.reads.p.blocks.eq(1),
            sums.sums.ready.eq(self.sums_ready),
            sums.terms.valid.eq(1),
            array.settled.eq(sums.settled),
        ]
        self._promise(m, array, dots.valid & ~unscaled, taken)
        ends = self._groups(m, array, self._segments(m, array, sums))
        self._order(m, array, ends, taken)
        return m

    def _promise(self, m: Module, array: Array, rescaling: Value, taken: Value) -> None:
        """A promised group is taken in time."""
        left = Signal(range(CAPTURE_LATENCY))
        m.d.comb += [array.promise.eq(self.promise & rescaling), Assume((left != 1) | taken)]
        m.d.sync += left.eq(Mux(left.any(), left - 1, 0))
        with m.If(taken):
            m.d.sync += left.eq(0)
        with m.Elif(array.promise & ~left.any()):
            m.d.sync += left.eq(CAPTURE_LATENCY - 1)

    def _segments(self, m: Module, array: Array, sums: ValueSums) -> data.View:
        """Segments from where the value sums are to the last one that is there.

        Returns:
            The one that groups have come to, if it is there; ``step`` moves on from it.
        """
        entry = data.StructLayout({"moved": 1, "results": 1})
        queue = [Signal(entry, name=f"segment_{place}") for place in range(_WAITING + 1)]
        count, place = Signal(range(_WAITING + 1)), Signal(range(_WAITING + 1))
        pushes, pops, step = Signal(), Signal(), Signal()
        head, segment = queue[0], sums.segments.p
        after, moved_on = Signal.like(count), Signal.like(place)
        m.d.comb += [
            pushes.eq(self.push & (count != _WAITING)),
            sums.segments.valid.eq(count != 0),
            pops.eq(sums.segments.valid & sums.segments.ready),
            segment.access.eq(Mux(head.results, Access.RESULTS, Access.DOTS)),
            segment.moved.eq(head.moved),
            segment.blocks.eq(1),
            sums.results.valid.eq(self.result_valid & (place != 0)),
            after.eq(count - pops),
            moved_on.eq(place + step),
            Assert(~pops | head.results | (place != 0)),
        ]
        m.d.sync += [count.eq(after + pushes), place.eq(moved_on - (pops & (moved_on != 0)))]
        for number, (here, above) in enumerate(itertools.pairwise(queue)):
            with m.If(pushes & (after == number)):
                m.d.sync += [here.moved.eq(self.moved), here.results.eq(self.results)]
            with m.Elif(pops):
                m.d.sync += here.eq(above)
        found = Signal(data.StructLayout({"there": 1, "results": 1, "moved": 1}))
        own = Choice(queue)[place]
        m.d.comb += [
            found.there.eq(place < count),
            found.results.eq(own.results),
            found.moved.eq(own.moved),
        ]
        self.step = step
        return found

    def _groups(self, m: Module, array: Array, own: data.View) -> Value:
        """Chunks of groups; returns whether one ends."""
        route, steady, first, fits = Signal(Route), Signal(), Signal(init=1), Signal()
        chunks, ends = array.chunks, Signal()
        m.d.comb += [
            fits.eq((route == Route.RESCALED) | (own.there & ~own.results & ~(steady & own.moved))),
            chunks.valid.eq(self.valid & fits),
            array.activations.valid.eq(1),
            chunks.p.route.eq(route),
            chunks.p.steady.eq(steady),
            chunks.p.last.eq(self.last & ~(steady & first)),
            chunks.p.final.eq(self.final),
            ends.eq(chunks.valid & chunks.ready & chunks.p.last),
            self.step.eq(ends & ((route == Route.DOTS) | (self.passes & own.there & own.results))),
        ]
        with m.If(chunks.valid & chunks.ready):
            m.d.sync += first.eq(chunks.p.last)
        with m.If(ends):
            m.d.sync += [route.eq(self.route), steady.eq(self.steady & self.route)]
        return ends

    def _order(self, m: Module, array: Array, ends: Value, taken: Value) -> None:
        """What leaves is the oldest group inside."""
        entry = data.StructLayout({"final": 1, "route": Route})
        queue = [Signal(entry, name=f"group_{place}") for place in range(self.most + 1)]
        inside = Signal(range(self.most + 2))
        oldest, found = queue[0], array.dots.p
        m.d.sync += inside.eq(inside + ends - taken)
        m.d.comb += [Assert(inside <= self.most), Assert(~array.dots.valid | (inside != 0))]
        with m.If(array.dots.valid):
            m.d.comb += [Assert(found.final == oldest.final), Assert(found.route == oldest.route)]
        for number, (here, above) in enumerate(itertools.pairwise(queue)):
            with m.If(ends & (inside - taken == number)):
                m.d.sync += [here.final.eq(self.final), here.route.eq(array.chunks.p.route)]
            with m.Elif(taken):
                m.d.sync += here.eq(above)
