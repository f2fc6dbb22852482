"""Array feed: a page from the page reader to the streams that a tile multiplies by, never as float16.

Meaning: ``golden.kv.array.accumulate`` of one page. The outputs of a key page are its tokens, those of a
value page its channels. Where a group consists of outputs (keys with axis channel, values with axis token)
its scales are those of inputs: they are folded into the activations by whoever makes these, the numbers of
the page are passed on, and the codes count as they are; every group of outputs is a product with activations
of its own. Elsewhere a scale and a minimum belong to an output and go to the rescaler, as mantissas and
distances below the largest exponent of the head.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import LANE_BITS, DataType
from golden.numbers.reach import reach
from hw import payloads
from hw.config import Config, ConfigurationError
from hw.kv.fixed_point import MANTISSA_BITS, field, mantissa
from hw.kv.formats import Kind, by_coding, kind_of
from hw.kv.page_shape import channels, entries, field_words, group_length, groups_of_token, in_groups
from hw.kv.payloads import HALF_BITS, Axis, Coding, Side, page_beat, page_format, word
from hw.weights.lane_mapper import lane_of, lane_wires

__all__ = ["UNIT_FIELD", "ArrayFeed"]

UNIT_FIELD = 25
"""Exponent field with which the mantissa of a float16 counts as it is."""

_DATATYPES = {
    Coding.BITS1: datatypes.get("binary01"),
    Coding.TRITS: datatypes.get("ternary"),
    **{Coding[f"BITS{bits}"]: datatypes.get(f"int{bits}_asym") for bits in (2, 3, 4, 8)},
}
"""What the array takes the codes of a coding for."""

_STREAMS = ("numbers", "passes", "chunks", "scales", "channels")


class ArrayFeed(wiring.Component):
    """Feed page after page; all streams of a page end before the next header is taken.

    A beat of codes is one chunk or several: a word has at least 16 bits a row, a chunk at most 16 lanes.

    Throughput: chunks follow one another without a gap while beats come. Scales that are not folded take two
    cycles and one for each row of the array.

    Members:
        headers, numbers, beats (in streams): from the page reader.
        top_field (in): exponent field that no step and no offset of the head exceeds; held.
        factors (out stream): numbers to fold into the activations of a page.
        passes, chunks, scales, channels (out streams): to the tile; the results are FP32.
        error_group (out): one cycle for a page whose scales follow other groups than the array's activations;
            its results are marked as damaged.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = config.memory_bits
        self._MustUse__used = True  # Amaranth would warn of a component that is refused here
        missing = sorted(entry.name for entry in _DATATYPES.values() if entry not in config.datatypes)
        if missing:
            raise ConfigurationError(f"types must include {', '.join(missing)} for keys and values")
        super().__init__(
            {
                "headers": In(stream.Signature(page_format(config))),
                "numbers": In(stream.Signature(word(width))),
                "beats": In(stream.Signature(page_beat(config))),
                "top_field": In(HALF_BITS - MANTISSA_BITS),
                "factors": Out(stream.Signature(word(width))),
                "passes": Out(stream.Signature(payloads.passes)),
                "chunks": Out(stream.Signature(payloads.chunk(config))),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
                "channels": Out(stream.Signature(payloads.channels(config))),
                "error_group": Out(1),
            }
        )
        self._MustUse__used = False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        self.form = form = Signal(page_format(config), reset_less=True)
        self.is_key = is_key = form.side == Side.KEY
        self.busy = {name: Signal(name=f"busy_{name}") for name in _STREAMS}
        self.folded = Signal()
        self.refused = Signal()
        self.symmetric = kind_of(form) == Kind.SYMMETRIC
        most = bits_for(max(config.kv.channels, config.kv.page_tokens))
        self.product = {name: Signal(most, name=f"product_{name}") for name in _STREAMS}
        self.last_block = Signal(most)
        self.last_chunk = Signal(most)
        self.last_group = Signal(most)
        self.last_product = Signal(most)
        tokens = config.kv.page_tokens
        inputs = Mux(is_key, channels(form), tokens)
        outputs = Mux(is_key, tokens, channels(form))
        m.d.comb += [
            self.folded.eq(is_key ^ (form.axis == Axis.TOKEN)),
            self.refused.eq(~self.folded & (group_length(form) != config.group)),
            self.last_product.eq(Mux(self.folded, in_groups(form, outputs) - 1, 0)),
            self.last_block.eq(Mux(self.folded, group_length(form), outputs)[exact_log2(config.rows) :] - 1),
            self.last_chunk.eq(inputs[exact_log2(config.lanes) :] - 1),
            self.headers.ready.eq(~Cat(self.busy.values()).any()),
        ]
        for group in range(1, -(-config.kv.channels // config.group)):
            with m.If(inputs > group * config.group):
                m.d.comb += self.last_group.eq(group)
        checked = Signal()
        m.d.sync += [checked.eq(0), self.error_group.eq(checked & self.refused)]
        with m.If(self.headers.valid & self.headers.ready):
            m.d.sync += [form.eq(self.headers.payload), checked.eq(1)]
            m.d.sync += Cat(self.busy.values()).eq(~0)

        m.d.comb += [
            self.passes.valid.eq(self.busy["passes"]),
            self.passes.payload.count.eq(self.last_block + 1),
        ]
        with m.If(self.passes.valid & self.passes.ready):
            self._next_product(m, "passes")
        damaged = self._chunks(m)
        self._scales(m, self._numbers(m))
        self._channels(m, damaged)
        return m

    def _next_product(self, m: Module, name: str) -> None:
        """Go on to the next product of the page in one of the streams, or end that stream."""
        product = self.product[name]
        m.d.sync += product.eq(product + 1)
        with m.If(product == self.last_product):
            m.d.sync += [product.eq(0), self.busy[name].eq(0)]

    def _by_datatype(self, m: Module, name: str, number) -> Signal:
        """A number that depends on the data type."""
        table = {coding: number(entry) for coding, entry in _DATATYPES.items()}
        return by_coding(m, self.form.coding, table, name)

    def _reach(self, m: Module, name: str) -> Value:
        """Bound of a contribution; folded scales count as powers of two, the others come with offsets."""
        config = self.config

        def bound(scale: str, symmetric: bool) -> Signal:
            def number(entry: DataType) -> int:
                exact = datatypes.get(entry.name.removesuffix("_asym")) if symmetric else entry
                form = scales.get(scale)
                return reach(config.group, config.activation_bits, exact, form, scale == "fp16")

            return self._by_datatype(m, f"{name}_{scale}_{int(symmetric)}", number)

        folded, own = (
            Mux(self.symmetric, bound(scale, True), bound(scale, False)) for scale in ("e8m0", "fp16")
        )
        return Mux(self.folded, folded, own)

    def _chunks(self, m: Module) -> Value:
        """Chunks straight from the beats; returns whether the page was damaged, known at its end."""
        config = self.config
        rows, lanes = config.rows, config.lanes
        size = rows * lanes
        parts = config.memory_bits // size
        block = Signal.like(self.last_block, name="chunks_block")
        chunk = Signal.like(self.last_chunk)
        place = Signal(range(parts), name="chunks_place")
        group_chunk = Signal(range(config.chunks))
        group = Signal.like(self.last_group, name="chunks_group")
        damaged = Signal()
        beat = self.beats.payload.beat
        taken_codes = Signal(data.ArrayLayout(LANE_BITS, size))
        m.d.comb += taken_codes.eq(beat.codes.as_value())
        if parts > 1:
            m.d.comb += taken_codes.eq(beat.codes.as_value().word_select(place, size * LANE_BITS))
        codes = [taken_codes[number] for number in range(size)]
        carried = [Signal(LANE_BITS, name=f"carried_{number}") for number in range(size)]
        with m.Switch(self.form.coding):
            for coding, entry in _DATATYPES.items():
                with m.Case(coding):
                    wires = lane_wires(entry)
                    m.d.comb += [
                        lane.eq(lane_of(code, wires)) for lane, code in zip(carried, codes, strict=True)
                    ]
        out = self.chunks.payload
        for row in range(rows):
            for lane in range(lanes):
                of_key, of_value = carried[row * lanes + lane], carried[lane * rows + row]
                m.d.comb += out.codes[row][lane].eq(Mux(self.is_key, of_key, of_value))
        row_ends, group_ends = chunk == self.last_chunk, group_chunk == config.chunks - 1
        beat_ends = place == parts - 1
        taken = self.chunks.valid & self.chunks.ready
        m.d.comb += [
            self.chunks.valid.eq(self.beats.valid & self.busy["chunks"]),
            self.beats.ready.eq(self.chunks.ready & self.busy["chunks"] & beat_ends),
            out.last.eq(row_ends | group_ends),
            out.final.eq(group == self.last_group),
            out.finished.eq(block == self.last_block),
            *self._format(m, out.format),
        ]
        with m.If(taken):
            m.d.sync += [
                place.eq(Mux(beat_ends, 0, place + 1)),
                chunk.eq(Mux(row_ends, 0, chunk + 1)),
                group_chunk.eq(Mux(out.last, 0, group_chunk + 1)),
                group.eq(Mux(row_ends, 0, group + out.last)),
            ]
            with m.If(row_ends):
                m.d.sync += block.eq(Mux(out.finished, 0, block + 1))
                with m.If(out.finished):
                    m.d.sync += damaged.eq(self.beats.payload.error)
                    self._next_product(m, "chunks")
        return damaged | self.refused

    def _format(self, m: Module, target: data.View) -> list:
        """Assignments of the data type's decoding."""
        decoders = self.config.decoders
        assignments = [
            target.decoder.eq(self._by_datatype(m, "decoder", lambda entry: decoders.index(entry.decoder))),
            target.last_term.eq(self._by_datatype(m, "last_term", lambda entry: entry.term_count - 1)),
            target.programming.eq(
                self._by_datatype(m, "programming", lambda e: e.programming[0] + 2 * e.programming[1])
            ),
        ]
        for place in range(len(_DATATYPES[Coding.BITS4].special_terms)):
            for name in ("negative", "select"):
                number = self._by_datatype(
                    m, f"special_{place}_{name}", lambda e, p=place, n=name: getattr(e.special_terms[p], n)
                )
                assignments.append(target.specials[place][name].eq(number))
        return assignments

    def _numbers(self, m: Module) -> tuple:
        """Pass numbers on, or keep them; returns the read ports of scales and minima."""
        config = self.config
        per_word = config.memory_bits // HALF_BITS
        shape = data.ArrayLayout(HALF_BITS, per_word)
        depth = entries(config) // per_word
        place = Signal(range(2 * depth), name="numbers_place")
        ports = []
        words = field_words(self.form, config)
        is_minimum = place >= words
        wanted = self.busy["numbers"]
        m.d.comb += [
            self.factors.payload.eq(self.numbers.payload),
            self.factors.valid.eq(self.numbers.valid & wanted & self.folded),
            self.numbers.ready.eq(wanted & (self.factors.ready | ~self.folded)),
        ]
        for name, chosen in (("scale_memory", ~is_minimum), ("minimum_memory", is_minimum)):
            memory = m.submodules[name] = Memory(shape=shape, depth=depth, init=[])
            write = memory.write_port()
            m.d.comb += [
                write.addr.eq(Mux(is_minimum, place - words, place)),
                write.data.eq(self.numbers.payload.data),
                write.en.eq(self.numbers.valid & wanted & chosen),
            ]
            read = memory.read_port()
            ports.append(read)
        with m.If(self.numbers.valid & self.numbers.ready):
            m.d.sync += place.eq(Mux(self.numbers.payload.last, 0, place + 1))
            with m.If(self.numbers.payload.last):
                m.d.sync += wanted.eq(0)
        return tuple(ports)

    def _scales(self, m: Module, memories: tuple) -> None:
        """A group's scales for every row of a block."""
        config, form = self.config, self.form
        rows, per_word = config.rows, config.memory_bits // HALF_BITS
        block = Signal.like(self.last_block, name="scales_block")
        group = Signal.like(self.last_group, name="scales_group")
        row = Signal(range(rows + 1))
        out = self.scales.payload

        # Metadata of keys is [token, group], that of values [group, channel].
        output = Cat(row[: exact_log2(rows)], block)
        number = Signal(range(entries(config)))
        with m.If(self.is_key):
            m.d.comb += number.eq(output * groups_of_token(form) + group)
        with m.Else():
            m.d.comb += number.eq(group * channels(form) + output)
        which = Signal(exact_log2(per_word))
        there = Signal()
        target = Signal.like(row)
        scale_port, minimum_port = memories
        m.d.comb += [port.addr.eq(number[exact_log2(per_word) :]) for port in memories]
        m.d.sync += [which.eq(number), target.eq(row), there.eq(0)]

        held = Signal(data.ArrayLayout(out.rows[0].shape(), rows), reset_less=True)
        captured = self._row_scale(m, held[target], scale_port.data[which], minimum_port.data[which])
        with m.If(there):
            m.d.sync += captured
        zero_point = self._by_datatype(m, "zero_point", lambda e: (1 << e.bits - 1) * e.asymmetric)
        for index in range(rows):
            m.d.comb += out.rows[index].eq(held[index])
            with m.If(self.folded):
                m.d.comb += Value.cast(out.rows[index]).eq(0)
                m.d.comb += out.rows[index].scale.eq(1)
            m.d.comb += out.rows[index].zero_point.eq(Mux(self.symmetric, 0, zero_point))
        gathered = (row == rows) & ~there
        m.d.comb += [
            out.reach.eq(self._reach(m, "scales_reach")),
            out.has_offset.eq(~self.folded),
            self.scales.valid.eq(self.busy["scales"] & (self.folded | gathered)),
        ]
        with m.If(self.busy["scales"] & ~self.busy["numbers"] & ~self.folded & (row != rows)):
            m.d.sync += [row.eq(row + 1), there.eq(1)]
        with m.If(self.scales.valid & self.scales.ready):
            m.d.sync += [row.eq(0), group.eq(group + 1)]
            with m.If(group == self.last_group):
                m.d.sync += [group.eq(0), block.eq(block + 1)]
                with m.If(block == self.last_block):
                    m.d.sync += block.eq(0)
                    self._next_product(m, "scales")

    def _channels(self, m: Module, damaged: Value) -> None:
        """Output exponents of every row block; those of the last one wait for the page's end."""
        out = self.channels.payload
        block = Signal.like(self.last_block, name="channels_block")
        last = block == self.last_block
        ends = last & (self.product["channels"] == self.last_product)
        for row in out.rows:
            m.d.comb += row.exponent.eq(Mux(self.folded, 0, self.top_field - UNIT_FIELD))
        m.d.comb += [
            self.channels.valid.eq(self.busy["channels"] & (~ends | ~self.busy["chunks"])),
            out.count.eq(self.config.rows),
            out.output.eq(payloads.OutputFormat.FP32),
            out.reach.eq(self._reach(m, "channels_reach")),
            out.last.eq(last),
            out.error.eq(ends & damaged),
        ]
        with m.If(self.channels.valid & self.channels.ready):
            m.d.sync += block.eq(Mux(last, 0, block + 1))
            with m.If(last):
                self._next_product(m, "channels")

    def _row_scale(self, m: Module, held: data.View, scale: Value, minimum: Value) -> list:
        """What is held of a row, from its float16 scale and minimum: step and offset with their distances."""
        affine = kind_of(self.form) == Kind.AFFINE
        sign = kind_of(self.form) == Kind.SIGN
        step = Signal(MANTISSA_BITS)
        step_field = Signal(6)
        offset = Signal(HALF_BITS)
        offset_field = Signal(6)
        subnormal = ~scale[10:15].any()
        m.d.comb += [
            step.eq(mantissa(scale)),
            step_field.eq(field(scale)),
            offset.eq(0),
            offset_field.eq(self.top_field),
        ]
        with m.If(affine):
            m.d.comb += [offset.eq(minimum), offset_field.eq(field(minimum))]
        with m.If(sign):  # steps of twice the scale from its opposite
            m.d.comb += [
                step.eq(Mux(subnormal, mantissa(scale) << 1, mantissa(scale))),
                step_field.eq(Mux(subnormal, 1, field(scale) + 1)),
                offset.eq(scale | 1 << HALF_BITS - 1),
                offset_field.eq(field(scale)),
            ]
        signed_mantissa = Mux(offset[-1], -mantissa(offset), mantissa(offset))
        return [
            held.scale.eq(step),
            held.scale_distance.eq(self.top_field - step_field),
            held.offset.eq(Mux(affine | sign, signed_mantissa, 0)),
            held.offset_distance.eq(self.top_field - offset_field),
        ]
