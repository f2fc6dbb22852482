"""Importance: attention that tokens have had, summed over steps and the query heads of a group.

Meaning: ``golden.selection.importance``. Sums lie in outside memory. What the queries of a group give to the
tokens of a page is gathered in a memory, beside the normalisers of the queries, and joins the sums of the
page with its last query.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, exact_log2

from golden.attention.widths import SCORE_FRACTION
from golden.numbers.tables import EXP2, VALUE_BITS
from golden.selection.importance import FRACTION_BITS
from hw.attention.payloads import score_beat, softmax_state
from hw.config import Config
from hw.numbers import table_engine
from hw.numbers.pipeline import hold
from hw.numbers.table_engine import TableEngine
from hw.selection.normaliser import NORMALISER_BITS, Normaliser
from hw.selection.payloads import SCORE_BITS, importance_page, importance_sum

__all__ = ["LATENCY", "PREPARATION", "Importance"]

LATENCY = 6
"""Cycles from a score of the last query to the token's sum."""
PREPARATION = 6
"""Cycles between the scores of two lists, beside those in which normalisers are worked out."""
_STAGES = LATENCY - 1
"""Registers of a score's flags."""
_BELOW_BITS = 5
"""A weight below 2^-31 is 0, as it is below 2^-21."""
_WEIGHT_BITS = FRACTION_BITS + 1


