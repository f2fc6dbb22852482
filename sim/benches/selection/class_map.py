"""Class map: the memory equal to golden's packed map, whatever changes and stalls."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.selection.classes import packed
from hw.config import Config
from hw.selection.moving.payloads import map_change, map_word
from sim import context
from sim.benches.kv.pages import words_of
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["moves"]
WIDTH = config.memory_bits
MOST = 65536

KINDS = ("neighbours", "anywhere", "none")
coverage = Coverage("class_map", {"tokens": KINDS, "bits": (1, 2)})
coverage_rate = Coverage("class_map_rate", {"bits": (1, 2)})
coverage_stalls = Coverage("class_map_stalls", {"situation": SITUATIONS})


class Bench:
    """The map's circuit, and the memory with the map."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        where = situation(stalls)
        self.domain = domain
        self.taken: list[int] = []
        StreamSink(
            domain, "reads", map_word(config)["address"].shape, where.sink, where.sink_waits, self._read
        )
        self.words = StreamSource(domain, "words", WIDTH, where.source)
        self.writes = StreamSink(
            domain, "writes", map_word(config), where.sink, where.sink_waits, self._write
        )
        self.changes = StreamSource(
            domain, "changes", map_change(), where.source, lambda _: self.taken.append(domain.cycle)
        )
        self.begin(1)

    def begin(self, bits: int) -> None:
        """A new map of any classes."""
        rng = np.random.default_rng(random.getrandbits(32))
        self.bits, self.map = bits, rng.integers(0, 1 << bits, MOST)
        self.memory = dict(enumerate(words_of(packed(self.map, bits), WIDTH)))

    def _read(self, address: int) -> None:
        self.words.send(self.memory[address])

    def _write(self, bits: int) -> None:
        write = self.writes.codec.unpack(bits)
        self.memory[write["address"]] = write["data"]

    def change(self, tokens: list[int]) -> None:
        """Other classes of some tokens, one after the other."""
        for token in tokens:
            number = random.randrange(1 << self.bits)
            self.map[token] = number
            self.changes.send({"index": token, "number": number, "wide": self.bits - 1, "last": 0})
        self.changes.send({"index": random.randrange(MOST), "number": 0, "wide": self.bits - 1, "last": 1})

    async def finish(self) -> None:
        """Wait until all is written, and compare the memory."""
        await self.changes.drained()
        await self.words.drained()
        await self.domain.cycles(200)
        assert list(self.memory.values()) == words_of(packed(self.map, self.bits), WIDTH)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=200_000), stalls)


def some_tokens(kind: str) -> list[int]:
    """Tokens of a kind; those that are neighbours cross words of the map."""
    if kind == "anywhere":
        return [random.randrange(MOST) for _ in range(20)]
    first = random.randrange(MOST - 2 * WIDTH)
    chosen = [token for token in range(first, first + 2 * WIDTH) if random.random() < 0.5]
    return chosen if kind == "neighbours" else []


async def play(bench: Bench) -> None:
    for bits in (1, 2):
        bench.begin(bits)
        for kind in KINDS:
            bench.change(some_tokens(kind))
            coverage.hit(tokens=kind, bits=bits)
        await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_change(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(COUNT):
        await play(bench)
    coverage_stalls.hit(situation=stalls)


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A change a cycle within a word."""
    bench = await start(dut)
    for bits in (1, 2):
        bench.begin(bits)
        bench.taken.clear()
        bench.change(list(range(WIDTH // bits)))
        await bench.finish()
        assert (np.diff(bench.taken[:-1]) == 1).all()
        coverage_rate.hit(bits=bits)
