"""Copy writer: float16 elements of tokens that move, to where these wait.

Meaning: ``golden.kv.window``, the copy: D numbers a token, token after token. Elements come in the order of a
page's codes, a run of some channels of one token after the other; a run is written at once. Tokens that wait
already come as words of their copy.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.kv.payloads import HALF_BITS, Side, value_beat, word
from hw.selection.moving.payloads import copy_write, departure
from hw.selection.token_marks import count_ones

__all__ = ["CopyWriter", "run_bits"]


def run_bits(config: Config, side: Side) -> int:
    """Bits of a run: of the channels of a token in one chunk of a page, at most a word."""
    channels = config.lanes if side is Side.KEY else config.rows
    return min(channels * HALF_BITS, config.memory_bits)


class CopyWriter(wiring.Component):
    """Write the tokens that leave, each to its place.

    Throughput: a beat or a word a cycle. Latency: 1 cycle. ``elements.ready`` and ``words.ready`` are
    combinational from ``writes.ready``. Of a page only the tokens that leave are written. Of waiting tokens
    those that stay move up, so that they wait without gaps, as far as the words behind them have been read.

    Members:
        departure (in): which tokens leave, held.
        drops (in): these are not written.
        side (in): of what comes.
        own_half (in): the copy in which tokens of the class wait.
        last_word (in): words of a token less 1.
        restart (in): a new side begins.
        elements (in stream): of a page.
        words (in stream): of waiting tokens; ``last`` does not matter.
        writes (out stream): to the target's copies, or to the one of the class.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        write = copy_write(config)
        super().__init__(
            {
                "departure": In(departure(config)),
                "drops": In(1),
                "side": In(Side),
                "own_half": In(1),
                "last_word": In(write["word"].shape),
                "restart": In(1),
                "elements": In(stream.Signature(value_beat(config))),
                "words": In(stream.Signature(word(config.memory_bits))),
                "writes": Out(stream.Signature(write)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, write = self.elements.payload, self.writes.payload
        token = Signal(range(self.config.kv.page_tokens))
        number = Signal.like(self.last_word)
        room = Signal()
        take = Signal()
        goes = Signal()
        within = exact_log2(self.config.memory_bits // (HALF_BITS * self.config.kv.lanes))
        waiting = self.departure.waits
        own_token = Mux(waiting, token, beat.token)
        m.d.comb += [
            room.eq(~self.writes.valid | self.writes.ready),
            self.elements.ready.eq(room),
            self.words.ready.eq(room),
            take.eq(self.words.valid & room),
            goes.eq(self.departure.leaving.bit_select(own_token, 1)),
        ]
        ends, enables = self._runs(m)
        m.d.comb += write.place.eq(self._place(m, room, own_token, goes))
        with m.If(room):
            stays = self.words.valid & ~(goes & self.drops)
            m.d.sync += self.writes.valid.eq(stays | (self.elements.valid & goes & ends))
            m.d.sync += [
                write.own.eq(~goes),
                write.side.eq(self.side),
                write.word.eq(Mux(waiting, number, beat.beat >> within)),
                write.enables.eq(Mux(waiting, -1, enables)),
            ]
        with m.If(take):
            m.d.sync += number.eq(number + 1)
            with m.If(number == self.last_word):
                m.d.sync += [number.eq(0), token.eq(token + 1)]
        with m.If(self.restart):
            m.d.sync += [number.eq(0), token.eq(0)]
        return m

    def _place(self, m: Module, room: Value, token: Value, goes: Value) -> Value:
        """Where the token goes whose write is at the output: behind those before it that go the same way."""
        tokens = self.config.kv.page_tokens
        below = Signal(tokens)
        ahead = Signal(tokens, reset_less=True)
        rank = Signal(range(tokens))
        place = Signal.like(self.writes.payload.place)
        with m.If(room):
            m.d.sync += ahead.eq(below & (self.departure.leaving ^ (~goes).replicate(tokens)))
        own = self.own_half << exact_log2(tokens)
        m.d.comb += [
            below.eq((Const(1, tokens + 1) << token) - 1),
            rank.eq(count_ones(ahead)),
            place.eq(Mux(self.writes.payload.own, own, self.departure.place) + rank),
        ]
        return place

    def _runs(self, m: Module) -> tuple[Value, Value]:
        """Gather elements; returns whether a run ends, and the bytes of its word that it has."""
        config, width = self.config, self.config.memory_bits
        beat = self.elements.payload
        held = Signal(width, reset_less=True)
        ends, enables, data = {}, {}, {}
        for side in Side:
            bits = run_bits(config, side)
            beats = bits // (HALF_BITS * config.kv.lanes)
            count = width // bits
            inner = exact_log2(beats)
            place = beat.beat[inner : inner + exact_log2(count)]
            ends[side] = (beat.beat & beats - 1) == beats - 1
            enables[side] = Cat(
                ((place == number) if count > 1 else Const(1)).replicate(bits // 8) for number in range(count)
            )
            data[side] = held[width - bits :].replicate(count)
        keys = self.side == Side.KEY
        m.d.comb += self.writes.payload.data.eq(
            Mux(self.departure.waits, held, Mux(keys, data[Side.KEY], data[Side.VALUE]))
        )
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += held.eq(self.words.payload.data)
        with m.Elif(self.elements.valid & self.elements.ready):
            m.d.sync += held.eq(Cat(held, Cat(beat.elements))[len(Value.cast(beat.elements)) :])
        return (
            Mux(keys, ends[Side.KEY], ends[Side.VALUE]),
            Mux(keys, enables[Side.KEY], enables[Side.VALUE]),
        )
