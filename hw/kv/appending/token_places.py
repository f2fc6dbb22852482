"""Token places: where the bytes of a token lie in the two pages of its window (``golden.kv.window``)."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.kv.appending.token import GROUP, most_groups
from hw.kv.page_shape import beats
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Side, token_record

__all__ = ["TokenPlaces", "window_bytes"]

_HALF_BYTES = HALF_BITS // 8


def window_bytes(config: Config) -> int:
    """Bytes of the longest copy, the longer one of the two pages."""
    return config.kv.page_tokens * config.kv.channels * _HALF_BYTES


class TokenPlaces(wiring.Component):
    """Hold a token's record; addresses are combinational.

    Members:
        load (in), record (in): take a token's record.
        token (out): the one that is held.
        copied (in), copy_address (out): a beat of elements, and where its copy lies, in such beats.
        coded (in), code_address (out): a beat of codes, and its first byte in the page.
        ends (out): that beat is the last one of a piece, which lies by itself.
        group, minimum (in), number_address (out): a scale or a minimum, and where it lies, in numbers.
        last_copied, last_coded, last_group (out): these are the token's last ones.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        beat = range(beats(config))
        size = window_bytes(config)
        super().__init__(
            {
                "load": In(1),
                "record": In(token_record(config)),
                "token": Out(token_record(config)),
                "copied": In(beat),
                "copy_address": Out(range(size // (_HALF_BYTES * config.kv.lanes))),
                "coded": In(beat),
                "code_address": Out(range(size)),
                "ends": Out(1),
                "group": In(range(most_groups(config))),
                "minimum": In(1),
                "number_address": Out(range(size // _HALF_BYTES)),
                "last_copied": Out(1),
                "last_coded": Out(1),
                "last_group": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, record = self.config, self.record
        tokens, lane_bits = config.kv.page_tokens, exact_log2(config.kv.lanes)
        row_bits = exact_log2(config.rows)
        groups = Signal(range(most_groups(config) + 1), reset_less=True)
        offered_groups = Signal.like(groups)
        before = Signal(range(tokens * most_groups(config)), reset_less=True)  # groups of earlier tokens
        chunks = Signal(range(window_bytes(config)), reset_less=True)  # bytes before its row of chunks
        high = record.place[row_bits:]
        is_key = record.side == Side.KEY
        m.d.comb += offered_groups.eq(record.channels >> exact_log2(GROUP // SHORTEST_GROUP))
        metadata = offered_groups * (2 * tokens * _HALF_BYTES)
        rows_before = (high * offered_groups) << (exact_log2(GROUP) + row_bits)
        with m.If(self.load):
            m.d.sync += [
                self.token.eq(record),
                groups.eq(offered_groups),
                before.eq(record.place * offered_groups),
                chunks.eq(metadata + Mux(is_key, rows_before, 0)),
            ]

        number = Signal.like(self.number_address)
        of_minima = Signal.like(self.number_address)
        last_beat = Signal.like(self.coded)
        m.d.comb += [
            last_beat.eq((groups << exact_log2(GROUP) - lane_bits) - 1),
            self.last_copied.eq(self.copied == last_beat),
            self.last_coded.eq(self.coded == last_beat),
            self.last_group.eq(self.group == groups - 1),
            self.copy_address.eq((before << exact_log2(GROUP) - lane_bits) + self.copied),
            of_minima.eq(Mux(self.minimum, groups * tokens, 0)),
            number.eq(before + self.group),
            self.number_address.eq(number + of_minima),
        ]
        self._find_code(m, chunks)
        return m

    def _find_code(self, m: Module, chunks: Value) -> None:
        """Within a row of chunks: the chunk, the token in it, the place in the piece."""
        config, place = self.config, self.token.place
        channel = Signal(range(config.kv.channels))
        inner = Signal.like(self.code_address)
        row_bits, piece_bits = exact_log2(config.rows), exact_log2(config.lanes)
        m.d.comb += channel.eq(self.coded << exact_log2(config.kv.lanes))
        key = Cat(channel[:piece_bits], place[:row_bits], channel[piece_bits:])
        value = Cat(channel[:row_bits], place, channel[row_bits:])
        with m.If(self.token.side == Side.KEY):
            m.d.comb += [inner.eq(key), self.ends.eq(self._ends(channel, piece_bits))]
        with m.Else():
            m.d.comb += [inner.eq(value), self.ends.eq(self._ends(channel, row_bits))]
        m.d.comb += self.code_address.eq(chunks + inner)

    def _ends(self, channel: Value, piece_bits: int) -> Value:
        """Whether a beat ends a piece of so many channels."""
        return channel[exact_log2(self.config.kv.lanes) : piece_bits].all()
