"""AXI4-Stream at the top: every field of every payload has one place, and beats pass unchanged."""

import gc
import random

import pytest
from amaranth.hdl import Module, Shape, ShapeLike, Value, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.sim import Simulator

from hw import blocks
from hw.bus.axi_ports import AxiPorts, beat, streams
from hw.config import preset

pytestmark = pytest.mark.quick


class Way(enum.Enum, shape=2):
    LEFT = 0
    RIGHT = 2


WORD = data.StructLayout({"data": 16, "last": 1, "top": 5})
QUERY = data.StructLayout({"elements": data.ArrayLayout(signed(12), 3), "channels": 2, "last": 1, "ends": 1})
RECORD = data.StructLayout({"way": Way, "data": 10, "last": range(-3, 20)})
ENTRY = data.StructLayout({"index": 9, "sum": 8, "last": 1})
PAYLOADS = {
    "word": (WORD, [("data", 0, 16)], 16, [("top", 0, 5)], True),
    "query": (QUERY, [("elements", 0, 36)], 40, [("channels", 0, 2), ("ends", 2, 1)], True),
    "record": (RECORD, [("way", 0, 2), ("data", 2, 10), ("last", 12, 6)], 24, [], False),
    "entry": (ENTRY, [("index", 0, 9), ("sum", 9, 8)], 24, [], True),
    "number": (signed(13), [("value", 0, 13)], 16, [], False),
}
"""Payload, then by hand: fields of ``tdata``, its bits, fields of ``tuser``, whether there is a ``tlast``."""


def places(layout: data.FlexibleLayout) -> list[tuple[str, int, int]]:
    return [(str(name), field.offset, Shape.cast(field.shape).width) for name, field in layout]


@pytest.mark.parametrize("name", PAYLOADS)
def test_places(name: str) -> None:
    payload, carried, width, beside, last = PAYLOADS[name]
    form = beat(payload)
    assert places(form.data) == carried
    assert form.data.size == width
    assert places(form.user) == beside
    assert form.last == last


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_every_field_has_one_place() -> None:
    """Of every stream of every block: all fields, once each, as wide as they are, side by side."""
    found = 0
    for block in blocks.names():
        for name, _, payload in streams(blocks.get(block)(preset("tiny"))):
            form = beat(payload)
            carried = places(form.data) + places(form.user)
            bits = sum(width for _, _, width in carried) + form.last
            assert bits == Shape.cast(payload).width, (block, name)
            assert form.data.size % 8 == 0
            for layout in (form.data, form.user):
                ends = [offset + width for _, offset, width in places(layout)]
                assert [offset for _, offset, _ in places(layout)] == [0, *ends][: len(ends)]
            found += 1
    assert found > 100
    gc.collect()


class Wire(wiring.Component):
    """A stream in, the same out."""

    def __init__(self, payload: ShapeLike) -> None:
        super().__init__(
            {
                "taken": In(stream.Signature(payload)),
                "sent": Out(stream.Signature(payload)),
                "flag": In(3),
                "echo": Out(3),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        connect(m, flipped(self.taken), flipped(self.sent))
        m.d.comb += self.echo.eq(self.flag)
        return m


def cut(bits: int, low: int, width: int) -> int:
    return bits >> low & (1 << width) - 1


@pytest.mark.parametrize("name", PAYLOADS)
def test_beats_pass(name: str) -> None:
    """Field by field from ``tdata`` and ``tuser`` to the payload and back; what fills ``tdata`` up is 0."""
    payload, carried, width, beside, last = PAYLOADS[name]
    ports = AxiPorts(Wire(payload))
    whole = data.StructLayout({"value": payload}) if name == "number" else payload
    offsets = {field: place.offset for field, place in whole}
    rng = random.Random(1)

    async def testbench(context) -> None:
        for _ in range(30):
            driven = {each: rng.getrandbits(1) for each in ("ready", "valid", "last")}
            bits, side = rng.getrandbits(width), rng.getrandbits(16)
            context.set(ports.sent.tready, driven["ready"])
            context.set(ports.taken.tvalid, driven["valid"])
            context.set(Value.cast(ports.taken.tdata), bits)
            context.set(ports.flag, bits & 7)
            if beside:
                context.set(Value.cast(ports.taken.tuser), side)
            if last:
                context.set(ports.taken.tlast, driven["last"])
            inside = context.get(Value.cast(ports.inner.taken.payload))
            for place, source in ((carried, bits), (beside, side)):
                for field, low, size in place:
                    assert cut(inside, offsets[field], size) == cut(source, low, size), field
            if last:
                assert cut(inside, offsets["last"], 1) == context.get(ports.sent.tlast) == driven["last"]
            if beside:
                user = sum(size for _, _, size in beside)
                assert context.get(Value.cast(ports.sent.tuser)) == cut(side, 0, user)
            used = sum(size for _, _, size in carried)
            assert context.get(Value.cast(ports.sent.tdata)) == cut(bits, 0, used)
            assert context.get(ports.sent.tvalid) == driven["valid"]
            assert context.get(ports.taken.tready) == driven["ready"]
            assert context.get(ports.echo) == bits & 7

    simulator = Simulator(ports)
    simulator.add_testbench(testbench)
    simulator.run()
