"""Registers over AXI4-Lite: every access legal and answered, whatever the order and the stalls."""

import itertools
import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from hw.bus import register_table, registers
from hw.bus.axi import Response
from hw.bus.register_table import Access
from hw.bus.registers import TABLE
from sim import context
from sim.axi_lite import read, start, write
from sim.packing import pack
from sim.streams import Domain, reset

OFFSETS = {register.name: register.offset for register in TABLE}
WRITABLE = {
    register.offset
    for register in TABLE
    for field in register.fields
    if field.access in (Access.SETTING, Access.COMMAND)
}
COUNTED = [
    (register.offset, field.name)
    for register in TABLE
    for field in register.fields
    if field.access is Access.COUNTER
]


async def happen(dut, **events: int) -> None:
    """Raise events for one cycle."""
    dut.events.value = pack(registers.events(), dict.fromkeys(registers.events().members, 0) | events)
    await RisingEdge(dut.clk)
    dut.events.value = 0


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def constants(dut, density: float) -> None:
    """The identity and the configuration are as the generator was told."""
    _, master = await start(dut, density)
    config = context.parameters()["config"]
    expected = {"identity": int.from_bytes(b"kvlm", "big"), **config}
    expected |= dict(zip(("major", "minor", "patch"), registers.VERSION, strict=True))
    for register in TABLE:
        value, response = await read(master, register.offset)
        assert response == AxiResp.OKAY
        for field in register.fields:
            part = value >> field.low & (1 << field.width) - 1
            wanted = expected[field.name] if field.access is Access.CONSTANT else 0
            assert part == wanted, (register.name, field.name, part)


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def every_address(dut, density: float) -> None:
    """Only the table's words answer OKAY; others read as 0, and writing them changes nothing."""
    _, master = await start(dut, density)
    assert await write(master, OFFSETS["CONTROL"], 1) == AxiResp.OKAY
    before = {offset: await read(master, offset) for offset in OFFSETS.values()}
    for offset in range(0, 1 << register_table.ADDRESS_BITS, 4):
        value, response = await read(master, offset)
        known = offset in OFFSETS.values()
        assert response == (AxiResp.OKAY if known else AxiResp.SLVERR), hex(offset)
        assert known or value == 0
        if offset not in WRITABLE:
            assert await write(master, offset, 0xFFFFFFFF) == AxiResp.SLVERR, hex(offset)
    assert before == {offset: await read(master, offset) for offset in OFFSETS.values()}
    assert dut.settings.value == 1


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def counters(dut, density: float) -> None:
    """Every event counts in its own register, sticky flags stay, and one command clears them all."""
    domain, master = await start(dut, density)
    wanted = {offset: random.randrange(1, 6) for offset, _ in COUNTED}
    for offset, name in COUNTED:
        for _ in range(wanted[offset]):
            await happen(dut, **{name: 1})
    await happen(dut, overflow=1)
    await domain.cycles(3)
    for offset, count in wanted.items():
        assert await read(master, offset) == (count, AxiResp.OKAY), hex(offset)
    assert await read(master, OFFSETS["STATUS"]) == (2, AxiResp.OKAY)
    await happen(dut, special=1)
    assert await read(master, OFFSETS["STATUS"]) == (6, AxiResp.OKAY)

    assert await write(master, OFFSETS["CONTROL"], 2) == AxiResp.OKAY
    for offset in (*wanted, OFFSETS["STATUS"], OFFSETS["CONTROL"]):
        assert await read(master, offset) == (0, AxiResp.OKAY), hex(offset)


@cocotb.test()
async def strobes(dut) -> None:
    """Bytes without a strobe keep their value."""
    _, master = await start(dut, 0.3)
    control = OFFSETS["CONTROL"]
    await master.write(control, b"\x01")
    await master.write(control + 1, b"\x00\xff\x00")
    assert await read(master, control) == (1, AxiResp.OKAY)
    await master.write(control, b"\x00")
    assert await read(master, control) == (0, AxiResp.OKAY)


@cocotb.test()
@cocotb.parametrize(first=("address", "data"))
async def either_order(dut, first: str) -> None:
    """A write's address and data may come far apart, in either order; the answer waits for bready."""
    domain = await reset(dut, cycle_limit=1000)
    dut.bus_awaddr.value, dut.bus_wdata.value, dut.bus_wstrb.value = OFFSETS["CONTROL"], 1, 15
    parts = [dut.bus_awvalid, dut.bus_wvalid]
    for valid in parts if first == "address" else reversed(parts):
        valid.value = 1
        await RisingEdge(dut.clk)
        valid.value = 0
        await domain.cycles(5)
    await domain.cycles(10)
    assert dut.bus_bvalid.value == 1
    assert dut.bus_bresp.value == Response.OKAY.value
    assert dut.settings.value == 1
    dut.bus_bready.value = 1
    await domain.cycles(2)
    assert dut.bus_bvalid.value == 0


async def handshakes(domain: Domain, channels: tuple[str, ...], cycles: int) -> dict[str, list[int]]:
    """Cycles in which the valid and the ready of some channels are high."""
    seen: dict[str, list[int]] = {channel: [] for channel in channels}
    ports = {c: [domain.reader(f"bus_{c}valid"), domain.reader(f"bus_{c}ready")] for c in channels}
    for cycle in range(cycles):
        await domain.cycles(1)
        for channel, (valid, ready) in ports.items():
            if valid() and ready():
                seen[channel].append(cycle)
    return seen


@cocotb.test()
async def rate(dut) -> None:
    """One access of each kind in two cycles: a read is answered one cycle later, a write two."""
    domain = await reset(dut, cycle_limit=1000)
    dut.bus_araddr.value = dut.bus_awaddr.value = OFFSETS["CONTROL"]
    for name in ("arvalid", "rready", "awvalid", "wvalid", "bready"):
        getattr(dut, f"bus_{name}").value = 1
    seen = await handshakes(domain, ("ar", "r", "aw", "w", "b"), 40)
    for channel, cycles in seen.items():
        assert {after - before for before, after in itertools.pairwise(cycles)} == {2}, channel
    for asked, answered, latency in (("ar", "r", 1), ("aw", "b", 2), ("w", "b", 2)):
        assert seen[answered][0] - seen[asked][0] == latency, asked
