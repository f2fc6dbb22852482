"""Quantiser: pages of float16 keys or values to scales, minima and codes, in the order of a page.

Meaning: ``golden.kv.formats.Format.quantize`` for rules ``native`` and ``native_symmetric``, signs, and trits
with a mean magnitude, laid out as ``golden.kv.pages.PageLayout`` has it; with ``kv.bitmod`` for BitMoD's data
types as well. One page is staged as float16, which makes the staging memory the window of recent tokens as
well, while the page before leaves: first its scales and minima, then its codes. Special values are chosen
ahead of the scales, behind which selectors leave.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.kv.formats import Format
from hw.config import Config
from hw.kv.fixed_point import QUOTIENT_BITS
from hw.kv.formats import Kind, kind_of
from hw.kv.page_shape import entry_address
from hw.kv.payloads import (
    HALF_BITS,
    SELECTOR_BITS,
    TOP_BITS,
    code_beat,
    element_beat,
    page_format,
    page_record,
)
from hw.kv.quantising import group_scale
from hw.kv.quantising.code_lane import RATIO_SPARE, RATIO_STEPS, spare_places, steps
from hw.kv.quantising.code_stream import CodeStream
from hw.kv.quantising.group_scale import GroupScale
from hw.kv.quantising.group_walk import GroupWalk
from hw.kv.quantising.largest_field import LargestField
from hw.kv.quantising.number_beats import NumberBeats
from hw.kv.quantising.page_stage import FLAGS, PageStage
from hw.kv.quantising.statistics import extremes

__all__ = ["FLAGS", "Quantiser", "page_cycles"]


class Quantiser(wiring.Component):
    """Quantise page after page; a ``LanePacker`` makes words of what leaves.

    A page arrives in P * D / lanes cycles and leaves in ``page_cycles``; both overlap for two pages. Numbers
    that are not finite count as the largest finite ones of their sign.

    Members:
        formats (in stream): of every page, ahead of its elements, with ``top``.
        elements (in stream): tokens in order, ``last`` with the page's last beat.
        beats (out stream): numbers of the metadata as codes of 8 bits, low byte first, then the page's codes.
        largest (out): with a page's last beat, ``top`` raised to the page's own steps and offsets.
        clamped (out): one cycle for a beat with an infinity or a NaN.
        error_format, error_short, error_long (out): one cycle for a page with an impossible format, or with
            fewer or more elements than its format says; it is left out.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "formats": In(stream.Signature(page_record(config))),
                "elements": In(stream.Signature(element_beat(config))),
                "beats": Out(stream.Signature(code_beat(config.kv.lanes))),
                "largest": Out(TOP_BITS),
                **dict.fromkeys(FLAGS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.stage = stage = PageStage(config)
        m.submodules.groups = groups = GroupWalk(config)
        m.submodules.scale = scale = GroupScale(config)
        m.submodules.numbers = numbers = NumberBeats(config)
        m.submodules.codes = codes = CodeStream(config)
        m.submodules.largest_field = largest = LargestField()
        connect(m, flipped(self.formats), stage.formats)
        connect(m, flipped(self.elements), stage.elements)
        m.d.comb += [getattr(self, flag).eq(getattr(stage, flag)) for flag in FLAGS]

        form = Signal(page_format(config), reset_less=True)  # of the page that leaves
        kind = Signal(Kind, reset_less=True)
        spare = Signal(range(QUOTIENT_BITS), reset_less=True)
        m.d.sync += [kind.eq(kind_of(form)), spare.eq(spare_places(m, form.coding))]
        for part in (scale, codes):
            m.d.comb += [part.form.eq(form), part.kind.eq(kind), part.spare.eq(spare)]
        m.d.comb += [
            groups.form.eq(form),
            stage.address.eq(entry_address(form, groups.token, groups.channel, config)),
            scale.entries.payload.eq(stage.entry),
            codes.address.eq(stage.address),
            codes.parameters.eq(scale.parameters.payload),
            codes.store.eq(scale.parameters.valid & scale.parameters.ready),
            codes.hold.eq(numbers.busy),
            stage.read.eq(codes.read),
            stage.token.eq(codes.token),
            stage.beat.eq(codes.beat),
            codes.elements.eq(stage.beat_elements),
            codes.addend.eq(scale.addend),
            codes.count.eq(scale.count),
            codes.offset.eq(scale.offset),
            scale.sum.eq(codes.sum),
            largest.before.eq(stage.record.top),
            largest.take.eq(numbers.numbers.valid & numbers.numbers.ready),
            largest.number.eq(numbers.numbers.payload),
            largest.doubled.eq(kind == Kind.SIGN),
            self.largest.eq(largest.largest),
        ]
        self._send(m, numbers, codes)
        with m.FSM(name="leaving"):
            self._sequence(m, form, kind)
            if config.kv.bitmod:
                self._choose(m, form, spare)
                self._send_selectors(m)
        return m

    def _send(self, m: Module, numbers: NumberBeats, codes: CodeStream) -> None:
        """Beats of numbers or of codes through the output register; never both are there."""
        room = ~self.beats.valid | self.beats.ready
        m.d.comb += [numbers.beats.ready.eq(room), codes.beats.ready.eq(room)]
        with m.If(room):
            m.d.sync += [
                self.beats.valid.eq(codes.beats.valid | numbers.beats.valid),
                self.beats.payload.eq(Mux(codes.beats.valid, codes.beats.payload, numbers.beats.payload)),
            ]

    def _sequence(self, m: Module, form: data.View, kind: Value) -> None:
        """Scales of all groups, their minima, then the codes."""
        stage, groups, scale = m.submodules.stage, m.submodules.groups, m.submodules.scale
        numbers, codes = m.submodules.numbers.numbers, m.submodules.codes
        low, _ = extremes(stage.entry)
        with m.State("page"):
            m.d.comb += [groups.restart.eq(1), codes.restart.eq(1), m.submodules.largest_field.load.eq(1)]
            m.d.sync += form.eq(stage.form)
            with m.If(stage.full):
                m.next = "scale entry"
                if self.config.kv.bitmod:
                    with m.If(stage.form.bitmod):
                        m.next = "magnitude entry"
        with m.State("scale entry"):  # while the memory looks it up
            m.next = "scale"
        with m.State("scale"):
            m.d.comb += [
                scale.entries.valid.eq(1),
                scale.parameters.ready.eq(numbers.ready),
                numbers.valid.eq(scale.parameters.valid),
                numbers.payload.eq(scale.parameters.payload.scale),
            ]
            with m.If(codes.store):
                m.d.comb += groups.advance.eq(1)
                m.next = "scale entry"
                with m.If(groups.last):
                    m.next = "codes"
                    with m.If(kind == Kind.AFFINE):
                        m.next = "minimum entry"
                    if self.config.kv.bitmod:
                        with m.If(form.bitmod):
                            m.next = "selector entry"
        with m.State("minimum entry"):
            m.next = "minimum"
        with m.State("minimum"):
            m.d.comb += [numbers.valid.eq(1), numbers.payload.eq(low)]
            with m.If(numbers.ready):
                m.d.comb += groups.advance.eq(1)
                m.next = "minimum entry"
                with m.If(groups.last):
                    m.next = "codes"
        with m.State("codes"):
            m.d.comb += codes.coding.eq(1)
            with m.If(self.beats.valid & self.beats.ready & self.beats.payload.last):
                m.d.comb += stage.done.eq(1)
                m.next = "page"

    def _choose(self, m: Module, form: data.View, spare: Value) -> None:
        """Largest magnitudes of all groups in the place of their scales, then the choices."""
        groups, scale, codes = m.submodules.groups, m.submodules.scale, m.submodules.codes
        m.d.comb += scale.selector.eq(Mux(form.bitmod, codes.selector, 0))
        with m.State("magnitude entry"):
            m.next = "magnitude"
        with m.State("magnitude"):
            m.next = "store magnitude"
        with m.State("store magnitude"):
            m.d.comb += [
                codes.store.eq(1),
                codes.parameters.scale.eq(scale.magnitude),
                codes.parameters.offset.eq(0),
                groups.advance.eq(1),
            ]
            m.next = "magnitude entry"
            with m.If(groups.last):
                m.next = "choices"
        with m.State("choices"):
            m.d.comb += [codes.coding.eq(1), codes.scoring.eq(1)]
            m.d.sync += spare.eq(RATIO_SPARE)
            with m.If(codes.chosen):
                m.d.comb += codes.restart.eq(1)
                m.next = "scale entry"

    def _send_selectors(self, m: Module) -> None:
        """Selectors of all groups, as many as fit in a number at a time."""
        groups, numbers, codes = m.submodules.groups, m.submodules.numbers.numbers, m.submodules.codes
        earlier = Signal(HALF_BITS - SELECTOR_BITS, reset_less=True)
        gathered = Signal(HALF_BITS)
        count = Signal(range(HALF_BITS // SELECTOR_BITS))
        m.d.comb += gathered.eq(Cat(earlier, codes.selector))
        with m.State("selector entry"):
            m.next = "selector"
        with m.State("selector"):
            m.d.comb += [
                numbers.valid.eq(count.all()),
                numbers.payload.eq(gathered),
                m.submodules.largest_field.take.eq(0),
            ]
            with m.If(~numbers.valid | numbers.ready):
                m.d.comb += groups.advance.eq(1)
                m.d.sync += [count.eq(count + 1), earlier.eq(gathered[SELECTOR_BITS:])]
                m.next = "selector entry"
                with m.If(groups.last):
                    m.next = "codes"


def page_cycles(config: Config, form: Format, groups: int, elements: int) -> int:
    """Cycles from one page's last beat to the next one's, both complete, without stalls.

    Args:
        config: the quantiser's configuration.
        form: format of the later page.
        groups, elements: of a page.
    """
    is_symmetric = form.signed or form.kind == "bitmod"
    kind = Kind.SYMMETRIC if is_symmetric else Kind[form.kind.upper()]
    number = 3 if config.kv.lanes == 1 else 2  # cycles of a minimum, beats included
    divided = kind in (Kind.AFFINE, Kind.SYMMETRIC)
    pace = steps(form.bits) + 1 if divided else 2
    metadata = groups * (group_scale.cycles(kind) + 1 + number * (kind is Kind.AFFINE))
    if form.kind == "bitmod":
        metadata += groups * (3 + 2) + elements // config.kv.lanes * (RATIO_STEPS + 1) + 7
    return metadata + elements // config.kv.lanes * pace + 5 + divided + (config.kv.lanes == 1)
