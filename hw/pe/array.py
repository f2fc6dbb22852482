"""The array: rows x columns processing elements, codes broadcast along a row, activations along a column.

Meaning: ``golden.pe.dot``. One beat of codes and one of activations enter together; ``term_count`` cycles
later the next pair may. Group dot products leave side by side.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.numbers.datatypes import MAXIMUM_TERMS
from hw import payloads
from hw.config import Config
from hw.pe.multiples import Multiples
from hw.pe.processing_element import SUM_LATENCY, ProcessingElement, lane_bias
from hw.pe.term_encoder import TermEncoder
from hw.sharing import share

__all__ = ["CAPTURE_LATENCY", "Array", "dots_latency", "group_cycles"]

CAPTURE_LATENCY = SUM_LATENCY + 3
"""Cycles from the last term of a group at the encoders to its dot products in the processing elements."""

_STEADY_GROUPS = -(-CAPTURE_LATENCY // 2)
"""Steady groups on their way to the processing elements' registers, at most."""


def group_cycles(config: Config, chunks: int, terms: int) -> int:
    """Cycles from one group's last term to the next one's, while ``dots`` is always accepted.

    Args:
        config: the array's configuration.
        chunks: chunks of the later group.
        terms: terms of its data type.
    """
    places = 1 + config.waiting_groups
    return max(chunks * terms, -(-(dots_latency(config) + 1) // places))


def dots_latency(config: Config) -> int:
    """Cycles from the last term of a group at the encoders to valid ``dots``."""
    return CAPTURE_LATENCY + config.waiting_groups


class Array(wiring.Component):
    """Group dot products of ``rows`` outputs and ``columns`` tokens.

    A chunk takes as many cycles as its type has terms; chunks, groups and data types follow one another
    without an idle cycle, groups shorter than ``group_cycles`` aside, while ``dots`` is accepted. Nothing
    behind the encoders can stall, so the array looks ahead: it starts a group's last term only if there will
    be a place for its dot products, the processing elements' own or one of ``waiting_groups``.

    With ``config.attention`` steady groups may follow one another every two cycles. They are dot products
    whose taker needs at most two cycles for each from when it comes, while only steady groups come and since
    it was ``settled`` when their last term started. So a steady group takes two cycles or more itself; one
    that does not must not be marked.

    Members:
        chunks (in stream): codes of ``rows`` x ``lanes`` weights.
        activations (in stream): aligned activations, one beat a chunk.
        promise (in): ``dots`` will be accepted within ``CAPTURE_LATENCY`` cycles, this one included.
        settled (in): steady groups will be taken every two cycles; with ``config.attention``.
        term_table (in): with ``config.term_table``, as of ``TermEncoder``.
        dots (out stream): biased group dot products, ``dots_latency`` cycles after the group's last term.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "chunks": In(stream.Signature(payloads.chunk(config))),
                "activations": In(stream.Signature(payloads.activations(config))),
                "promise": In(1),
                **({"settled": In(1)} if config.attention else {}),
                **({"term_table": In(payloads.term_table)} if config.term_table else {}),
                "dots": Out(stream.Signature(payloads.dots(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        chunk = self.chunks.payload

        step = Signal(ceil_log2(MAXIMUM_TERMS))
        pending = Signal(CAPTURE_LATENCY - 1)
        last_term = Signal()
        ends = Signal()
        issue = Signal()
        free = self._free(m, issue & ends)
        m.d.comb += [
            last_term.eq(step == chunk.format.last_term),
            ends.eq(last_term & chunk.last),
            issue.eq(self.chunks.valid & self.activations.valid & (free | ~ends)),
            self.chunks.ready.eq(issue & last_term),
            self.activations.ready.eq(issue & last_term),
        ]
        with m.If(issue):
            m.d.sync += step.eq(Mux(last_term, 0, step + 1))
        m.d.sync += pending.eq(Cat(issue & ends, pending))

        capture = pending[-1]
        shift, first = self._schedule(m, issue, step, last_term)
        bias = self._bias(m, shift, first, capture)
        final = Signal(CAPTURE_LATENCY - 1, name="final_pending")
        m.d.sync += final.eq(Cat(chunk.final, final))
        captured = Signal(payloads.dots(config))
        m.d.comb += captured.bias.eq(bias)
        with m.If(capture):
            m.d.sync += captured.final.eq(final[-1])
        if config.attention:
            route = Signal(CAPTURE_LATENCY - 1, name="route_pending")
            m.d.sync += route.eq(Cat(chunk.route, route))
            with m.If(capture):
                m.d.sync += captured.route.eq(route[-1])
        self._offer(m, capture, captured)

        specials = self._lane_specials(m) if config.lane_selectors else None
        terms = [self._encoder(m, row, step, specials) for row in range(config.rows)]
        for column in range(config.columns):
            multiples = share(m, f"multiples_{column}", Multiples(config))
            m.d.comb += [
                multiples.activations.eq(self.activations.payload[column]),
                multiples.programming.eq(chunk.format.programming),
            ]
            for row in range(config.rows):
                element = share(m, f"element_{column}_{row}", ProcessingElement(config))
                m.d.comb += [
                    element.terms.eq(terms[row]),
                    element.multiples.eq(multiples.multiples),
                    element.shift.eq(shift),
                    element.first.eq(first),
                    element.capture.eq(capture),
                    captured.dots[column][row].eq(element.dot),
                ]
        return m

    def _free(self, m: Module, last_term: Value) -> Signal:
        """Whether a group's last term may start: its dot products will find a place."""
        places = 1 + self.config.waiting_groups
        most = places + (_STEADY_GROUPS if self.config.attention else 1)
        occupied = Signal(range(most + 1))  # by groups from their last term on; one more while promised
        free = Signal()
        m.d.sync += occupied.eq(occupied + last_term - (self.dots.valid & self.dots.ready))
        found = (occupied < places) | ((occupied == places) & self.promise)
        if self.config.attention:
            found = found | self._steady(m, last_term, occupied)
        m.d.comb += free.eq(found)
        return free

    def _steady(self, m: Module, last_term: Value, occupied: Signal) -> Value:
        """Whether the group at hand and all that are under way are steady, and their taker is settled."""
        steady = self.chunks.payload.steady
        others = Signal.like(occupied)  # groups under way, up to the last one that is not steady
        taken = self.dots.valid & self.dots.ready
        with m.If(last_term & ~steady):
            m.d.sync += others.eq(occupied + 1 - taken)
        with m.Elif(taken & others.any()):
            m.d.sync += others.eq(others - 1)
        return steady & self.settled & ~others.any()

    def _offer(self, m: Module, capture: Value, captured: data.View) -> None:
        """Dot products from the processing elements' registers to the stream, by way of the waiting group."""
        valid = Signal()
        if not self.config.waiting_groups:
            m.d.comb += [self.dots.valid.eq(valid), self.dots.payload.eq(captured)]
            with m.If(self.dots.ready):
                m.d.sync += valid.eq(0)
        else:
            waiting = Signal(captured.shape(), reset_less=True)
            moves = Signal()
            m.d.comb += [
                moves.eq(valid & (~self.dots.valid | self.dots.ready)),
                self.dots.payload.eq(waiting),
            ]
            with m.If(self.dots.ready):
                m.d.sync += self.dots.valid.eq(0)
            with m.If(moves):
                m.d.sync += [waiting.eq(captured), self.dots.valid.eq(1), valid.eq(0)]
        with m.If(capture):
            m.d.sync += valid.eq(1)

    def _encoder(self, m: Module, row: int, step: Signal, specials: Signal | None):
        """Encoder of one row; returns its registered terms."""
        encoder = share(m, f"encoder_{row}", TermEncoder(self.config))
        chunk = self.chunks.payload
        m.d.comb += [
            encoder.codes.eq(chunk.codes[row]),
            encoder.selector.eq(chunk.selectors[row]),
            encoder.format.eq(chunk.format),
            encoder.step.eq(step),
        ]
        if self.config.term_table:
            m.d.comb += encoder.term_table.eq(self.term_table)
        if specials is not None:
            m.d.comb += [encoder.by_lane.eq(chunk.by_lane), encoder.lane_specials.eq(specials)]
        return encoder.terms

    def _lane_specials(self, m: Module) -> Signal:
        """Special terms of groups that have a lane each, the same for all rows; 0 for other groups."""
        chunk = self.chunks.payload
        specials = Signal(data.ArrayLayout(payloads.term, self.config.lanes), name="lane_specials")
        for special, selector in zip(specials, chunk.lane_selectors, strict=True):
            m.d.comb += special.eq(Mux(chunk.by_lane, chunk.format.specials[selector].as_value(), 0))
        return specials

    def _schedule(self, m: Module, issue: Signal, step: Signal, last_term: Signal) -> tuple[Signal, Signal]:
        """Common shift and group start, delayed to where the terms meet the accumulators."""
        chunk = self.chunks.payload
        opening = Signal(init=1)
        with m.If(issue):
            m.d.sync += opening.eq(last_term & chunk.last)
        remaining = Signal(len(step))
        m.d.comb += remaining.eq(chunk.format.last_term - step)
        shift = Cat(issue & self._shifts_by(place, remaining) for place in self.config.shifts)
        first = issue & opening
        for stage in range(SUM_LATENCY + 1):
            delayed_shift = Signal(len(self.config.shifts), name=f"shift_{stage}")
            delayed_first = Signal(name=f"first_{stage}", reset_less=True)
            m.d.sync += [delayed_shift.eq(shift), delayed_first.eq(first)]
            shift, first = delayed_shift, delayed_first
        return shift, first

    def _shifts_by(self, place: int, remaining: Value) -> Value:
        """Whether the present term, with ``remaining`` ones of its code to come, is shifted by ``place``."""
        config, chosen = self.config, Value.cast(0)
        for number, decoder in enumerate(config.decoders):
            entries = [entry for entry in config.datatypes if entry.decoder == decoder]
            shifts = max((entry.shifts for entry in entries), key=len)[::-1]
            if place in shifts:
                here = (self.chunks.payload.format.decoder == number) & (remaining == shifts.index(place))
                chosen = chosen | here
        return chosen

    def _bias(self, m: Module, shift: Signal, first: Signal, capture: Signal) -> Signal:
        """What the lane biases of a group add up to: the processing elements' accumulator, once more."""
        config = self.config
        accumulator = Signal(config.product_bits, reset_less=True)
        bias = Signal(config.product_bits, reset_less=True)
        added = sum(
            (
                Mux(bit, lane_bias(config) << place, 0)
                for bit, place in zip(shift, config.shifts, strict=True)
            ),
            start=Mux(first, 0, accumulator),
        )
        m.d.sync += accumulator.eq(added)
        with m.If(capture):
            m.d.sync += bias.eq(accumulator)
        return bias
