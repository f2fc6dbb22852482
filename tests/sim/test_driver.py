"""The driver in C, on the core's own registers, ring and completions; units do nothing here."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from golden.core.commands import Opcode, Status, encode
from hw import driver
from hw.bus import axi
from hw.config import Config, preset
from hw.core import registers
from hw.core.completions import Completions
from hw.core.dispatcher import UNITS, Dispatcher
from hw.core.fetch import Fetch
from hw.core.payloads import is_error
from hw.core.read_mover import ReadMover
from hw.core.registers import Registers
from hw.core.write_mover import WriteMover
from sim.build import Design
from sim.core import CommandFailed, Completion, Driver, Response, Simulation, SimulationError, Timing, build

RING, COMPLETIONS, WINDOW = 8, 1, 4096 * 3
COMMANDS = 6
LIMIT = 20_000


class Idle(wiring.Component):
    """The core with units that are done at once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(registers.bus_signature()),
                "memory": Out(axi.signature(config.memory_bits)),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.bank = bank = Registers(config)
        m.submodules.fetch = fetch = Fetch(config)
        m.submodules.dispatcher = dispatcher = Dispatcher(config)
        m.submodules.completions = completions = Completions(config)
        m.submodules.reads = reads = ReadMover(config, {"commands": 64})
        m.submodules.writes = writes = WriteMover(config, ["completions"])
        for source, sink in (
            (flipped(self.control), bank.bus),
            (fetch.requests, reads.requests_commands),
            (reads.words_commands, fetch.words),
            (fetch.commands, dispatcher.commands),
            (dispatcher.records, completions.records),
            (completions.writes, writes.writes_completions),
        ):
            connect(m, source, sink)
        for name in UNITS.values():
            unit, done = getattr(dispatcher, name), getattr(dispatcher, f"{name}_done")
            m.d.comb += [unit.ready.eq(1), done.valid.eq(1)]
        failed = is_error(dispatcher.records.payload.status)
        m.d.comb += [
            *axi.joined(reads.axi, writes.axi, self.memory),
            *(mover.base.eq(bank.base) for mover in (reads, writes)),
            *(mover.limit.eq(bank.limit) for mover in (reads, writes)),
            fetch.enable.eq(bank.started & ~dispatcher.halted),
            fetch.line.eq(bank.ring_line),
            fetch.size.eq(bank.ring_size),
            fetch.tail.eq(bank.tail),
            fetch.completed.eq(dispatcher.completed),
            fetch.weights.ready.eq(1),
            dispatcher.idle.eq(writes.idle),
            dispatcher.outside.eq(writes.outside),
            dispatcher.failed.eq(writes.failed),
            dispatcher.restart.eq(bank.start),
            completions.line.eq(bank.completion_line),
            completions.size.eq(bank.ring_size),
            completions.answered.eq(writes.answered_completions),
            bank.events.head.eq(completions.head),
            bank.events.completion.eq(completions.irq),
            bank.events.error.eq(writes.outside | writes.failed | (dispatcher.completed & failed)),
            bank.events.halted.eq(dispatcher.halted),
            bank.events.busy.eq(dispatcher.working),
            self.irq.eq(bank.irq),
        ]
        return m


@pytest.fixture(scope="module")
def library() -> Path:
    return build(Design.of(Idle(preset("tiny"))), driver.files(), waves=True)


@pytest.fixture
def simulation(library: Path, rng: np.random.Generator) -> Iterator[Simulation]:
    timing = Timing(latency=30, spread=20, stalls=60, seed=int(rng.integers(1 << 32)))
    with Simulation(library, 1 << 16, 0x12_3456_7000, timing) as made:
        made.memory[:] = rng.integers(0, 256, len(made.memory))
        yield made


def started(simulation: Simulation, **changed: bytes) -> Driver:
    """A core with six commands of the ids 100 to 105, the last of which raises the interrupt.

    Args:
        simulation: the core.
        changed: other commands by their place, as ``at_2``.
    """
    core = Driver(simulation, WINDOW)
    commands = [encode(Opcode.NOP, id=100 + place, interrupt=place == 5) for place in range(COMMANDS)]
    for place, command in changed.items():
        commands[int(place.removeprefix("at_"))] = command
    core.memory[64 * RING :][: 64 * COMMANDS] = np.frombuffer(b"".join(commands), np.uint8)
    core.start(RING, COMMANDS, COMPLETIONS)
    return core


def settled(core: Driver) -> list[Completion]:
    """Completions when nothing happens any more; all interrupts are taken."""
    while core.simulation.run(2_000):
        with suppress(CommandFailed):
            core.wait(0)
    return list(core.completions())


def test_rounds(simulation: Simulation) -> None:
    """The whole ring, and parts of it across its end; nothing but completions changes."""
    core = started(simulation)
    before = simulation.memory.copy()
    assert not list(core.completions())
    found: list[Completion] = []
    for given in 6, 6, 4, 2, 5, 6:
        core.submit(given)
        if (len(found) + given) // 6 > len(found) // 6:
            core.wait(LIMIT)
        assert not simulation.run(LIMIT)
        found += core.completions()
    assert [each.id for each in found] == [100 + place % 6 for place in range(29)]
    assert {(each.status, each.bytes) for each in found} == {(Status.DONE, 0)}
    assert all(0 < each.cycles < 1000 for each in found)
    changed = np.flatnonzero(simulation.memory != before)
    assert 64 * COMPLETIONS <= changed.min() <= changed.max() < 64 * COMPLETIONS + 16 * COMMANDS


