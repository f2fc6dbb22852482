"""Write mover: memory is what the writes, in the order in which they were taken, make of it."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import cocotb
from cocotbext.axi import AxiSlaveWrite, AxiWriteBus

from hw.config import Config
from hw.core.payloads import words_of_line, write_request
from hw.core.write_mover import UNANSWERED
from sim import context
from sim.axi_lite import pauses
from sim.axi_memory import AxiMemory
from sim.benches.core.windows import LINE, Target, random_base, refusals
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
CLIENTS: list[str] = context.parameters()["clients"]
WRITES = context.parameters()["writes"]
WIDTH = config.memory_bits // 8
PER_LINE = words_of_line(config)

KINDS = ("inside", "last", "behind", "highest")
plan = Coverage("core_write_mover", {"situation": SITUATIONS, "kind": KINDS, "client": CLIENTS})
rates = Coverage("core_write_mover_rate", {"latency": (1, 14)})


class Bench:
    """Clients in front of the mover, and what memory has to be.

    An agent of the domain, behind the sources: it compares memory whenever the mover says that it is idle.
    When it says so of a client, all of its writes are answered, and refusals up to the last are told of.

    Args:
        domain: of the mover.
        lines: of the window.
        stalls: of the clients, one of ``SITUATIONS``.
        share: of the lines, which memory refuses.
        refuses_empty: memory refuses a write that enables no byte, too.
    """

    def __init__(
        self, domain: Domain, lines: int, stalls: str, share: float = 0.0, refuses_empty: bool = True
    ) -> None:
        self.domain, self.lines, self.refuses_empty = domain, lines, refuses_empty
        self.content = bytearray(random.randbytes(lines * LINE))
        self.expected = bytearray(self.content)
        self.base = random_base(lines)
        self.refused = refusals(self.base, len(self.content), share)
        self.counts = dict.fromkeys(["outside", "failed", *CLIENTS], 0)
        self.wanted = dict(self.counts)
        self.idle_cycles = 0
        self.point()
        self._events = {name: domain.reader(f"answered_{name}") for name in CLIENTS}
        self._events |= {name: domain.reader(name) for name in ("outside", "failed")}
        self._idle = domain.reader("idle")
        self._idle_of = {name: domain.reader(f"idle_{name}") for name in CLIENTS}
        self.told = dict.fromkeys(CLIENTS, 0)
        domain.add(self)
        shape = write_request(config)
        self.sources = {
            name: StreamSource(
                domain, f"writes_{name}", shape, situation(stalls).source, self._observer(name)
            )
            for name in CLIENTS
        }

    def point(self) -> None:
        """Tell the mover of the window."""
        self.domain.writer("base")(self.base)
        self.domain.writer("limit")(self.lines)

    def _observer(self, name: str) -> Callable[[int], None]:
        def observe(bits: int) -> None:
            write = self.sources[name].codec.unpack(bits)
            self.wanted[name] += 1
            if write["line"] >= self.lines:
                self.wanted["outside"] += 1
            elif write["line"] in self.refused:
                self.wanted["failed"] += bool(write["enables"]) or self.refuses_empty
            else:
                start = write["line"] * LINE + write["word"] * WIDTH
                for byte in range(WIDTH):
                    if write["enables"] >> byte & 1:
                        self.expected[start + byte] = write["data"] >> 8 * byte & 0xFF
            self.told[name] = self.wanted["outside"] + self.wanted["failed"]

        return observe

    def memory(self, **parts: Any) -> AxiMemory:
        """The memory of this project."""
        return AxiMemory(
            self.domain,
            "axi",
            self.base,
            self.content,
            refuses=lambda address: self.refused.get((address - self.base) // LINE, 0),
            **parts,
        )

    def send(self, name: str, kind: str = "inside") -> None:
        """Queue a write."""
        ends = {"last": self.lines - 1, "behind": self.lines, "highest": (1 << 32) - 1}
        self.sources[name].send(
            {
                "line": ends.get(kind, random.randrange(self.lines)),
                "word": random.randrange(PER_LINE),
                "data": random.getrandbits(8 * WIDTH),
                "enables": random.choice([random.getrandbits(WIDTH), (1 << WIDTH) - 1, 0]),
            }
        )

    def step(self) -> None:
        for name, read in self._idle_of.items():
            if read():
                assert self.counts[name] == self.wanted[name], name
                assert self.counts["outside"] + self.counts["failed"] >= self.told[name], name
        for name, read in self._events.items():
            self.counts[name] += read()
        if self._idle():
            self.idle_cycles += 1
            assert self.content == self.expected, f"idle before memory was written, cycle {self.domain.cycle}"
            assert self.counts == self.wanted, (self.counts, self.wanted)

    def restart(self) -> None:
        self.counts = dict.fromkeys(self.counts, 0)
        self.wanted = dict(self.counts)
        self.told = dict.fromkeys(CLIENTS, 0)

    def status(self) -> str:
        return f"events: {self.counts}, wanted {self.wanted}"

    async def finish(self) -> None:
        """Wait until everything is written; then all is as expected, and the mover idle."""
        for source in self.sources.values():
            await source.drained()
        while self.counts != self.wanted:
            await self.domain.cycles(1)
        await self.domain.cycles(20)
        before = self.idle_cycles
        await self.domain.cycles(2)
        assert self.idle_cycles == before + 2
        assert all(read() for read in self._idle_of.values())
        assert self.content == self.expected


async def write_all(bench: Bench, stalls: str) -> None:
    """Writes of every kind by every client."""
    for name in CLIENTS:
        for kind in [*KINDS, *random.choices(KINDS, [8, 1, 1, 1], k=WRITES)]:
            bench.send(name, kind)
            plan.hit(situation=stalls, kind=kind, client=name)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def writes(dut: Any, stalls: str) -> None:
    """Writes inside and outside the window to memory that is late, stalls and refuses."""
    domain = await reset(dut)
    bench = Bench(domain, random.choice([1, 5, 64]), stalls, share=0.1)
    bench.memory(latency=lambda: random.randint(1, 40), stalls=situation(stalls).sink)
    await write_all(bench, stalls)


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def other_memory(dut: Any, density: float) -> None:
    """The same with the slave of cocotbext-axi, which refuses no write without bytes."""
    domain = await reset(dut)
    bench = Bench(domain, 16, "both_random", share=0.1, refuses_empty=False)
    target = Target(bench.base, bench.content, bench.refused)
    slave = AxiSlaveWrite(AxiWriteBus.from_prefix(dut, "axi"), dut.clk, dut.rst, target)
    for channel in slave.aw_channel, slave.w_channel, slave.b_channel:
        channel.set_pause_generator(pauses(density))
    await write_all(bench, "both_random")


@cocotb.test()
@cocotb.parametrize(latency=(1, 14))
async def rate(dut: Any, latency: int) -> None:
    """A write a cycle while answers come soon enough."""
    domain = await reset(dut)
    bench = Bench(domain, 64, "free_running")
    memory = bench.memory(latency=lambda: latency)
    times: list[int] = []
    for _ in range(100):
        bench.send(CLIENTS[0])
    while len(memory.write_bursts) < 100:
        if len(memory.write_bursts) == 1 and not times:
            times.append(domain.cycle)
        await domain.cycles(1)
    assert domain.cycle - times[0] == 99
    await bench.finish()
    rates.hit(latency=latency)


@cocotb.test()
async def long_stall(dut: Any) -> None:
    """Memory that does not answer for 10,000 cycles holds so many writes and no more."""
    domain = await reset(dut)
    bench = Bench(domain, 64, "free_running")
    waits = itertools.chain([10_000], itertools.repeat(1))
    memory = bench.memory(latency=lambda: next(waits))
    for name in CLIENTS:
        for _ in range(30):
            bench.send(name)
    await domain.cycles(5000)
    assert memory.unanswered == UNANSWERED
    assert bench.idle_cycles < 10
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset at any cycle, of memory too, leaves nothing behind."""
    domain = await reset(dut)
    bench = Bench(domain, 16, "free_running")
    bench.memory(latency=lambda: 8)
    for cycles in range(1, 30, 2):
        for name in CLIENTS:
            for _ in range(12):
                bench.send(name)
        await domain.cycles(cycles)
        await domain.reset()
        bench.expected[:] = bench.content
        bench.point()
        for name in CLIENTS:
            bench.send(name)
        await bench.finish()
