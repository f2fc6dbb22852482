"""Read mover: every client's words are memory's, in order, whatever memory does and the other clients do."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotbext.axi import AxiReadBus, AxiSlaveRead

from hw.config import Config
from hw.core.payloads import read_request, read_word, words_of_line
from hw.core.read_mover import LONGEST_BURST, OUTSTANDING
from sim import context
from sim.axi_lite import pauses
from sim.axi_memory import AxiMemory
from sim.benches.core.windows import LINE, Target, random_base, refusals
from sim.coverage import Coverage
from sim.streams import (
    SITUATIONS,
    Domain,
    Scoreboard,
    StreamMonitor,
    StreamSink,
    StreamSource,
    reset,
    situation,
)

config = Config.model_validate(context.parameters()["config"])
CLIENTS: dict[str, int] = context.parameters()["clients"]
REQUESTS = context.parameters()["requests"]
WIDTH = config.memory_bits // 8
PER_LINE = words_of_line(config)

KINDS = ("inside", "empty", "behind", "across", "wrapping")
plan = Coverage("core_read_mover", {"situation": SITUATIONS, "kind": KINDS, "client": list(CLIENTS)})
rates = Coverage("core_read_mover_rate", {"latency": (1, 100)})


def request_of(kind: str, lines: int) -> tuple[int, int]:
    """Line and words of a random request."""
    line, words = random.randrange(lines), random.choice([1, PER_LINE, random.randint(1, 3 * LONGEST_BURST)])
    match kind:
        case "inside":
            return line, random.choice([(lines - line) * PER_LINE, min(words, (lines - line) * PER_LINE)])
        case "empty":
            return line, 0
        case "behind":
            return random.choice([lines, random.randrange(lines, 1 << 32), (1 << 32) - 1]), words
        case "across":
            return line, (lines - line) * PER_LINE + random.choice([1, random.randrange(1, 1000)])
    line = random.randrange((1 << 32) - 64, 1 << 32)
    return line, min(((1 << 32) - line + random.randrange(lines)) * PER_LINE, (1 << 32) - 1)


class Bench:
    """Clients in front of the mover; what is in memory, and what is refused."""

    def __init__(self, domain: Domain, lines: int, stalls: str, share: float = 0.0) -> None:
        self.domain, self.lines = domain, lines
        self.content = bytearray(random.randbytes(lines * LINE))
        self.base = random_base(lines)
        self.point()
        self.refused = refusals(self.base, len(self.content), share)
        chosen = situation(stalls)
        self.blocked: str | None = None
        self.sinks, self.sources, self.arrivals = {}, {}, {}
        self.forget()
        for name in CLIENTS:
            times = self.arrivals[name] = []

            def observe(bits: int, name: str = name, times: list[int] = times) -> None:
                self.boards[name].observe(bits)
                times.append(domain.cycle)

            def stall(rng: random.Random, name: str = name) -> Iterator[bool]:
                return (self.blocked == name or each for each in chosen.sink(rng))

            self.sources[name] = StreamSource(domain, f"requests_{name}", read_request(), chosen.source)
            self.sinks[name] = StreamSink(
                domain, f"words_{name}", read_word(config), stall, chosen.sink_waits, observe
            )

    def point(self) -> None:
        """Tell the mover of the window."""
        self.domain.writer("base")(self.base)
        self.domain.writer("limit")(self.lines)

    def forget(self) -> None:
        """Expect nothing."""
        self.boards = {name: Scoreboard(f"words_{name}", read_word(config)) for name in CLIENTS}

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

    def ask(self, name: str, line: int, words: int) -> None:
        """Queue a request and expect what it is to be answered by."""
        self.sources[name].send({"line": line, "words": words})
        board = self.boards[name]
        if not words or line * PER_LINE + words > self.lines * PER_LINE:
            answer = {"data": 0, "last": 1, "outside": 1, "failed": 0}
            board.expect(answer, {"data": (1 << 8 * WIDTH) - 1, "last": 0, "outside": 0, "failed": 0})
            return
        for place in range(words):
            start = line * LINE + place * WIDTH
            failed = int(start // LINE in self.refused)
            board.expect(
                {
                    "data": int.from_bytes(self.content[start : start + WIDTH], "little"),
                    "last": int(place == words - 1),
                    "outside": 0,
                    "failed": failed,
                },
                {"data": -failed % (1 << 8 * WIDTH), "last": 0, "outside": 0, "failed": 0},
            )

    async def finish(self, counts: dict[str, int]) -> None:
        """Wait for all words of each client."""
        for name, count in counts.items():
            await self.sinks[name].wait_for(count)
        await self.domain.cycles(50)
        for board in self.boards.values():
            board.finish()


def answers(lines: int, line: int, words: int) -> int:
    """Words that answer a request."""
    inside = words and line * PER_LINE + words <= lines * PER_LINE
    return words if inside else 1


async def ask_all(bench: Bench, stalls: str) -> None:
    """Requests of every kind by every client."""
    counts = dict.fromkeys(CLIENTS, 0)
    for name in CLIENTS:
        for kind in [*KINDS, *random.choices(KINDS, [4, 1, 1, 1, 1], k=REQUESTS)]:
            line, words = request_of(kind, bench.lines)
            bench.ask(name, line, words)
            counts[name] += answers(bench.lines, line, words)
            plan.hit(situation=stalls, kind=kind, client=name)
    await bench.finish(counts)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def requests(dut: Any, stalls: str) -> None:
    """Requests inside and outside the window, memory that is late, stalls and refuses."""
    domain = await reset(dut)
    bench = Bench(domain, random.choice([3, 40, 257]), stalls, share=0.1)
    memory = bench.memory(latency=lambda: random.randint(1, 60), stalls=situation(stalls).sink)
    await ask_all(bench, stalls)
    for address, words in memory.read_bursts:
        first = address // WIDTH
        assert words <= LONGEST_BURST
        assert first // LONGEST_BURST == (first + words - 1) // LONGEST_BURST


@cocotb.test()
@cocotb.parametrize(density=(0.0, 0.5))
async def other_memory(dut: Any, density: float) -> None:
    """The same with the slave of cocotbext-axi."""
    domain = await reset(dut)
    bench = Bench(domain, 40, "both_random", share=0.05)
    slave = AxiSlaveRead(
        AxiReadBus.from_prefix(dut, "axi"), dut.clk, dut.rst, Target(bench.base, bench.content, bench.refused)
    )
    for channel in slave.ar_channel, slave.r_channel:
        channel.set_pause_generator(pauses(density))
    await ask_all(bench, "both_random")


@cocotb.test()
@cocotb.parametrize(latency=(1, 100))
async def rate(dut: Any, latency: int) -> None:
    """A word a cycle within a request and from one to the next, the first one when it is said to come."""
    domain = await reset(dut)
    bench = Bench(domain, 1024, "free_running")
    memory = bench.memory(latency=lambda: latency)
    name = max(CLIENTS, key=lambda each: CLIENTS[each])
    lengths = [300, 64, 64, 100, 200]
    started: list[int] = []
    StreamMonitor(domain, f"requests_{name}", read_request(), lambda _: started.append(domain.cycle))
    for words in lengths:
        bench.ask(name, random.randrange(100) * LONGEST_BURST // PER_LINE, words)
    await bench.finish({name: sum(lengths)})
    times = bench.arrivals[name]
    assert times[0] - started[0] == 5 + latency + 3
    assert times[-1] - times[0] == sum(lengths) - 1, times
    if latency > 1:
        assert memory.outstanding >= 8
    rates.hit(latency=latency)


@cocotb.test()
async def long_stall(dut: Any) -> None:
    """Memory that does not answer for 10,000 cycles, with every client waiting; then all is right."""
    domain = await reset(dut)
    bench = Bench(domain, 128, "free_running")
    waits = itertools.chain([10_000], itertools.repeat(1))
    memory = bench.memory(latency=lambda: next(waits))
    words = min(300, 128 * PER_LINE)
    for name in CLIENTS:
        bench.ask(name, 0, words)
    await bench.finish(dict.fromkeys(CLIENTS, words))
    assert memory.outstanding == OUTSTANDING


@cocotb.test()
async def order_of_clients(dut: Any) -> None:
    """The first client's bursts go before those of the others as long as it has room."""
    domain = await reset(dut)
    bench = Bench(domain, 512, "free_running")
    memory = bench.memory()
    for place, name in enumerate(CLIENTS):
        bench.ask(name, 64 * place, 128)
    await bench.finish(dict.fromkeys(CLIENTS, 128))
    owners = [(address - bench.base) // LINE // 64 for address, _ in memory.read_bursts]
    assert owners[0] == 0
    assert set(owners) == set(range(len(CLIENTS)))


@cocotb.test()
@cocotb.parametrize(name=list(CLIENTS))
async def blocked_client(dut: Any, name: str) -> None:
    """A client that takes nothing holds up none of the others; it gets its words in the end."""
    domain = await reset(dut)
    bench = Bench(domain, 512, "free_running")
    bench.memory(latency=lambda: 5)
    bench.blocked = name
    words = CLIENTS[name] + 40
    for each in CLIENTS:
        bench.ask(each, 0, words)
    for each in CLIENTS.keys() - {name}:
        await bench.sinks[each].wait_for(words)
    assert bench.sinks[name].count == 0
    bench.blocked = None
    await bench.finish({name: words})


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset at any cycle, of memory too, leaves nothing behind."""
    domain = await reset(dut)
    bench = Bench(domain, 40, "free_running")
    memory = bench.memory(latency=lambda: 10)
    counts = dict.fromkeys(CLIENTS, 0)
    for cycles in range(1, 40, 3):
        for name in CLIENTS:
            bench.ask(name, 0, 60)
        await domain.cycles(cycles)
        await domain.reset()
        bench.forget()
        bench.point()
        for name in CLIENTS:
            bench.ask(name, 1, 20)
            counts[name] = bench.sinks[name].count + 20
        await bench.finish(counts)
    assert memory.read_bursts
