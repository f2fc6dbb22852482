"""KV units: memory and scratch memory after every command equal golden's, byte for byte.

Parameters: ``config``, the fields of the configuration; ``tokens``, how many a sequence has at most.
"""

import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.core import kv
from golden.core.commands import LINE_BYTES, Opcode, Status, encode
from golden.core.state import closed
from hw.config import Config
from hw.core.payloads import done, read_request, read_word, scratch_shape, write_request
from sim import context
from sim.benches.core.kv_heads import Head, any_formats, shape_of
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"]).changed(attention=True)
TOKENS: int = context.parameters()["tokens"]
SHAPE = shape_of(CONFIG)
UNITS = {"append": Opcode.APPEND, "close": Opcode.CLOSE, "attend": Opcode.ATTEND}
BYTES = CONFIG.memory_bits // 8
MEMORY = 1 << 18

coverage = Coverage("core_kv_units", {"unit": tuple(UNITS), "stalls": SITUATIONS})


class Channel:
    """Reads and writes of one unit; requests are answered in order, ``pause`` cycles later at most."""

    def __init__(self, bench: "Bench", unit: str, stalls: str) -> None:
        where, self.bench = situation(stalls), bench
        domain = bench.domain
        self.words = StreamSource(domain, f"{unit}_words", read_word(CONFIG), where.source)
        self.requests = StreamSink(
            domain, f"{unit}_requests", read_request(), where.sink, where.sink_waits, self._read
        )
        self._request = codec(read_request())
        if unit == "attend":
            return
        self._write_codec = codec(write_request(CONFIG))
        self.writes = StreamSink(
            domain, f"{unit}_writes", write_request(CONFIG), where.sink, where.sink_waits, self._write
        )

    def _read(self, bits: int) -> None:
        request = self._request.unpack(bits)
        bench = self.bench
        bench.reads += 1
        first, count = request["line"] * LINE_BYTES, request["words"]
        if count == 0 or first + count * BYTES > len(bench.memory):
            data = random.getrandbits(CONFIG.memory_bits)
            self.words.send({"data": data, "last": 1, "outside": 1, "failed": 0})
            return
        failed = bench.reads == bench.failing
        data = bench.memory[first : first + count * BYTES].tobytes()
        for place in range(count):
            word = int.from_bytes(data[place * BYTES : (place + 1) * BYTES], "little")
            self.words.send({"data": word, "last": place == count - 1, "outside": 0, "failed": failed})

    def _write(self, bits: int) -> None:
        write = self._write_codec.unpack(bits)
        first = write["line"] * LINE_BYTES + write["word"] * BYTES
        if first + BYTES > len(self.bench.memory):
            self.bench.outside = True
            return
        data = np.frombuffer(write["data"].to_bytes(BYTES, "little"), np.uint8)
        enables = np.array([write["enables"] >> byte & 1 for byte in range(BYTES)], bool)
        np.copyto(self.bench.memory[first : first + BYTES], data, where=enables)


class ScratchPort:
    """Scratch memory behind the ports of one unit; an agent of the domain."""

    def __init__(self, bench: "Bench", unit: str) -> None:
        domain = bench.domain
        self.bench, self._codec = bench, codec(scratch_shape(CONFIG))
        name = f"{unit}_scratch_read"
        self._enable, self._address = (domain.reader(f"{name}_{port}") for port in ("enable", "address"))
        self._data = domain.writer(f"{name}_data")
        name = f"{unit}_scratch_write"
        self._writes = unit == "attend"
        self._enables, self._target, self._value = (
            domain.reader(f"{name}_{port}") for port in ("enables", "address", "data")
        )
        domain.add(self)

    def step(self) -> None:
        lanes, scratch = CONFIG.core.lanes, self.bench.scratch
        if self._writes and (enables := self._enables()):
            words = self._codec.unpack(self._value())
            for lane in range(lanes):
                if enables >> lane & 1:
                    scratch.view(np.uint32)[self._target() * lanes + lane] = words[lane]
        if self._enable():
            first = self._address() * lanes
            self._data(self._codec.pack(scratch.view(np.uint32)[first : first + lanes].tolist()))

    def restart(self) -> None:
        """Nothing is under way."""

    def status(self) -> str:
        return "scratch memory"


