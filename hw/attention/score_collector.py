"""Score collector: results of the array become scores in memory, with the maximum of each vector of them."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.attention.widths import LOWEST, SCORE_FRACTION
from hw import payloads
from hw.attention import score_converter
from hw.attention.payloads import MAXIMUM_BITS, offset_term, score_page
from hw.attention.score_converter import HALF_SCORE, ScoreConverter
from hw.attention.score_memory import BANKS, groups, maximum_place, memory_word, score_place
from hw.config import Config

__all__ = ["ScoreCollector"]


class ScoreCollector(wiring.Component):
    """Take page after page, a result a cycle; a vector of scores takes a cycle more.

    A page is taken while one before it is still in memory.

    Members:
        pages (in stream): a page that comes.
        results (in stream): its results, float32 rows in the order (query, group of tokens, token), every
            group of at least 16 tokens; ``last`` closes a vector, one query's tokens of a group. Whether
            they are marked as damaged is not looked at.
        terms (in stream): the offset term of every vector, 0 where keys are by token.
        waits (in): a cycle without write is wanted; it comes within ``score_converter.LATENCY`` + 2.
        write (out): scores, each ``score_converter.LATENCY`` cycles after its result, and maxima.
        complete (out): the oldest page is in memory.
        page, bank, last_group (out): of the oldest page.
        free (in): forget it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config))),
                "results": In(stream.Signature(payloads.result(config))),
                "terms": In(stream.Signature(offset_term)),
                "waits": In(1),
                "write": Out(memory_word(config)),
                "complete": Out(1),
                "page": Out(score_page(config)),
                "bank": Out(1),
                "last_group": Out(range(groups(config))),
                "free": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.taken_place = taken_place = _Place(config)
        m.submodules.written_place = written_place = _Place(config)
        shape = score_page(config)
        pages = [Signal(shape, name=f"page_{bank}", reset_less=True) for bank in range(BANKS)]
        last_groups = [
            Signal(range(groups(config)), name=f"last_group_{bank}", reset_less=True) for bank in range(BANKS)
        ]
        used = Signal(BANKS)
        full = Signal(BANKS)
        taking = Signal()
        writing = Signal()
        collecting = Signal()
        m.d.comb += [
            self.pages.ready.eq(~collecting & ~used.bit_select(taking, 1)),
            self.complete.eq(full.bit_select(self.bank, 1)),
            self.page.eq(Mux(self.bank, *reversed(pages))),
            self.last_group.eq(Mux(self.bank, *reversed(last_groups))),
        ]
        taken = Signal(shape)
        written = Signal(shape)
        m.d.comb += [
            taken.eq(Mux(taking, *reversed(pages))),
            written.eq(Mux(writing, *reversed(pages))),
            taken_place.last_query.eq(taken_place.query == taken.last_query),
            written_place.last_query.eq(written_place.query == written.last_query),
        ]
        for bank in range(BANKS):
            with m.If(self.pages.valid & self.pages.ready & (taking == bank)):
                m.d.sync += [pages[bank].eq(self.pages.payload), used[bank].eq(1), collecting.eq(1)]
            with m.If(written_place.page_ends & (writing == bank)):
                m.d.sync += [
                    last_groups[bank].eq(written_place.group),
                    full[bank].eq(1),
                    writing.eq(1 - bank),
                ]
            with m.If(self.free & (self.bank == bank)):
                m.d.sync += [used[bank].eq(0), full[bank].eq(0), self.bank.eq(1 - bank)]
        with m.If(taken_place.page_ends):
            m.d.sync += [collecting.eq(0), taking.eq(~taking)]

        score, closes, converted = self._convert(m, collecting, taken_place)
        m.d.comb += [written_place.step.eq(score), written_place.close.eq(closes)]
        self._write(m, score, closes, converted, written, writing, written_place)
        return m

    def _convert(self, m: Module, collecting: Value, place: "_Place") -> tuple[Value, Value, ScoreConverter]:
        """Results row by row through the converter.

        Returns:
            Whether a score comes out, whether instead its vector has ended, and the converter.
        """
        m.submodules.converter = converter = ScoreConverter()
        units = self.config.rescale_units
        unit = Signal(range(units))
        opening = Signal(init=1)
        closing = Signal()
        take = Signal()
        beat_ends = unit == units - 1
        m.d.comb += [
            take.eq(self.results.valid & collecting & ~closing & ~self.waits & (~opening | self.terms.valid)),
            self.results.ready.eq(take & beat_ends),
            converter.result.eq(Cat(row[0] for row in self.results.payload.rows).word_select(unit, 32)),
            place.step.eq(take),
            place.close.eq(closing),
        ]
        opened = Signal()
        m.d.sync += [closing.eq(take & beat_ends & self.results.payload.last), opened.eq(take & opening)]
        with m.If(take):
            m.d.sync += [unit.eq(Mux(beat_ends, 0, unit + 1)), opening.eq(0)]
        with m.If(closing):
            m.d.sync += opening.eq(1)

        # A vector has so many results that its term is taken long before the next one is looked for.
        term = Signal(offset_term, reset_less=True)
        m.d.comb += [self.terms.ready.eq(opened), converter.term.eq(term)]
        with m.If(opened):
            m.d.sync += term.eq(self.terms.payload + HALF_SCORE)
        present: list[Value] = [take]
        closes: list[Value] = [closing]
        for stage in range(score_converter.LATENCY):
            for name, flags in (("score", present), ("closes", closes)):
                held = Signal(name=f"{name}_{stage}")
                m.d.sync += held.eq(flags[-1])
                flags.append(held)
        return present[-1], closes[-1], converter

    def _write(
        self,
        m: Module,
        score: Value,
        closes: Value,
        converter: ScoreConverter,
        page: data.View,
        bank: Value,
        place: "_Place",
    ) -> None:
        """Scores, and the largest of a vector's valid ones, rounded up.

        Rounding up keeps the order of integer parts, and of the presence of a fraction.
        """
        converted = converter.score
        largest = Signal(signed(MAXIMUM_BITS + 1), init=LOWEST << 1)
        own = Signal(signed(MAXIMUM_BITS + 1))
        valid = (page.first <= place.token) & (place.token <= page.last)
        m.d.comb += own.eq(Cat(converted[:SCORE_FRACTION].any(), converted[SCORE_FRACTION:]))
        with m.If(score & valid & (own > largest)):
            m.d.sync += largest.eq(own)
        with m.If(closes):
            m.d.sync += largest.eq(LOWEST << 1)
        raised = Signal(signed(MAXIMUM_BITS))
        m.d.comb += [
            raised.eq(largest[1:].as_signed() + largest[0]),
            self.write.present.eq(score | closes),
            self.write.data.eq(Mux(closes, raised, converted)),
            self.write.address.eq(
                Mux(
                    closes,
                    maximum_place(self.config, bank, place.query, place.group),
                    score_place(bank, place.query, place.token),
                )
            ),
        ]


class _Place(wiring.Component):
    """Where in a page a score stands.

    Members:
        step (in): to the next token of the vector.
        close (in): to the next vector.
        last_query (in): the score's query is the page's last one.
        token, query, group (out): of the score.
        page_ends (out): the vector that closes is the page's last one.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        query = range(config.kv.queries)
        super().__init__(
            {
                "step": In(1),
                "close": In(1),
                "last_query": In(1),
                "token": Out(range(config.kv.page_tokens)),
                "query": Out(query),
                "group": Out(range(groups(config))),
                "page_ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        query_ends = Signal()
        m.d.comb += [
            query_ends.eq(self.close & (self.token == 0)),
            self.page_ends.eq(query_ends & self.last_query),
        ]
        with m.If(self.step):
            m.d.sync += self.token.eq(self.token + 1)  # past the page's last one lies the next query's first
        with m.If(self.close):
            m.d.sync += self.group.eq(Mux(query_ends, 0, self.group + 1))
        with m.If(query_ends):
            m.d.sync += self.query.eq(Mux(self.last_query, 0, self.query + 1))
        return m
