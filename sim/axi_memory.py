"""Memory behind an AXI4 master: any latency, many accesses at a time, refusals, and the rules checked.

The rules: what a channel offers stays until it is taken; bursts are of whole words, go up, are aligned, do
not cross 4 KiB and stay inside the memory; every burst of writes has as many words as it says.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence

from sim.domain import Domain
from sim.stalls import Pattern, never

__all__ = ["AxiMemory"]

_BORDER = 4096
_INCR = 1


class _Held:
    """What a master's channel offered and nobody took."""

    def __init__(self, domain: Domain, prefix: str, channel: str, names: Sequence[str]) -> None:
        self._name = f"{prefix}_{channel}"
        self._domain = domain
        self._valid = domain.reader(f"{self._name}valid")
        self._fields = {name: domain.reader(f"{self._name}{name}") for name in names}
        self._before: dict[str, int] | None = None

    def look(self, ready: int) -> dict[str, int] | None:
        """The fields if they are taken in this cycle."""
        fields = {name: read() for name, read in self._fields.items()} if self._valid() else None
        if self._before is not None and fields != self._before:
            where = f"{self._name} changed while stalled in cycle {self._domain.cycle}"
            raise AssertionError(f"{where}: {self._before} -> {fields}")
        self._before = None if ready else fields
        return fields if ready else None

    def forget(self) -> None:
        self._before = None


class AxiMemory:
    """An agent of the domain that answers a master; answers come in order.

    Args:
        domain: clock domain.
        prefix: of the master's ports.
        base: address of the first byte.
        content: bytes, which writes change.
        latency: cycles from taking an address to the first word of its answer, drawn for each burst.
        stalls: when each channel stalls, drawn for each one.
        refuses: response to an address instead of 0, OKAY.

    Attributes:
        read_bursts, write_bursts: (address, words) in order.
        outstanding: most bursts of reads that were under way at a time.
        unanswered: most writes.
    """

    def __init__(
        self,
        domain: Domain,
        prefix: str,
        base: int,
        content: bytearray,
        latency: Callable[[], int] = lambda: 1,
        stalls: Pattern = never,
        refuses: Callable[[int], int] = lambda address: 0,
    ) -> None:
        self._domain, self.base, self.content = domain, base, content
        self.latency, self._refuses = latency, refuses
        self._stalls = {
            name: stalls(random.Random(random.getrandbits(64))) for name in ("ar", "r", "aw", "w", "b")
        }
        present = {each for each in ("r", "w") if domain.width(f"{prefix}_a{each}valid")}
        self._parts = [_Reads(self, domain, prefix)] if "r" in present else []
        self._parts += [_Writes(self, domain, prefix)] if "w" in present else []
        self.read_bursts: list[tuple[int, int]] = []
        self.write_bursts: list[tuple[int, int]] = []
        self.outstanding = self.unanswered = 0
        domain.add(self)

    def stalled(self, channel: str) -> bool:
        """Whether a channel rests in the next cycle."""
        return next(self._stalls[channel])

    def due(self) -> int:
        """Cycle in which an access taken now may be answered."""
        return self._domain.cycle + self.latency()

    def response(self, address: int) -> int:
        """To an access to a word."""
        return self._refuses(address)

    def check(self, fields: dict[str, int], width: int) -> None:
        """Require that a burst is legal."""
        address, count = fields["addr"], (fields["len"] + 1) * width
        where = f"burst of {count} bytes at {address:#x}"
        assert (fields["size"], fields["burst"]) == (width.bit_length() - 1, _INCR), where
        assert address % width == 0, f"{where} is not aligned"
        assert address // _BORDER == (address + count - 1) // _BORDER, f"{where} crosses 4 KiB"
        assert 0 <= address - self.base <= len(self.content) - count, f"{where} is outside"

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def restart(self) -> None:
        for part in self._parts:
            part.restart()

    def status(self) -> str:
        return f"memory: {len(self.read_bursts)} bursts read, {len(self.write_bursts)} written"