def test_no_more_than_the_ring_has(simulation: Simulation) -> None:
    core = started(simulation)
    with pytest.raises(ValueError, match="the ring does not fit"):
        core.submit(7)
    core.submit(6)
    with pytest.raises(ValueError, match="the ring does not fit"):
        core.submit(6)
    core.wait(LIMIT)
    core.submit(6)
    core.wait(LIMIT)
    assert [each.id for each in core.completions()] == [100 + place for place in range(COMMANDS)]
    core.submit(4)
    assert not simulation.run(LIMIT)
    core.submit(5)  # three of the four have lost their places, whether or not they are overwritten yet
    core.wait(LIMIT)
    assert [each.id for each in settled(core)] == [103, 104, 105, 100, 101, 102]


def test_started_once(simulation: Simulation) -> None:
    """Commands that a reset core would not know of."""
    core = started(simulation)
    core.submit(6)
    core.wait(LIMIT)
    with pytest.raises(ValueError, match="the core has been started before"):
        core.start(RING, COMMANDS, COMPLETIONS)
    core.submit(6)
    core.wait(LIMIT)


def test_failures_are_told(simulation: Simulation) -> None:
    core = started(simulation, at_2=bytes([200] + 3 * [0] + [7] + 59 * [0]))
    core.submit(6)
    with pytest.raises(CommandFailed):
        core.wait(LIMIT)
    statuses = [each.status for each in settled(core)]
    assert statuses == [Status.DONE] * 2 + [Status.BAD_OPCODE] + [Status.DONE] * 3


def test_stopped_and_resumed(simulation: Simulation) -> None:
    wrong = bytearray(encode(Opcode.NOP, id=9, stop=1))
    wrong[63] = 1
    core = started(simulation, at_1=bytes(wrong))
    core.submit(6)
    with pytest.raises(CommandFailed):
        core.wait(LIMIT)
    assert [(each.id, each.status) for each in settled(core)] == [(100, 0), (9, Status.RESERVED)]
    core.resume()
    core.wait(LIMIT)
    assert [each.id for each in core.completions()] == [102, 103, 104, 105]


def test_commands_that_cannot_be_read(simulation: Simulation) -> None:
    """They stop the core; what is behind them goes on."""
    simulation.fail(64 * (RING + 3) + 20, 64 * (RING + 3) + 20, Response.DECERR)
    core = started(simulation)
    core.submit(6)
    with pytest.raises(CommandFailed):
        core.wait(LIMIT)
    core.resume()
    assert [each.status for each in settled(core)].index(Status.BUS_ERROR) == 3


def test_what_does_not_come(simulation: Simulation) -> None:
    core = started(simulation)
    core.submit(5)
    with pytest.raises(SimulationError, match="no interrupt within 2,000 cycles"):
        core.wait(2_000)


def test_what_does_not_fit(simulation: Simulation) -> None:
    with pytest.raises(ValueError, match="no room for the window"):
        Driver(simulation, (1 << 16) + 64)
    core = Driver(simulation, WINDOW)
    for ring, commands, completions in (WINDOW // 64 - 5, 6, 1), (8, 6, WINDOW // 64 - 1), (8, 0, 1):
        with pytest.raises(ValueError, match="the ring does not fit"):
            core.start(ring, commands, completions)
    second = Driver(simulation, 100)
    assert (second.memory.ctypes.data - core.memory.ctypes.data) == WINDOW
    with pytest.raises(ValueError, match="no room for the window"):
        Driver(simulation, (1 << 16) - WINDOW - 4095)


PLATFORM = """
#define KVLOOM_READ(context, offset) (((uint32_t *)(context))[(offset) / 4])
#define KVLOOM_WRITE(context, offset, value) (KVLOOM_READ(context, offset) = (value))
#define KVLOOM_ALLOCATE(context, bytes, address) (*(address) = ADDRESS, (void *)(context))
"""
OPENS = """
#include "kvloom_core.h"
int main(void) { uint32_t registers[64] = {0x6b766c63}; struct kvloom_core core;
                 return kvloom_core_open(&core, registers, 8192); }
"""


@pytest.mark.parametrize(
    ("address", "result"), [(4096, 0), (2048, 6), ((1 << 40) - 8192, 0), ((1 << 40) - 4096, 6), (1 << 40, 6)]
)
def test_windows_that_cannot_be(tmp_path: Path, address: int, result: int) -> None:
    """They begin within a unit, or end beyond the last address; the core would cut bits off."""
    for name, text in (driver.files() | {"kvloom_platform.h": PLATFORM, "open.c": OPENS}).items():
        (tmp_path / name).write_text(text)
    built = ["gcc", f"-DADDRESS={address}ull", "-o", "open", "open.c", "kvloom_core.c"]
    subprocess.run(built, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "open"], check=False).returncode == result


def test_compiles_without_a_library(tmp_path: Path) -> None:
    """As its example says; nothing else is called than its own functions and the platform."""
    platform = driver.files()["example.c"].partition("*/")[0]
    lines = [line.removeprefix(" *").strip() for line in platform.splitlines() if "#define" in line]
    assert len(lines) == 3
    files = driver.files() | {"kvloom_platform.h": "\n".join(["extern unsigned char window[];", *lines, ""])}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-O1"]
    subprocess.run(["gcc", *strict, "-c", "kvloom_core.c", "example.c"], cwd=tmp_path, check=True)
    linked = ["gcc", "-r", "-nostdlib", "-o", "all.o", "kvloom_core.o", "example.o"]
    subprocess.run(linked, cwd=tmp_path, check=True)
    names = subprocess.run(["nm", "-u", "all.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert names.stdout.split() == ["U", "window"]
