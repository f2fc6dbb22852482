"""Everything around one unpacker in a bench: packets in, checked beats out, errors counted."""

import random
from collections import deque
from typing import Any

from golden.weights import layout
from golden.weights.quantized import QuantizedWeights
from hw import payloads
from hw.config import Config
from sim import context
from sim.benches.weights.matrices import Expected, random_weights
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS
from sim.stalls import Pattern
from sim.streams import Domain, Scoreboard, StreamSink, StreamSource, reset, situation

__all__ = ["Bench", "config_of_run", "errors", "some_weights", "start"]

errors = ErrorPlan("unpacker")


def config_of_run() -> Config:
    """The configuration that the design was built with."""
    return Config.model_validate(context.parameters()["config"])


class Bench:
    """One unpacker with a source, a checked sink on every output and the error counters."""

    def __init__(
        self, dut: Any, domain: Domain, config: Config, stalls: str, chunk_stalls: Pattern | None = None
    ) -> None:
        where = situation(stalls)
        self.dut, self.domain, self.config = dut, domain, config
        shapes = {
            "header": payloads.packet_header(config),
            "chunks": payloads.chunk(config),
            "scales": payloads.group_scales(config),
            "channels": payloads.channels(config),
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in shapes.items()}
        self.arrivals: dict[str, list[int]] = {name: [] for name in shapes}
        self.words = StreamSource(domain, "words", payloads.word(config), where.source)
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                chunk_stalls if name == "chunks" and chunk_stalls else where.sink,
                where.sink_waits,
                self._observer(name),
            )
            for name, shape in shapes.items()
        }
        self.errors = ErrorCounter(domain, errors)
        self._refused: deque[bool] = deque()  # of the legal packets whose header has not been accepted
        self.wanted = dict.fromkeys(shapes, 0)

    def _observer(self, name: str) -> Any:
        def observe(bits: int) -> None:
            self.arrivals[name].append(self.domain.cycle)
            self.boards[name].observe(bits)
            if name == "header":
                self._refused.popleft()
                self._answer_next()

        return observe

    def _answer_next(self) -> None:
        """Set what the next header is answered."""
        self.dut.reject.value = int(bool(self._refused) and self._refused[0])

    def expect_header(self, expected: Expected, refused: bool = False) -> None:
        """Expect the header of a packet, which is then refused or not."""
        self.boards["header"].expect(expected.header)
        self.wanted["header"] += 1
        self._refused.append(refused)
        self._answer_next()

    def send(self, words: list[int]) -> None:
        """Queue a packet of raw words."""
        last = len(words) - 1
        self.words.send_all({"data": word, "last": int(number == last)} for number, word in enumerate(words))

    def expect(self, expected: Expected) -> None:
        """Expect every beat of a packet."""
        self.expect_header(expected)
        for name in ("chunks", "scales", "channels"):
            beats = getattr(expected, name)
            self.boards[name].expect_all(beats)
            self.wanted[name] += len(beats)

    def send_refused(self, q: QuantizedWeights) -> None:
        """Queue a packet that is refused when its header is there: it gives nothing else."""
        self.send(self.words_of(q))
        self.expect_header(Expected(self.config, q), refused=True)

    def send_intact(
        self, q: QuantizedWeights, output: str = "fp16", keep_activations: bool = False
    ) -> Expected:
        """Queue a packet and expect all of it."""
        self.send(self.words_of(q, output, keep_activations))
        expected = Expected(self.config, q, output, keep_activations)
        self.expect(expected)
        return expected

    def words_of(
        self, q: QuantizedWeights, output: str = "fp16", keep_activations: bool = False
    ) -> list[int]:
        """A packet as words."""
        config = self.config
        buf = layout.pack(q, config.rows, config.lanes, output, keep_activations, config.memory_bits)
        size = config.memory_bits // 8
        return [int.from_bytes(buf[start : start + size], "little") for start in range(0, len(buf), size)]

    async def finish(self, spacing: str = SPACINGS[0], **counts: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the error counts."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.words.drained()
        await self.domain.cycles(12)
        for board in self.boards.values():
            board.finish()
        self.errors.expect({f"error_{name}": count for name, count in counts.items()}, spacing)


async def start(dut: Any, stalls: str, cycle_limit: int = 30_000) -> Bench:
    domain = await reset(dut, cycle_limit)
    return Bench(dut, domain, config_of_run(), stalls)


def some_weights(bench: Bench, dtype: str, scale: str, offset: bool, blocks: int = 2) -> QuantizedWeights:
    """A small matrix: some row blocks, the last one not full, and a full group and a shorter one."""
    config = bench.config
    group = random.choice(config.group_lengths[-3:])
    inputs = group + random.randint(1, group)
    outputs = random.randint((blocks - 1) * config.rows + 1, blocks * config.rows)
    return random_weights(config, dtype, scale, outputs, inputs, group, offset)
