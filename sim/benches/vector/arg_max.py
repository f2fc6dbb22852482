"""Arg-max: the index and the value of every list as golden's, whatever the stalls."""

import random
from typing import Any

import cocotb
import numpy as np

from golden import vector
from golden.vector.arithmetic import flushed
from hw.vector import arg_max
from hw.vector.arg_max import numbers
from sim import context
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

LANES: int = context.parameters()["lanes"]
COUNT: int = context.parameters()["lists"]
largest = arg_max.largest()
coverage = Coverage("arg_max", {"winner": ("number", "infinite", "nan"), "ties": (False, True)})
coverage_rate = Coverage("arg_max_rate", {"between": ("beats", "lists")})


class Bench:
    """The circuit with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.board = Scoreboard("largest", largest)
        self.numbers = StreamSource(domain, "numbers", numbers(LANES), where.source)
        self.sink = StreamSink(
            domain, "largest", largest, where.sink, where.sink_waits, lambda bits: self.board.observe(bits)
        )
        self.wanted = 0

    def send(self, values: np.ndarray) -> None:
        """A list, in beats of any count but 0."""
        index = vector.arg_max(values)
        found = flushed(values)
        value = found[index] + np.float32(0)
        ties = int((found == value).sum() > 1 or np.isnan(found).sum() > 1)
        kind = "nan" if np.isnan(value) else "infinite" if np.isinf(value) else "number"
        coverage.hit(winner=kind, ties=bool(ties))
        self.board.expect({"index": index, "value": int(np.float32(value).view(np.uint32))})
        rest = values.view(np.uint32).tolist()
        while rest:
            count = min(random.choice((LANES, random.randint(1, LANES))), len(rest))
            beat = rest[:count] + [random.getrandbits(32) for _ in range(LANES - count)]
            rest = rest[count:]
            self.numbers.send({"data": beat, "count": count, "last": not rest})
        self.wanted += 1

    async def finish(self) -> None:
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(10)
        self.board.finish()


def random_list() -> np.ndarray:
    """Few different numbers, of every kind, or many."""
    rng = np.random.default_rng(random.getrandbits(32))
    count = random.choice((1, 2, LANES, random.randint(1, 100)))
    if random.random() < 0.4:
        return rng.normal(size=count).astype(np.float32)
    bits = [0, 1 << 31, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7FC00000, 0xFFFFFFFF]
    chosen = rng.choice(bits, random.choice((1, 2, 5)))
    return rng.choice(chosen, count).astype(np.uint32).view(np.float32)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_list(dut: Any, stalls: str) -> None:
    """One list behind the other."""
    bench = Bench(await reset(dut), stalls)
    for _ in range(COUNT):
        bench.send(random_list())
    await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A beat a cycle, four cycles between lists."""
    bench = Bench(await reset(dut), "free_running")
    times: list[int] = []
    bench.numbers._observer = lambda _: times.append(bench.domain.cycle)
    for _ in range(2):
        beats = [{"data": [0] * LANES, "count": LANES, "last": number == 4} for number in range(5)]
        bench.numbers.send_all(beats)
        bench.board.expect({"index": 0, "value": 0})
        bench.wanted += 1
    await bench.finish()
    begin = times[0]
    assert [time - begin for time in times] == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12], times
    for name in ("beats", "lists"):
        coverage_rate.hit(between=name)
