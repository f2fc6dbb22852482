"""Scale loader: the scales of a group from their packed columns to one payload, one group ahead."""

from collections.abc import Iterator

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers import scales
from golden.weights.packet import Field
from hw import payloads
from hw.config import Config
from hw.weights.packet_plan import Tail, metadata_bits, plan_layout, scale_takes, tails

__all__ = ["ScaleLoader"]

_TAIL_BITS = Shape.cast(Tail).width
_PAYLOAD_FIELDS = {
    "scale_mantissa": "scale",
    "scale_distance": "scale_distance",
    "zero": "zero_point",
    "offset_mantissa": "offset",
    "offset_distance": "offset_distance",
}


class ScaleLoader(wiring.Component):
    """Assemble a group's scales in one register bank while another one is offered downstream.

    The assembled bank moves on as soon as the other one is empty or being accepted: two cycles from the last
    ``load`` to ``scales.valid``, and one group can be loaded while the one before is stalled. ``room`` comes
    from a register.

    Members:
        window (in): the columns of one take, first one lowest.
        plan (in): the packet's plan.
        step (in): number of the take.
        load (in): take ``window``; only while ``room``.
        room (out): the assembling bank is free.
        scales (out): one payload a group.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.plan_layout = plan_layout(config)
        super().__init__(
            {
                "window": In(metadata_bits(config)),
                "plan": In(self.plan_layout),
                "step": In(self.plan_layout["scale_last"].shape),
                "load": In(1),
                "room": Out(1),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank = Signal(payloads.group_scales(self.config), reset_less=True)
        full = Signal()
        moves = Signal()
        payload = Signal.like(bank)
        m.d.comb += moves.eq(full & (~self.scales.valid | self.scales.ready))
        m.d.comb += self.room.eq(~full)
        m.d.comb += self.scales.payload.eq(payload)
        with m.If(moves):
            m.d.sync += [payload.eq(bank), self.scales.valid.eq(1), full.eq(0)]
        with m.Elif(self.scales.ready):
            m.d.sync += self.scales.valid.eq(0)
        with m.If(self.load):
            m.d.sync += full.eq(self.step == self.plan.scale_last)
            with m.If(self.step == 0):
                m.d.sync += self._defaults(bank)
            self._capture(m, bank)
        return m

    def _defaults(self, bank: Value) -> list[Value]:
        """What absent columns mean; the present ones are captured on top."""
        rows = [bank.rows[row] for row in range(self.config.rows)]
        return [
            bank.reach.eq(self.plan.reach),
            bank.has_offset.eq(self.plan.tail == Tail.OFFSET),
            *(row.eq(Const({"scale": 1}, row.shape())) for row in rows),
            *(row.zero_point.eq(self.plan.zero_base) for row in rows),
        ]

    def _capture(self, m: Module, bank: Value) -> None:
        """Store the columns of every kind of take."""
        zero_points = {start: self._zero_points(m, start) for start in self._zero_starts()}
        with m.Switch(Cat(self.step, self.plan.tail, self.plan.scale)):
            for number, tail, step, fields in self._takes():
                key = (number << _TAIL_BITS | tail.value) << len(self.step) | step
                with m.Case(key):
                    for name, bits, start in _placed(fields, self.config.rows):
                        for row in range(self.config.rows):
                            entry = self.window[start + row * bits :][:bits]
                            source = zero_points[start][row] if name == "zero" else entry
                            m.d.sync += bank.rows[row][_PAYLOAD_FIELDS[name]].eq(source)

    def _takes(self) -> Iterator[tuple[int, Tail, int, tuple[Field, ...]]]:
        """Every kind of take: (number of the scale format, tail, step, its columns)."""
        for number, scale in enumerate(scales.FORMATS):
            for tail in tails(self.config):
                for step, fields in enumerate(scale_takes(scale, tail, self.config)):
                    yield number, tail, step, fields

    def _zero_starts(self) -> set[int]:
        """Where in the window a column of zeros can begin."""
        placed = (column for *_, fields in self._takes() for column in _placed(fields, self.config.rows))
        return {start for name, _, start in placed if name == "zero"}

    def _zero_points(self, m: Module, start: int) -> list[Value]:
        """Zero point of every row, from a column of zeros that begins at ``start``."""
        width = self.config.zero_point_bits
        points = [Signal(width, name=f"zero_point_{start}_{row}") for row in range(self.config.rows)]
        with m.Switch(self.plan.zero_bits):
            for bits in sorted({entry.bits for entry in self.config.datatypes if entry.asymmetric}):
                with m.Case(bits):
                    for row, point in enumerate(points):
                        m.d.comb += point.eq(self.plan.zero_base - self.window[start + row * bits :][:bits])
        return points


def _placed(fields: tuple[Field, ...], rows: int) -> Iterator[tuple[str, int, int]]:
    """Columns of a take with their first bit in the window: (field, bits of an entry, first bit)."""
    start = 0
    for name, bits in fields:
        yield name, bits, start
        start += rows * bits
