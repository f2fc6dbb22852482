"""The core in cocotb, with the memory of cocotbext-axi: the first commands of a token against golden.

Whole tokens are run by ``sim.core``, which has a memory of its own; this bench is the second opinion, on
every simulator.
"""

from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from golden.core import geometry
from golden.core.commands import COMMAND_BYTES, LINE_BYTES, Opcode, Status
from golden.core.image import Image, Symbols
from golden.core.machine import Machine
from hw.core.registers import TABLE
from sim import context
from sim.axi_lite import read, write
from sim.coverage import Coverage
from sim.streams import reset

COMMANDS: int = context.parameters()["commands"]
OFFSETS = {register.name: register.offset for register in TABLE}
BASE = 0x1000
LATENCY = 400
"""Cycles that a command may take beside its words of memory."""
rates = Coverage("core_rate", {"opcode": (Opcode.MATVEC.name,)})


async def start(dut: Any, ram: AxiRam, content: bytes, symbols: Symbols) -> AxiLiteMaster:
    """Set the core up and give it the first commands."""
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control"), dut.clk, dut.rst)
    ram.write(BASE, content)
    values = {
        "WINDOW_BASE_LOW": BASE,
        "WINDOW_BASE_HIGH": 0,
        "WINDOW_LIMIT": symbols.lines,
        "RING_LINE": symbols.ring,
        "RING_SIZE": symbols.commands,
        "COMPLETION_LINE": symbols.completions,
        "CONTROL": 1,
        "TAIL": COMMANDS,
    }
    for name, value in values.items():
        assert await write(master, OFFSETS[name], value) == AxiResp.OKAY
    return master


@cocotb.test()
async def first_commands(dut: Any) -> None:
    """The same completions and the same memory; packets come as fast as the array takes them."""
    await reset(dut, cycle_limit=200_000)
    image = Image.load(Path(context.parameters()["image"]))
    symbols = image.symbols
    memory = image.with_prompt([3, 1])
    size = 1 << (BASE + len(memory)).bit_length()
    ram = AxiRam(AxiBus.from_prefix(dut, "memory"), dut.clk, dut.rst, size=size)
    master = await start(dut, ram, memory.tobytes(), symbols)
    machine = Machine(memory, symbols, geometry.get("tiny"))
    assert {machine.step() for _ in range(COMMANDS)} <= {Status.DONE, Status.SKIPPED}

    while (await read(master, OFFSETS["HEAD"]))[0] != COMMANDS:
        for _ in range(100):
            await RisingEdge(dut.clk)
    left = np.frombuffer(ram.read(BASE, len(memory)), np.uint8).copy()
    records = left[symbols.completions * LINE_BYTES :][: 16 * COMMANDS].view("<u4").reshape(-1, 4)
    cycles = records[:, 3].tolist()
    records[:, 3] = 0
    assert np.array_equal(left, machine.memory)

    ring = memory[symbols.ring * LINE_BYTES :][: COMMANDS * COMMAND_BYTES].view("<u4").reshape(COMMANDS, -1)
    for command, taken in zip(ring, cycles, strict=True):
        if command[0] & 0xFF == Opcode.MATVEC:
            words, elements, rows = int(command[4]), int(command[5] >> 16), int(command[6] >> 16)
            terms = 2 * rows * elements // 16  # of a type of two terms, on 16 multipliers
            assert taken <= max(words, terms) + LATENCY, (taken, words, terms)
            rates.hit(opcode=Opcode.MATVEC.name)
