"""Merger: what it makes of several engines' findings is golden's merge, whatever the stalls."""

import itertools
import random
from typing import Any

import cocotb
import numpy as np

from golden.attention import widths
from golden.attention.engine import State, merge
from hw.attention.merger import cycles
from hw.attention.payloads import divisor, value_sum
from hw.config import Config
from sim import context
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamMonitor, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
QUERIES: int = context.parameters()["queries"]
ENGINES = CONFIG.kv.engines
KINDS = ("near", "far", "empty", "extreme")
OUTPUTS = {"divisors": divisor, "sums": value_sum}

coverage = Coverage("attention_merger", {"kind": KINDS, "engine": tuple(range(ENGINES))})
coverage_rate = Coverage("attention_merger_rate", {"engines": (2, 4)})


class Bench:
    """The merger with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            (name, number): StreamSource(domain, f"{name}_{number}", shape, where.source)
            for name, shape in OUTPUTS.items()
            for number in range(ENGINES)
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.sinks = {
            name: StreamSink(domain, name, shape, where.sink, where.sink_waits, self.boards[name].observe)
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)

    def send(self, states: list[State], flags: list[tuple[bool, bool]]) -> None:
        """One query's states, with ``special`` and ``error`` of each engine."""
        for number, (state, (special, error)) in enumerate(zip(states, flags, strict=True)):
            self.sources["divisors", number].send(_fields(state, special, error))
            self.sources["sums", number].send_all(_sums(state))
        merged = merge(states)
        special, error = (any(flag) for flag in zip(*flags, strict=True))
        self.boards["divisors"].expect(_fields(merged, special, error))
        self.boards["sums"].expect_all(_sums(merged))
        self.wanted["divisors"] += 1
        self.wanted["sums"] += merged.sums.size

    async def finish(self) -> None:
        """Wait for everything expected and see that nothing else comes."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(30)
        for board in self.boards.values():
            board.finish()


def _fields(state: State, special: bool, error: bool) -> dict[str, Any]:
    maximum, total, top = (int(part[0]) for part in (state.maximum, state.total, state.top))
    return {"maximum": maximum, "total": total, "top": top, "special": special, "error": error}


def _sums(state: State) -> list[dict[str, Any]]:
    own = state.sums[0].tolist()
    return [{"sum": value, "last": number == len(own) - 1} for number, value in enumerate(own)]


def random_states(channels: int) -> list[State]:
    """What each engine found for one query; what they add up to fits."""
    rng = np.random.default_rng(random.getrandbits(32))
    around, top = int(rng.integers(-(1 << 18), 1 << 18)), np.array([rng.integers(1, 31)])
    states = []
    for number in range(ENGINES):
        kind = random.choice(KINDS)
        coverage.hit(kind=kind, engine=number)
        bits = int(rng.integers(1, widths.SUM_BITS - 4))
        sums = rng.integers(-1 << bits, 1 << bits, (1, channels))
        maximum = around + int(rng.integers(-3, 4) if kind == "near" else rng.integers(-90, 90))
        if kind == "extreme":
            maximum = random.choice((widths.LOWEST + 1, -widths.LOWEST - 1))
        total = rng.integers(1, 1 << int(rng.integers(1, 47)), 1)
        if kind == "empty":
            maximum, total, sums = widths.LOWEST, total * 0, sums * 0
        states.append(State(np.array([maximum]), total, sums, top))
    return states


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_states(dut: Any, stalls: str) -> None:
    """Queries of any states, maxima near each other and far apart, engines without tokens."""
    bench = Bench(await reset(dut), stalls)
    for _ in range(QUERIES):
        flags = [(random.random() < 0.2, random.random() < 0.2) for _ in range(ENGINES)]
        bench.send(random_states(random.choice((16, 32))), flags)
    await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Query after query in the documented cycles."""
    bench = Bench(await reset(dut), "free_running")
    begins: list[int] = []
    StreamMonitor(bench.domain, "divisors", divisor, lambda bits: begins.append(bench.domain.cycle))
    for _ in range(4):
        bench.send(random_states(16), [(False, False)] * ENGINES)
    await bench.finish()
    assert {after - before for before, after in itertools.pairwise(begins)} == {cycles(ENGINES, 16)}
    coverage_rate.hit(engines=ENGINES)
