"""Properties of the write mover: accesses that are legal, and every write once and in order."""

from amaranth.hdl import Assert, Assume, Module, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from hw.bus import axi
from hw.config import Config
from hw.core import payloads, write_mover
from hw.core.payloads import write_request
from hw.core.write_mover import WriteMover
from sim.proofs.accesses import Stays, documented_window, legal_accesses
from sim.proofs.attention import InOrder

__all__ = ["AccessesOfWrites"]


class AccessesOfWrites(wiring.Component):
    """What the write mover asks of the bus, with two clients.

    A solver chooses the window, writes, stalls and answers. Claimed: addresses and data that are offered stay
    until they are taken; addresses lie in the window; every write inside the window reaches either channel
    once and in the order in which writes were taken, others never; never more than ``UNANSWERED`` are under
    way; ``idle`` means that no write is, ``idle_NAME`` that none of this client is.

    Members:
        base, limit (in): a window as documented.
        writes_a, writes_b (in stream): any.
        takes_address, takes_word, answers, pick (in): any.
    """

    CLIENTS = ["a", "b"]

    def __init__(self, config: Config) -> None:
        self.config = config
        streams = {f"writes_{name}": In(stream.Signature(write_request(config))) for name in self.CLIENTS}
        super().__init__(
            {
                "base": In(axi.ADDRESS_BITS),
                "limit": In(payloads.LINE_BITS),
                **streams,
                **{name: In(1) for name in ("takes_address", "takes_word", "answers", "pick")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.mover = mover = WriteMover(self.config, self.CLIENTS)
        bus = mover.axi
        documented_window(m, self.base, self.limit)
        takes, bit = self._writes(m, mover)
        most = write_mover.UNANSWERED
        counts = {each: Signal(range(2 * most + 4), name=f"{each}_open") for each in ("aw", "w", "all")}
        answers = Signal()
        m.d.comb += [
            Assume(~ResetSignal()),
            mover.base.eq(self.base),
            mover.limit.eq(self.limit),
            bus.awready.eq(self.takes_address),
            bus.wready.eq(self.takes_word),
            bus.bvalid.eq(self.answers & (counts["aw"] != 0) & (counts["w"] != 0)),
            answers.eq(bus.bvalid & bus.bready),
            Assert(~bus.bvalid | bus.bready),
            Assert((counts["aw"] <= most) & (counts["w"] <= most)),
            Assert(~mover.idle | (counts["all"] == 0)),
        ]
        opens = {"aw": bus.awvalid & bus.awready, "w": bus.wvalid & bus.wready, "all": takes}
        for name, count in counts.items():
            m.d.sync += count.eq(count + opens[name] - answers)
        for name in "aw", "w":
            m.submodules[f"{name}_order"] = order = InOrder(1, 2)
            leaving = bus.wdata[0] if name == "w" else bus.awaddr[5]
            m.d.comb += [
                order.enters.eq(takes),
                order.entering.eq(bit),
                order.leaves.eq(opens[name]),
                order.leaving.eq(leaving),
                order.pick.eq(self.pick),
            ]
        self._one(m, mover, takes & self.pick, counts["all"], answers)
        m.submodules.address_stays = Stays(bus.awvalid, bus.awready, [bus.awaddr, bus.awlen])
        m.submodules.word_stays = Stays(bus.wvalid, bus.wready, [bus.wdata[:2], bus.wstrb[:2]])
        channel = bus.awvalid, bus.awaddr, bus.awlen
        legal_accesses(m, "aw", channel, self.base, self.limit, self.config.memory_bits // 8)
        return m

    def _one(self, m: Module, mover: WriteMover, begins: Value, under_way: Value, answers: Value) -> None:
        """Any one write, until it is answered: its client is not idle."""
        follows = Signal()
        client = Signal(range(len(self.CLIENTS)))
        ahead = Signal.like(under_way)
        first = mover.writes_a.valid & mover.writes_a.ready
        with m.If(begins & ~follows):
            m.d.sync += [follows.eq(1), client.eq(~first), ahead.eq(under_way - answers)]
        with m.Elif(follows & answers):
            m.d.sync += [follows.eq(ahead != 0), ahead.eq(ahead - 1)]
        for place, name in enumerate(self.CLIENTS):
            mine = follows & (client == place)
            m.d.comb += Assert(~(mine & getattr(mover, f"idle_{name}")))

    def _writes(self, m: Module, mover: WriteMover) -> tuple[Value, Value]:
        """Give the solver's writes, whose word of the line is in their data too.

        Returns that one inside the window is taken, and its word.
        """
        takes, bit = Signal(), Signal()
        for name in self.CLIENTS:
            given, writes = getattr(self, f"writes_{name}"), getattr(mover, f"writes_{name}")
            m.d.comb += [
                writes.valid.eq(given.valid),
                writes.payload.eq(given.payload),
                Assume(given.p.data[0] == given.p.word[0]),
            ]
            with m.If(writes.valid & writes.ready):
                m.d.comb += [takes.eq(given.p.line < self.limit), bit.eq(given.p.word[0])]
        return takes, bit
