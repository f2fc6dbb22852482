"""Skid buffer: every beat comes out once, in order and unchanged, whatever the stalls on either side."""

import random
from typing import Any

import cocotb

from sim import context
from sim.coverage import Coverage
from sim.example import Beat, Kind
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

coverage = Coverage("skid_buffer", {"situation": SITUATIONS, "kind": [kind.name for kind in Kind]})


def random_beat() -> dict[str, Any]:
    """One beat with every field drawn from its whole range."""
    return {
        "kind": random.choice(list(Kind)),
        "offset": random.randint(-512, 511),
        "lanes": [random.randint(-32, 31) for _ in range(4)],
    }


async def stream_through(domain: Domain, name: str, count: int) -> None:
    """Send ``count`` random beats under the named situation and compare what comes out."""
    stalls = situation(name)
    scoreboard = Scoreboard("o", Beat)
    source = StreamSource(domain, "i", Beat, stalls.source)
    sink = StreamSink(domain, "o", Beat, stalls.sink, stalls.sink_waits, observer=scoreboard.observe)
    beats = [random_beat() for _ in range(count)]
    scoreboard.expect_all(beats)
    source.send_all(beats)
    await sink.wait_for(count)
    await domain.cycles(4)  # a beat too many shows here
    scoreboard.finish()
    for beat in beats:
        coverage.hit(situation=name, kind=beat["kind"].name)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def keeps_order(dut: Any, stalls: str) -> None:
    domain = await reset(dut, cycle_limit=10_000)
    await stream_through(domain, stalls, count=context.parameters().get("beats", 200))


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Without stalls, n beats take n cycles and the latency."""
    domain = await reset(dut, cycle_limit=1_000)
    seen: list[int] = []
    StreamMonitor(domain, "i", Beat, observer=lambda _: seen.append(domain.cycle))
    await stream_through(domain, "free_running", count=100)
    assert seen[-1] - seen[0] == 99


@cocotb.test()
async def one_at_a_time(dut: Any) -> None:
    """Beats sent singly come back decoded as they were given."""
    domain = await reset(dut, cycle_limit=1_000)
    source, sink = StreamSource(domain, "i", Beat), StreamSink(domain, "o", Beat)
    for _ in range(20):
        beat = random_beat()
        source.send(beat)
        await source.drained()
        assert await sink.receive(1) == [beat]
    assert source.sent == sink.count == 20


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of stalled traffic leaves nothing behind."""
    domain = await reset(dut, cycle_limit=1_000)
    source = StreamSource(domain, "i", Beat)
    source.send_all(random_beat() for _ in range(10))
    await domain.cycles(5)
    assert dut.o_valid.value == 1
    await domain.reset()
    assert dut.o_valid.value == 0