class _Answers:
    """A channel on which the memory answers, in order, each not before its cycle.

    A slave may not take an offer back.
    """

    def __init__(self, domain: Domain, prefix: str, channel: str, names: Sequence[str]) -> None:
        self._domain = domain
        self._ready = domain.reader(f"{prefix}_{channel}ready")
        self._write_valid = domain.writer(f"{prefix}_{channel}valid")
        self._writers = {name: domain.writer(f"{prefix}_{channel}{name}") for name in names}
        self.queue: deque[tuple[int, dict[str, int]]] = deque()
        self._offered: dict[str, int] | None = None

    def step(self, stalled: bool) -> dict[str, int] | None:
        """What was taken in this cycle."""
        taken = self._offered if self._offered is not None and self._ready() else None
        if self._offered is None or taken is not None:
            due = bool(self.queue) and self.queue[0][0] <= self._domain.cycle + 1 and not stalled
            self._offered = self.queue.popleft()[1] if due else None
            self._write_valid(int(self._offered is not None))
            for name, value in (self._offered or {}).items():
                self._writers[name](value)
        return taken

    def restart(self) -> None:
        self.queue.clear()
        self._offered = None


class _Reads:
    def __init__(self, memory: AxiMemory, domain: Domain, prefix: str) -> None:
        self._memory = memory
        self._width = domain.width(f"{prefix}_rdata") // 8
        self._addresses = _Held(domain, prefix, "ar", ("addr", "len", "size", "burst"))
        self._answers = _Answers(domain, prefix, "r", ("data", "resp", "last"))
        self._write_ready = domain.writer(f"{prefix}_arready")
        self._ready = 0
        self._outstanding = 0

    def step(self) -> None:
        memory, width = self._memory, self._width
        fields = self._addresses.look(self._ready)
        if fields is not None:
            memory.check(fields, width)
            address, count, due = fields["addr"], fields["len"] + 1, memory.due()
            memory.read_bursts.append((address, count))
            for place in range(count):
                start = address - memory.base + place * width
                data = int.from_bytes(memory.content[start : start + width], "little")
                response = memory.response(address + place * width)
                answer = {"data": data, "resp": response, "last": int(place == count - 1)}
                self._answers.queue.append((due, answer))
            self._outstanding += 1
        taken = self._answers.step(memory.stalled("r"))
        self._outstanding -= taken is not None and taken["last"]
        memory.outstanding = max(memory.outstanding, self._outstanding)
        self._ready = int(not memory.stalled("ar"))
        self._write_ready(self._ready)

    def restart(self) -> None:
        self._addresses.forget()
        self._answers.restart()
        self._ready = self._outstanding = 0


class _Writes:
    def __init__(self, memory: AxiMemory, domain: Domain, prefix: str) -> None:
        self._memory = memory
        self._width = domain.width(f"{prefix}_wdata") // 8
        self._addresses = _Held(domain, prefix, "aw", ("addr", "len", "size", "burst"))
        self._words = _Held(domain, prefix, "w", ("data", "strb", "last"))
        self._answers = _Answers(domain, prefix, "b", ("resp",))
        self._write_ready = {each: domain.writer(f"{prefix}_{each}ready") for each in ("aw", "w")}
        self._ready = {"aw": 0, "w": 0}
        self._asked: deque[tuple[int, int]] = deque()
        self._given: deque[dict[str, int]] = deque()
        self._unanswered = 0

    def step(self) -> None:
        memory = self._memory
        fields = self._addresses.look(self._ready["aw"])
        if fields is not None:
            memory.check(fields, self._width)
            memory.write_bursts.append((fields["addr"], fields["len"] + 1))
            self._asked.append((fields["addr"], fields["len"] + 1))
            self._unanswered += 1
        word = self._words.look(self._ready["w"])
        if word is not None:
            self._given.append(word)
        while self._asked and len(self._given) >= self._asked[0][1]:
            self._write(*self._asked.popleft())
        self._unanswered -= self._answers.step(memory.stalled("b")) is not None
        memory.unanswered = max(memory.unanswered, self._unanswered)
        for channel, write in self._write_ready.items():
            self._ready[channel] = int(not memory.stalled(channel))
            write(self._ready[channel])

    def _write(self, address: int, count: int) -> None:
        memory, response = self._memory, 0
        for place in range(count):
            word = self._given.popleft()
            assert word["last"] == (place == count - 1), "wlast is not in the last word"
            where = address + place * self._width
            response = response or memory.response(where)
            if memory.response(where):
                continue
            for byte in range(self._width):
                if word["strb"] >> byte & 1:
                    memory.content[where - memory.base + byte] = word["data"] >> 8 * byte & 0xFF
        self._answers.queue.append((memory.due(), {"resp": response}))

    def restart(self) -> None:
        self._addresses.forget()
        self._words.forget()
        self._answers.restart()
        self._asked.clear()
        self._given.clear()
        self._ready = {"aw": 0, "w": 0}
        self._unanswered = 0
