"""Streams of a page writer: pages in, words out and compared with golden's, errors counted."""

from golden.kv.affine import Quantized
from hw.config import Config
from hw.kv.payloads import element_beat, page_record, written_word
from sim.benches.kv.pages import words_of
from sim.benches.kv.written_pages import WrittenPage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS
from sim.streams import Domain, StreamMonitor, StreamSink, StreamSource, situation

__all__ = ["WriterStreams"]


class WriterStreams:
    """The writer with its streams, and counters of its errors."""

    def __init__(self, domain: Domain, config: Config, errors: ErrorPlan, stalls: str) -> None:
        where, self.width = situation(stalls), config.memory_bits
        self.domain = domain
        self.board = Scoreboard("words", written_word(self.width))
        self.formats = StreamSource(domain, "formats", page_record(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.sink = StreamSink(
            domain, "words", written_word(self.width), where.sink, where.sink_waits, self.board.observe
        )
        self.errors = ErrorCounter(domain, errors)
        self.wanted = 0

    def send(self, page: WrittenPage) -> Quantized | None:
        """A page that becomes what golden says of it, unless it is left out; returns its numbers."""
        self.formats.send(page.record)
        self.elements.send_all(page.beats)
        if page.kept is None:
            return None
        quantized = page.layout.format.quantize(page.kept)
        *others, last = words_of(page.layout.pack(quantized), self.width)
        self.board.expect_all({"data": data, "last": False, "top": 0} for data in others)
        self.board.expect({"data": last, "last": True, "top": page.top})
        self.wanted += len(others) + 1
        return quantized

    def page_ends(self) -> list[int]:
        """Cycles in which last words of pages leave, from now on; the list grows."""
        ends: list[int] = []

        def note(bits: int) -> None:
            if self.sink.codec.unpack(bits)["last"]:
                ends.append(self.domain.cycle)

        StreamMonitor(self.domain, "words", written_word(self.width), note)
        return ends

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected word, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.elements.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(counts, spacing)
