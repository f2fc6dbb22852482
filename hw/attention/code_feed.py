"""Code feed: the codes of a page to chunks of the array, product after product."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw import payloads
from hw.attention.page_datatypes import check, format_of
from hw.attention.payloads import chunk_codes, chunk_selectors, maximum_moves, product, value_product
from hw.attention.product_shape import blocks_of, inputs_of, is_folded, most_outputs
from hw.config import Config
from hw.kv.page_shape import group_length
from hw.kv.payloads import Side
from hw.payloads import Route

__all__ = ["CodeFeed"]

_WAITING = 4


class CodeFeed(wiring.Component):
    """Feed the array, a chunk a cycle, without a gap between products.

    The passes of a product and what others must know of it leave while the chunks of the one before do.

    Members:
        products (in stream): one for each vector; taken when its chunks begin.
        moves (in stream): for values, how far each query's maximum moved; taken with its last part.
        codes (in stream): all chunks of a page for each turn of its queries.
        selectors (in stream): theirs, of pages of BitMoD's types; with ``kv.bitmod``.
        passes, chunks (out streams): to the tile.
        scaled (out stream): every product, for the scales of those that are rescaled.
        values (out stream): those of values.
        sent (out): all codes of a page have left.
        side (out): of the page whose chunks leave; with ``kv.table``.
    """

    def __init__(self, config: Config) -> None:
        self._MustUse__used = True  # Amaranth would warn of a component that is refused here
        check(config)
        self.config = config
        super().__init__(
            {
                "products": In(stream.Signature(product(config))),
                "moves": In(stream.Signature(maximum_moves(config))),
                "codes": In(stream.Signature(chunk_codes(config))),
                **({"selectors": In(stream.Signature(chunk_selectors(config)))} if config.kv.bitmod else {}),
                "passes": Out(stream.Signature(payloads.passes)),
                "chunks": Out(stream.Signature(payloads.chunk(config))),
                "scaled": Out(stream.Signature(product(config))),
                "values": Out(stream.Signature(value_product(config))),
                "sent": Out(1),
                **({"side": Out(Side)} if config.page_tables else {}),
            }
        )
        self._MustUse__used = False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        current = Signal(product(config), reset_less=True)
        steady = Signal()
        active = Signal()
        ends = Signal()
        forked = self._fork(m, ~active | ends)
        with m.If(self.products.ready):
            m.d.sync += [current.eq(self.products.payload), steady.eq(forked), active.eq(1)]
        with m.Elif(ends):
            m.d.sync += active.eq(0)
        m.d.comb += self.sent.eq(ends & current.last)
        if config.page_tables:
            m.d.comb += self.side.eq(current.page.form.side)
        self._chunks(m, current.page.form, active, steady, ends)
        return m

    def _fork(self, m: Module, free: Value) -> Value:
        """Tell the others of the next product, as early as it is known.

        Returns:
            Whether it is steady: no column's value sums move, nor wait for those of lists before to be read.
        """
        config, coming = self.config, self.products.payload
        outputs = {"passes": self.passes, "scaled": self.scaled, "values": self.values}
        fifos = {}
        for name, target in outputs.items():
            fifo = SyncFIFOBuffered(width=target.payload.shape().size, depth=_WAITING)
            m.submodules[f"waiting_{name}"] = fifos[name] = fifo
            connect(m, fifo.r_stream, flipped(target))
        told = Signal()
        tells = Signal()
        is_value = Signal()
        still = Signal()
        moved = Signal.like(self.moves.payload)
        held_still = Signal()
        may_wait = Signal()
        m.d.comb += [
            is_value.eq(coming.page.form.side == Side.VALUE),
            tells.eq(
                self.products.valid
                & ~told
                & Cat(fifo.w_rdy for fifo in fifos.values()).all()
                & (~is_value | self.moves.valid)
            ),
            moved.eq(Mux(coming.page.opens, 0, self.moves.payload.as_value())),
            may_wait.eq(coming.page.opens & (coming.turn == 0) & (coming.part == 0)),
            still.eq(is_value & is_folded(coming.page.form) & ~moved.as_value().any() & ~may_wait),
            self.moves.ready.eq(tells & is_value & coming.last_part),
            self.products.ready.eq(free & (told | tells)),
        ]
        passes = Signal(payloads.passes)
        value = Signal(value_product(config))
        m.d.comb += [
            passes.count.eq(blocks_of(coming.page.form, config)),
            value.product.eq(coming),
            value.moved.eq(moved),
        ]
        contents = {"passes": passes, "scaled": coming, "values": value}
        for name, fifo in fifos.items():
            when = tells & is_value if name == "values" else tells
            m.d.comb += [fifo.w_data.eq(contents[name]), fifo.w_en.eq(when)]
        with m.If(tells):
            m.d.sync += [told.eq(1), held_still.eq(still)]
        with m.If(self.products.ready):
            m.d.sync += told.eq(0)
        return Mux(tells, still, held_still)

    def _chunks(self, m: Module, form: data.View, active: Value, steady: Value, ends: Signal) -> None:
        """Chunks straight from the beats of codes."""
        config, out = self.config, self.chunks.payload
        most = most_outputs(config)
        block = Signal(range(most // config.rows))
        place = Signal(range(max(most // config.lanes, 2)))
        last_block = Signal.like(block)
        last_place = Signal.like(place)
        within = Signal.like(place)  # places of a group, less one
        folded = is_folded(form)
        group = Mux(folded, config.group, group_length(form))
        row_ends = Signal()
        m.d.comb += [
            last_block.eq(blocks_of(form, config) - 1),
            last_place.eq(inputs_of(form, config)[exact_log2(config.lanes) :] - 1),
            within.eq(group[exact_log2(config.lanes) :] - 1),
            row_ends.eq(place == last_place),
            out.last.eq(row_ends | ((place & within) == within)),
            out.final.eq((place | within) >= last_place),
            out.finished.eq(block == last_block),
            out.route.eq(Mux(folded & (form.side == Side.VALUE), Route.DOTS, Route.RESCALED)),
            out.steady.eq(steady),
            ends.eq(self.chunks.valid & self.chunks.ready & row_ends & out.finished),
        ]
        format_of(m, form, out.format, config)
        with m.If(self.chunks.valid & self.chunks.ready):
            m.d.sync += place.eq(Mux(row_ends, 0, place + 1))
            with m.If(row_ends):
                m.d.sync += block.eq(Mux(out.finished, 0, block + 1))
        whole = self._select(m, form, active) if config.kv.bitmod else active
        m.d.comb += [
            out.codes.eq(self.codes.payload),
            self.chunks.valid.eq(self.codes.valid & whole),
            self.codes.ready.eq(self.chunks.ready & whole),
        ]

    def _select(self, m: Module, form: data.View, active: Value) -> Signal:
        """Selectors with the codes that have some; returns whether there is nothing to wait for but codes."""
        selectors, out = self.selectors.payload, self.chunks.payload
        whole = Signal()
        m.d.comb += [
            whole.eq(active & (self.selectors.valid | ~form.bitmod)),
            self.selectors.ready.eq(self.chunks.ready & self.codes.valid & active & form.bitmod),
            out.selectors.eq(Mux(form.bitmod, selectors.rows.as_value(), 0)),
            out.lane_selectors.eq(selectors.lanes),
            out.by_lane.eq(form.bitmod & selectors.by_lane),
        ]
        return whole
