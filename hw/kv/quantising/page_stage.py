"""Page stage: float16 pages in two halves, one of which fills while the other is read."""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.config import Config
from hw.kv.fixed_point import LARGEST_MAGNITUDE
from hw.kv.formats import kind_of
from hw.kv.page_shape import beats, entries, is_legal, last_beat
from hw.kv.payloads import HALF_BITS, element_beat, page_format, page_record
from hw.kv.quantising import statistics
from hw.kv.quantising.statistics import SUM_BITS, Statistics

__all__ = ["FLAGS", "PageStage", "Records"]

FLAGS = ("clamped", "error_format", "error_short", "error_long")


class Records(NamedTuple):
    """What comes ahead of a page's elements, and what it says of them.

    Attributes:
        shape: of a record.
        form: the format, ``page_format``, of a record; combinational, of this name where it needs one.
        is_legal: whether there can be a page of this format.
    """

    shape: data.StructLayout
    form: Callable[[Module, data.View, str], data.View]
    is_legal: Callable[[data.View, Config], Value]


def _of_pages(config: Config) -> Records:
    return Records(page_record(config), lambda m, record, name: record.form, is_legal)


class _Arriving(NamedTuple):
    """The page that arrives.

    Attributes:
        record: what came ahead of it.
        form: its format.
        half: where it goes.
        token, beat: where its next beat lies.
        take: the beat is taken.
    """

    record: data.View
    form: data.View
    half: Signal
    token: Signal
    beat: Signal
    take: Signal


