"""Fork: every taker gets every payload once and in order, and none is more than one ahead of another.

Parameters: ``bits`` of a payload; ``takers``, how many.
"""

import random
from functools import partial
from typing import Any

import cocotb

from sim import context
from sim.streams import SITUATIONS, StreamSink, StreamSource, reset, situation

BITS: int = context.parameters()["bits"]
TAKERS: int = context.parameters()["takers"]
COUNT = 200


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_paces(dut: Any, stalls: str) -> None:
    """Takers that keep their own paces."""
    domain = await reset(dut, cycle_limit=20_000)
    where = situation(stalls)
    sent = [random.getrandbits(BITS) for _ in range(COUNT)]
    found: list[list[int]] = [[] for _ in range(TAKERS)]

    def observe(taker: int, bits: int) -> None:
        found[taker].append(bits)
        counts = [len(own) for own in found]
        assert max(counts) - min(counts) <= 1, counts

    source = StreamSource(domain, "coming", BITS, where.source)
    sinks = [
        StreamSink(domain, f"taker_{taker}", BITS, where.sink, where.sink_waits, partial(observe, taker))
        for taker in range(TAKERS)
    ]
    source.send_all(sent)
    for sink in sinks:
        await sink.wait_for(COUNT)
    await domain.cycles(10)
    assert found == [sent] * TAKERS
    if stalls == "free_running":
        assert domain.cycle < COUNT + 50
