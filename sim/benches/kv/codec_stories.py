"""What the KV packers and the unpacker are put through alike."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sim.benches.kv.coded_pages import NAMES, CodecBench, CodedPage, some_names
from sim.coverage import Coverage
from sim.spacing import send_spaced
from sim.streams import SITUATIONS

__all__ = ["FLOWS", "CodecPlans", "every_coding", "flow", "forget", "recover"]

FLOWS = (*NAMES, "mixed")
"""Codings of the pages that flow without stalls."""


class CodecPlans:
    """Coverage of a packer or the unpacker.

    Args:
        block: its name.

    Attributes:
        stalls: every coding in every situation.
        switches: every coding behind every other one.
        rate: every coding at full throughput.
    """

    def __init__(self, block: str) -> None:
        self.stalls = Coverage(f"{block}_stalls", {"situation": SITUATIONS, "coding": NAMES})
        self.switches = Coverage(f"{block}_switches", {"before": NAMES, "after": NAMES})
        self.rate = Coverage(f"{block}_rate", {"coding": FLOWS})


async def every_coding(bench: CodecBench, plans: CodecPlans, stalls: str, count: int) -> None:
    """``count`` pages of all codings back to back."""
    names = some_names(SITUATIONS.index(stalls), count)
    for name in names:
        bench.send(bench.page(name, random.choice((1, 1, 2, 3))))
        plans.stalls.hit(situation=stalls, coding=name)
    await bench.finish()
    for before, after in itertools.pairwise(names):
        plans.switches.hit(before=before, after=after)


async def flow(
    bench: CodecBench,
    plans: CodecPlans,
    name: str,
    amount: int,
    size: Callable[[CodedPage], int],
    moves: list[int],
) -> None:
    """Pages of a coding without stalls: the beats of one stream move in as many cycles.

    Args:
        bench: free running.
        plans: coverage.
        name: one of FLOWS.
        amount: beats of the stream, at least.
        size: of a page.
        moves: cycles of the stream's beats.
    """
    moved = 0
    while moved < amount:
        page = bench.page(random.choice(NAMES) if name == "mixed" else name, random.choice((1, 2, 8)))
        bench.send(page)
        moved += size(page)
    await bench.finish()
    cycles = moves[-1] - moves[0] + 1
    assert len(moves) == moved
    assert cycles == moved, f"{cycles} cycles for {moved} beats"
    plans.rate.hit(coding=name)


async def recover(bench: CodecBench, beat: Callable[[], dict[str, Any]], spacing: str) -> None:
    """Wrong pages of every length and coding, reserved ones too; every good page between is intact.

    Args:
        bench: free running.
        beat: makes a beat but for its coding and ``last``.
        spacing: of the pages.
    """
    acts = []
    for length, coding in itertools.product(range(1, 10), range(8)):
        wrong = [beat() | {"coding": coding, "last": number == length - 1} for number in range(length)]
        acts.append(lambda wrong=wrong: bench.send_wrong(wrong))
        if (length + coding) % 3:  # or another wrong one follows
            acts.append(lambda: bench.send(bench.page(random.choice(NAMES), 1)))
    acts.append(lambda: bench.send(bench.page(random.choice(NAMES), 1)))
    await send_spaced(bench.domain, (bench.source,), acts, spacing)
    await bench.finish()


async def forget(
    bench: CodecBench, name: str, lengths: Iterable[int], pause: Callable[[int], Awaitable[object]]
) -> None:
    """A reset after the first beats of a page, a good page behind it.

    Args:
        bench: free running.
        name: coding of the page.
        lengths: of its beginnings.
        pause: waits for the reset, given the length.
    """
    for length in lengths:
        bench.compares = False
        bench.send_beginning(bench.page(name, 2), length)
        await pause(length)
        await bench.domain.reset()
        assert bench.valid() == 0
        bench.compares = True
        bench.send(bench.page(random.choice(NAMES), 1))
        await bench.finish()
