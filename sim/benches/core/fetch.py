"""Fetch: the statuses that commands have one at a time, although several of them are under way."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb

from golden.core.commands import OPERATIONS, Field, Opcode, Status, decode, encode, problem
from hw.config import Config
from hw.core.fetch import GIVEN
from hw.core.payloads import fetched, read_request, read_word, words_of_line
from sim import context
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COMMANDS = context.parameters()["commands"]
WIDTH = config.memory_bits // 8
PER_LINE = words_of_line(config)
BY_OPCODE = {operation.opcode: operation for operation in OPERATIONS}
MOVES = Opcode.BEGIN, Opcode.ADVANCE

KINDS = ("good", "opcode", "reserved", "unit", "outside", "failed")
plan = Coverage("core_fetch", {"situation": SITUATIONS, "kind": KINDS})
opcodes = Coverage(
    "core_fetch_opcodes", {"opcode": [each.name for each in Opcode], "status": ["DONE", "SKIPPED"]}
)
_LOST = {"outside": Status.OUTSIDE, "failed": Status.BUS_ERROR}


def good_command(opcode: Opcode | None = None, fits: bool | None = None) -> bytes:
    """A random command, often one that moves the position, whose phase often fits.

    Args:
        opcode: a certain one.
        fits: whether its phase fits whatever the position is, and no prompt matters.
    """
    if opcode is None:
        opcode = random.choice([*Opcode, *MOVES, Opcode.MATVEC])

    def value(field: Field) -> int:
        return random.randrange(0, 1 << field.width, field.unit)

    values = {field.name: value(field) for field in BY_OPCODE[opcode].fields}
    mask = random.choice([0, 1, 3, 0x8000, random.getrandbits(16)])
    phase = random.getrandbits(16) & mask if random.random() < 0.8 else random.getrandbits(16)
    if fits is not None:
        mask, phase = 0, int(not fits)
    values |= {
        "id": random.getrandbits(32),
        "wait_results": random.getrandbits(1),
        "beside": random.getrandbits(1),
        "unprompted": int(fits is None and random.random() < 0.3),
    }
    return encode(opcode, mask=mask, phase=phase, **values)


def changed(command: bytes, kind: str) -> bytes:
    """The command with something wrong."""
    number = int.from_bytes(command, "little")
    match kind:
        case "opcode":
            number = number & ~0xFF | random.randrange(len(Opcode), 256)
        case "reserved" | "unit":
            wanted = Status.RESERVED if kind == "reserved" else Status.BAD_FIELD
            bits = [bit for bit in range(8, 512) if problem(_flipped(number, bit)) is wanted]
            if bits:
                return _flipped(number, random.choice(bits))
    return number.to_bytes(64, "little")


def _flipped(number: int, bit: int) -> bytes:
    return (number ^ 1 << bit).to_bytes(64, "little")


class Ring:
    """The ring in memory behind a read mover, and a core that executes what is given out.

    An agent of the domain: it completes the oldest command after some cycles, and changes the position then.
    """

    def __init__(self, domain: Domain, size: int, stalls: str, slowest: int = 30) -> None:
        self.domain, self.size, self.slowest = domain, size, slowest
        self.line = random.randrange(1 << 20)
        self.slots: list[tuple[bytes, str]] = [(bytes(64), "good")] * size
        self.sent = self.completed = 0
        self.position, self.prompted = random.getrandbits(20), random.getrandbits(1)
        self.held, self.most = False, GIVEN
        self._chosen = situation(stalls)
        self.program: deque[tuple[bytes, str]] = deque()
        self._expected: deque[tuple[bytes, str]] = deque()
        self.received: deque[dict[str, Any]] = deque()
        self.packets: list[dict[str, int]] = []
        self._left: int | None = None
        names = "tail", "position", "prompted", "completed", "enable"
        self._write = {name: domain.writer(name) for name in names}
        domain.writer("line")(self.line)
        domain.writer("size")(size)
        self._write["position"](self.position)
        self._write["prompted"](self.prompted)
        self._write["enable"](1)
        chosen = situation(stalls)
        requests = StreamSink(
            domain, "requests", read_request(), chosen.sink, chosen.sink_waits, self._answer
        )
        self._codec = requests.codec
        self._asked = self._walked = 0
        self.words = StreamSource(domain, "words", read_word(config), chosen.source)
        self.commands = StreamSink(domain, "commands", fetched, self._rest, False, self._receive)
        self.weights = StreamSink(domain, "weights", read_request(), chosen.sink, chosen.sink_waits)
        domain.add(self)

    def _answer(self, bits: int) -> None:
        request = self._codec.unpack(bits)
        assert request == {"line": self.line + self._asked, "words": PER_LINE}
        command, kind = self.slots[self._asked]
        assert self._walked != self.sent, "asked for a command that is not there"
        self._walked += 1
        self._asked = self._walked % self.size
        if kind == "outside":
            self.words.send({"data": random.getrandbits(8 * WIDTH), "last": 1, "outside": 1, "failed": 0})
            return
        bad = random.randrange(PER_LINE) if kind == "failed" else None
        for place in range(PER_LINE):
            self.words.send(
                {
                    "data": int.from_bytes(command[place * WIDTH : (place + 1) * WIDTH], "little"),
                    "last": int(place == PER_LINE - 1),
                    "outside": 0,
                    "failed": int(place == bad),
                }
            )

    def _rest(self, rng: random.Random) -> Iterator[bool]:
        return (len(self.received) >= self.most or each for each in self._chosen.sink(rng))

    def _receive(self, bits: int) -> None:
        self.received.append(self.commands.codec.unpack(bits))
        assert len(self.received) <= GIVEN

    def put(self, command: bytes, kind: str = "good") -> None:
        """Queue a command; it is written to the ring when there is room."""
        self.program.append((command, kind))
        self._expected.append((command, kind))

    def _fill(self) -> None:
        """Write commands and ring the doorbell, now and then."""
        room = self.size - (self.sent - self.completed)
        count = min(random.randint(0, room), len(self.program)) if random.random() < 0.3 else 0
        for _ in range(count):
            self.slots[self.sent % self.size] = self.program.popleft()
            self.sent += 1
        if count:
            self._write["tail"](self.sent)

    def step(self) -> None:
        self._write["completed"](0)
        if self._left is None and self.received and not self.held:
            self._check(self.received[0])
            self._left = random.randint(0, self.slowest)
        elif self._left:
            self._left -= 1
        elif self._left == 0:
            self._complete(self.received.popleft())
            self._left = None
        self._fill()

    def _check(self, got: dict[str, Any]) -> None:
        """The oldest command, everything before being complete."""
        command, kind = self._expected.popleft()
        number = int.from_bytes(command, "little")
        if kind in _LOST:
            flags = int.from_bytes(encode(Opcode.NOP, interrupt=1, stop=1), "little")
            assert got == {"bits": flags, "status": got["status"]}
            assert got["status"].value == _LOST[kind], got["status"]
            return
        assert got["bits"] == number
        wanted = problem(command)
        if wanted is None:
            fields = decode(command)
            fits = self.position & fields["mask"] == fields["phase"]
            skipped = not fits or (fields["unprompted"] and self.prompted)
            wanted = Status.SKIPPED if skipped else Status.DONE
            opcodes.hit(opcode=Opcode(fields["opcode"]).name, status=wanted.name)
            if wanted is Status.DONE and fields["opcode"] == Opcode.MATVEC:
                self.packets.append({"line": fields["packet"], "words": fields["words"]})
        assert got["status"].value == wanted, (got["status"], wanted, command.hex())

    def _complete(self, got: dict[str, Any]) -> None:
        self.completed += 1
        self._write["completed"](1)
        if got["status"].value == Status.DONE and got["bits"] & 0xFF in MOVES:
            self.position, self.prompted = random.getrandbits(20), random.getrandbits(1)
            self._write["position"](self.position)
            self._write["prompted"](self.prompted)

    def restart(self) -> None:
        self.received.clear()

    def status(self) -> str:
        return f"ring: {self.sent} sent, {self.completed} complete, {len(self.program)} to come"

    async def finish(self, count: int) -> None:
        """Wait until so many commands are complete; the packets that they needed were asked for."""
        while self.completed < count:
            await self.domain.cycles(1)
        await self.domain.cycles(100)
        assert not self.received
        assert self.weights.count == len(self.packets)
        assert await self.weights.receive(len(self.packets)) == self.packets


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def programs(dut: Any, stalls: str) -> None:
    """Good and bad commands in rings of all sizes."""
    domain = await reset(dut)
    ring = Ring(domain, random.choice([2, 3, 8, 29]), stalls)
    ring.most = random.choice([1, 3, GIVEN])
    kinds = [*KINDS, *random.choices(KINDS, [12, 1, 1, 1, 1, 1], k=COMMANDS)]
    for kind in kinds:
        ring.put(changed(good_command(), kind), kind)
        plan.hit(situation=stalls, kind=kind)
    certain = [good_command(opcode, fits) for opcode in Opcode for fits in (True, False)]
    for command in random.sample(certain, len(certain)):
        ring.put(command)
    await ring.finish(len(kinds) + len(certain))


@cocotb.test()
async def packets_ahead(dut: Any) -> None:
    """A packet is asked for while the two commands in front of its own are not complete."""
    domain = await reset(dut)
    ring = Ring(domain, 8, "free_running")
    ring.held, ring.most = True, 1
    matvec = encode(Opcode.MATVEC, packet=5, words=77)
    for command in encode(Opcode.NOP), encode(Opcode.VECTOR), matvec:
        ring.put(command)
    await ring.weights.wait_for(1)
    assert len(ring.received) == 1
    assert ring.completed == 0
    ring.held = False
    await ring.finish(3)


@cocotb.test()
@cocotb.parametrize(moves=[each.name for each in MOVES])
async def position_holds(dut: Any, moves: str) -> None:
    """Nothing behind a command that moves the position is given out before that is complete."""
    domain = await reset(dut)
    ring = Ring(domain, 8, "free_running")
    ring.held = True
    for command in encode(Opcode[moves]), encode(Opcode.MATVEC, packet=5, words=77), encode(Opcode.NOP):
        ring.put(command)
    await domain.cycles(300)
    assert len(ring.received) == 1
    assert ring.weights.count == 0
    ring.held = False
    await ring.finish(3)


@cocotb.test()
async def tail_outside(dut: Any) -> None:
    """A tail further ahead than the ring is long means no commands; so does a ring that is not enabled."""
    domain = await reset(dut)
    ring = Ring(domain, 4, "free_running")
    for tail in 5, 6, 0x80000000, 0xFFFFFFFF:
        domain.writer("tail")(tail)
        await domain.cycles(20)
    domain.writer("enable")(0)
    domain.writer("tail")(2)
    await domain.cycles(20)
    assert ring.words.sent == 0
    assert ring.commands.count == 0


@cocotb.test()
async def every_bit(dut: Any) -> None:
    """Each bit of a command that no field owns, and each below a unit, is found."""
    domain = await reset(dut)
    ring = Ring(domain, 64, "free_running", slowest=0)
    count = 0
    for opcode in Opcode:
        number = int.from_bytes(encode(opcode), "little")
        bits = range(8, 512) if context.parameters()["every_bit"] else random.sample(range(8, 512), 40)
        for bit in bits:
            command = _flipped(number, bit)
            ring.put(command)
            count += 1
    await ring.finish(count)
