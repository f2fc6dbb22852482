"""Sequence unit: statuses, memory, position and token after every command as golden has them.

Parameters: ``config``, the fields of the configuration; ``commands``, how many of each situation.
"""

import random
from typing import Any

import cocotb
import numpy as np

from golden.core import geometry
from golden.core.commands import LINE_BYTES, Opcode, Status, encode
from golden.core.image import Symbols
from golden.core.machine import Machine
from golden.core.state import SEQUENCE, encoded
from hw.config import Config
from hw.core.payloads import done
from sim import context
from sim.benches.core.unit_memory import Channel, UnitMemory
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
COMMANDS: int = context.parameters()["commands"]

LINES = 96
RING, COMPLETIONS, SEQUENCES, TOKENS = 0, 1, 2, 16
"""Lines: golden's command and record, sequences up to the tokens, and tokens up to the end."""
PER_LINE = LINE_BYTES // 4
BEGINS = ("begin", "identity", "line_outside", "tokens_outside", "tokens_wrap")
ADVANCES = ("given", "found", "stop", "full")
KINDS = (*BEGINS, *ADVANCES)

plan = Coverage("core_sequence_unit", {"situation": SITUATIONS, "kind": KINDS})
faults = Coverage("core_sequence_unit_faults", {"read": ("line", "tokens")})


class Bench:
    """The unit with its memory, and golden's machine with another one."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        self.domain = domain
        where = situation(stalls)
        rng = np.random.default_rng(random.getrandbits(32))
        self.store = UnitMemory(rng.integers(0, 256, LINES * LINE_BYTES, np.uint8))
        self.identity = random.getrandbits(64)
        domain.writer("model")(self.identity)
        symbols = Symbols(
            RING, 1, COMPLETIONS, SEQUENCES, TOKENS, 0, None, 0, self.identity, LINES, "tiny", {}
        )
        self.golden = Machine(self.store.content.copy(), symbols, geometry.get("tiny"))  # no size matters
        self.channel = Channel(self.store, domain, CONFIG, stalls)
        self.commands = {
            opcode: StreamSource(domain, opcode.name.lower(), None, where.source)
            for opcode in (Opcode.BEGIN, Opcode.ADVANCE)
        }
        self.done = StreamSink(domain, "done", done, where.sink, where.sink_waits)
        self.shown = {name: domain.reader(name) for name in ("position", "token", "prompted")}
        self.largest = domain.writer("largest")

    def sequence(self, **fields: int) -> int:
        """A sequence in both memories, with all that is not named as a good one has it; its line."""
        line = random.randrange(SEQUENCES, TOKENS)
        position = fields.get("position", random.randrange((LINES - TOKENS) * PER_LINE - 1))
        first = random.randint(TOKENS, LINES - 1 - (position + 1) // PER_LINE)
        values = {name: random.getrandbits(32) for name in ("stop_0", "stop_1", "stopped")} | {
            "position": position,
            "prompt": random.randint(1, position + 3),
            "tokens": first,
            "limit": random.randint(position + 2, (LINES - first) * PER_LINE),
            "model_low": self.identity & 0xFFFFFFFF,
            "model_high": self.identity >> 32,
        }
        content = encoded(values | fields, SEQUENCE, LINE_BYTES)
        for memory in self.store.content, self.golden.memory:
            memory[line * LINE_BYTES :][:LINE_BYTES] = np.frombuffer(content, np.uint8)
        return line

    async def run(self, opcode: Opcode, **fields: int) -> tuple[Status, int]:
        """A command on the circuit: its status and bytes."""
        self.commands[opcode].send(int.from_bytes(encode(opcode, **fields), "little"))
        (answer,) = await self.done.receive(1)
        await self.domain.cycles(2)
        assert not self.store.outside
        return Status(answer["status"].value), answer["bytes"]

    def step(self, opcode: Opcode, **fields: int) -> tuple[Status, int]:
        """A command on golden's machine: its status and bytes."""
        golden = self.golden
        golden.memory[RING * LINE_BYTES :][:LINE_BYTES] = np.frombuffer(encode(opcode, **fields), np.uint8)
        status = golden.step()
        return status, int(golden.words[COMPLETIONS * PER_LINE + 2])

    async def check(self, opcode: Opcode, **fields: int) -> Status:
        """The same on both."""
        wanted = self.step(opcode, **fields)
        answer = await self.run(opcode, **fields)
        assert answer == wanted, f"{opcode.name} {fields}: {answer} is not {wanted}"
        self.compare()
        return answer[0]

    def compare(self) -> None:
        """What the unit shows, and memory, are golden's."""
        golden = self.golden
        prompted = golden.position + 1 < golden.sequence["prompt"]
        wanted = {"position": golden.position, "token": golden.token, "prompted": prompted}
        shown = {name: read() for name, read in self.shown.items()}
        assert shown == wanted, f"{shown} is not {wanted}"
        own, theirs = (memory[SEQUENCES * LINE_BYTES :] for memory in (self.store.content, golden.memory))
        wrong = np.flatnonzero(own != theirs)
        assert not len(wrong), f"memory differs at {wrong[:8]}"

    async def begin(self, **fields: int) -> None:
        """A sequence that is as it should be."""
        assert await self.check(Opcode.BEGIN, sequence=self.sequence(**fields)) == Status.DONE

    async def advance(self, largest: int) -> Status:
        """With an arg-max."""
        self.largest(largest)
        self.golden.largest = largest
        return await self.check(Opcode.ADVANCE)


