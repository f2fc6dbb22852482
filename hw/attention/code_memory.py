"""Code memory: the codes of a page, sent again for each of its queries.

A ring of words. A page's words follow those of the page before; while its last query reads them they make way
for those of the next page.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.attention.payloads import page_replays
from hw.config import Config
from hw.kv.payloads import CODE_BITS, coded_word, word

__all__ = ["CodeMemory", "depth"]

_ENDS = 4
"""Pages whose last word may be in the memory."""


def depth(config: Config) -> int:
    """Words: as many as the codes of the largest page have, rounded up to a power of two."""
    return 1 << ceil_log2(config.kv.page_tokens * config.kv.channels * CODE_BITS // config.memory_bits)


class CodeMemory(wiring.Component):
    """Replay page after page, a word a cycle without a gap between queries and pages.

    A word may leave a cycle after it came. While all words of the memory wait for their last query none is
    taken.

    Members:
        pages (in stream): pages, in the order of their words; taken with the last word of the last query.
        words (in stream): words of codes, ``last`` closes a page's.
        replayed (out stream): all words of a page for each query.
        again (out): the page's words were sent before.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(page_replays(config))),
                "words": In(stream.Signature(word(config.memory_bits))),
                "replayed": Out(stream.Signature(coded_word(config.memory_bits))),
                "again": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = depth(self.config)
        shape = data.StructLayout({"data": self.config.memory_bits})
        m.submodules.memory = storage = memory.Memory(shape=shape, depth=size, init=[])
        write = storage.write_port()
        read = storage.read_port()
        # Places in the ring have one more bit, which tells a full one from an empty one.
        written = Signal(range(2 * size))
        begin = Signal.like(written)  # the first word of the page that is read
        place = Signal.like(written)
        m.submodules.ends = ends = SyncFIFO(width=len(written), depth=_ENDS)

        query = Signal(range(self.config.kv.queries))
        last_query = Signal()
        free = Signal.like(written)
        room = Signal()
        takes = Signal()
        m.d.comb += [
            last_query.eq(query == self.pages.payload.last_query),
            free.eq(Mux(last_query & self.pages.valid, place, begin)),
            room.eq((written - free)[: len(written)] != size),
            self.words.ready.eq(room & (ends.w_rdy | ~self.words.payload.last)),
            takes.eq(self.words.valid & self.words.ready),
            write.en.eq(takes),
            write.addr.eq(written[:-1]),
            write.data.data.eq(self.words.payload.data),
            ends.w_en.eq(takes & self.words.payload.last),
            ends.w_data.eq(written),
        ]
        with m.If(takes):
            m.d.sync += written.eq(written + 1)

        sent = self.replayed
        advance = Signal()
        fetches = Signal()
        at_end = Signal()
        following = Signal.like(place)
        m.d.comb += [
            advance.eq(~sent.valid | sent.ready),
            fetches.eq(advance & self.pages.valid & (place != written)),
            at_end.eq(ends.r_rdy & (place == ends.r_data)),
            following.eq(place + 1),
            self.pages.ready.eq(fetches & at_end & last_query),
            ends.r_en.eq(self.pages.ready),
            read.en.eq(advance),
            read.addr.eq(place[:-1]),
            sent.payload.data.eq(read.data.data),
        ]
        with m.If(fetches):
            m.d.sync += place.eq(Mux(at_end & ~last_query, begin, following))
            m.d.sync += [sent.payload.coding.eq(self.pages.payload.coding), sent.payload.last.eq(at_end)]
            m.d.sync += self.again.eq(query.any())
            with m.If(at_end):
                m.d.sync += query.eq(Mux(last_query, 0, query + 1))
                with m.If(last_query):
                    m.d.sync += begin.eq(following)
        with m.If(advance):
            m.d.sync += sent.valid.eq(fetches)
        return m
