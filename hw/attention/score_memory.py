"""Score memory: scores of two queries in a ring, and what is known of every query behind it.

A word holds two scores, each with the validity of its token, or a query's sum of weights and maximum. Scores
come and go one a cycle and leave every second cycle of both ports to the words of queries.
"""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.payloads import MAXIMUM_BITS, SCORE_BITS, TOTAL_BITS
from hw.config import Config

__all__ = ["ScoreMemory", "stored_score"]

stored_score = data.StructLayout({"score": signed(SCORE_BITS), "valid": 1})
"""``valid``: its token is."""

_QUERIES = 2  # whose scores wait: one's come while the other's are read
_STATE_BITS = TOTAL_BITS + MAXIMUM_BITS
_LANE = gcd(TOTAL_BITS, MAXIMUM_BITS)


class ScoreMemory(wiring.Component):
    """Keep scores, a query's behind the other's, and the maximum and the sum of weights of each.

    Members:
        present, coming (in): a score.
        pairs (out): this one goes to memory, with the one before.
        read (in): the next score is wanted.
        closes (out): it is its query's last one.
        score (out): the one read last.
        place (out): how many were read, in pages of two queries.
        keeps_total, total_query, total (in): write a sum; not while ``pairs``.
        keeps_maximum, maximum_query, maximum (in): write a maximum.
        kept (out): it is being written.
        asks_maximum, asks_total (in): of ``maximum_query``, ``asked_query``, until they are found; the
            maximum first.
        finds_maximum, finds_total (out): this cycle they are in ``found_maximum`` or ``found_total``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        query = range(config.kv.queries)
        super().__init__(
            {
                "present": In(1),
                "coming": In(stored_score),
                "pairs": Out(1),
                "read": In(1),
                "closes": Out(1),
                "score": Out(stored_score),
                "place": Out(range(_QUERIES * config.kv.page_tokens)),
                "keeps_total": In(1),
                "total_query": In(query),
                "total": In(TOTAL_BITS),
                "keeps_maximum": In(1),
                "maximum_query": In(query),
                "maximum": In(signed(MAXIMUM_BITS)),
                "kept": Out(1),
                "asks_maximum": In(1),
                "asks_total": In(1),
                "asked_query": In(query),
                "finds_maximum": Out(1),
                "finds_total": Out(1),
                "found_maximum": Out(signed(MAXIMUM_BITS)),
                "found_total": Out(TOTAL_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tokens = self.config.kv.page_tokens
        depth = tokens + self.config.kv.queries
        m.submodules.storage = storage = memory.Memory(shape=_STATE_BITS, depth=depth, init=[])
        write = storage.write_port(granularity=_LANE)
        read = storage.read_port()
        self._write(m, write)
        self._read(m, read, exact_log2(tokens))
        return m

    def _state_place(self, query: Value) -> Value:
        """Address of a query's word."""
        unused = exact_log2(self.config.kv.page_tokens) - len(query)
        return Cat(query, Const(0, unused), Const(1, 1))

    def _write(self, m: Module, write: memory.WritePort) -> None:
        written = Signal.like(self.place)
        even = Signal(stored_score, reset_less=True)
        with m.If(self.present):
            m.d.sync += written.eq(written + 1)
        with m.If(self.present & ~written[0]):
            m.d.sync += even.eq(self.coming)
        m.d.comb += [
            self.pairs.eq(self.present & written[0]),
            self.kept.eq(self.keeps_maximum & ~self.pairs & ~self.keeps_total),
        ]
        total_lanes = TOTAL_BITS // _LANE
        with m.If(self.pairs):
            m.d.comb += [write.addr.eq(written[1:]), write.data.eq(Cat(even, self.coming)), write.en.eq(~0)]
        with m.Else():
            query = Mux(self.keeps_total, self.total_query, self.maximum_query)
            enabled = Cat(
                self.keeps_total.replicate(total_lanes), self.kept.replicate(len(write.en) - total_lanes)
            )
            m.d.comb += [
                write.addr.eq(self._state_place(query)),
                write.data.eq(Cat(self.total, self.maximum)),
                write.en.eq(enabled),
            ]

    def _read(self, m: Module, read: memory.ReadPort, token_bits: int) -> None:
        """Pairs of scores; the odd one is held, so that behind an even one the port is free."""
        shows_even = Signal()
        odd = Signal(stored_score, reset_less=True)
        fetches = Signal()
        free = Signal()
        takes_odd = self.read & self.place[0]
        pair = Signal(data.ArrayLayout(stored_score, 2))
        m.d.comb += [
            fetches.eq(self.read & ~self.place[0]),
            free.eq(~fetches & (~shows_even | self.read)),
            pair.eq(read.data[: len(pair.as_value())]),
            self.score.eq(Mux(shows_even, pair[0], odd)),
            self.closes.eq(self.place[:token_bits].all()),
            self.found_total.eq(read.data[:TOTAL_BITS]),
            self.found_maximum.eq(read.data[TOTAL_BITS:]),
            read.en.eq(fetches | (free & (self.asks_maximum | self.asks_total))),
        ]
        query = Mux(self.asks_maximum, self.maximum_query, self.asked_query)
        m.d.comb += read.addr.eq(Mux(fetches, self.place[1:], self._state_place(query)))
        m.d.sync += [
            self.finds_maximum.eq(free & self.asks_maximum),
            self.finds_total.eq(free & self.asks_total & ~self.asks_maximum),
        ]
        with m.If(self.read):
            m.d.sync += [self.place.eq(self.place + 1), shows_even.eq(~self.place[0])]
        with m.If(takes_odd):
            m.d.sync += odd.eq(pair[1])
