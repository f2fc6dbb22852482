"""Drive and check Amaranth streams from cocotb: sources, sinks and monitors of one clock domain."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from amaranth.hdl import ShapeLike
from cocotb.triggers import Event

from sim import context
from sim.domain import Domain, reset
from sim.packing import codec
from sim.scoreboard import Scoreboard
from sim.stalls import SITUATIONS, Pattern, never, situation

__all__ = [
    "SITUATIONS",
    "Domain",
    "Scoreboard",
    "StreamMonitor",
    "StreamSink",
    "StreamSource",
    "reset",
    "situation",
]

Observer = Callable[[int], None]


class _Stream:
    """The ports ``name_payload``, ``name_valid``, ``name_ready`` of a domain."""

    def __init__(self, domain: Domain, name: str, shape: ShapeLike | None) -> None:
        if f"{name}_valid" not in context.ports() and f"{name}_ready" not in context.ports():
            raise ValueError(f"no stream {name!r} among the ports {', '.join(context.ports())}")
        self.name = name
        self.domain = domain
        width = domain.width(f"{name}_payload")
        self.codec = codec(width if shape is None else shape)
        if self.codec.width != width:
            raise ValueError(f"{name}_payload is {width} bits wide, its shape {self.codec.width}")


class StreamSource(_Stream):
    """Drives an input stream from a queue; a beat offered stays unchanged until it is taken.

    While idle the payload holds the complement of the last beat, so that a design which looks at it without
    valid is caught.

    Args:
        domain: clock domain.
        name: stream's port prefix.
        shape: payload shape; without it values are raw bits.
        stalls: when to stay idle between beats.
        observer: called with the bits of each beat taken.

    Attributes:
        sent: beats taken by the design.
    """

    def __init__(
        self,
        domain: Domain,
        name: str,
        shape: ShapeLike | None = None,
        stalls: Pattern = never,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(domain, name, shape)
        self.sent = 0
        self._queue: deque[int] = deque()
        self._offered: int | None = None
        self._stalls = stalls(random.Random(random.getrandbits(64)))
        self._observer = observer
        self._drained = Event()
        self._ready = domain.reader(f"{name}_ready")
        self._write_payload = domain.writer(f"{name}_payload")
        self._write_valid = domain.writer(f"{name}_valid")
        domain.add(self)

    def send(self, value: Any) -> None:
        """Queue one beat."""
        self._queue.append(self.codec.pack(value))

    def send_all(self, values: Iterable[Any]) -> None:
        """Queue beats in order."""
        self._queue.extend(map(self.codec.pack, values))

    async def drained(self) -> None:
        """Wait until the design has taken every queued beat."""
        if self._queue or self._offered is not None:
            self._drained.clear()
            await self._drained.wait()

    def step(self) -> None:
        offered = self._offered
        if offered is not None:
            if not self._ready():
                return
            self.sent += 1
            if self._observer is not None:
                self._observer(offered)
        if not next(self._stalls) and self._queue:
            self._offered = self._queue.popleft()
            self._write_payload(self._offered)
            if offered is None:
                self._write_valid(1)
        elif offered is not None:
            self._offered = None
            self._write_valid(0)
            self._write_payload(offered ^ ((1 << self.codec.width) - 1))
            if not self._queue:
                self._drained.set()

    def restart(self) -> None:
        self._queue.clear()
        self._offered = None
        self._drained.set()

    def status(self) -> str:
        offer = "idle" if self._offered is None else "waits for ready"
        return f"source {self.name}: {self.sent} beats sent, {len(self._queue)} queued, {offer}"


class StreamMonitor(_Stream):
    """Checks the stream rules of any stream and reports its beats, driving nothing.

    The rules: valid stays until ready, and the payload does not change meanwhile.

    Args:
        domain: clock domain.
        name: stream's port prefix.
        shape: payload shape, for messages.
        observer: called with the bits of each beat.

    Attributes:
        count: beats seen.
    """

    def __init__(
        self, domain: Domain, name: str, shape: ShapeLike | None = None, observer: Observer | None = None
    ) -> None:
        super().__init__(domain, name, shape)
        self.count = 0
        self._held: int | None = None
        self._observer = observer
        self._valid = domain.reader(f"{name}_valid")
        self._payload = domain.reader(f"{name}_payload") if self.codec.width else lambda: 0
        self._ready = domain.reader(f"{name}_ready")
        domain.add(self)

    def step(self) -> None:
        if not self._valid():
            if self._held is not None:
                raise AssertionError(f"{self.name}: valid fell without ready in cycle {self.domain.cycle}")
            return
        bits = self._payload()
        if self._held is not None and bits != self._held:
            before, after = self.codec.unpack(self._held), self.codec.unpack(bits)
            where = f"{self.name}: payload changed while stalled in cycle {self.domain.cycle}"
            raise AssertionError(f"{where}: {before} -> {after}")
        if self._ready():
            self._held = None
            self.count += 1
            self._accept(bits)
        else:
            self._held = bits

    def _accept(self, bits: int) -> None:
        if self._observer is not None:
            self._observer(bits)

    def restart(self) -> None:
        self._held = None

    def status(self) -> str:
        offer = "" if self._held is None else ", a beat waits for ready"
        return f"monitor {self.name}: {self.count} beats{offer}"


class StreamSink(StreamMonitor):
    """Receives an output stream, checks its rules, and collects or passes on its beats.

    Args:
        domain: clock domain.
        name: stream's port prefix.
        shape: payload shape; without it values are raw bits.
        stalls: when ready is low.
        sink_waits: raise ready only after valid was seen.
        observer: called with the bits of each beat, which are collected only without it.
    """

    def __init__(
        self,
        domain: Domain,
        name: str,
        shape: ShapeLike | None = None,
        stalls: Pattern = never,
        sink_waits: bool = False,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(domain, name, shape, observer)
        self._collected: deque[int] = deque()
        self._awaited = 0
        self._arrived = Event()
        self._stalls = stalls(random.Random(random.getrandbits(64)))
        self._sink_waits = sink_waits
        self._is_ready = 0
        self._ready = lambda: self._is_ready  # what this sink drove, cheaper than reading it back
        self._write_ready = domain.writer(f"{name}_ready")

    async def receive(self, count: int) -> list[Any]:
        """Wait until ``count`` more beats are there; take and decode them."""
        await self._until(self.count - len(self._collected) + count)
        return [self.codec.unpack(self._collected.popleft()) for _ in range(count)]

    async def wait_for(self, count: int) -> None:
        """Wait until ``count`` beats have come since the sink was made."""
        await self._until(count)

    async def _until(self, count: int) -> None:
        if self.count < count:
            self._awaited = count
            self._arrived.clear()
            await self._arrived.wait()

    def step(self) -> None:
        super().step()
        ready = 0 if next(self._stalls) or (self._sink_waits and self._held is None) else 1
        if ready != self._is_ready:
            self._is_ready = ready
            self._write_ready(ready)

    def _accept(self, bits: int) -> None:
        if self._observer is not None:
            self._observer(bits)
        else:
            self._collected.append(bits)
        if self.count == self._awaited:
            self._arrived.set()

    def restart(self) -> None:
        super().restart()
        self._collected.clear()
        self._is_ready = 0

    def status(self) -> str:
        offer = "no valid" if self._held is None else "valid is stalled"
        return f"sink {self.name}: {self.count} beats received, {self._awaited} awaited, {offer}"
