"""Weight memory: two pages' weights; one page's are read while those of the next come."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.payloads import weight_beat, weight_request
from hw.attention.weight_unit import weight
from hw.config import Config

__all__ = ["WeightMemory"]

_BANKS = 2


class WeightMemory(wiring.Component):
    """Keep weights until the last request of their page.

    A request takes ``page_tokens / activation_lanes`` cycles, the first beat comes one cycle after it.
    ``requests.ready`` depends on ``weights.ready``.

    Members:
        room (out): another page may begin.
        page_begins (in): it does; its weights come behind those of the page before.
        written, weight (in): a page's weights in the order (query, token), every query with all its tokens.
        last_query (in): the weight is of the page's last query.
        query, opens, closes (out): of the weight that comes next: its query, and whether it is the first and
            the last one of it.
        requests (in stream): whose weights are wanted, in any order and as often as wanted; of the oldest
            page, once it is complete.
        weights (out stream): the weights of each request.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "room": Out(1),
                "page_begins": In(1),
                "written": In(1),
                "weight": In(weight),
                "last_query": In(1),
                "query": Out(range(config.kv.queries)),
                "opens": Out(1),
                "closes": Out(1),
                "requests": In(stream.Signature(weight_request(config))),
                "weights": Out(stream.Signature(weight_beat(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kv, lanes = self.config.kv, self.config.activation_lanes
        beats = kv.page_tokens // lanes
        shape = data.ArrayLayout(weight, lanes)
        m.submodules.storage = storage = memory.Memory(
            shape=shape, depth=_BANKS * kv.queries * beats, init=[]
        )
        write = storage.write_port(granularity=1)
        read = storage.read_port()
        # Pages so far, twice the number of banks before they count from zero again.
        begun = Signal(range(2 * _BANKS))
        complete = Signal.like(begun)
        released = Signal.like(begun)
        writing, reading = complete[0], released[0]

        place = Signal(range(kv.queries * kv.page_tokens))
        page_ends = Signal()
        token = place[: exact_log2(kv.page_tokens)]
        m.d.comb += [
            self.room.eq(begun != released ^ _BANKS),
            self.query.eq(place[len(token) :]),
            self.opens.eq(~token.any()),
            self.closes.eq(token.all()),
            page_ends.eq(self.written & self.last_query & self.closes),
            write.addr.eq(Cat(place[exact_log2(lanes) :], writing)),
        ]
        for lane in range(lanes):
            chosen = place[: exact_log2(lanes)] == lane
            m.d.comb += [write.data[lane].eq(self.weight), write.en[lane].eq(self.written & chosen)]
        with m.If(self.written):
            m.d.sync += place.eq(Mux(page_ends, 0, place + 1))

        beat = Signal(range(beats))
        sent = self.weights
        advance = Signal()
        fetches = Signal()
        ends = Signal()
        m.d.comb += [
            advance.eq(~sent.valid | sent.ready),
            fetches.eq(self.requests.valid & (complete != released) & advance),
            ends.eq(fetches & (beat == beats - 1)),
            self.requests.ready.eq(ends),
            read.en.eq(advance),
            read.addr.eq(Cat(beat, self.requests.payload.query, reading)),
        ]
        releases = Signal()
        m.d.comb += releases.eq(ends & self.requests.payload.last)
        with m.If(fetches):
            m.d.sync += beat.eq(Mux(ends, 0, beat + 1))
        with m.If(advance):
            m.d.sync += [sent.valid.eq(fetches), sent.payload.last.eq(ends)]
        for happens, pages in ((self.page_begins, begun), (page_ends, complete), (releases, released)):
            with m.If(happens):
                m.d.sync += pages.eq(pages + 1)
        for kept, out in zip(read.data, sent.payload.weights, strict=True):
            m.d.comb += [
                out.fraction.eq(kept.fraction),
                out.exponent.eq(Cat(kept.exponent, Const(0, 1))),
            ]
        return m
