"""Realigner: fields of any whole number of granules out of a stream of words."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw import payloads
from hw.config import Config
from hw.sharing import share
from hw.weights.header_reader import header_part_bits, header_takes
from hw.weights.window_slice import WindowSlice, window_granules, word_granules

__all__ = ["Realigner", "granule_bits", "request_layout", "window_bits"]


def granule_bits(config: Config) -> int:
    """Width of a number of granules, up to a word."""
    return exact_log2(word_granules(config)) + 1


def window_bits(config: Config) -> int:
    """Width of the window."""
    return window_granules(config) * config.rows


def request_layout(config: Config) -> data.StructLayout:
    """A window asked for: ``granules`` of them, 1..memory_bits / rows.

    With ``extend`` it shall have ``more`` instead, up to ``window_granules(config)``, if the two words at
    hand hold so many. ``finish``, ``finish_more``: these granules are the packet's last ones. ``spare``: so
    many granules at the window's end belong to what comes later.
    """
    granules = granule_bits(config)
    return data.StructLayout(
        {"granules": granules, "more": granules + 1, "extend": 1, "finish": 1, "finish_more": 1, "spare": 2}
    )


class Realigner(wiring.Component):
    """Show the next bits of a packet and consume whole granules of ``rows`` bits, a word or more a cycle.

    The previous word and the one at the input, shifted right by the granules already consumed, make the
    window; this is the only wide shifter of the unpacker. A window is asked for while the one before it is
    shown, so that where it lies and whether it reaches into the word at the input comes from registers.
    ``words.ready``, ``available`` and ``window`` are combinational: a word is accepted in the cycle in which
    the last granule before it is consumed. After an empty cycle (reset, end of a packet, no word in time) one
    cycle loads the previous word.

    Beyond the packet's ``last`` word the window continues with zeros for as long as the packet is not
    finished. Words after the packet's structure, or after a refused header, are dropped up to ``last``, one a
    cycle.

    Members:
        words (in stream): the packets.
        requests (in stream): windows, in order; one is taken when the one before it is consumed.
        extended (out): with ``extend``, the window asked for will have ``more`` granules.
        front (out): the previous word's first bits: of a header, which no packet has anything before, they
            are the window.
        window (out): what was asked for, first granule lowest; what lies above is undefined.
        available (out): all of it is there.
        take (in): consume it; only while ``available``.
        drop (in): give the rest of the packet up; only while no window is asked for.
        missing, cut (out): some granules of the window, or of those that are not ``spare``, lie beyond the
            packet's ``last`` word and read as zero.
        surplus (out): in the cycle of ``take``: the packet should end here, but more words follow; they are
            dropped.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(payloads.word(config))),
                "requests": In(stream.Signature(request_layout(config))),
                "extended": Out(1),
                "front": Out(header_part_bits(config)),
                "window": Out(window_bits(config)),
                "available": Out(1),
                "take": In(1),
                "drop": In(1),
                "missing": Out(1),
                "cut": Out(1),
                "surplus": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self.words
        store = Signal()
        filled = Signal()
        closed = Signal()  # the previous word is the packet's last one, the word at the input not part of it
        beyond = Signal()  # the previous word is not part of the packet
        draining = Signal()
        wanted, place, begin = self._place(m)
        within = Signal()  # what the window has of the word at the input is spare
        m.d.comb += within.eq(~place.finish & (begin <= place.spare))
        self._slices(m, store, beyond, closed, begin)

        ended = Signal()
        m.d.comb += [
            self.available.eq(wanted & filled & ~draining & (~place.crosses | closed | words.valid)),
            self.missing.eq(beyond | (place.crosses & closed)),
            self.cut.eq(beyond | (place.crosses & closed & ~within)),
            ended.eq(closed | (place.crosses & words.p.last)),
            self.surplus.eq(self.take & place.finish & ~ended),
        ]

        with m.If(draining):
            m.d.comb += words.ready.eq(1)
            m.d.sync += draining.eq(~(words.valid & words.p.last))
        with m.Elif(self.drop | (self.take & place.finish)):
            m.d.comb += words.ready.eq(self.take & place.crosses & ~closed)
            m.d.sync += draining.eq(Mux(self.take, ~ended, ~(filled & closed)))
            m.d.sync += [filled.eq(0), closed.eq(0), beyond.eq(0)]
        with m.Elif(self.take & place.moves):
            m.d.comb += [words.ready.eq(~closed), store.eq(1)]
            m.d.sync += beyond.eq(closed)
            m.d.sync += [filled.eq(closed | words.valid), closed.eq(closed | (words.valid & words.p.last))]
        with m.Elif(~filled):
            m.d.comb += [words.ready.eq(1), store.eq(1)]
            m.d.sync += [filled.eq(words.valid), closed.eq(words.valid & words.p.last)]
        return m

    def _slices(self, m: Module, store: Value, beyond: Value, closed: Value, begin: Value) -> None:
        """The window, bit by bit of its granules."""
        rows = self.config.rows
        previous = Signal(self.config.memory_bits)
        for bit in range(rows):
            piece = share(m, f"slice_{bit}", WindowSlice(self.config))
            m.d.comb += [
                piece.word.eq(self.words.p.data[bit::rows]),
                piece.store.eq(store),
                piece.beyond.eq(beyond),
                piece.closed.eq(closed),
                piece.offset.eq(begin),
                piece.place.eq(self.requests.valid & self.requests.ready),
                previous[bit::rows].eq(piece.previous),
                self.window[bit::rows].eq(piece.window),
            ]
        m.d.comb += self.front.eq(Mux(beyond, 0, previous) if header_takes(self.config) > 1 else previous)

    def _place(self, m: Module) -> tuple[Signal, data.View, Signal]:
        """Whether a window is wanted, where it lies in the two words, and where the next one begins."""
        request = self.requests.p
        offset_bits = granule_bits(self.config) - 1
        place = Signal(
            data.StructLayout({"moves": 1, "crosses": 1, "finish": 1, "spare": 2}), reset_less=True
        )
        wanted = Signal()
        begin = Signal(offset_bits)  # of the window after the present one
        near = Signal(offset_bits + 1)
        far = Signal(offset_bits + 2)
        end = Signal(offset_bits + 1)
        finish = Signal()
        m.d.comb += [
            near.eq(begin + request.granules),
            far.eq(begin + request.more),
            self.extended.eq(request.extend & ~far[-1]),
            end.eq(Mux(self.extended, far, near)),
            finish.eq(Mux(self.extended, request.finish_more, request.finish)),
            self.requests.ready.eq(~wanted | self.take),
        ]
        with m.If(self.requests.valid & self.requests.ready):
            m.d.sync += [
                place.moves.eq(end[-1]),
                place.crosses.eq(end[-1] & end[:-1].any()),
                place.finish.eq(finish),
                place.spare.eq(request.spare),
                begin.eq(Mux(finish, 0, end)),
            ]
        with m.If(self.requests.ready):
            m.d.sync += wanted.eq(self.requests.valid)
        with m.If(self.drop):
            m.d.sync += begin.eq(0)
        return wanted, place, begin
