"""Channel ranges: the difference of the extremes of each channel, over all tokens and heads, as scores.

Meaning: ``golden.systems.vidkv.ranges.scores``. A channel has its minimum and its maximum in a memory, in
which beats are combined as they come; scores are worked out each time that they are asked for.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from golden.systems.vidkv.ranges import SIGNIFICANT_BITS
from hw.config import Config
from hw.kv.fixed_point import FINITE_BITS, LARGEST_MAGNITUDE, UNITS, window
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, element_beat
from hw.kv.quantising.statistics import extremes, order_key
from hw.numbers.pipeline import hold
from hw.selection.payloads import (
    SCORE_BITS,
    Measure,
    score_lanes,
    score_pass,
    score_words,
    selection_request,
)
from hw.systems.payloads import ranges_request

__all__ = ["ChannelRanges"]

_RANGE_BITS = FINITE_BITS + 1
_STAGES = 4
"""Cycles from a channel's address to its score."""


class ChannelRanges(wiring.Component):
    """Take keys, ask a selector for the channels of largest ranges, and answer its passes until the last one.

    A beat a cycle is taken, and a score a cycle leaves, so that a pass over D channels takes D cycles and
    ``_STAGES`` more. Elements that are not finite count as the largest finite ones of their sign.

    Members:
        requests (in stream): channels of a head, and how many are wanted; ahead of the elements.
        elements (in stream): keys, token after token and head after head, ``last`` with the last one of all.
        selections (out stream): the request of a ``Selector``, whose tokens are the channels.
        passes (in stream): the scores are wanted, for the last time with ``chooses``.
        scores (out stream): of all channels, once for each pass.
        clamped (out): one cycle for a beat with an infinity or a NaN.
        error_format, error_short (out): one cycle for keys with an impossible number of channels, or whose
            last token is not complete; they are left out and nothing is selected.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = config.kv.lanes
        super().__init__(
            {
                "requests": In(stream.Signature(ranges_request(config))),
                "elements": In(stream.Signature(element_beat(config))),
                "selections": Out(stream.Signature(selection_request)),
                "passes": In(stream.Signature(score_pass)),
                "scores": Out(stream.Signature(score_words(config))),
                **dict.fromkeys(("clamped", "error_format", "error_short"), Out(1)),
            }
        )
        self.last_beat = Signal(range(config.kv.channels // self.lanes))
        self.last_channel = Signal(range(config.kv.channels), reset_less=True)
        self.amount = Signal(bits_for(config.kv.channels), reset_less=True)
        self.answered = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row = data.ArrayLayout(2 * HALF_BITS, self.lanes)
        m.submodules.entries = entries = memory.Memory(
            shape=row, depth=self.config.kv.channels // self.lanes, init=[]
        )
        write = entries.write_port()
        read = entries.read_port()
        beat = Signal.like(self.last_beat, name="beat")
        first = Signal(name="first_token")
        taken = Signal(name="taken")
        gives = Signal(name="gives")
        channel = Signal(range(self.config.kv.channels), name="channel")
        m.d.comb += self.last_beat.eq(self.last_channel >> ceil_log2(self.lanes))
        self._sequence(m, beat, first, taken, gives)
        self._combine(m, write, read, beat, first, taken)
        self._score(m, read, channel, gives)
        m.d.comb += read.addr.eq(Mux(gives, channel >> ceil_log2(self.lanes), beat))
        return m

    def _sequence(self, m: Module, beat: Signal, first: Signal, taken: Signal, gives: Signal) -> None:
        """Keys, then passes."""
        offered, elements, selection = self.requests.payload, self.elements, self.selections.payload
        at_end = Signal()
        legal = Signal()
        chooses = Signal(reset_less=True)
        most = self.config.kv.channels // SHORTEST_GROUP
        m.d.comb += [
            at_end.eq(beat == self.last_beat),
            legal.eq((offered.channels != 0) & (offered.channels <= most)),
            selection.tokens.eq(self.last_channel + 1),
            selection.measure.eq(Measure.COUNT),
            selection.amount.eq(self.amount),
        ]
        m.d.sync += Cat(self.error_format, self.error_short).eq(0)
        with m.FSM(name="state"):
            with m.State("request"):
                m.d.comb += self.requests.ready.eq(1)
                m.d.sync += [
                    beat.eq(0),
                    first.eq(1),
                    self.last_channel.eq((offered.channels << ceil_log2(SHORTEST_GROUP)) - 1),
                    self.amount.eq(offered.anomalous),
                ]
                with m.If(self.requests.valid):
                    m.d.sync += self.error_format.eq(~legal)
                    m.next = "elements"
                    with m.If(~legal):
                        m.next = "drop"
            with m.State("elements"):
                m.d.comb += [elements.ready.eq(1), taken.eq(elements.valid)]
                with m.If(taken):
                    m.d.sync += beat.eq(Mux(at_end, 0, beat + 1))
                    with m.If(at_end):
                        m.d.sync += first.eq(0)
                    with m.If(elements.payload.last):
                        m.d.sync += self.error_short.eq(~at_end)
                        m.next = "request"
                        with m.If(at_end):
                            m.next = "selection"
            with m.State("drop"):
                m.d.comb += elements.ready.eq(1)
                with m.If(elements.valid & elements.payload.last):
                    m.next = "request"
            with m.State("selection"):
                m.d.comb += self.selections.valid.eq(1)
                with m.If(self.selections.ready):
                    m.next = "pass"
            with m.State("pass"):
                m.d.comb += self.passes.ready.eq(1)
                m.d.sync += chooses.eq(self.passes.payload.chooses)
                with m.If(self.passes.valid):
                    m.next = "scores"
            with m.State("scores"):
                m.d.comb += gives.eq(1)
                with m.If(self.answered):
                    m.next = "pass"
                    with m.If(chooses):
                        m.next = "request"

    def _combine(
        self,
        m: Module,
        write: memory.WritePort,
        read: memory.ReadPort,
        beat: Value,
        first: Value,
        taken: Value,
    ) -> None:
        """A beat with what its channels have so far, a cycle after it."""
        special = Signal(self.lanes)
        m.d.comb += [
            write.addr.eq(hold(m, None, "beat", beat)),
            write.en.eq(hold(m, None, "taken", taken, reset=True)),
        ]
        m.d.sync += self.clamped.eq(taken & special.any())
        opens = hold(m, None, "opens", first)
        for lane in range(self.lanes):
            element = self.elements.payload.elements[lane]
            m.d.comb += special[lane].eq(element[10:15].all())
            finite = Mux(special[lane], Cat(Const(LARGEST_MAGNITUDE, 15), element[-1]), element)
            key = hold(m, None, f"key_{lane}", order_key(finite))
            before = Signal(2 * HALF_BITS, name=f"before_{lane}")
            m.d.comb += before.eq(read.data[lane])
            low, high = before[:HALF_BITS], before[HALF_BITS:]
            m.d.comb += write.data[lane].eq(
                Cat(Mux(opens | (key < low), key, low), Mux(opens | (key > high), key, high))
            )

    def _score(self, m: Module, read: memory.ReadPort, channel: Signal, gives: Value) -> None:
        """Scores of channel after channel, a word of them at a time."""
        lanes = score_lanes(self.config)
        advance = Signal(name="advance")
        ended = Signal(name="ended")
        last = Signal(name="last_channel_read")
        m.d.comb += [
            advance.eq(~self.scores.valid | self.scores.ready),
            last.eq(channel == self.last_channel),
            read.en.eq(advance | ~gives),
        ]
        reads = Signal(name="reads")
        m.d.comb += reads.eq(gives & ~ended)
        with m.If(advance & reads):
            m.d.sync += [channel.eq(Mux(last, 0, channel + 1)), ended.eq(last)]
        word_bits, lane_bits = ceil_log2(lanes), ceil_log2(self.lanes)
        present, closes, place = reads, last, channel[:word_bits]
        for stage in range(_STAGES):
            present = hold(m, advance, f"present_{stage}", present, reset=True)
            closes = hold(m, advance, f"closes_{stage}", closes)
            place = hold(m, advance, f"place_{stage}", place)
        entry = Signal(2 * HALF_BITS, name="entry")
        lane = hold(m, advance, "lane", channel[:lane_bits])
        m.d.comb += entry.eq(read.data[lane] if lane_bits else read.data[0])
        score = self._float(m, advance, entry)
        closing = Signal(name="closing", reset_less=True)
        with m.If(self.scores.ready):
            m.d.sync += self.scores.valid.eq(0)
        with m.If(advance & present):
            for number in range(lanes):
                with m.If(place == number):
                    m.d.sync += self.scores.payload[number].eq(score)
            m.d.sync += [self.scores.valid.eq(closes | (place == lanes - 1)), closing.eq(closes)]
        m.d.comb += self.answered.eq(closing & self.scores.valid & self.scores.ready)
        with m.If(self.answered):
            m.d.sync += ended.eq(0)

    def _float(self, m: Module, advance: Value, entry: Value) -> Value:
        """The difference of an entry's extremes with 29 significant bits, three cycles later."""
        signed = []
        for name, half in zip(("low", "high"), extremes(entry), strict=True):
            size = hold(m, advance, f"{name}_size", window(m, half[:-1], UNITS, name)[:FINITE_BITS])
            negative = hold(m, advance, f"{name}_negative", half[-1])
            signed.append((size, negative))
        (low, low_negative), (high, high_negative) = signed
        extent = Signal(_RANGE_BITS)
        m.d.comb += extent.eq(Mux(high_negative, -high, high) - Mux(low_negative, -low, low))
        extent = hold(m, advance, "extent", extent)
        exponent = Signal(range(_RANGE_BITS - SIGNIFICANT_BITS + 1))
        for place in range(SIGNIFICANT_BITS, _RANGE_BITS):
            with m.If(extent[place]):
                m.d.comb += exponent.eq(place - SIGNIFICANT_BITS + 1)
        score = Signal(SCORE_BITS)
        m.d.comb += score.eq((exponent << SIGNIFICANT_BITS - 1) + (extent >> exponent))
        return hold(m, advance, "score", score)
