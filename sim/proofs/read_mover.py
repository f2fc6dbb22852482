"""Properties of the read mover: accesses that are legal, and room for every word that is asked for."""

from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.bus import axi
from hw.config import Config
from hw.core import payloads, read_mover
from hw.core.payloads import read_request
from hw.core.read_mover import Client, ReadMover
from sim.proofs.accesses import Constant, Stays, documented_window, legal_accesses
from sim.proofs.attention import InOrder
from sim.proofs.kv_codec import StreamRules

__all__ = ["AccessesOfReads", "AnyClient", "RoomForWords"]


class RoomForWords(wiring.Component):
    """A client of the read mover has room for every word that it asks for, and gives each one on in order.

    A solver chooses requests, stalls, and when words come of bursts that were asked for. Claimed: words asked
    for and not yet given on are never more than the FIFO holds; what comes goes out once and in order;
    bursts lie in the window and do not cross a border; an answer ``outside`` comes alone; offers stay.

    Members:
        requests (in stream): any.
        limit (in): constant.
        takes_burst, takes_word, arrives, bit, last, pick (in): any.
    """

    def __init__(self, config: Config, depth: int) -> None:
        self.config, self.depth = config, depth
        names = "takes_burst", "takes_word", "arrives", "bit", "last", "pick"
        super().__init__(
            {
                "requests": In(stream.Signature(read_request())),
                "limit": In(payloads.LINE_BITS),
                **{name: In(1) for name in names},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.client = client = Client(self.config, self.depth)
        m.submodules.window = Constant(self.limit)
        m.submodules.burst_rules = StreamRules(client.bursts, Assert)
        m.submodules.word_rules = StreamRules(client.words, Assert)
        m.submodules.order = order = InOrder(1, self.depth)
        burst, word = client.bursts, client.words
        awaited, inside = (Signal(range(2 * self.depth + 1), name=name) for name in ("awaited", "inside"))
        asks, gives, alone = Signal(), Signal(), Signal()
        m.d.comb += [
            Assume(~ResetSignal()),
            client.requests.valid.eq(self.requests.valid),
            client.requests.payload.eq(self.requests.payload),
            client.limit.eq(self.limit),
            burst.ready.eq(self.takes_burst),
            word.ready.eq(self.takes_word),
            client.arrives.eq(self.arrives & (awaited != 0)),
            client.arriving.data.eq(self.bit),
            client.arriving.last.eq(self.last),
            asks.eq(burst.valid & burst.ready),
            alone.eq(word.valid & word.p.outside),
            gives.eq(word.valid & word.ready & ~word.p.outside),
            Assert(awaited + inside <= self.depth),
            Assert(~alone | word.p.last),
            order.enters.eq(client.arrives),
            order.entering.eq(self.bit),
            order.leaves.eq(gives),
            order.leaving.eq(word.p.data[0]),
            order.pick.eq(self.pick),
        ]
        m.d.sync += [
            awaited.eq(awaited + Mux(asks, burst.p.beats + 1, 0) - client.arrives),
            inside.eq(inside + client.arrives - gives),
        ]
        _bursts_are_legal(m, Assert, client)
        return m


def _bursts_are_legal(m: Module, claim: type, client: Client) -> None:
    """Bursts that are offered lie in the window and do not cross a border."""
    burst = client.bursts
    end = Signal(len(burst.p.place) + 1)
    low = Signal(range(client.longest))
    words = exact_log2(payloads.words_of_line(client.config))
    m.d.comb += [
        end.eq(burst.p.place + burst.p.beats),
        low.eq(burst.p.place),
        claim(~burst.valid | (end >> words < client.limit)),
        claim(~burst.valid | (low + burst.p.beats < client.longest)),
    ]


class AnyClient(Client):
    """Bursts as the solver wants them, as far as ``RoomForWords`` proves about those of a client."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.bursts.valid.eq(self.requests.valid),
            self.bursts.payload.eq(self.requests.payload.as_value()),
            self.requests.ready.eq(self.bursts.ready),
        ]
        m.submodules.rules = StreamRules(self.bursts, Assume)
        _bursts_are_legal(m, Assume, self)
        return m


class AccessesOfReads(wiring.Component):
    """What the read mover asks of the bus, with two clients, which have to be ``AnyClient``.

    A solver chooses the window, bursts, stalls, and when bursts end. Claimed: an address that is offered
    stays until it is taken; its burst lies in the window and in 4 KiB; never more than ``OUTSTANDING`` bursts
    are under way, and the mover is ready for their words.

    Members:
        base, limit (in): a window as documented.
        requests_a, requests_b (in stream): bursts, any.
        takes, takes_words, comes, last (in): any.
    """

    CLIENTS = {"a": 4, "b": 8}

    def __init__(self, config: Config) -> None:
        self.config = config
        streams = {f"requests_{name}": In(stream.Signature(read_request())) for name in self.CLIENTS}
        super().__init__(
            {
                "base": In(axi.ADDRESS_BITS),
                "limit": In(payloads.LINE_BITS),
                **streams,
                **{name: In(1) for name in ("takes", "takes_words", "comes", "last")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.mover = mover = ReadMover(self.config, self.CLIENTS)
        bus = mover.axi
        documented_window(m, self.base, self.limit)
        for name in self.CLIENTS:
            requests = getattr(mover, f"requests_{name}")
            given = getattr(self, f"requests_{name}")
            m.d.comb += [requests.valid.eq(given.valid), requests.payload.eq(given.payload)]
            m.d.comb += getattr(mover, f"words_{name}").ready.eq(self.takes_words)
        most = read_mover.OUTSTANDING
        bursts = Signal(range(2 * most + 1))
        asks, ends = Signal(), Signal()
        m.d.comb += [
            Assume(~ResetSignal()),
            mover.base.eq(self.base),
            mover.limit.eq(self.limit),
            bus.arready.eq(self.takes),
            bus.rvalid.eq(self.comes & (bursts != 0)),
            bus.rlast.eq(self.last),
            asks.eq(bus.arvalid & bus.arready),
            ends.eq(bus.rvalid & bus.rready & bus.rlast),
            Assert(bursts <= most),
            Assert(bus.rready | (bursts == 0)),
        ]
        m.d.sync += bursts.eq(bursts + asks - ends)
        m.submodules.stays = Stays(bus.arvalid, bus.arready, [bus.araddr, bus.arlen])
        channel = bus.arvalid, bus.araddr, bus.arlen
        legal_accesses(m, "ar", channel, self.base, self.limit, self.config.memory_bits // 8)
        return m
