"""Columns: all token columns of attention; what comes to all of them, and what all of them give."""

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw import payloads
from hw.attention.column import Column, column_config, column_result, column_term
from hw.attention.fork import Fork
from hw.attention.payloads import (
    column_state,
    maximum_moves,
    operand_beat,
    score_beat,
    score_page,
    turn_of,
    value_read,
    value_segments,
    value_sum,
    weight_request,
)
from hw.attention.product_shape import of_columns
from hw.attention.score_order import ScoreOrder
from hw.config import Config
from hw.sharing import share

__all__ = ["Columns"]

Assign = Callable[[int, data.View, data.View], list[Any]]
"""Statements that bring a payload of all columns to that of one."""


class Columns(wiring.Component):
    """Softmax and value sums of all queries; query n is in column ``n % columns``.

    Members:
        pages (in stream): pages of keys whose results come.
        requests (in stream), weights (out stream): weights of a turn of queries, once all columns have them.
        results, terms (in streams): of keys and values.
        moves (out stream): of a turn of queries, once all columns have them.
        scores (out stream): of pages where they are wanted, query by query.
        states (out streams): what the queries have found, one for each column.
        segments, dots (in streams): to value sums.
        reads (in streams): of value sums, one for each column, of which one at a time is valid.
        column (in): whose read has been offered last.
        sums (out stream): what is read.
        settled (out): value sums of all columns are.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(score_page(config))),
                "requests": In(stream.Signature(weight_request(config))),
                "weights": Out(stream.Signature(operand_beat(config))),
                "results": In(stream.Signature(column_result(config))),
                "terms": In(stream.Signature(column_term(config))),
                "moves": Out(stream.Signature(maximum_moves(config))),
                "scores": Out(stream.Signature(score_beat)),
                **dict.fromkeys(of_columns("states", config), Out(stream.Signature(column_state(config)))),
                "segments": In(stream.Signature(value_segments(config))),
                "dots": In(stream.Signature(payloads.column_dots(config))),
                **dict.fromkeys(of_columns("reads", config), In(stream.Signature(value_read(config)))),
                "column": In(range(config.columns)),
                "sums": Out(stream.Signature(value_sum)),
                "settled": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        columns = [
            share(m, name, Column(column_config(config), config.columns))
            for name in of_columns("column", config)
        ]
        orders = len(columns) > 1  # one more taker of pages
        pages = self._fork(m, "pages", columns, self._page, orders)
        self._fork(m, "requests", columns, _request)
        self._fork(m, "results", columns, _result)
        self._fork(m, "terms", columns, _term)
        self._fork(m, "dots", columns, _dots)
        self._fork(m, "segments", columns, _segment)
        self._join(m, columns)
        if not orders:
            connect(m, columns[0].scores, flipped(self.scores))
            return m
        m.submodules.score_order = order = ScoreOrder(config)
        connect(m, pages[-1], order.pages)
        for column, name in zip(columns, of_columns("scores", config), strict=True):
            connect(m, column.scores, getattr(order, name))
        connect(m, order.scores, flipped(self.scores))
        return m

    def _fork(
        self, m: Module, name: str, columns: Sequence[Column], assign: Assign, more: int = 0
    ) -> list[stream.Interface]:
        """A stream to all columns, and ``more`` takers."""
        source = getattr(self, name)
        m.submodules[f"fork_{name}"] = fork = Fork(source.payload.shape(), len(columns) + more)
        connect(m, flipped(source), fork.coming)
        takers = [getattr(fork, taker) for taker in fork.takers]
        for number, (column, taker) in enumerate(zip(columns, takers, strict=False)):
            target = getattr(column, name)
            m.d.comb += [
                target.valid.eq(taker.valid),
                taker.ready.eq(target.ready),
                *assign(number, taker.payload, target.payload),
            ]
        return takers

    def _page(self, number: int, page: data.View, own: data.View) -> list[Any]:
        """The queries of a column."""
        last_turn = turn_of(page.last_query, self.config)
        columns = self.config.columns
        last = page.last_query[: exact_log2(columns)]
        lacks = [own.lacks.eq(last < number)] if number else []  # the first column has a query
        same = ["first", "causal", "opens", "closes", "scores", *["continues"] * self.config.kv.split_keys]
        return [
            *(own[name].eq(page[name]) for name in same),
            own.last_query.eq(last_turn),
            own.last.eq(page.last + (number & page.causal)),
            *lacks,
        ]

    def _join(self, m: Module, columns: Sequence[Column]) -> None:
        """What all columns give together, and what one after the other gives."""
        weights, moves = self.weights, self.moves
        m.d.comb += [
            weights.payload.last.eq(columns[0].weights.payload.last),
            weights.valid.eq(Cat(column.weights.valid for column in columns).all()),
            moves.valid.eq(Cat(column.moves.valid for column in columns).all()),
            self.settled.eq(Cat(column.settled for column in columns).all()),
        ]
        states, reads = (of_columns(name, self.config) for name in ("states", "reads"))
        for number, column in enumerate(columns):
            connect(m, column.states, flipped(getattr(self, states[number])))
            connect(m, flipped(getattr(self, reads[number])), column.reads)
            m.d.comb += [
                column.weights.ready.eq(weights.valid & weights.ready),
                weights.payload.elements[number].eq(column.weights.payload.weights),
                column.moves.ready.eq(moves.valid & moves.ready),
                moves.payload[number].eq(column.moves.payload),
            ]

        # Sums of a query may still be there when those of the next one, another column's, come.
        leaving = Signal.like(self.column)
        sources = [column.sums for column in columns]
        present = Array(source.valid for source in sources)[leaving]
        m.d.comb += [
            self.sums.valid.eq(present),
            self.sums.payload.eq(Array(source.payload.as_value() for source in sources)[leaving]),
            *(source.ready.eq(self.sums.ready & (leaving == n)) for n, source in enumerate(sources)),
        ]
        with m.If(~present):
            m.d.sync += leaving.eq(self.column)


def _request(number: int, asked: data.View, own: data.View) -> list[Any]:
    return [own.eq(asked)]


def _result(number: int, found: data.View, own: data.View) -> list[Any]:
    rows = zip(own.result.rows, found.result.rows, strict=True)
    return [
        own.side.eq(found.side),
        *(own.result[name].eq(found.result[name]) for name in ("count", "last", "error")),
        *(row[0].eq(columns[number]) for row, columns in rows),
    ]


def _term(number: int, terms: data.View, own: data.View) -> list[Any]:
    return [own.side.eq(terms.side), own.terms[0].eq(terms.terms[number])]


def _dots(number: int, found: data.View, own: data.View) -> list[Any]:
    return [
        own.dots.eq(found.dots[number]),
        own.bias.eq(found.bias),
        own.exponent.eq(found.exponents[number]),
    ]


def _segment(number: int, segment: data.View, own: data.View) -> list[Any]:
    same = [name for name, _ in segment.shape() if name != "moved"]
    return [own.moved.eq(segment.moved[number]), *(own[name].eq(segment[name]) for name in same)]
