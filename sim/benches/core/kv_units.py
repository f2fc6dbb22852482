"""KV units: memory and scratch memory after every command equal golden's, byte for byte.

Parameters: ``config``, the fields of the configuration; ``tokens``, how many a sequence has at most.
"""

import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.core import kv
from golden.core.commands import LINE_BYTES, UNIT, Opcode, Status, encode
from golden.core.state import RECORD_BYTES
from hw.config import Config
from hw.core.payloads import done, scratch_shape
from sim import context
from sim.benches.core.kv_heads import Head, any_formats, shape_of
from sim.benches.core.unit_memory import Channel, UnitMemory
from sim.coverage import Coverage
from sim.packing import codec
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"]).changed(attention=True)
TOKENS: int = context.parameters()["tokens"]
SHAPE = shape_of(CONFIG)
UNITS = {"append": Opcode.APPEND, "close": Opcode.CLOSE, "attend": Opcode.ATTEND}
BYTES = CONFIG.memory_bits // 8
PAGE = CONFIG.kv.page_tokens
MEMORY = 1 << 18

coverage = Coverage("core_kv_units", {"unit": tuple(UNITS), "stalls": SITUATIONS})


def between_halves(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Numbers halfway between two of float16, subnormal ones too, and those beside them."""
    lower = rng.integers(0, 0x7BFF, count)
    lower[::2] &= 0x7FF  # as many subnormal ones as others
    halves = (lower[:, None] + [0, 1]).astype(np.uint16).view(np.float16).astype(np.float32)
    middle = halves.mean(1, dtype=np.float32)
    moved = middle.view(np.int32) + rng.integers(-1, 2, count, np.int32)
    return moved.view(np.float32) * rng.choice(np.float32([-1, 1]), count)


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
        self.store = UnitMemory(rng.integers(0, 256, MEMORY, np.uint8))
        self.scratch = rng.standard_normal(CONFIG.core.scratch).astype(np.float32)
        where = situation(stalls)
        self.channels = {
            unit: Channel(self.store, domain, CONFIG, stalls, f"{unit}_", unit != "attend") for unit in UNITS
        }
        self.ports = [ScratchPort(self, unit) for unit in ("append", "attend")]
        self.commands = {unit: StreamSource(domain, f"{unit}_commands", None, where.source) for unit in UNITS}
        self.done = {
            unit: StreamSink(domain, f"{unit}_done", done, where.sink, where.sink_waits) for unit in UNITS
        }
        self.positions = {unit: domain.writer(f"{unit}_position") for unit in UNITS}

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Bytes of memory."""
        return self.store.content

    def begin(self, unit: str, position: int, **fields: int) -> None:
        """Send a command."""
        self.store.outside = False
        self.positions[unit](position)
        self.commands[unit].send(int.from_bytes(encode(UNITS[unit], **fields), "little"))

    async def run(self, unit: str, position: int, **fields: int) -> tuple[Status, int]:
        """A command of a unit: its status and bytes."""
        coverage.hit(unit=unit, stalls=self.stalls)
        self.begin(unit, position, **fields)
        (answer,) = await self.done[unit].receive(1)
        await self.domain.cycles(2)
        status = Status(answer["status"].value)
        return (Status.OUTSIDE if self.store.outside else status), answer["bytes"]

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
            return kv.close(memory, {"ahead": 0} | fields, position, SHAPE)
        return (kv.append if unit == "append" else kv.attend)(memory, scratch, fields, position, SHAPE)

    def draw(self, hard: bool = False) -> None:
        """New vectors in scratch memory; elements of ``hard`` ones are any float32, or lie between halves."""
        rng = np.random.default_rng(random.getrandbits(32))
        count = len(self.scratch)
        self.scratch[:] = rng.standard_normal(count) * 2.0 ** rng.integers(-3, 3)
        if hard:
            patterns = rng.integers(0, 1 << 32, count, np.uint32).view(np.float32)
            between = between_halves(rng, count)
            kind = rng.random(count)
            self.scratch[:] = np.select([kind < 0.05, kind < 0.8], [patterns, between], self.scratch)

    def fill(self, head: Head, tokens: int, ahead: int = 0) -> None:
        """Tokens as golden appends them, and closes their pages so far ahead."""
        for position in range(tokens):
            self.draw()
            for side in range(2):
                fields = {"head": head.line, "source": 32 * side, "side": side, "ahead": ahead}
                kv.append(self.memory, self.scratch, fields, position, SHAPE)
                kv.close(self.memory, fields, position, SHAPE)
        self.draw()

    async def token(self, head: Head, position: int, queries: int, ahead: int = 0) -> None:
        """Append, close and attend."""
        units = CONFIG.core.scratch // UNIT
        size = head.channels // UNIT
        for unit in ("append", "close"):
            for side in range(2):
                source = UNIT * random.randint(0, units - size)
                own = {"source": source} if unit == "append" else {"ahead": ahead}
                assert not await self.check(unit, position, head=head.line, side=side, **own)
        source, destination = (UNIT * random.randint(0, units - queries * size) for _ in range(2))
        places = {"source": source, "destination": destination}
        assert not await self.check(
            "attend", position, head=head.line, queries=queries, heads=1, pitch=0, **places
        )


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    """After a reset."""
    return Bench(await reset(dut, cycle_limit=20_000_000), stalls)


def new_head(bench: Bench, channels: int, residual: int, tokens: int, line: int = 3) -> Head:
    """With pages of any formats."""
    return Head(bench.memory, SHAPE, any_formats(CONFIG, channels), channels, residual, tokens, line)


@cocotb.test()
async def whole_sequence(dut: Any) -> None:
    """Every token of the longest head."""
    bench = await start(dut)
    head = new_head(bench, CONFIG.kv.channels, PAGE, TOKENS)
    for position in range(TOKENS):
        bench.draw()
        await bench.token(head, position, CONFIG.kv.queries)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    """Tokens at which pages close, ahead or not, and others, with windows of several lengths."""
    bench = await start(dut, stalls)
    residual = random.choice((0, 1, 5, PAGE, PAGE + 9))
    position = residual + PAGE * random.randint(1, 2) - 1
    channels = 32 * random.randint(1, CONFIG.kv.channels // 32)
    head = new_head(bench, channels, residual, position + 2)
    ahead = random.randint(0, max(min(PAGE, residual) - 1, 0))
    bench.fill(head, position - ahead, ahead)
    for later in range(2):
        bench.draw()
        queries = random.randint(1, CONFIG.kv.queries)
        await bench.token(head, position - ahead + later, queries, ahead)


def some_heads(bench: Bench, count: int, tokens: int) -> tuple[list[Head], int]:
    """Heads of any channels, each with its tokens, and the lines from one to the next."""
    heads: list[Head] = []
    pitch = MEMORY // LINE_BYTES // count
    for number in range(count):
        channels = 32 * random.randint(1, CONFIG.kv.channels // 32)
        residual = random.choice((0, 5, PAGE))
        heads.append(new_head(bench, channels, residual, tokens, 3 + number * pitch))
        bench.fill(heads[-1], tokens)
    return heads, pitch


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def heads_of_a_command(dut: Any, stalls: str) -> None:
    """Some heads, from the first one to the last and back, their outputs in place of their queries."""
    bench = await start(dut, stalls)
    tokens = PAGE + random.randint(1, PAGE)
    heads, pitch = some_heads(bench, 3, tokens)
    position, elements = tokens - 1, sum(head.channels for head in heads)
    for first, step in ((heads[0], pitch), (heads[-1], (1 << 32) - pitch)):
        bench.draw()
        queries = random.randint(1, min(CONFIG.kv.queries, CONFIG.core.scratch // elements))
        places = dict.fromkeys(("source", "destination"), CONFIG.core.scratch - queries * elements)
        fields = places | {"head": first.line, "queries": queries, "heads": len(heads), "pitch": step}
        assert not await bench.check("attend", position, **fields)


@cocotb.test()
async def every_float(dut: Any) -> None:
    """Infinities, NaNs and numbers beyond float16 in keys, values and queries."""
    bench = await start(dut)
    head = new_head(bench, CONFIG.kv.channels, PAGE, 8)
    for position in range(8):
        bench.draw(hard=True)
        await bench.token(head, position, CONFIG.kv.queries)


@cocotb.test()
async def many_pages(dut: Any) -> None:
    """More records than wait at a time, of a few pages, not all of whose tokens are valid.

    The next page is always asked for before one has come whole.
    """
    bench = await start(dut)
    channels, residual, few = CONFIG.kv.channels, PAGE, 3
    small = new_head(bench, channels, residual, few * PAGE + residual)
    bench.fill(small, few * PAGE + residual)
    records = bench.memory[small.records :][: few * RECORD_BYTES].reshape(few, -1).copy()
    for count in (few, 16, 17, 23):
        tokens = count * PAGE + residual
        head = new_head(bench, channels, residual, tokens, small.end)
        for number in range(count):
            record = records[random.randrange(few)].copy()
            record[12:14] = random.choice(((0, PAGE - 1), (5, 5), (1, 0), (3, PAGE - 2)))
            bench.memory[head.records + number * RECORD_BYTES :][:RECORD_BYTES] = record
        tops = slice(head.line * LINE_BYTES + 24, head.line * LINE_BYTES + 32)
        bench.memory[tops] = bench.memory[small.line * LINE_BYTES + 24 :][:8]
        for position in range(tokens - PAGE - 2, tokens):
            for side in range(2):
                fields = {"head": head.line, "source": 32 * side, "side": side}
                bench.draw()
                kv.append(bench.memory, bench.scratch, fields, position, SHAPE)
        places = {"source": 0, "destination": CONFIG.core.scratch // 2, "queries": 1, "heads": 1, "pitch": 0}
        channel = bench.channels["attend"]
        before = len(channel.ahead)
        assert not await bench.check("attend", tokens - 1, head=head.line, **places)
        assert min(channel.ahead[before + 2 : -1]) > 0  # beyond the header and the first line of records
