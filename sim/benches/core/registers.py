"""Registers of the core: what software sets, what is locked once started, and what it is told."""

import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from hw.bus.register_table import Access, Register, fields
from hw.bus.register_table import Field as RegisterField
from hw.bus.registers import VERSION
from hw.config import Config
from hw.core import registers
from hw.core.registers import TABLE
from sim import context
from sim.axi_lite import read, start, write
from sim.packing import pack
from sim.streams import Domain

config = Config.model_validate(context.parameters()["config"])
OFFSETS = {register.name: register.offset for register in TABLE}
START, CLEAR = 1, 2
ERROR_STICKY = 4


def ones(field: RegisterField) -> int:
    """The field's bits in its register."""
    return (1 << field.width) - 1 << field.low


def of(*kinds: Access) -> list[tuple[Register, RegisterField]]:
    """Registers and fields of some kinds."""
    return list(fields(TABLE, *kinds))


class Events:
    """Drives the events; levels stay, others last a cycle."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.levels = dict.fromkeys(registers.events().members, 0)

    def set(self, **levels: int) -> None:
        """Change levels."""
        self.levels |= levels
        self.dut.events.value = pack(registers.events(), self.levels)

    async def happen(self, *names: str) -> None:
        """Raise events for one cycle."""
        self.dut.events.value = pack(registers.events(), self.levels | dict.fromkeys(names, 1))
        await RisingEdge(self.dut.clk)
        self.set()


@cocotb.test()
async def constants(dut: Any) -> None:
    """The identity and the configuration are as the generator was told."""
    _, master = await start(dut, 0.3)
    expected = {
        "identity": int.from_bytes(b"kvlc", "big"),
        **dict(zip(("major", "minor", "patch"), VERSION, strict=True)),
        **{name: getattr(config, name) for name in ("rows", "columns", "lanes", "group", "memory_bits")},
        **{name: getattr(config.kv, name) for name in ("channels", "page_tokens", "queries")},
        "scratch": config.core.scratch,
        "vector_lanes": config.core.lanes,
    }
    found = {}
    for register, field in of(Access.CONSTANT):
        value, response = await read(master, register.offset)
        assert response == AxiResp.OKAY
        found[field.name] = (value & ones(field)) >> field.low
    assert found == expected


async def settings_of(dut: Any) -> dict[str, int]:
    """What the core is told."""
    names = ("limit", "ring_line", "ring_size", "tail", "completion_line", "base")
    return {name: int(getattr(dut, name).value) for name in names}


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def locks(dut: Any, density: float) -> None:
    """Window and ring can be written until started, and never again; the tail always."""
    domain, master = await start(dut, density)
    values = {name: random.getrandbits(32) for name in OFFSETS}
    locked = {register.name for register, _ in of(Access.LOCKED)}
    for name in (*locked, "TAIL"):
        assert await write(master, OFFSETS[name], values[name]) == AxiResp.OKAY
    wanted = {
        "limit": values["WINDOW_LIMIT"],
        "ring_line": values["RING_LINE"],
        "ring_size": values["RING_SIZE"],
        "tail": values["TAIL"],
        "completion_line": values["COMPLETION_LINE"],
        "base": (values["WINDOW_BASE_HIGH"] & 0xFF) << 32 | values["WINDOW_BASE_LOW"] & 0xFFFFF000,
    }
    await domain.cycles(2)
    assert await settings_of(dut) == wanted
    assert not dut.started.value
    starts = domain.reader("start")
    seen = []
    cocotb.start_soon(count_pulses(domain, starts, seen))
    assert await write(master, OFFSETS["CONTROL"], START) == AxiResp.OKAY
    for name in locked:
        assert await write(master, OFFSETS[name], ~values[name] & 0xFFFFFFFF) == AxiResp.SLVERR, name
    assert await write(master, OFFSETS["TAIL"], 7) == AxiResp.OKAY
    await domain.cycles(2)
    assert await settings_of(dut) == wanted | {"tail": 7}
    assert dut.started.value
    assert await write(master, OFFSETS["CONTROL"], START) == AxiResp.OKAY
    await domain.cycles(5)
    assert len(seen) == 2, "start is a cycle for each write"
    for name in locked:
        value, _ = await read(master, OFFSETS[name])
        bits = sum(ones(field) for register, field in of(Access.LOCKED) if register.name == name)
        assert value == values[name] & bits


async def count_pulses(domain: Domain, read_pulse: Any, seen: list[int]) -> None:
    """Note the cycles in which something is high."""
    while True:
        await domain.cycles(1)
        if read_pulse():
            seen.append(domain.cycle)


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def events(dut: Any, density: float) -> None:
    """Levels are read as they are; counters count, and clear with the sticky flag."""
    domain, master = await start(dut, density)
    source = Events(dut)
    head = random.getrandbits(32)
    source.set(busy=1, halted=1, head=head)
    wanted = {register.offset: random.randrange(1, 6) for register, _ in of(Access.COUNTER)}
    for register, field in of(Access.COUNTER):
        for _ in range(wanted[register.offset]):
            await source.happen(field.name)
    await source.happen("error")
    await domain.cycles(3)
    wanted |= {OFFSETS["HEAD"]: head, OFFSETS["STATUS"]: 3 | ERROR_STICKY}
    for offset, value in wanted.items():
        assert await read(master, offset) == (value, AxiResp.OKAY), hex(offset)
    assert await write(master, OFFSETS["CONTROL"], CLEAR) == AxiResp.OKAY
    source.set(busy=0, halted=0)
    for register, _ in of(Access.COUNTER):
        assert await read(master, register.offset) == (0, AxiResp.OKAY), register.name
    assert await read(master, OFFSETS["STATUS"]) == (0, AxiResp.OKAY)
    assert not dut.started.value


@cocotb.test()
async def interrupts(dut: Any) -> None:
    """Pending flags stay until 1 is written; the interrupt is high while one is set that is enabled."""
    domain, master = await start(dut, 0.2)
    source = Events(dut)
    for number, name in enumerate(("completion", "error")):
        for enabled in 0, 1, 2, 3:
            assert await write(master, OFFSETS["IRQ_ENABLE"], enabled) == AxiResp.OKAY
            await source.happen(name)
            await domain.cycles(3)
            assert await read(master, OFFSETS["IRQ_PENDING"]) == (1 << number, AxiResp.OKAY)
            assert dut.irq.value == enabled >> number & 1
            assert await write(master, OFFSETS["IRQ_PENDING"], 3 ^ 1 << number) == AxiResp.OKAY
            assert await read(master, OFFSETS["IRQ_PENDING"]) == (1 << number, AxiResp.OKAY)
            assert await write(master, OFFSETS["IRQ_PENDING"], 1 << number) == AxiResp.OKAY
            await domain.cycles(3)
            assert await read(master, OFFSETS["IRQ_PENDING"]) == (0, AxiResp.OKAY)
            assert dut.irq.value == 0


@cocotb.test()
async def event_while_clearing(dut: Any) -> None:
    """An event in the cycle in which its pending flag is cleared is not lost."""
    _, master = await start(dut, 0.0)
    source = Events(dut)
    source.set(completion=1)
    assert await write(master, OFFSETS["IRQ_PENDING"], 1) == AxiResp.OKAY
    source.set(completion=0)
    assert await read(master, OFFSETS["IRQ_PENDING"]) == (1, AxiResp.OKAY)


@cocotb.test()
async def every_address(dut: Any) -> None:
    """Only the table's words answer OKAY, and only those that software may change can be written."""
    _, master = await start(dut, 0.0)
    kinds = Access.SETTING, Access.LOCKED, Access.COMMAND, Access.PENDING
    writable = {register.offset for register, _ in of(*kinds)}
    for offset in range(0, 256, 4):
        value, response = await read(master, offset)
        known = offset in OFFSETS.values()
        assert response == (AxiResp.OKAY if known else AxiResp.SLVERR), hex(offset)
        assert known or value == 0
        wanted = AxiResp.OKAY if offset in writable else AxiResp.SLVERR
        assert await write(master, offset, 0) == wanted, hex(offset)
