"""Quantiser: pages of float16 keys or values to scales, minima and codes, in the order of a page.

Meaning: ``golden.kv.formats.Format.quantize`` for rules ``native`` and ``native_symmetric``, signs, and trits
with a mean magnitude, laid out as ``golden.kv.pages.PageLayout`` has it. One page is staged as float16, which
makes the staging memory the window of recent tokens as well, while the page before leaves: first its scales
and minima, then its codes.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.kv.formats import Format
from hw.config import Config
from hw.kv.fixed_point import LARGEST_MAGNITUDE, QUOTIENT_BITS
from hw.kv.formats import Kind, by_bits, is_divided, kind_of
from hw.kv.page_shape import beats, entries, entry_address, is_legal, last_beat
from hw.kv.page_walk import PageWalk
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Axis, code_beat, element_beat, page_format
from hw.kv.quantising import group_scale, statistics
from hw.kv.quantising.code_lane import CodeLane, group_parameters, spare_places, steps
from hw.kv.quantising.group_scale import GroupScale
from hw.kv.quantising.number_beats import NumberBeats
from hw.kv.quantising.statistics import Statistics, extremes
from hw.kv.quantising.window_adder import WindowAdder

__all__ = ["FLAGS", "Quantiser", "page_cycles"]

FLAGS = ("clamped", "error_format", "error_short", "error_long")


class Quantiser(wiring.Component):
    """Quantise page after page; a ``LanePacker`` makes words of what leaves.

    A page arrives in P * D / lanes cycles and leaves in ``page_cycles``; both overlap for two pages. Numbers
    that are not finite count as the largest finite ones of their sign.

    Members:
        formats (in stream): of every page, ahead of its elements.
        elements (in stream): tokens in order, ``last`` with the page's last beat.
        beats (out stream): numbers of the metadata as codes of 8 bits, low byte first, then the page's codes.
        clamped (out): one cycle for a beat with an infinity or a NaN.
        error_format, error_short, error_long (out): one cycle for a page with an impossible format, or with
            fewer or more elements than its format says; it is left out.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "formats": In(stream.Signature(page_format(config))),
                "elements": In(stream.Signature(element_beat(config))),
                "beats": Out(stream.Signature(code_beat(config.kv.lanes))),
                **dict.fromkeys(FLAGS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        staged = data.ArrayLayout(HALF_BITS, config.kv.lanes)
        depth = 2 * config.kv.page_tokens << ceil_log2(beats(config))
        m.submodules.staging = self.staging = Memory(shape=staged, depth=depth, init=[])
        m.submodules.statistics = self.statistics = Statistics(config)
        self.held = Signal(data.ArrayLayout(page_format(config), 2))
        self.full = Signal(2)
        self._fill(m)
        self._drain(m)
        return m

    def _fill(self, m: Module) -> None:
        """Take a page into the half that is not read."""
        config, gather = self.config, self.statistics
        half, token, beat = Signal(), Signal.like(gather.token), Signal.like(gather.beat)
        form = Signal(page_format(config))
        elements, clamped = self._finite()
        done = Signal(statistics.latency(config))  # until the last entry is in its place
        write = self.staging.write_port()
        at_end = (beat == last_beat(form, config)) & (token == config.kv.page_tokens - 1)
        last = self.elements.payload.last
        m.d.comb += [
            write.addr.eq(Cat(beat, token, half)),
            write.data.eq(elements),
            gather.form.eq(form),
            gather.kind.eq(kind_of(form)),
            gather.half.eq(half),
            gather.elements.eq(elements),
            gather.token.eq(token),
            gather.beat.eq(beat),
        ]
        m.d.sync += [self.clamped.eq(gather.take & clamped), done.eq(done << 1)]
        m.d.sync += Cat(self.error_format, self.error_short, self.error_long).eq(0)
        with m.FSM(name="fill"):
            with m.State("format"):
                m.d.comb += self.formats.ready.eq(~self.full.bit_select(half, 1))
                m.d.sync += [form.eq(self.formats.payload), token.eq(0), beat.eq(0)]
                with m.If(self.formats.valid & self.formats.ready):
                    m.next = "elements"
                    with m.If(~is_legal(self.formats.payload, config)):
                        m.d.sync += self.error_format.eq(1)
                        m.next = "drop"
            with m.State("elements"):
                m.d.comb += [self.elements.ready.eq(1), gather.take.eq(self.elements.valid)]
                m.d.comb += write.en.eq(self.elements.valid)
                with m.If(self.elements.valid):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == last_beat(form, config)):
                        m.d.sync += [beat.eq(0), token.eq(token + 1)]
                    with m.If(last & ~at_end):
                        m.d.sync += self.error_short.eq(1)
                        m.next = "format"
                    with m.If(~last & at_end):
                        m.d.sync += self.error_long.eq(1)
                        m.next = "drop"
                    with m.If(last & at_end):
                        m.d.sync += done[0].eq(1)
                        m.next = "complete"
            with m.State("complete"), m.If(done[-1]):
                m.d.sync += [
                    self.full.bit_select(half, 1).eq(1),
                    self.held[half].eq(form),
                    half.eq(~half),
                ]
                m.next = "format"
            with m.State("drop"):
                m.d.comb += self.elements.ready.eq(1)
                with m.If(self.elements.valid & last):
                    m.next = "format"

    def _finite(self) -> tuple[Value, Value]:
        """Elements with infinities and NaNs clamped, and whether there were any."""
        elements, clamped = [], []
        for lane in range(self.config.kv.lanes):
            element = self.elements.payload.elements[lane]
            special = element[10:15].all()
            elements.append(Mux(special, Cat(Value.cast(LARGEST_MAGNITUDE), element[-1]), element))
            clamped.append(special)
        return Cat(elements), Cat(clamped).any()

    def _drain(self, m: Module) -> None:
        """Send the page of the other half."""
        config, lanes = self.config, self.config.kv.lanes
        lane_bits = ceil_log2(lanes)
        half = Signal()
        form = Signal(page_format(config), reset_less=True)
        kind = Signal(Kind, reset_less=True)
        spare = Signal(range(QUOTIENT_BITS), reset_less=True)
        m.d.sync += [kind.eq(kind_of(form)), spare.eq(spare_places(m, form.coding))]
        m.submodules.scale = scale = GroupScale(config)
        m.submodules.walk = walk = PageWalk(config)
        row = data.ArrayLayout(group_parameters, lanes)
        m.submodules.parameters = parameters = Memory(shape=row, depth=entries(config) // lanes, init=[])
        write, read = parameters.write_port(granularity=1), parameters.read_port()
        stage = self.staging.read_port()
        m.submodules.numbers = numbers = NumberBeats(config)
        m.d.comb += [scale.form.eq(form), scale.kind.eq(kind), scale.spare.eq(spare), walk.form.eq(form)]

        # Groups in the order of the metadata: of one token after the other, or channel after channel.
        outer, inner = Signal(range(config.kv.page_tokens)), Signal(range(config.kv.channels))
        by_token = form.axis == Axis.TOKEN
        group = SHORTEST_GROUP << form.group
        inner_step, outer_step = Mux(by_token, group, 1), Mux(by_token, 1, group)
        inner_ends, outer_ends = Signal(), Signal()  # known while the memory looks an entry up
        m.d.sync += [
            inner_ends.eq(inner + inner_step == form.channels * SHORTEST_GROUP),
            outer_ends.eq(outer + outer_step == config.kv.page_tokens),
        ]
        address = Signal(range(entries(config)))
        next_group = Signal()
        m.d.comb += address.eq(entry_address(form, outer, inner, config))
        with m.If(next_group):
            m.d.sync += inner.eq(Mux(inner_ends, 0, inner + inner_step))
            with m.If(inner_ends):
                m.d.sync += outer.eq(Mux(outer_ends, 0, outer + outer_step))

        entry = self.statistics.entry
        m.d.comb += [
            self.statistics.read_half.eq(half),
            self.statistics.read_address.eq(address),
            scale.entries.payload.eq(entry),
            write.addr.eq(address[lane_bits:]),
            write.data.eq(Value.cast(scale.parameters.payload).replicate(lanes)),
        ]
        taken = scale.parameters.valid & scale.parameters.ready
        m.d.comb += write.en.eq(taken << address[:lane_bits] if lane_bits else taken)
        low, _ = extremes(entry)

        # Codes: the walk addresses both memories, whose answers stay until the next read.
        advance = ~self.beats.valid | self.beats.ready
        coding_now, sending, ends = Signal(), Signal(), Signal()
        read_now, looks, loads, finishes = (
            Signal(name=n) for n in ("read_now", "looks", "loads", "finishes")
        )
        last_read, last_loaded = Signal(), Signal()
        divisions_of = by_bits(m, form.coding, steps, "divisions")
        divisions = Mux(is_divided(kind), divisions_of, 0)
        pace = Signal.like(divisions_of)
        left = Signal.like(divisions_of)
        which = Signal(max(lane_bits, 1))
        place = entry_address(form, walk.token, walk.beat << lane_bits, config)
        m.d.comb += [
            read_now.eq(sending & ~ends & advance & (pace == 0)),
            stage.addr.eq(Cat(walk.beat, walk.token, half)),
            stage.en.eq(read_now),
            read.addr.eq(place[lane_bits:]),
            read.en.eq(read_now),
            walk.advance.eq(read_now),
            numbers.beats.ready.eq(advance),
        ]
        with m.If(advance):
            m.d.sync += [looks.eq(read_now), loads.eq(looks), finishes.eq(left == 1)]
            m.d.sync += [pace.eq(pace - (pace != 0)), left.eq(left - (left != 0))]
        with m.If(read_now):
            m.d.sync += [which.eq(place[:lane_bits]), last_read.eq(walk.last), ends.eq(walk.last)]
            m.d.sync += pace.eq(Mux(divisions == 0, 1, divisions))
        with m.If(advance & loads):
            m.d.sync += [left.eq(divisions), finishes.eq(divisions == 0), last_loaded.eq(last_read)]
        beat = Signal(code_beat(lanes))
        m.d.comb += beat.eq(numbers.beats.payload)
        with m.If(finishes):
            m.d.comb += [beat.coding.eq(form.coding), beat.last.eq(last_loaded)]
        for number in range(lanes):
            lane = m.submodules[f"lane_{number}"] = CodeLane(config)
            adder = m.submodules[f"adder_{number}"] = WindowAdder()
            shared = read.data[which] if lane_bits else read.data[0]
            m.d.comb += [
                lane.kind.eq(kind),
                lane.spare.eq(spare),
                lane.coding.eq(form.coding),
                lane.element.eq(stage.data[number]),
                lane.parameters.eq(Mux(by_token, shared, read.data[number])),
                lane.difference.eq(adder.sum),
                adder.addend.eq(lane.addend),
                adder.offset.eq(lane.parameters.offset),
                adder.look.eq(looks & advance),
                adder.count.eq(1),
                lane.load.eq(loads & advance),
                lane.step.eq((left != 0) & advance),
            ]
            if number == 0:
                m.d.comb += scale.sum.eq(adder.sum)
                with m.If(~coding_now):
                    m.d.comb += [
                        adder.addend.eq(scale.addend),
                        adder.offset.eq(scale.offset),
                        adder.look.eq(1),
                        adder.count.eq(scale.count),
                    ]
            with m.If(finishes):
                m.d.comb += beat.codes[number].eq(lane.code)
        with m.If(advance):
            m.d.sync += [self.beats.valid.eq(finishes | numbers.beats.valid), self.beats.payload.eq(beat)]

        with m.FSM(name="drain"):
            with m.State("page"):
                m.d.comb += walk.restart.eq(1)
                m.d.sync += [outer.eq(0), inner.eq(0), ends.eq(0), form.eq(self.held[half])]
                with m.If(self.full.bit_select(half, 1)):
                    m.next = "scale entry"
            with m.State("scale entry"):  # while the memory looks it up
                m.next = "scale"
            with m.State("scale"):
                m.d.comb += [
                    scale.entries.valid.eq(1),
                    numbers.numbers.payload.eq(scale.parameters.payload.scale),
                    numbers.numbers.valid.eq(scale.parameters.valid),
                    scale.parameters.ready.eq(numbers.numbers.ready),
                ]
                with m.If(taken):
                    m.d.comb += next_group.eq(1)
                    m.next = "scale entry"
                    with m.If(inner_ends & outer_ends):
                        m.next = "codes"
                        with m.If(kind == Kind.AFFINE):
                            m.next = "minimum entry"
            with m.State("minimum entry"):
                m.next = "minimum"
            with m.State("minimum"):
                m.d.comb += [numbers.numbers.payload.eq(low), numbers.numbers.valid.eq(1)]
                with m.If(numbers.numbers.ready):
                    m.d.comb += next_group.eq(1)
                    m.next = "minimum entry"
                    with m.If(inner_ends & outer_ends):
                        m.next = "codes"
            with m.State("codes"):
                m.d.comb += [coding_now.eq(1), sending.eq(~numbers.busy)]
                with m.If(self.beats.valid & self.beats.ready & self.beats.payload.last):
                    m.d.sync += [self.full.bit_select(half, 1).eq(0), half.eq(~half)]
                    m.next = "page"


def page_cycles(config: Config, form: Format, groups: int, elements: int) -> int:
    """Cycles from one page's last beat to the next one's, both complete, without stalls.

    Args:
        config: the quantiser's configuration.
        form: format of the later page.
        groups, elements: of a page.
    """
    kind = Kind.SYMMETRIC if form.signed else Kind[form.kind.upper()]
    number = 3 if config.kv.lanes == 1 else 2  # cycles of a minimum, beats included
    divided = kind in (Kind.AFFINE, Kind.SYMMETRIC)
    pace = steps(form.bits) + 1 if divided else 2
    metadata = groups * (group_scale.cycles(kind) + 1 + number * (kind is Kind.AFFINE))
    return metadata + elements // config.kv.lanes * pace + 5 + divided + (config.kv.lanes == 1)
