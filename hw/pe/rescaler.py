"""Rescaler: group dot products to results, for all rows and columns.

Meaning: ``golden.pe.rescale``, ``golden.pe.output_converter``. While the array works on a group, the rows of
the group before pass through the rescale units one after another; after a block's last group the sums leave
through the output converters.
"""

from collections.abc import Iterator

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw import payloads
from hw.config import Config
from hw.numbers.one_hot import choose
from hw.pe import output_converter, rescale_unit
from hw.pe.accumulators import Accumulators
from hw.pe.lookahead import Lookahead
from hw.pe.output_converter import OutputConverter
from hw.pe.rescale_unit import RescaleUnit
from hw.sharing import share

__all__ = ["Rescaler", "latency"]


def latency(config: Config) -> int:
    """Cycles from a row's turn in a block's last group to its result, without stalls."""
    return rescale_unit.latency(config) + 1 + output_converter.LATENCY


_BIAS_FP16 = 15
_BIAS_BF16 = 127


class Rescaler(wiring.Component):
    """Scale, align and accumulate; convert finished sums.

    A group takes ``config.turns`` cycles: one for each row of a rescale unit, with offsets and
    ``offset_passes`` of 2 twice as many. Results appear ``latency`` cycles after their row's turn in the
    block's last group.

    Members:
        dots (in stream): biased group dot products; taken with the group's last row.
        promise (out): ``dots`` will be taken within ``CAPTURE_LATENCY`` cycles, this one included.
        scales (in stream): scales and offsets of a group; taken with ``dots``.
        summaries (in stream): exponents and sums of the activations of a group; taken with ``dots``.
        channels (in stream): output scales of a row block; taken with the block's last row.
        room (in): results that the consumer is sure to take without a stall; lets the promise reach further.
        results (out stream): outputs, ``rescale_units`` rows a beat.
        overflow (out): a result beat that is being taken holds a value that became infinite.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "dots": In(stream.Signature(payloads.dots(config))),
                "promise": Out(1),
                "scales": In(stream.Signature(payloads.group_scales(config))),
                "summaries": In(stream.Signature(payloads.summary(config))),
                "channels": In(stream.Signature(payloads.channels(config))),
                "room": In(bits_for(4 * config.slots)),
                "results": Out(stream.Signature(payloads.result(config))),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.lookahead = lookahead = Lookahead(config)
        advance = Signal()
        issue = Signal()
        turn = Signal(self._turn_layout())
        m.d.comb += [
            issue.eq(advance & self.dots.valid & self.scales.valid & self.summaries.valid),
            lookahead.issue.eq(issue),
            self.promise.eq(lookahead.promise),
        ]
        lines = self._take_turns(m, issue, turn, lookahead)

        later = [turn]
        for stage in range(rescale_unit.latency(config)):
            held = Signal(turn.shape(), name=f"turn_{stage}")
            with m.If(advance):
                m.d.sync += held.eq(later[-1])
            later.append(held)
        done = later[-1]
        leaves = Signal()
        m.d.comb += [
            leaves.eq(done.valid & done.final),
            lookahead.left_pipeline.eq(leaves & advance),
            advance.eq((~self.results.valid | self.results.ready) & (~leaves | self.channels.valid)),
        ]
        totals = self._rescale(m, advance, lines, turn, done)
        self._convert(m, advance, leaves, done, totals, lookahead)
        return m

    def _turn_layout(self) -> data.StructLayout:
        """One pass of one row of each rescale unit, on its way through the pipeline."""
        column = data.StructLayout({"reference": payloads.EXPONENT_BITS, "special": 1})
        return data.StructLayout(
            {
                "valid": 1,
                "slot": bits_for(self.config.slots - 1),
                "second": 1,
                "start": 1,
                "rotate": 1,
                "final": 1,
                "columns": data.ArrayLayout(column, self.config.columns),
                "format": payloads.ActivationFormat,
            }
        )

    def _take_turns(self, m: Module, issue: Value, turn: data.View, lookahead: Lookahead) -> Signal:
        """Count rows and passes; take the group's streams with its last turn.

        Returns the slot, one-hot.
        """
        slots = self.config.slots
        slot = Signal(bits_for(slots - 1))
        lines = Signal(slots, init=1)
        second = Signal()
        opening = Signal(init=1)
        rotate = Signal()
        last = Signal()
        final, twice = self.dots.payload.final, Const(0, 1)
        if self.config.offset_passes == 2:
            twice = self.scales.payload.has_offset
        m.d.comb += [
            rotate.eq(second | ~twice),
            last.eq(rotate & (slot == slots - 1)),
            turn.valid.eq(issue),
            turn.slot.eq(slot),
            turn.second.eq(second),
            turn.start.eq(opening & ~second),
            turn.rotate.eq(rotate),
            turn.final.eq(final & rotate),
            turn.format.eq(self.summaries.payload.format),
            lookahead.left.eq(Mux(twice, 2 * (slots - slot) - second, slots - slot)),
            lookahead.coming.eq(Mux(final, slots - slot, 0)),
            lookahead.issued.eq(issue & final & rotate),
        ]
        for column, summary in zip(turn.columns, self.summaries.payload.columns, strict=True):
            m.d.comb += [column.reference.eq(summary.reference), column.special.eq(summary.special)]
        for taken in (self.dots, self.scales, self.summaries):
            m.d.comb += taken.ready.eq(issue & last)
        with m.If(issue):
            m.d.sync += second.eq(~rotate)
            with m.If(rotate):
                m.d.sync += [slot.eq(Mux(last, 0, slot + 1)), lines.eq(Cat(lines[-1], lines[:-1]))]
            with m.If(last):
                m.d.sync += opening.eq(final)
        return lines

    def _rescale(
        self, m: Module, advance: Value, lines: Value, turn: data.View, done: data.View
    ) -> list[list[Value]]:
        """Rescale units and accumulators; returns the finished sums, ``[unit][column]``."""
        config = self.config
        totals = []
        for unit in range(config.rescale_units):
            rows = list(self.scales.payload.rows)[unit :: config.rescale_units]
            scale = Signal(rows[0].shape(), name=f"scale_{unit}")
            m.d.comb += scale.as_value().eq(choose(lines, [row.as_value() for row in rows]))
            totals.append(
                [
                    self._cell(m, advance, unit, column, scale, lines, turn, done)
                    for column in range(config.columns)
                ]
            )
        return totals

    def _cell(
        self,
        m: Module,
        advance: Value,
        unit: int,
        column: int,
        scale: data.View,
        lines: Value,
        turn: data.View,
        done: data.View,
    ) -> Value:
        """One rescale unit of one token column with its accumulators."""
        config = self.config
        dots = list(self.dots.payload.dots[column])[unit :: config.rescale_units]
        summary = self.summaries.payload.columns[column]
        rescale = share(m, f"unit_{unit}_{column}", RescaleUnit(config))
        accumulators = share(m, f"accumulators_{unit}_{column}", Accumulators(config))
        m.d.comb += [
            rescale.advance.eq(advance),
            rescale.bias.eq(self.dots.payload.bias),
            rescale.dot.eq(choose(lines, dots)),
            rescale.zero_point.eq(scale.zero_point),
            rescale.sum.eq(summary.sum),
            rescale.mantissa.eq(scale.scale),
        ]
        name, distance = f"{unit}_{column}", scale.scale_distance
        if config.offset_passes == 1:
            has_offset = self.scales.payload.has_offset
            m.d.comb += rescale.offset.eq(Mux(has_offset, scale.offset, 0))
            amount = self._amount(m, f"offset_{name}", advance, scale.offset_distance, summary)
            m.d.comb += rescale.offset_amount.eq(amount)
        else:
            distance = Mux(turn.second, scale.offset_distance, distance)
            with m.If(turn.second):
                m.d.comb += [
                    rescale.dot.eq(self.dots.payload.bias),
                    rescale.zero_point.eq(1),
                    rescale.mantissa.eq(scale.offset),
                ]
        m.d.comb += rescale.amount.eq(self._amount(m, name, advance, distance, summary))
        m.d.comb += [
            accumulators.enable.eq(done.valid & advance),
            accumulators.start.eq(done.start),
            accumulators.rotate.eq(done.rotate),
            accumulators.contribution.eq(rescale.contribution),
        ]
        return accumulators.total

    def _amount(self, m: Module, name: str, advance: Value, below: Value, summary: data.View) -> Value:
        """Shift of a contribution whose scale lies ``below`` its reference, an ``advance`` later."""
        config = self.config
        distance = Signal(payloads.DISTANCE_BITS, name=f"distance_{name}", reset_less=True)
        lowering = Signal(signed(payloads.EXPONENT_BITS + 3), name=f"lowering_{name}", reset_less=True)
        amount = Signal(signed(payloads.EXPONENT_BITS + 4), name=f"amount_{name}")
        limit = (1 << config.amount_bits) - 1
        lowest = config.numerics.alignment - config.headroom
        with m.If(advance):
            m.d.sync += [
                distance.eq(below),
                lowering.eq(summary.distance + self.scales.payload.reach - lowest),
            ]
        m.d.comb += amount.eq(distance + lowering)
        return Mux(amount > limit, limit, amount)

    def _convert(
        self,
        m: Module,
        advance: Value,
        leaves: Value,
        done: data.View,
        totals: list[list[Value]],
        lookahead: Lookahead,
    ) -> None:
        """Output converters, and beside them what a result beat says of itself."""
        config = self.config
        units, channels = config.rescale_units, self.channels.payload
        beat = Signal(_beat_layout(config))
        following_slot = Signal(range(config.slots))
        place = Signal(range(config.rows))
        following = Signal(range(config.rows + units))
        m.d.comb += [
            place.eq(done.slot * units),
            following.eq(place + units),
            beat.present.eq(leaves),
            beat.valid.eq(leaves & (channels.count > place)),
            beat.count.eq(Mux(channels.count >= following, units, channels.count - place)),
            beat.last.eq(channels.last & (channels.count <= following)),
            beat.error.eq(channels.error),
            lookahead.block.eq(Mux(self.channels.valid, config.slots - following_slot, 0)),
            lookahead.room.eq(self.room),
            self.channels.ready.eq(leaves & advance & (done.slot == config.slots - 1)),
        ]
        with m.If(leaves & advance):
            m.d.sync += following_slot.eq(Mux(self.channels.ready, 0, following_slot + 1))
        later = [beat]
        for stage in range(1 + output_converter.LATENCY):
            held = Signal(beat.shape(), name=f"beat_{stage}")
            with m.If(advance):
                m.d.sync += held.eq(later[-1])
            later.append(held)
        sent = later[-1]
        with m.If(self.results.ready & ~advance):
            m.d.sync += sent.valid.eq(0)
        m.d.comb += [
            self.results.valid.eq(sent.valid),
            self.results.payload.count.eq(sent.count),
            self.results.payload.last.eq(sent.last),
            self.results.payload.error.eq(sent.error),
            lookahead.sent.eq(sent.present & advance),
        ]
        overflows = [
            converter.overflow & (sent.count > unit)
            for unit in range(units)
            for converter in self._converters(m, advance, done, unit, totals[unit])
        ]
        m.d.comb += self.overflow.eq(sent.valid & self.results.ready & Cat(overflows).any())

    def _converters(
        self, m: Module, advance: Value, done: data.View, unit: int, totals: list[Value]
    ) -> Iterator[OutputConverter]:
        """Output converters of a rescale unit, one a token column."""
        config, channels = self.config, self.channels.payload
        rows = [channels.rows[unit + config.rescale_units * slot].exponent for slot in range(config.slots)]
        channel = Signal(signed(payloads.EXPONENT_BITS), name=f"channel_{unit}")
        m.d.comb += channel.eq(Array(rows)[done.slot])
        bias = Mux(done.format == payloads.ActivationFormat.BF16, _BIAS_BF16, _BIAS_FP16)
        fixed = config.activation_bits - 2 + config.numerics.alignment
        for column, total in enumerate(totals):
            converter = share(m, f"converter_{unit}_{column}", OutputConverter(config))
            with m.If(advance):
                m.d.sync += [
                    converter.value.eq(total),
                    converter.exponent.eq(
                        done.columns[column].reference + channel + channels.reach - fixed - bias
                    ),
                    converter.special.eq(done.columns[column].special),
                    converter.format.eq(channels.output),
                ]
            m.d.comb += [
                converter.advance.eq(advance),
                self.results.payload.rows[unit][column].eq(converter.result),
            ]
            yield converter


def _beat_layout(config: Config) -> data.StructLayout:
    """What travels beside a value through its output converter."""
    return data.StructLayout(
        {"present": 1, "valid": 1, "count": bits_for(config.rescale_units), "last": 1, "error": 1}
    )
