"""Write mover: bytes of words of several clients to memory over one AXI4 master, a word a burst."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.bus import axi
from hw.config import Config
from hw.core.payloads import LINE_BITS, words_of_line, write_request

__all__ = ["UNANSWERED", "WriteMover"]

UNANSWERED = 16
"""Writes that memory has not answered."""


class WriteMover(wiring.Component):
    """Writes of several clients, in the order in which they are taken: on the bus, and hence in memory.

    Of clients that have a write the first one named goes first. A word a cycle is written while memory takes
    it, ``UNANSWERED`` are under way; addresses and data go two cycles after a write was taken, and ``bready``
    never waits. Answers come in the order of writes (one id), so when one of a client has been answered,
    everything that any client wrote before it has been, too.

    A write to a line that is not below ``limit`` never reaches the bus. The window has to end within 2**40
    bytes, and base and limit stay as they are from the first write on.

    Args:
        config: gives ``memory_bits``, at most 512.
        clients: names.

    Raises:
        ValueError: words of memory longer than a line.

    Members:
        base (in): byte address of line 0, a multiple of 4 KiB.
        limit (in): lines of the window.
        writes_NAME (in stream): of a client.
        answered_NAME (out): a write of the client is over, answered or outside.
        idle (out): no client offers a write, and every one taken is over.
        idle_NAME (out): the same of one client's writes, when all has been said of them.
        outside (out): a write was outside the window, for a cycle.
        failed (out): a write was answered by SLVERR or DECERR, for a cycle.
        axi (out): the master's channels.
    """

    def __init__(self, config: Config, clients: list[str]) -> None:
        self.config, self.clients = config, list(clients)
        if words_of_line(config) < 1:
            raise ValueError(f"memory_bits {config.memory_bits} must be at most 512")
        client = range(max(2, len(clients)))
        self.taken = data.StructLayout({"request": write_request(config), "client": client, "inside": 1})
        members = {
            "base": In(axi.ADDRESS_BITS),
            "limit": In(LINE_BITS),
            "idle": Out(1),
            "outside": Out(1),
            "failed": Out(1),
            "axi": Out(axi.write_signature(config.memory_bits)),
        }
        for name in clients:
            members[f"writes_{name}"] = In(stream.Signature(write_request(config)))
            members[f"answered_{name}"] = Out(1)
            members[f"idle_{name}"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.taken)
        full = Signal()
        leaves = Signal()
        waits = self._take(m, held, full, leaves)

        m.submodules.owners = owners = SyncFIFO(width=len(held.client), depth=UNANSWERED)
        sends, drops = self._send(m, held, full & owners.w_rdy, full & ~owners.r_rdy)
        m.d.comb += [
            leaves.eq(sends | drops),
            owners.w_en.eq(sends),
            owners.w_data.eq(held.client),
            self.idle.eq(~waits & ~full & ~owners.r_rdy),
        ]
        answers = Signal()
        m.d.comb += [
            self.axi.bready.eq(owners.r_rdy),
            answers.eq(self.axi.bvalid & self.axi.bready),
            owners.r_en.eq(answers),
        ]
        m.d.sync += [
            self.outside.eq(drops),
            self.failed.eq(answers & axi.failed(self.axi.bresp)),
        ]
        for place, name in enumerate(self.clients):
            over = (answers & (owners.r_data == place)) | (drops & (held.client == place))
            answered, writes = getattr(self, f"answered_{name}"), getattr(self, f"writes_{name}")
            m.d.sync += answered.eq(over)
            under_way = self._under_way(m, name, writes.valid & writes.ready, answered)
            m.d.comb += getattr(self, f"idle_{name}").eq(~writes.valid & (under_way == 0))
        return m

    def _under_way(self, m: Module, name: str, taken: Value, answered: Value) -> Value:
        """How many writes of a client were taken and not told of."""
        count = Signal(range(UNANSWERED + 3), name=f"{name}_under_way")
        m.d.sync += count.eq(count + taken - answered)
        return count

    def _take(self, m: Module, held: Signal, full: Signal, leaves: Value) -> Value:
        """Keep the first client's write until it leaves; returns that any client has one."""
        streams = [getattr(self, f"writes_{name}") for name in self.clients]
        offered = Signal(self.taken)
        waits = Signal(len(streams))
        takes = Signal()
        m.d.comb += [waits.eq(Cat(each.valid for each in streams)), takes.eq(~full | leaves)]
        for place, each in reversed(list(enumerate(streams))):
            with m.If(waits[place]):
                m.d.comb += [offered.request.eq(each.payload), offered.client.eq(place)]
            m.d.comb += each.ready.eq(takes & ~waits[:place].any())
        m.d.comb += offered.inside.eq(self._is_inside(offered.request.line))
        with m.If(takes):
            m.d.sync += [full.eq(waits.any()), held.eq(offered)]
        return waits.any()

    def _send(self, m: Module, held: Signal, may: Value, alone: Value) -> tuple[Value, Value]:
        """The write to the bus; returns that it goes there, or is dropped once nothing is unanswered."""
        bus, request = self.axi, held.request
        sends = Signal()
        drops = Signal()
        place = Signal(LINE_BITS + exact_log2(words_of_line(self.config)))
        m.d.comb += [
            *axi.constants(bus, "w", self.config.memory_bits),
            bus.awlen.eq(0),
            bus.wlast.eq(1),
            place.eq(Cat(request.word, request.line)),
            sends.eq(may & held.inside & (~bus.awvalid | bus.awready) & (~bus.wvalid | bus.wready)),
            drops.eq(alone & ~held.inside),
        ]
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(bus.wready):
            m.d.sync += bus.wvalid.eq(0)
        with m.If(sends):
            byte = place << exact_log2(self.config.memory_bits // 8)
            m.d.sync += [
                bus.awvalid.eq(1),
                bus.awaddr.eq(self.base + byte),
                bus.wvalid.eq(1),
                bus.wdata.eq(request.data),
                bus.wstrb.eq(request.enables),
            ]
        return sends, drops

    def _is_inside(self, line: Value) -> Value:
        """The line is in the window."""
        return line < self.limit
