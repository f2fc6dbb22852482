"""Metadata loader: the packed columns behind a group's codes to scales, channels and selectors."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers import scales
from hw import payloads
from hw.config import Config
from hw.numbers.one_hot import choose
from hw.weights.group_metadata import (
    CHANNEL_GRANULES,
    Tail,
    longest_metadata,
    scale_fields,
    scale_lengths,
    tails,
)
from hw.weights.packet_place import place_layout
from hw.weights.packet_plan import metadata_takes, plan_layout

__all__ = ["MetadataLoader", "metadata_bits"]

_Place = tuple[int, int]
"""Of a column: first bit, bits of an entry."""

_Kind = tuple[int, Tail, int | None]
"""Of scales: number of the format, tail, bits of a zero where that matters."""

_PAYLOAD_FIELDS = {
    "scale_mantissa": "scale",
    "scale_distance": "scale_distance",
    "zero": "zero_point",
    "offset_mantissa": "offset",
    "offset_distance": "offset_distance",
}


def metadata_bits(config: Config) -> int:
    """Bits of the longest metadata."""
    return config.rows * longest_metadata(config)


class MetadataLoader(wiring.Component):
    """Keep a group's packed columns while what the group before had is offered downstream.

    The columns are worked out and move on as soon as the offered scales are accepted or there are none: two
    cycles from the last ``load`` to ``scales.valid``, and one group can be loaded while the one before is
    stalled. So do the channels that come with a row block's last group. ``room`` comes from registers. The
    selectors are read where they lie.

    Members:
        window (in): columns, first one lowest.
        plan (in): the packet's plan; held until all its columns have moved on, that is until ``room`` after
            the last load.
        output, last_rows (in): number format of the packet's results, rows of its last row block; with
            ``load``.
        step (in): number of the window; all but the last one are as long as a word, or it is the only one.
        complete (in): the window has the last columns.
        place (in): where the group is.
        error (in): the packet ended before the channels did.
        load (in): take ``window``; only while ``room``.
        select (in): take it for a packet's first selectors; only while ``room``.
        room (out): no columns are kept.
        selectors (out): of the group whose chunks come next.
        scales (out stream): one payload a group.
        channels (out stream): one payload a row block.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        channels = payloads.channels(config)
        super().__init__(
            {
                "window": In(metadata_bits(config)),
                "plan": In(plan_layout(config)),
                "output": In(channels["output"].shape),
                "last_rows": In(channels["count"].shape),
                "step": In(range(metadata_takes(config))),
                "complete": In(1),
                "place": In(place_layout),
                "error": In(1),
                "load": In(1),
                "select": In(1),
                "room": Out(1),
                "selectors": Out(payloads.chunk(config)["selectors"].shape),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
                "channels": Out(stream.Signature(channels)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        columns = self._columns(m)
        lengths = Signal(len(scale_lengths(self.config)))  # which of them the scales have
        kept_scales = Signal()
        kept_channels = Signal()
        scales_move = Signal()
        channels_move = Signal()
        m.d.comb += [
            *(
                line.eq(self.plan.scale_granules == length)
                for line, length in zip(lengths, scale_lengths(self.config), strict=True)
            ),
            self.room.eq(~kept_scales & ~kept_channels),
        ]
        ways = ((self.scales, kept_scales, scales_move), (self.channels, kept_channels, channels_move))
        for offered, kept, moves in ways:
            m.d.comb += moves.eq(kept & (~offered.valid | offered.ready))
            with m.If(moves):
                m.d.sync += [offered.valid.eq(1), kept.eq(0)]
            with m.Elif(offered.ready):
                m.d.sync += offered.valid.eq(0)
        with m.If(self.load & self.complete):
            m.d.sync += [kept_scales.eq(1), kept_channels.eq(self.place.final)]
        self._scales(m, columns, scales_move)
        behind = self._behind(m, columns, lengths)
        self._channels(m, behind, channels_move)
        self._selectors(m, columns, behind)
        return m

    def _columns(self, m: Module) -> Signal:
        """The register of packed columns."""
        columns = Signal(len(self.window), reset_less=True)
        with m.If(self.load | self.select), m.Switch(self.step):
            with m.Case(0):
                m.d.sync += columns.eq(self.window)
            for step in range(1, metadata_takes(self.config)):
                with m.Case(step):
                    m.d.sync += columns[step * self.config.memory_bits :].eq(self.window)
        return columns

    def _behind(self, m: Module, columns: Signal, lengths: Signal) -> Signal:
        """What lies behind the scales: channels and selectors, or selectors alone."""
        behind = Signal((CHANNEL_GRANULES + 2) * self.config.rows)
        starts = [length * self.config.rows for length in scale_lengths(self.config)]
        places = [columns[start : start + len(behind)] for start in starts]
        m.d.comb += behind.eq(choose(lengths, places))
        return behind

    def _channels(self, m: Module, behind: Signal, moves: Signal) -> None:
        """The channels, behind the scales."""
        rows, place = self.config.rows, self.place
        payload = Signal(self.channels.p.shape(), name="held_channels", reset_less=True)
        closing = Signal(
            data.StructLayout({"count": len(payload.count), "output": 2, "last": 1, "error": 1}),
            reset_less=True,
        )
        m.d.comb += self.channels.payload.eq(payload)
        with m.If(self.load):
            m.d.sync += [
                closing.count.eq(Mux(place.finished, self.last_rows, rows)),
                closing.output.eq(self.output),
                closing.last.eq(place.finished),
                closing.error.eq(self.error),
            ]
        with m.If(moves):
            m.d.sync += [
                payload.reach.eq(self.plan.reach),
                *(payload[name].eq(closing[name]) for name in closing.shape().members),
            ]
            for row in range(rows):
                m.d.sync += payload.rows[row].exponent.eq(behind.word_select(row, CHANNEL_GRANULES))

    def _selectors(self, m: Module, columns: Signal, behind: Signal) -> None:
        """Selectors lie at the begin, or behind scales, or behind channels."""
        rows = self.config.rows
        first = Signal()
        block = Signal()
        packed = Signal(2 * rows)
        with m.If(self.load | self.select):
            m.d.sync += [first.eq(self.select), block.eq(self.place.final)]
        m.d.comb += packed.eq(Mux(block, behind[CHANNEL_GRANULES * rows :], behind))
        with m.If(first):
            m.d.comb += packed.eq(columns)
        for row in range(rows):
            two = self.plan.selector_bits[1]
            selector = Mux(two, packed.word_select(row, 2), packed[row])
            m.d.comb += self.selectors[row].eq(Mux(self.plan.selector_bits.any(), selector, 0))

    def _scales(self, m: Module, columns: Signal, moves: Signal) -> None:
        """The scales that the packed columns stand for."""
        plan = self.plan
        payload = Signal(self.scales.p.shape(), name="held_scales", reset_less=True)
        worked_out = Signal(self.scales.p.shape())
        m.d.comb += [
            worked_out.reach.eq(plan.reach),
            worked_out.has_offset.eq(plan.tail == Tail.OFFSET),
            self.scales.payload.eq(payload),
        ]
        with m.If(moves):
            m.d.sync += payload.eq(worked_out)
        for field, name in _PAYLOAD_FIELDS.items():
            places = self._places(field)
            chosen = Signal(len(places), name=f"{field}_from")
            m.d.comb += [
                line.eq(self._is_one_of(kinds)) for line, kinds in zip(chosen, places.values(), strict=True)
            ]
            for row in range(self.config.rows):
                entry = choose(chosen, [columns[start + row * bits :][:bits] for start, bits in places])
                if field == "zero":
                    entry = plan.zero_base - entry
                elif field == "scale_mantissa":
                    entry = entry | ~chosen.any()  # formats without mantissas
                m.d.comb += worked_out.rows[row][name].eq(entry)

    def _places(self, field: str) -> dict[_Place, list[_Kind]]:
        """Where the columns of a field can lie, each with the kinds of scales in which they lie there."""
        places: dict[_Place, list[_Kind]] = {}
        for number, scale in enumerate(scales.FORMATS):
            for tail in tails(self.config):
                start = 0
                for name, bits in scale_fields(scale, tail, self.config):
                    for width in self._zero_bits() if name == field == "zero" else (bits,):
                        if name == field:
                            kind = (number, tail, width if name == "zero" else None)
                            places.setdefault((start, width), []).append(kind)
                    start += self.config.rows * bits
        return places

    def _zero_bits(self) -> tuple[int, ...]:
        return tuple(sorted({entry.bits for entry in self.config.datatypes if entry.asymmetric}))

    def _is_one_of(self, kinds: list[_Kind]) -> Value:
        plan = self.plan
        return Cat(
            (plan.scale == number) & (plan.tail == tail) & (1 if bits is None else plan.zero_bits == bits)
            for number, tail, bits in kinds
        ).any()
