"""Scale feed: steps and offsets of a page's groups to the rescaler, and the exponents of its outputs."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw import payloads
from hw.attention.page_datatypes import reach_of, zero_point_of
from hw.attention.payloads import number_request, numbers, product
from hw.attention.product_shape import blocks_of, inputs_of, is_folded, most_outputs
from hw.attention.vector_feed import line
from hw.config import Config
from hw.kv.fixed_point import field, mantissa
from hw.kv.page_shape import channels, field_words, group_length, groups_of_token
from hw.kv.payloads import SHORTEST_GROUP, Side

__all__ = ["UNIT_FIELD", "ScaleFeed"]

UNIT_FIELD = 25
"""Exponent field with which the mantissa of a float16 counts as it is."""

_WAITING = 2
"""Products whose exponents wait."""
_PAGES = 4
"""Pages, at most, whose scales have left while their codes have not, or the other way round."""
_WAITING_RESULTS = 4
"""Products whose results are under way."""


class ScaleFeed(wiring.Component):
    """Feed the rescaler, a group's scales in two cycles for ``activation_lanes`` rows.

    Products that are folded have steps of 1, group after group without a gap; those that leave the array as
    dot products have none.

    Members:
        products (in stream): all products of the pages.
        requests (out stream), numbers (in stream): groups of the page's numbers.
        scales, channels (out streams): to the tile; results are FP32, ``last`` closes a product's.
        takers (out stream): whose keys or values the next product's results are.
        sent (in): all codes of a page have left, so that its vectors are not wanted any more.
        release, released (out): neither are a page's numbers, so many words of them.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "products": In(stream.Signature(product(config))),
                "requests": Out(stream.Signature(number_request(config))),
                "numbers": In(stream.Signature(numbers(config))),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
                "channels": Out(stream.Signature(payloads.channels(config))),
                "takers": Out(stream.Signature(Side)),
                "sent": In(1),
                "release": Out(1),
                "released": Out(number_request(config)["word"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.jobs = jobs = SyncFIFO(width=self._job().size, depth=_WAITING)
        form = self.products.payload.page.form
        folded = Signal()
        dots = Signal()
        groups = Signal(range(most_outputs(config) // SHORTEST_GROUP + 1))
        block = Signal(range(most_outputs(config) // config.rows))
        group = Signal.like(groups)
        full = Signal()
        taken = Signal()
        ends = Signal()
        opened = Signal()
        length = Mux(folded, config.group, group_length(form))
        blocks = Signal.like(blocks_of(form, config))
        m.d.comb += [
            folded.eq(is_folded(form)),
            dots.eq(folded & (form.side == Side.VALUE)),
            blocks.eq(blocks_of(form, config)),
            groups.eq((inputs_of(form, config) + length - 1) >> self._log(folded, form)),
            self.scales.valid.eq(self.products.valid & ~dots & opened & (folded | full)),
            taken.eq(self.scales.valid & self.scales.ready),
            ends.eq(taken & (group == groups - 1) & (block == blocks - 1)),
            self.products.ready.eq(ends | dots),
        ]
        self._release(m, form)
        with m.If(taken):
            m.d.sync += group.eq(group + 1)
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), block.eq(block + 1)]
            with m.If(ends):
                m.d.sync += block.eq(0)

        # The outputs' exponents follow by themselves.
        m.submodules.waiting_takers = takers = SyncFIFO(width=1, depth=_WAITING_RESULTS)
        opens = self.products.valid & ~dots & ~opened & jobs.w_rdy & takers.w_rdy
        opened_job = Signal(self._job())
        reach = Signal(payloads.REACH_BITS)
        m.d.comb += [
            reach.eq(reach_of(m, form, config)),
            opened_job.blocks.eq(blocks),
            opened_job.exponent.eq(Mux(folded, 0, self.products.payload.page.top - UNIT_FIELD)),
            opened_job.reach.eq(reach),
            jobs.w_data.eq(opened_job),
            jobs.w_en.eq(opens),
            takers.w_data.eq(form.side),
            takers.w_en.eq(opens),
        ]
        connect(m, takers.r_stream, flipped(self.takers))
        with m.If(opens):
            m.d.sync += opened.eq(1)
        with m.If(ends):
            m.d.sync += opened.eq(0)
        self._channels(m, jobs)
        self._ask(m, form, ~folded & opened, groups, blocks, ends)
        self._gather(m, form, folded, reach, full, taken)
        return m

    def _release(self, m: Module, form: data.View) -> None:
        """Numbers of a page whose scales and whose codes have left."""
        pages = Signal(range(_PAGES + 1))
        words = Signal.like(self.released)
        m.submodules.leaving = leaving = SyncFIFO(width=len(words), depth=_PAGES)
        m.d.comb += [
            words.eq(field_words(form, self.config)),
            leaving.w_data.eq(words),
            leaving.w_en.eq(self.products.valid & self.products.ready & self.products.payload.last),
            self.released.eq(leaving.r_data),
            self.release.eq(leaving.r_rdy & pages.any()),
            leaving.r_en.eq(self.release),
        ]
        m.d.sync += pages.eq(pages + self.sent - self.release)

    def _log(self, folded: Value, form: data.View) -> Value:
        """Logarithm of the length of a vector's groups."""
        return Mux(folded, exact_log2(self.config.group), exact_log2(SHORTEST_GROUP) + form.group)

    def _job(self) -> data.StructLayout:
        """Row blocks of a product that have the same exponent."""
        channel = payloads.channels(self.config)
        return data.StructLayout(
            {
                "blocks": range(most_outputs(self.config) // self.config.rows + 1),
                "exponent": channel["rows"].shape.elem_shape["exponent"].shape,
                "reach": payloads.REACH_BITS,
            }
        )

    def _channels(self, m: Module, jobs: SyncFIFO) -> None:
        job = Signal(self._job())
        block = Signal.like(job.blocks, name="channels_block")
        out = self.channels.payload
        m.d.comb += [
            job.eq(jobs.r_data),
            self.channels.valid.eq(jobs.r_rdy),
            out.count.eq(self.config.rows),
            out.output.eq(payloads.OutputFormat.FP32),
            out.reach.eq(job.reach),
            out.last.eq(block == job.blocks - 1),
            jobs.r_en.eq(self.channels.ready & out.last),
            *(row.exponent.eq(job.exponent) for row in out.rows),
        ]
        with m.If(self.channels.valid & self.channels.ready):
            m.d.sync += block.eq(Mux(out.last, 0, block + 1))

    def _ask(
        self, m: Module, form: data.View, wanted: Value, groups: Value, blocks: Value, ends: Value
    ) -> None:
        """Ask for the numbers of group after group; those of keys are [token, group], of values the other."""
        config, request = self.config, Signal(number_request(self.config), name="request")
        lanes, is_key = config.activation_lanes, form.side == Side.KEY
        parts = config.rows // lanes
        part = Signal(range(parts), name="asked_part")
        group = Signal.like(groups, name="asked_group")
        block = Signal.like(blocks, name="asked_block")
        asked = Signal()
        word = Signal.like(request.word)
        start = Signal.like(request.index)  # of the row block's keys, or of the group's values
        stride = Mux(is_key, groups_of_token(form), 1)
        step = Mux(is_key, groups_of_token(form) * config.rows, channels(form))
        within = Mux(is_key, group, block * config.rows)
        part_ends = part == parts - 1
        group_ends = group == groups - 1
        # Between the rescaler's readiness and the walk through the groups.
        m.submodules.waiting_requests = requests = SyncFIFO(width=Shape.cast(request.shape()).width, depth=2)
        connect(m, requests.r_stream, flipped(self.requests))
        m.d.comb += [
            requests.w_en.eq(wanted & ~asked),
            requests.w_data.eq(request),
            request.word.eq(word),
            request.index.eq(start + within + part * lanes * stride),
            request.stride.eq(stride),
        ]
        with m.If(requests.w_en & requests.w_rdy):
            if parts > 1:
                m.d.sync += part.eq(Mux(part_ends, 0, part + 1))
            with m.If(part_ends):
                m.d.sync += group.eq(Mux(group_ends, 0, group + 1))
                with m.If(is_key == group_ends):
                    m.d.sync += start.eq(start + step)
                with m.Elif(group_ends):
                    m.d.sync += start.eq(0)
                with m.If(group_ends):
                    m.d.sync += [block.eq(block + 1), asked.eq(block == blocks - 1)]
        with m.If(ends):
            m.d.sync += [asked.eq(0), block.eq(0), start.eq(0)]
        with m.If(self.products.valid & self.products.ready & self.products.payload.last):
            m.d.sync += word.eq(word + field_words(form, config))

    def _gather(
        self, m: Module, form: data.View, folded: Value, reach: Value, full: Signal, taken: Value
    ) -> None:
        """The scales of a group's rows, ``activation_lanes`` of them at a time."""
        config, out = self.config, self.scales.payload
        lanes = config.activation_lanes
        parts = config.rows // lanes
        part = Signal(range(parts))
        held = Signal(data.ArrayLayout(out.rows[0].shape(), config.rows), reset_less=True)
        takes = self.numbers.valid & self.numbers.ready
        zero = Signal.like(out.rows[0].zero_point)
        top = self.products.payload.page.top
        m.d.comb += [
            self.numbers.ready.eq(~full | taken),
            zero.eq(zero_point_of(m, form)),
            out.reach.eq(reach),
            out.has_offset.eq(~folded),
        ]
        with m.If(taken):
            m.d.sync += full.eq(0)
        with m.If(takes):
            if parts > 1:
                m.d.sync += part.eq(Mux(part == parts - 1, 0, part + 1))
            m.d.sync += full.eq(part == parts - 1)
        for lane in range(lanes):
            scale, minimum = self.numbers.payload.scales[lane], self.numbers.payload.minima[lane]
            step = Signal(len(scale), name=f"step_{lane}")
            offset = Signal(len(scale), name=f"offset_{lane}")
            size = mantissa(offset)
            scaled: Value = mantissa(step)
            if config.page_tables:
                scaled = Mux(step[-1], -scaled, scaled)
            m.d.comb += Cat(step, offset).eq(Cat(*line(form, scale, minimum)))
            for number in range(parts):
                row = held[number * lanes + lane]
                with m.If(takes & (part == number)):
                    m.d.sync += [
                        row.scale.eq(scaled),
                        row.scale_distance.eq(top - field(step)),
                        row.offset.eq(Mux(offset[-1], -size, size)),
                        row.offset_distance.eq(top - field(offset)),
                    ]
        for row, kept in zip(out.rows, held, strict=True):
            m.d.comb += [
                row.scale.eq(Mux(folded, 1, kept.scale)),
                row.scale_distance.eq(Mux(folded, 0, kept.scale_distance)),
                row.offset.eq(Mux(folded, 0, kept.offset)),
                row.offset_distance.eq(Mux(folded, 0, kept.offset_distance)),
                row.zero_point.eq(zero),
            ]