async def begin(bench: Bench, kind: str) -> None:
    """Sequences that are taken up, and such that are not."""
    if kind == "identity":
        bit = 1 << random.randrange(64)
        wrong = bench.identity ^ bit
        line = bench.sequence(model_low=wrong & 0xFFFFFFFF, model_high=wrong >> 32)
        assert await bench.check(Opcode.BEGIN, sequence=line) == Status.IDENTITY
    elif kind == "line_outside":
        line = random.choice([LINES, (1 << 32) - 1])
        assert await bench.check(Opcode.BEGIN, sequence=line) == Status.OUTSIDE
    elif kind == "tokens_outside":
        tokens = random.choice([LINES, (1 << 32) - LINES])
        line = bench.sequence(position=5, tokens=tokens, limit=0)
        assert await bench.check(Opcode.BEGIN, sequence=line) == Status.OUTSIDE
    elif kind == "tokens_wrap":
        turns = random.randint(1, TOKENS)
        await bench.begin(position=(TOKENS + turns) * PER_LINE, tokens=(1 << 32) - turns, limit=0)
    else:
        await bench.begin()


async def advance(bench: Bench, kind: str) -> None:
    """A token that the prompt gives, one that was found, one that ends the text, and no room for one."""
    position = random.randrange((LINES - TOKENS) * PER_LINE - 2)
    largest = random.getrandbits(32)
    own = {
        "given": {"prompt": position + random.randint(2, 5)},
        "found": {"prompt": random.randint(1, position + 1)},
        "stop": {"prompt": 1, random.choice(["stop_0", "stop_1"]): largest},
        "full": {"limit": random.randint(0, position + 1)},
    }
    await bench.begin(position=position, **own[kind])
    assert await bench.advance(largest) == (Status.FULL if kind == "full" else Status.DONE)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def commands(dut: Any, stalls: str) -> None:
    """Every kind of command in any order."""
    bench = Bench(await reset(dut), stalls)
    kinds = [*KINDS, *random.choices(KINDS, k=COMMANDS)]
    random.shuffle(kinds)
    await begin(bench, "begin")
    for kind in kinds:
        await (advance if kind in ADVANCES else begin)(bench, kind)
        plan.hit(situation=stalls, kind=kind)


@cocotb.test()
async def text(dut: Any) -> None:
    """A prompt and what follows it, over borders of lines, up to the end of the room."""
    bench = Bench(await reset(dut), "both_random")
    prompt, limit = random.randint(1, PER_LINE), random.randint(2 * PER_LINE, 3 * PER_LINE)
    line = bench.sequence(position=0, prompt=prompt, limit=limit, tokens=TOKENS)
    for position in range(limit):
        assert await bench.check(Opcode.BEGIN, sequence=line) == Status.DONE
        wanted = Status.DONE if position < limit - 1 else Status.FULL
        assert await bench.advance(random.getrandbits(32)) == wanted


@cocotb.test()
@cocotb.parametrize(read=("line", "tokens"))
async def failing_reads(dut: Any, read: str) -> None:
    """The sequence before stays when the line is refused; when its token is, that alone stays."""
    bench = Bench(await reset(dut), "both_random")
    await begin(bench, "begin")
    line = bench.sequence()
    bench.store.failing = bench.store.reads + 1 + (read == "tokens")
    assert await bench.run(Opcode.BEGIN, sequence=line) == (Status.BUS_ERROR, 0)
    if read == "tokens":
        token = bench.golden.token
        assert bench.step(Opcode.BEGIN, sequence=line) == (Status.DONE, 0)
        bench.golden.token = token
    bench.compare()
    faults.hit(read=read)
    await begin(bench, "begin")
    await bench.advance(random.getrandbits(32))