class Bench:
    """The units, one memory and one scratch memory, and golden's."""

    def __init__(self, domain: Domain, stalls: str = "free_running") -> None:
        self.domain, self.stalls = domain, stalls
        rng = np.random.default_rng(random.getrandbits(32))
        self.memory = rng.integers(0, 256, MEMORY, np.uint8)
        self.scratch = rng.standard_normal(CONFIG.core.scratch).astype(np.float32)
        self.reads, self.failing, self.outside = 0, 0, False
        where = situation(stalls)
        self.channels = {unit: Channel(self, unit, stalls) for unit in UNITS}
        self.ports = [ScratchPort(self, unit) for unit in ("append", "attend")]
        self.commands = {unit: StreamSource(domain, f"{unit}_commands", None, where.source) for unit in UNITS}
        self.done = {
            unit: StreamSink(domain, f"{unit}_done", done, where.sink, where.sink_waits) for unit in UNITS
        }
        self.positions = {unit: domain.writer(f"{unit}_position") for unit in UNITS}

    async def run(self, unit: str, position: int, **fields: int) -> tuple[Status, int]:
        """A command of a unit: its status and bytes."""
        coverage.hit(unit=unit, stalls=self.stalls)
        self.outside = False
        self.positions[unit](position)
        self.commands[unit].send(int.from_bytes(encode(UNITS[unit], **fields), "little"))
        (answer,) = await self.done[unit].receive(1)
        await self.domain.cycles(2)
        status = Status(answer["status"].value)
        return (Status.OUTSIDE if self.outside else status), answer["bytes"]

    async def check(self, unit: str, position: int, **fields: int) -> Status:
        """The same as golden does."""
        memory, scratch = self.memory.copy(), self.scratch.copy()
        golden = self.golden(unit, memory, scratch, position, fields)
        answer = await self.run(unit, position, **fields)
        assert answer == golden, f"{unit} at {position}: {answer} is not {golden}"
        wrong = np.flatnonzero(self.memory != memory)
        assert not len(wrong), f"{unit} at {position}: memory differs at {wrong[:8]}"
        same = self.scratch.view(np.uint32) == scratch.view(np.uint32)
        assert same.all(), f"{unit} at {position}: scratch memory differs at {np.flatnonzero(~same)[:8]}"
        return answer[0]

    def golden(
        self,
        unit: str,
        memory: NDArray[np.uint8],
        scratch: NDArray[np.float32],
        position: int,
        fields: dict[str, int],
    ) -> tuple[Status, int]:
        """What golden makes of memory and scratch memory."""
        if unit == "close":
            return kv.close(memory, fields, position, SHAPE)
        return (kv.append if unit == "append" else kv.attend)(memory, scratch, fields, position, SHAPE)


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=20_000_000), stalls)


async def sequence(bench: Bench, head: Head, tokens: int, queries: int) -> None:
    """Token after token: append, close where it is due, attend."""
    rng = np.random.default_rng(random.getrandbits(32))
    units = CONFIG.core.scratch // 16 - 1
    size = head.channels // 16
    for position in range(tokens):
        bench.scratch[:] = rng.standard_normal(len(bench.scratch)) * 2.0 ** rng.integers(-3, 3)
        for side in range(2):
            source = 16 * random.randint(0, units - size)
            assert not await bench.check("append", position, head=head.line, source=source, side=side)
        due = position + 1 - head.residual
        for side in range(2):
            assert not await bench.check("close", position, head=head.line, side=side)
        assert closed(position, head.residual, CONFIG.kv.page_tokens) == max(due // CONFIG.kv.page_tokens, 0)
        source, destination = (16 * random.randint(0, units - queries * size) for _ in range(2))
        status = await bench.check(
            "attend",
            position,
            head=head.line,
            source=source,
            destination=destination,
            queries=queries,
        )
        assert not status


@cocotb.test()
async def whole_sequence(dut: Any) -> None:
    bench = await start(dut)
    channels = CONFIG.kv.channels
    head = Head(bench.memory, SHAPE, any_formats(CONFIG, channels), channels, 32, TOKENS)
    await sequence(bench, head, TOKENS, CONFIG.kv.queries)