class Importance(wiring.Component):
    """Add the weights of a step to the sums of page after page.

    Throughput: a score a cycle, without a gap between queries or pages, so that whoever gives scores does not
    wait. Latency: ``LATENCY``. Queries of a new list take up to ``normaliser.MOST_CYCLES`` each, and
    ``PREPARATION`` cycles all together. Sums that are late, or not taken, halt everything.

    Members:
        pages (in stream): what comes; taken with the last score of a page.
        states (in stream): maximum and sum of weights of each query of a list, when all of it has been read.
        scores (in stream): of all tokens of a page, query after query; ``last`` does not matter.
        before (in stream): sums of all tokens of a page, unless it is fresh; ``last`` does not matter.
        after (out stream): the same with this step's weights.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(importance_page(config))),
                "states": In(stream.Signature(softmax_state(config))),
                "scores": In(stream.Signature(score_beat)),
                "before": In(stream.Signature(importance_sum)),
                "after": Out(stream.Signature(importance_sum)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.powers = powers = TableEngine([EXP2])
        rows = self.config.kv.page_tokens + self.config.kv.queries
        m.submodules.numbers = numbers = memory.Memory(shape=NORMALISER_BITS, depth=rows, init=[])
        of_query = numbers.read_port()
        of_token = numbers.read_port()
        write = numbers.write_port()
        advance = Signal()
        known = Signal()  # normalisers of the page's queries are
        taken = Signal()
        item = Signal(self._item_layout())
        next_query = self._enter(m, known & advance, taken, item)
        items, present = [item], [taken]
        for stage in range(_STAGES):
            items.append(hold(m, advance, f"item_{stage}", items[-1]))
            present.append(hold(m, advance, f"present_{stage}", present[-1], reset=True))
        works = self._normalise(m, known, Cat(present[1:-1]).any())
        weight = self._weigh(m, advance, of_query.data, works)

        gathered = Signal(self._gathered_bits())
        normaliser = m.submodules.normaliser
        m.d.comb += [
            powers.advance.eq(advance | works),
            of_query.addr.eq(self._row(next_query, of_query=True)),
            of_query.en.eq(advance),
            of_token.addr.eq(self._row(items[3].token)),
            of_token.en.eq(advance),
            gathered.eq(Mux(items[4].first, 0, of_token.data[: len(gathered)]) + weight),
            write.addr.eq(self._row(items[4].token)),
            write.data.eq(gathered),
            write.en.eq(present[4] & advance),
        ]
        with m.If(works):
            m.d.comb += [
                write.addr.eq(self._row(normaliser.query, of_query=True)),
                write.data.eq(normaliser.normaliser),
                write.en.eq(normaliser.writes),
            ]
        ends = present[5] & items[5].final
        self._join(m, advance, ends, items[5], hold(m, advance, "gathered", gathered))
        return m

    def _item_layout(self) -> data.StructLayout:
        """What is known of a score beside itself."""
        token = range(self.config.kv.page_tokens)
        return data.StructLayout({"first": 1, "final": 1, "live": 1, "fresh": 1, "last": 1, "token": token})

    def _gathered_bits(self) -> int:
        """Width of what all queries give to a token, a little more than 1 each."""
        return bits_for(self.config.kv.queries) + _WEIGHT_BITS

    def _row(self, number: Value, of_query: bool = False) -> Value:
        """Row of the memory of a token or a query."""
        return number | (of_query << exact_log2(self.config.kv.page_tokens))

    def _enter(self, m: Module, may: Value, taken: Signal, item: data.View) -> Value:
        """Count tokens and queries; returns the query of the score that is taken in the next cycle."""
        page = self.pages.payload
        token = Signal(range(self.config.kv.page_tokens))
        query = Signal(range(self.config.kv.queries))
        next_query = Signal.like(query)
        m.d.comb += [
            self.scores.ready.eq(self.pages.valid & may),
            taken.eq(self.scores.valid & self.scores.ready),
            item.first.eq(query == 0),
            item.final.eq(query == page.last_query),
            item.live.eq(page.live.bit_select(token, 1)),
            item.fresh.eq(page.fresh),
            item.last.eq(token.all()),
            item.token.eq(token),
            next_query.eq(query),
            self.pages.ready.eq(taken & item.last & item.final),
        ]
        with m.If(taken):
            m.d.sync += token.eq(token + 1)
            with m.If(item.last):
                m.d.comb += next_query.eq(Mux(item.final, 0, query + 1))
        m.d.sync += query.eq(next_query)
        return next_query

    def _normalise(self, m: Module, known: Signal, under_way: Value) -> Value:
        """Take the states of a list's queries ahead of its first page; returns whether that goes on."""
        m.submodules.normaliser = normaliser = Normaliser(self.config)
        powers = m.submodules.powers
        page = self.pages.payload
        count = Signal(range(self.config.kv.queries))
        written = Signal()  # all of them, in the cycle before
        complete = Signal()
        works = Signal()
        connect(m, flipped(self.states), normaliser.states)
        m.d.comb += [
            works.eq(self.pages.valid & page.opens & ~written & ~complete & ~under_way),
            known.eq(~page.opens | complete),
            normaliser.works.eq(works),
            normaliser.value.eq(powers.value),
        ]
        m.d.sync += written.eq(normaliser.writes & (count == page.last_query))
        with m.If(normaliser.writes):
            m.d.sync += count.eq(Mux(count == page.last_query, 0, count + 1))
        with m.If(written):
            m.d.sync += complete.eq(1)
        with m.If(self.pages.ready):
            m.d.sync += complete.eq(0)
        return works

    def _weigh(self, m: Module, advance: Value, normaliser: Value, works: Value) -> Value:
        """Score and normaliser to a weight, four cycles later."""
        powers = m.submodules.powers
        exact = Signal(signed(NORMALISER_BITS + 1))
        m.d.comb += exact.eq(self.scores.payload.score - normaliser.as_signed())
        distance = hold(m, advance, "distance", exact)
        above = ~distance[-1]
        fraction = Mux(above, 0, distance[:SCORE_FRACTION])
        whole = Signal(NORMALISER_BITS + 1 - SCORE_FRACTION)
        m.d.comb += [
            whole.eq(Mux(above, 0, ~distance[SCORE_FRACTION:] + 1)),
            powers.argument.eq(Mux(works, m.submodules.normaliser.argument, fraction)),
        ]
        far = whole[_BELOW_BITS:].any()
        below = whole[:_BELOW_BITS]
        for stage in range(table_engine.LATENCY):
            below = hold(m, advance, f"below_{stage}", below)
            far = hold(m, advance, f"far_{stage}", far)
        # The lowest bit of the window is half a unit.
        window = Mux(far, 0, powers.value[VALUE_BITS - FRACTION_BITS - 1 :])
        for level in range(_BELOW_BITS):
            lowered = Signal(len(window), name=f"lowered_{level}")
            m.d.comb += lowered.eq(Mux(below[level], window[1 << level :], window))
            window = lowered
        weight = Signal(_WEIGHT_BITS)
        m.d.comb += weight.eq((window + 1) >> 1)
        return hold(m, advance, "weight", weight)

    def _join(self, m: Module, advance: Value, ends: Value, item: data.View, gathered: Value) -> None:
        """Sums of before and what was gathered, saturating, to the output's register."""
        out = self.after
        room = Signal()
        needs = Signal()
        total = Signal(SCORE_BITS + 1)
        m.d.comb += [
            room.eq(~out.valid | out.ready),
            needs.eq(ends & ~item.fresh),
            advance.eq(room & (~needs | self.before.valid)),
            self.before.ready.eq(needs & room),
            total.eq(Mux(item.fresh, 0, self.before.payload.sum) + gathered),
        ]
        with m.If(room):
            m.d.sync += out.valid.eq(ends & advance)
        with m.If(advance):
            m.d.sync += [
                out.payload.sum.eq(Mux(item.live, total[:-1] | total[-1].replicate(SCORE_BITS), 0)),
                out.payload.last.eq(item.last),
            ]
