"""Completions: 16 bytes a command at its place of the ring; nothing is told before they are in memory."""

import random
from collections import deque
from typing import Any

import cocotb

from golden.core.commands import Status
from hw.config import Config
from hw.core.payloads import record, words_of_line, write_request
from sim import context
from sim.benches.core.windows import LINE
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
RECORDS = context.parameters()["records"]
WIDTH = config.memory_bits // 8

plan = Coverage("core_completions", {"situation": SITUATIONS, "interrupt": (0, 1)})


class Bench:
    """A write mover and the memory behind it, which answers some cycles after each write.

    An agent of the domain: ``head`` and the interrupt never come before the bytes of their record.
    """

    def __init__(self, domain: Domain, size: int, stalls: str) -> None:
        self.domain, self.size = domain, size
        self.line = random.randrange(1000)
        self.content = bytearray(-(-size // 4) * LINE)
        self.expected = bytearray(self.content)
        self.interrupts: deque[int] = deque()
        self.wanted = self.seen = self.head = self.over = 0
        self._due: deque[tuple[int, dict[str, int]]] = deque()
        self._answered = domain.writer("answered")
        self._head, self._interrupt = domain.reader("head"), domain.reader("irq")
        domain.writer("line")(self.line)
        domain.writer("size")(size)
        domain.add(self)
        chosen = situation(stalls)
        self.source = StreamSource(domain, "records", record, chosen.source, self._taken)
        self.writes = StreamSink(
            domain, "writes", write_request(config), chosen.sink, chosen.sink_waits, self._write
        )
        self.place = 0

    def _taken(self, bits: int) -> None:
        fields = self.source.codec.unpack(bits)
        words = fields["id"], fields["status"].value, fields["bytes"], fields["cycles"]
        record_bytes = b"".join(word.to_bytes(4, "little") for word in words)
        self.interrupts.append(fields["interrupt"])
        self.expected[self.place * 16 : self.place * 16 + 16] = record_bytes
        self.place = (self.place + 1) % self.size

    def _write(self, bits: int) -> None:
        self._due.append((self.domain.cycle + random.randint(1, 30), self.writes.codec.unpack(bits)))

    def step(self) -> None:
        head = self._head()
        self.seen += self._interrupt()
        while self.head != head:
            begin = self.head % self.size * 16
            assert self.content[begin : begin + 16] == self.expected[begin : begin + 16]
            self.wanted += self.interrupts.popleft()
            self.head += 1
            self.over += 1
        assert self.seen == self.wanted, f"interrupts {self.seen}, wanted {self.wanted}"
        self._answered(0)
        if self._due and self._due[0][0] <= self.domain.cycle:
            write = self._due.popleft()[1]
            start = (write["line"] - self.line) * LINE + write["word"] * WIDTH
            for byte in range(WIDTH):
                if write["enables"] >> byte & 1:
                    self.content[start + byte] = write["data"] >> 8 * byte & 0xFF
            self._answered(1)

    def restart(self) -> None:
        self._due.clear()

    def status(self) -> str:
        return f"completions: {self.over} over, {len(self._due)} writes are due"


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def records(dut: Any, stalls: str) -> None:
    """Records of rings of all sizes, more than a ring has places for."""
    domain = await reset(dut)
    bench = Bench(domain, random.choice([2, 5, 16]), stalls)
    for sent in range(RECORDS):
        while sent - bench.over == bench.size:
            await domain.cycles(1)
        interrupt = random.getrandbits(1)
        fields = {name: random.getrandbits(32) for name in ("id", "bytes", "cycles")}
        bench.source.send(fields | {"status": random.choice(list(Status)).value, "interrupt": interrupt})
        plan.hit(situation=stalls, interrupt=interrupt)
    while bench.over < RECORDS:
        await domain.cycles(1)
    await domain.cycles(10)
    assert bench.content == bench.expected
    assert bench.writes.count == RECORDS * max(1, 16 // WIDTH)
    assert words_of_line(config) * WIDTH == LINE
