"""Properties of the movers: accesses inside the window and within borders, offers that stay, room for all."""

from collections.abc import Sequence

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from hw.bus import axi
from hw.config import Config
from hw.core import payloads, read_mover, write_mover
from hw.core.payloads import read_request, write_request
from hw.core.read_mover import Client, ReadMover
from hw.core.write_mover import WriteMover
from sim.proofs.attention import InOrder
from sim.proofs.kv_codec import StreamRules

__all__ = ["SMALL", "AccessesOfReads", "AccessesOfWrites", "AnyClient", "RoomForWords", "small_config"]

SMALL = (
    (payloads, "LINE_BITS", 3),
    (payloads, "WORDS_BITS", 4),
    (read_mover, "LINE_BITS", 3),
    (read_mover, "WORDS_BITS", 4),
    (read_mover, "LONGEST_BURST", 4),
    (read_mover, "OUTSTANDING", 2),
    (write_mover, "LINE_BITS", 3),
    (write_mover, "UNANSWERED", 2),
    (axi, "BORDER", 256),
    (axi, "ADDRESS_BITS", 10),
)
"""Module, constant and value: what the proofs make small; 256 bytes stand for 4 KiB."""

_LINE_BYTES = 64


def small_config() -> Config:
    """Words of half a line."""
    return Config().model_copy(update={"memory_bits": 256})


class _Constant(Elaboratable):
    """Inputs that never change."""

    def __init__(self, *inputs: Value) -> None:
        self.inputs = Cat(inputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        known, before = Signal(), Signal(len(self.inputs))
        m.d.sync += [known.eq(1), before.eq(self.inputs)]
        m.d.comb += Assume(~known | (self.inputs == before))
        return m


class _Stays(Elaboratable):
    """What a channel of a bus offers stays until it is taken.

    Args:
        valid, ready: of the channel.
        content: its fields.
    """

    def __init__(self, valid: Value, ready: Value, content: Sequence[Value]) -> None:
        self.valid, self.ready, self.content = valid, ready, Cat(content)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stalled, before = Signal(), Signal(len(self.content))
        m.d.sync += [stalled.eq(self.valid & ~self.ready), before.eq(self.content)]
        m.d.comb += Assert(~stalled | (self.valid & (self.content == before)))
        return m


def _window(m: Module, base: Value, limit: Value) -> None:
    """Base and limit are as the documentation wants them."""
    end = Signal(len(base) + 1)
    m.submodules.window = _Constant(base, limit)
    m.d.comb += [
        end.eq(base + limit * _LINE_BYTES),
        Assume(base[: (axi.BORDER - 1).bit_length()] == 0),
        Assume(end <= 1 << len(base)),
    ]


def _accesses(m: Module, name: str, channel: Sequence[Value], base: Value, limit: Value, width: int) -> None:
    """A burst that is offered lies in the window, and in 4 KiB.

    Args:
        m: gets the claims.
        name: of the signals.
        channel: valid, address and words less one.
        base, limit: of the window.
        width: bytes of a word.
    """
    valid, address, beats = channel
    place = Signal(len(base), name=f"{name}_place")
    size = Signal(len(beats) + width.bit_length(), name=f"{name}_bytes")
    border = (axi.BORDER - 1).bit_length()
    m.d.comb += [
        place.eq(address - base),
        size.eq((beats + 1) * width),
        Assert(~valid | (place + size <= limit * _LINE_BYTES)),
        Assert(~valid | (address[:border] + size <= axi.BORDER)),
    ]


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
        m.submodules.window = _Constant(self.limit)
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
        _window(m, self.base, self.limit)
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
        m.submodules.stays = _Stays(bus.arvalid, bus.arready, [bus.araddr, bus.arlen])
        channel = bus.arvalid, bus.araddr, bus.arlen
        _accesses(m, "ar", channel, self.base, self.limit, self.config.memory_bits // 8)
        return m


class AccessesOfWrites(wiring.Component):
    """What the write mover asks of the bus, with two clients.

    A solver chooses the window, writes, stalls and answers. Claimed: addresses and data that are offered stay
    until they are taken; addresses lie in the window; every write inside the window reaches either channel
    once and in the order in which writes were taken, others never; never more than ``UNANSWERED`` are under
    way; ``idle`` means that no write is.

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
        _window(m, self.base, self.limit)
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
        m.submodules.address_stays = _Stays(bus.awvalid, bus.awready, [bus.awaddr, bus.awlen])
        m.submodules.word_stays = _Stays(bus.wvalid, bus.wready, [bus.wdata[:2], bus.wstrb[:2]])
        channel = bus.awvalid, bus.awaddr, bus.awlen
        _accesses(m, "aw", channel, self.base, self.limit, self.config.memory_bits // 8)
        return m

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