class PageStage(wiring.Component):
    """Take page after page, with the statistics of its groups.

    A beat a cycle; a page can be read ``statistics.latency`` + 1 cycles after its last beat.

    Args:
        config: the quantiser's; its ``kv.page_tokens`` are those that are quantised together.
        records: what comes ahead of the elements, ``page_record`` by default.

    Members:
        formats, elements (in streams): as of ``hw.kv.quantiser.Quantiser``.
        clamped, error_format, error_short, error_long (out): as of ``Quantiser``.
        full (out): a page can be read.
        record, form (out): what came ahead of it, and its format.
        done (in): it has been read; the next page that can be read is the one after it.
        read (in): look up the beat at ``token`` and ``beat``; it stays until the next ``read``.
        token, beat (in): where it lies.
        beat_elements (out): the beat, a cycle later.
        address (in): of a group's entry (``hw.kv.page_shape.entry_address``).
        entry (out): its statistics, a cycle later.
    """

    def __init__(self, config: Config, records: Records | None = None) -> None:
        self.config = config
        self.records = records or _of_pages(config)
        record = self.records.shape
        lanes = data.ArrayLayout(HALF_BITS, config.kv.lanes)
        super().__init__(
            {
                "formats": In(stream.Signature(record)),
                "elements": In(stream.Signature(element_beat(config))),
                **dict.fromkeys(FLAGS, Out(1)),
                "full": Out(1),
                "record": Out(record),
                "form": Out(page_format(config)),
                "done": In(1),
                "read": In(1),
                "token": In(range(config.kv.page_tokens)),
                "beat": In(range(beats(config))),
                "beat_elements": Out(lanes),
                "address": In(range(entries(config))),
                "entry": Out(SUM_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        staged = data.ArrayLayout(HALF_BITS, config.kv.lanes)
        depth = 2 * config.kv.page_tokens << ceil_log2(beats(config))
        m.submodules.staging = staging = Memory(shape=staged, depth=depth, init=[])
        m.submodules.statistics = gather = Statistics(config)
        write = staging.write_port()
        read = staging.read_port()
        full = Signal(2, name="full_halves")
        held = Signal(data.ArrayLayout(self.records.shape, 2))
        self._arrive(m, write, gather, full, held)
        self._leave(m, read, gather, full, held)
        return m

    def _arrive(self, m: Module, write: WritePort, gather: Statistics, full: Signal, held: data.View) -> None:
        """Fill the half that is not read."""
        record = Signal(self.records.shape, name="arriving_record")
        form = self.records.form(m, record, "arriving_form")
        half = Signal(name="arriving_half")
        token = Signal.like(self.token, name="arriving_token")
        beat = Signal.like(self.beat, name="arriving_beat")
        take = Signal()
        elements, clamped = self._finite()
        m.d.comb += [
            write.addr.eq(Cat(beat, token, half)),
            write.data.eq(elements),
            write.en.eq(take),
            gather.form.eq(form),
            gather.kind.eq(kind_of(form)),
            gather.half.eq(half),
            gather.take.eq(take),
            gather.elements.eq(elements),
            gather.token.eq(token),
            gather.beat.eq(beat),
        ]
        m.d.sync += self.clamped.eq(take & clamped)
        self._fill(m, _Arriving(record, form, half, token, beat, take), full, held)

    def _fill(self, m: Module, arriving: _Arriving, full: Signal, held: data.View) -> None:
        """Take pages or drop them; one is full when its statistics are complete."""
        config = self.config
        record, form, half, token, beat, take = arriving
        offered, last = self.formats.payload, self.elements.payload.last
        is_legal = self.records.is_legal(self.records.form(m, offered, "offered_form"), config)
        last_of_token = Signal()
        at_end = Signal()
        settling = Signal(statistics.latency(config))  # until the last entry is in its place
        m.d.comb += [
            last_of_token.eq(beat == last_beat(form, config)),
            at_end.eq(last_of_token & (token == config.kv.page_tokens - 1)),
        ]
        m.d.sync += settling.eq(settling << 1)
        m.d.sync += Cat(self.error_format, self.error_short, self.error_long).eq(0)
        with m.FSM(name="fill"):
            with m.State("format"):
                m.d.comb += self.formats.ready.eq(~full.bit_select(half, 1))
                m.d.sync += [record.eq(offered), token.eq(0), beat.eq(0)]
                with m.If(self.formats.valid & self.formats.ready):
                    m.next = "elements"
                    with m.If(~is_legal):
                        m.d.sync += self.error_format.eq(1)
                        m.next = "drop"
            with m.State("elements"):
                m.d.comb += [self.elements.ready.eq(1), take.eq(self.elements.valid)]
                with m.If(take):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(last_of_token):
                        m.d.sync += [beat.eq(0), token.eq(token + 1)]
                    with m.If(last & ~at_end):
                        m.d.sync += self.error_short.eq(1)
                        m.next = "format"
                    with m.If(~last & at_end):
                        m.d.sync += self.error_long.eq(1)
                        m.next = "drop"
                    with m.If(last & at_end):
                        m.d.sync += settling[0].eq(1)
                        m.next = "complete"
            with m.State("complete"), m.If(settling[-1]):
                m.d.sync += [full.bit_select(half, 1).eq(1), held[half].eq(record), half.eq(~half)]
                m.next = "format"
            with m.State("drop"):
                m.d.comb += self.elements.ready.eq(1)
                with m.If(self.elements.valid & last):
                    m.next = "format"

    def _finite(self) -> tuple[Value, Value]:
        """Elements with infinities and NaNs clamped, and whether there were any."""
        elements, clamped = [], []
        for element in self.elements.payload.elements:
            special = element[10:15].all()
            elements.append(Mux(special, Cat(Value.cast(LARGEST_MAGNITUDE), element[-1]), element))
            clamped.append(special)
        return Cat(elements), Cat(clamped).any()

    def _leave(self, m: Module, read: ReadPort, gather: Statistics, full: Signal, held: data.View) -> None:
        """Look up what is asked of the other half."""
        half = Signal(name="leaving_half")
        m.d.comb += [
            self.full.eq(full.bit_select(half, 1)),
            self.record.eq(held[half]),
            self.form.eq(self.records.form(m, self.record, "leaving_form")),
            read.addr.eq(Cat(self.beat, self.token, half)),
            read.en.eq(self.read),
            self.beat_elements.eq(read.data),
            gather.read_half.eq(half),
            gather.read_address.eq(self.address),
            self.entry.eq(gather.entry),
        ]
        with m.If(self.done):
            m.d.sync += [full.bit_select(half, 1).eq(0), half.eq(~half)]
