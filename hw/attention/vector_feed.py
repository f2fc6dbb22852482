"""Vector feed: the vectors of a page's products, as operands with their steps and offsets for folding.

Turn after turn of queries; for each query one vector a part. Operands are queries from their memory, or the
weights of softmax; where steps are not folded they are 1 and offsets 0.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.attention.payloads import (
    CENTRE_BITS,
    attention_page,
    folding_beat,
    number_request,
    numbers,
    operand_beat,
    product,
    query_request,
    score_page,
    turn_of,
    weight_request,
)
from hw.attention.product_shape import (
    centre_of,
    halvings_of,
    inputs_of,
    is_folded,
    last_part_of,
    most_outputs,
)
from hw.config import Config
from hw.kv.formats import Kind, kind_of
from hw.kv.page_shape import field_words, groups_of_token
from hw.kv.payloads import HALF_BITS, Side
from hw.payloads import HALVING_BITS

__all__ = ["VECTORS_UNDER_WAY", "VectorFeed", "line"]

_ONE = 0x3C00
VECTORS_UNDER_WAY = 8
"""Vectors between this feed and their codes: in folding, the aligner and the activation buffer."""
_WAITING = 5
"""Beats whose numbers are on their way."""


def line(form: data.View, scale: Value, minimum: Value) -> tuple[Value, Value]:
    """Step and offset, float16, of a group's scale and minimum.

    Signs have steps of twice the scale from its opposite; trits and symmetric codes have no offset.
    """
    kind = kind_of(form)
    normal = scale[10:15].any()
    twice = Cat(scale[:-1] + (normal << 10), Const(0, 1))[:HALF_BITS]
    doubled = Mux(normal, twice, scale << 1)[:HALF_BITS]
    sign = kind == Kind.SIGN
    step = Mux(sign, doubled, scale)
    offset = Mux(kind == Kind.AFFINE, minimum, Mux(sign, scale | 1 << HALF_BITS - 1, 0))
    return step, offset[:HALF_BITS]


class VectorFeed(wiring.Component):
    """Feed folding, a beat of ``activation_lanes`` elements a cycle.

    There is no gap between vectors while operands and numbers come. A product is offered before the first
    beat of its vectors; so are, for keys, what softmax must know of the page.

    Members:
        pages (in stream): pages whose numbers are in memory; taken with their last vector.
        products (out stream): a product for each part of each turn.
        score_pages (out stream): one for each page of keys.
        queries, weights (out streams): whose operands are wanted.
        query_beats, weight_beats (in streams): operands.
        requests (out stream), numbers (in stream): groups of the page's numbers.
        beats (out stream): for folding; ``halvings`` of the vector is constant within it.
        halvings (out): how often the array's group is halved to align the vector of the present beat.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "pages": In(stream.Signature(attention_page(config))),
                "products": Out(stream.Signature(product(config))),
                "score_pages": Out(stream.Signature(score_page(config))),
                "queries": Out(stream.Signature(query_request(config))),
                "weights": Out(stream.Signature(weight_request(config))),
                "query_beats": In(stream.Signature(operand_beat(config))),
                "weight_beats": In(stream.Signature(operand_beat(config))),
                "requests": Out(stream.Signature(number_request(config))),
                "numbers": In(stream.Signature(numbers(config))),
                "beats": Out(stream.Signature(folding_beat(config))),
                "halvings": Out(HALVING_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.tags = tags = SyncFIFO(width=self._tag_layout().size, depth=_WAITING)
        m.submodules.waiting_products = products = SyncFIFO(
            width=product(config).size, depth=VECTORS_UNDER_WAY
        )
        operand = data.StructLayout({"side": Side, "request": query_request(config)})
        m.submodules.operands = operands = SyncFIFO(width=operand.size, depth=2)
        # Between what halts folding and the page's walk.
        m.submodules.waiting_requests = requests = SyncFIFO(
            width=Shape.cast(number_request(config)).width, depth=2
        )
        keys = 4 if config.kv.split_keys else 2  # of two pages of tokens
        m.submodules.waiting_score_pages = score_pages = SyncFIFO(width=score_page(config).size, depth=keys)

        page = self.pages.payload
        turn = Signal.like(self.products.payload.turn)
        part = Signal.like(self.products.payload.part)
        last_part = Signal()
        last_turn = Signal()
        opening = Signal()
        step = Signal()
        vector_ends = Signal()
        page_ends = Signal()
        folded = Signal()
        is_key = Signal()
        m.d.comb += [
            folded.eq(is_folded(page.form)),
            is_key.eq(page.form.side == Side.KEY),
            last_part.eq(part == last_part_of(page.form, config)),
            last_turn.eq(turn == turn_of(page.last_query, config)),
            page_ends.eq(vector_ends & last_part & last_turn),
            self.pages.ready.eq(step & page_ends),
        ]
        request = Signal(number_request(config))
        m.d.comb += requests.w_data.eq(request)
        self._walk(m, step, vector_ends, part, last_part, opening, request)
        with m.If(step & vector_ends):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))
            with m.If(last_part):
                m.d.sync += turn.eq(Mux(last_turn, 0, turn + 1))

        room = Signal()
        first = Signal()
        m.d.comb += [
            first.eq(opening & (turn == 0) & (part == 0) & is_key),
            room.eq(
                self.pages.valid
                & tags.w_rdy
                & (~opening | (products.w_rdy & operands.w_rdy))
                & (~first | score_pages.w_rdy)
            ),
            requests.w_en.eq(step & folded),
            step.eq(room & (~folded | requests.w_rdy)),
        ]
        entry = Signal(product(config))
        wanted = Signal(operand)
        scored = Signal(score_page(config))
        m.d.comb += [
            entry.page.eq(page),
            entry.turn.eq(turn),
            entry.part.eq(part),
            entry.last_part.eq(last_part),
            entry.last.eq(last_part & last_turn),
            wanted.side.eq(page.form.side),
            wanted.request.turn.eq(turn),
            wanted.request.channels.eq(page.form.channels),
            wanted.request.last.eq(entry.last & (page.closes | ~is_key)),
            *(scored[name].eq(page[name]) for name in score_page(config).members),
            tags.w_data.eq(self._tag(m, page, vector_ends, folded)),
            tags.w_en.eq(step),
        ]
        if config.kv.split_keys:
            self._split(m, page, wanted.request, scored)
        for fifo, payload, when in (
            (products, entry, opening),
            (operands, wanted, opening),
            (score_pages, scored, first),
        ):
            m.d.comb += [fifo.w_data.eq(payload), fifo.w_en.eq(step & when)]
        targets = (self.products, self.score_pages, self.requests)
        for fifo, target in zip((products, score_pages, requests), targets, strict=True):
            connect(m, fifo.r_stream, flipped(target))
        self._ask(m, operands, operand)
        self._join(m, tags)
        return m

    def _split(self, m: Module, page: data.View, request: data.View, scored: data.View) -> None:
        """Keys in several pages: where the present one begins; nothing ends with one that continues."""
        start = Signal.like(request.start)
        m.d.comb += [request.start.eq(start), request.continues.eq(page.continues)]
        with m.If((page.form.side == Side.KEY) & page.continues):
            m.d.comb += [request.last.eq(0), scored.scores.eq(0)]
        with m.If(self.pages.valid & self.pages.ready & (page.form.side == Side.KEY)):
            m.d.sync += start.eq(Mux(page.continues, start + page.form.channels, 0))

    def _tag_layout(self) -> data.StructLayout:
        """What is known of a beat before its numbers come; the format only as far as they need it."""
        return data.StructLayout(
            {
                "form": self.pages.payload.form.shape(),
                "top": self.beats.payload.top.shape(),
                "centre": CENTRE_BITS,
                "folded": 1,
                "last": 1,
            }
        )

    def _tag(self, m: Module, page: data.View, last: Value, folded: Value) -> Signal:
        tag = Signal(self._tag_layout(), name="coming_tag")
        m.d.comb += [
            tag.form.eq(page.form),
            tag.top.eq(page.top),
            tag.centre.eq(Mux(folded, centre_of(m, page.form, "centre"), 0)),
            tag.folded.eq(folded),
            tag.last.eq(last),
        ]
        return tag

    def _walk(
        self,
        m: Module,
        step: Value,
        vector_ends: Signal,
        part: Value,
        last_part: Value,
        opening: Signal,
        request: data.View,
    ) -> None:
        """Beat after beat, and where its numbers are.

        Numbers of keys are [part, channel], those of values [token, part].
        """
        config, page, lanes = self.config, self.pages.payload, self.config.activation_lanes
        beat = Signal(range(most_outputs(config) // lanes))
        index = Signal.like(request.index)
        base = Signal.like(request.word)
        is_key = page.form.side == Side.KEY
        stride = Signal.like(request.stride)
        last_beat = Signal.like(beat)
        m.d.comb += [
            stride.eq(Mux(is_key, 1, groups_of_token(page.form))),
            last_beat.eq(inputs_of(page.form, config)[exact_log2(lanes) :] - 1),
            vector_ends.eq(beat == last_beat),
            opening.eq(beat == 0),
            request.word.eq(base),
            request.index.eq(index),
            request.stride.eq(stride),
        ]
        following = Signal.like(index)
        with m.If(~vector_ends):
            m.d.comb += following.eq(index + stride * lanes)
        with m.Elif(last_part):
            m.d.comb += following.eq(0)
        with m.Else():
            m.d.comb += following.eq(Mux(is_key, index + lanes, part + 1))
        with m.If(step):
            m.d.sync += [index.eq(following), beat.eq(Mux(vector_ends, 0, beat + 1))]
        with m.If(self.pages.ready):
            m.d.sync += base.eq(base + field_words(page.form, config))

    def _ask(self, m: Module, operands: SyncFIFO, layout: data.StructLayout) -> None:
        """Ask for the operands of vector after vector."""
        asked = Signal(layout)
        of_key = asked.side == Side.KEY
        m.d.comb += [
            asked.eq(operands.r_data),
            self.queries.payload.eq(asked.request),
            self.weights.payload.query.eq(asked.request.turn),
            self.weights.payload.last.eq(asked.request.last),
            self.queries.valid.eq(operands.r_rdy & of_key),
            self.weights.valid.eq(operands.r_rdy & ~of_key),
            operands.r_en.eq(Mux(of_key, self.queries.ready, self.weights.ready)),
        ]

    def _join(self, m: Module, tags: SyncFIFO) -> None:
        """Operands and numbers to beats."""
        tag = Signal(self._tag_layout())
        of_key = tag.form.side == Side.KEY
        advance = Signal()
        present = Signal()
        taken = Signal()
        m.d.comb += [
            tag.eq(tags.r_data),
            advance.eq(~self.beats.valid | self.beats.ready),
            present.eq(Mux(of_key, self.query_beats.valid, self.weight_beats.valid)),
            taken.eq(advance & tags.r_rdy & present & (~tag.folded | self.numbers.valid)),
            tags.r_en.eq(taken),
            self.query_beats.ready.eq(taken & of_key),
            self.weight_beats.ready.eq(taken & ~of_key),
            self.numbers.ready.eq(taken & tag.folded),
        ]
        beat = self.beats.payload
        with m.If(advance):
            m.d.sync += [
                self.beats.valid.eq(taken),
                beat.side.eq(tag.form.side),
                beat.top.eq(tag.top),
                beat.centre.eq(tag.centre),
                beat.last.eq(tag.last),
                self.halvings.eq(halvings_of(tag.form, self.config)),
            ]
        for lane, element in enumerate(beat.elements):
            step, offset = line(
                tag.form, self.numbers.payload.scales[lane], self.numbers.payload.minima[lane]
            )
            with m.If(advance):
                for operand, query, weight in zip(
                    element.operands,
                    self.query_beats.payload.elements,
                    self.weight_beats.payload.elements,
                    strict=True,
                ):
                    m.d.sync += operand.eq(Mux(of_key, query[lane].as_value(), weight[lane].as_value()))
                m.d.sync += [
                    element.step.eq(Mux(tag.folded, step, _ONE)),
                    element.offset.eq(Mux(tag.folded, offset, 0)),
                ]
