"""Read mover: words of memory for several clients over one AXI4 master, in bursts, many of them at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.bus import axi
from hw.config import Config
from hw.core.payloads import LINE_BITS, WORDS_BITS, read_request, read_word, words_of_line

__all__ = ["LONGEST_BURST", "OUTSTANDING", "Client", "ReadMover"]

LONGEST_BURST = 16
"""Words of a burst, which never crosses a multiple of so many words."""
OUTSTANDING = 16
"""Bursts whose words have not all come."""


class Client(wiring.Component):
    """Requests of one client to bursts, and their words to the client.

    A burst is offered when there is room for all its words. A request that leaves the window waits until the
    client has taken everything before, and is then answered by itself.

    Args:
        config: gives ``memory_bits``.
        depth: words of the client's FIFO, at least 2.

    Members:
        requests (in stream), words (out stream), limit (in): see ``ReadMover``.
        bursts (out stream): word of the window, words less one, and whether it is its request's last one.
        arrives (in): ``arriving`` is a word of the client's oldest burst.
    """

    def __init__(self, config: Config, depth: int) -> None:
        self.config, self.depth = config, depth
        self.longest = min(LONGEST_BURST, 1 << depth.bit_length() - 1)
        self.place_bits = exact_log2(words_of_line(config))
        super().__init__(
            {
                "requests": In(stream.Signature(read_request())),
                "words": Out(stream.Signature(read_word(config))),
                "limit": In(LINE_BITS),
                "bursts": Out(stream.Signature(_burst(config))),
                "arrives": In(1),
                "arriving": In(read_word(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=read_word(self.config).size, depth=self.depth)
        # Between the FIFO's memory, whose words are late, and who takes them, whose readiness is.
        m.submodules.leaving = leaving = SyncFIFO(width=fifo.width, depth=2)
        room = Signal(range(self.depth + 1), init=self.depth)
        reserved = Signal.like(room)
        answers = self._walk(m, room, reserved)
        outside = Signal(read_word(self.config))
        taken = Signal()
        m.d.comb += [
            outside.last.eq(1),
            outside.outside.eq(1),
            fifo.w_en.eq(self.arrives | answers),
            fifo.w_data.eq(Mux(self.arrives, self.arriving.as_value(), outside.as_value())),
        ]
        connect(m, fifo.r_stream, leaving.w_stream)
        connect(m, leaving.r_stream, flipped(self.words))
        m.d.sync += [taken.eq(self.words.valid & self.words.ready), room.eq(room - reserved + taken)]
        return m

    def _walk(self, m: Module, room: Value, reserved: Signal) -> Value:
        """Offer the bursts of one request after the other; returns when it is answered as outside."""
        place = Signal(LINE_BITS + self.place_bits)
        left = Signal(WORDS_BITS)
        end = Signal(LINE_BITS + 1)
        length = Signal(range(self.longest + 1))
        to_border = Signal(range(self.longest + 1))
        active = Signal()
        checked = Signal()
        inside = Signal()
        measured = Signal()
        final = Signal()
        offers = Signal()
        answers = Signal()
        words, line = self.requests.p.words, self.requests.p.line
        lines = Signal(WORDS_BITS)
        whole = words[self.place_bits :]
        m.d.comb += [
            self.requests.ready.eq(~active),
            lines.eq(whole + words[: self.place_bits].any()),
            to_border.eq(self._to_border(place)),
            offers.eq(measured & ~self.bursts.valid & self._fits(room, length)),
            answers.eq(checked & ~inside & (room == self.depth)),
            reserved.eq(Mux(offers, length, answers)),
        ]
        with m.If(~active & self.requests.valid):
            m.d.sync += [
                active.eq(1),
                place.eq(line << self.place_bits),
                left.eq(words),
                end.eq(line + lines),
            ]
        with m.If(active & ~checked):
            m.d.sync += [checked.eq(1), inside.eq(self._is_inside(end, left))]
        with m.If(checked & inside & ~measured):
            m.d.sync += [
                measured.eq(1),
                final.eq(left <= to_border),
                length.eq(Mux(left < to_border, left, to_border)),
            ]
        with m.If(self.bursts.ready):
            m.d.sync += self.bursts.valid.eq(0)
        with m.If(offers):
            m.d.sync += [
                measured.eq(0),
                self.bursts.valid.eq(1),
                self.bursts.p.place.eq(place),
                self.bursts.p.beats.eq(length - 1),
                self.bursts.p.final.eq(final),
                place.eq(place + length),
                left.eq(left - length),
            ]
        with m.If(answers | (offers & final)):
            m.d.sync += [active.eq(0), checked.eq(0)]
        return answers

    def _to_border(self, place: Value) -> Value:
        """Words up to the next border that no burst crosses."""
        return self.longest - place[: exact_log2(self.longest)]

    def _fits(self, room: Value, length: Value) -> Value:
        """All words of a burst have room."""
        return room >= length

    def _is_inside(self, end: Value, words: Value) -> Value:
        """There are words, all below the line ``end``, and that is in the window."""
        return (end <= self.limit) & words.any()


def _burst(config: Config) -> data.StructLayout:
    place_bits = LINE_BITS + exact_log2(words_of_line(config))
    return data.StructLayout({"place": place_bits, "beats": exact_log2(LONGEST_BURST), "final": 1})


class ReadMover(wiring.Component):
    """Words of memory for several clients, each in the order of its requests.

    A request becomes bursts of up to ``LONGEST_BURST`` words that never cross a multiple of as many, hence
    never 4 KiB; of a client with a shorter FIFO both are the largest power of two that it holds. A burst is
    asked for when the client's FIFO has room for it, so ``rready`` never waits for a client; up to
    ``OUTSTANDING`` bursts are under way. Of clients that could go on the first one named does, burst by
    burst, and each of them in every second cycle at most. The first burst's address is valid five cycles
    after its request was taken, the first word three cycles after it was read. A word a cycle is read as long
    as memory gives them and the client takes them, if its FIFO holds as many words as come in the time from
    a burst's offer to its last word.

    A request is answered by ``outside`` in a single word with ``last``, and no access happens, if it has no
    words or if any line of it is not below ``limit``. SLVERR and DECERR mark the words they come with as
    ``failed``. The window has to end within 2**40 bytes, and base and limit stay as they are from the first
    request on.

    Args:
        config: gives ``memory_bits``, at most 512.
        clients: name to words of its FIFO, at least 2.

    Raises:
        ValueError: words of memory longer than a line, or a FIFO too short.

    Members:
        base (in): byte address of line 0, a multiple of 4 KiB.
        limit (in): lines of the window.
        requests_NAME (in stream): of a client.
        words_NAME (out stream): of a client, ``read_word``.
        axi (out): the master's channels.
    """

    def __init__(self, config: Config, clients: dict[str, int]) -> None:
        self.config, self.clients = config, dict(clients)
        if words_of_line(config) < 1:
            raise ValueError(f"memory_bits {config.memory_bits} must be at most 512")
        for name, depth in clients.items():
            if depth < 2:
                raise ValueError(f"FIFO of {name} has {depth} words, must be at least 2")
        members = {
            "base": In(axi.ADDRESS_BITS),
            "limit": In(LINE_BITS),
            "axi": Out(axi.read_signature(config.memory_bits)),
        }
        for name in clients:
            members[f"requests_{name}"] = In(stream.Signature(read_request()))
            members[f"words_{name}"] = Out(stream.Signature(read_word(config)))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        names = list(self.clients)
        parts = []
        for name, depth in self.clients.items():
            m.submodules[name] = client = Client(self.config, depth)
            connect(m, flipped(getattr(self, f"requests_{name}")), client.requests)
            connect(m, client.words, flipped(getattr(self, f"words_{name}")))
            m.d.comb += client.limit.eq(self.limit)
            parts.append(client)

        number = Signal(range(max(2, len(names))))
        final = Signal()
        loads = Signal()
        m.submodules.tags = tags = SyncFIFOBuffered(width=len(number) + 1, depth=OUTSTANDING)
        self._ask(m, parts, number, final, loads, tags.w_rdy)
        m.d.comb += [tags.w_en.eq(loads), tags.w_data.eq(Cat(final, number))]
        self._receive(m, parts, tags)
        return m

    def _ask(
        self, m: Module, parts: list[Client], number: Signal, final: Signal, loads: Signal, room: Value
    ) -> None:
        """The first client's burst to the bus."""
        bus = self.axi
        chosen = Signal(_burst(self.config))
        waits = Signal(len(parts))
        m.d.comb += [
            *axi.constants(bus, "r", self.config.memory_bits),
            waits.eq(Cat(client.bursts.valid for client in parts)),
            loads.eq(waits.any() & room & (~bus.arvalid | bus.arready)),
            final.eq(chosen.final),
        ]
        for place, client in reversed(list(enumerate(parts))):
            with m.If(waits[place]):
                m.d.comb += [number.eq(place), chosen.eq(client.bursts.payload)]
            m.d.comb += client.bursts.ready.eq(loads & (number == place))
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(loads):
            byte = chosen.place << exact_log2(self.config.memory_bits // 8)
            m.d.sync += [bus.arvalid.eq(1), bus.araddr.eq(self.base + byte), bus.arlen.eq(chosen.beats)]

    def _receive(self, m: Module, parts: list[Client], tags: SyncFIFOBuffered) -> None:
        """Words of the oldest burst to its client."""
        bus = self.axi
        tag = Signal(tags.width)
        word = Signal(read_word(self.config))
        arrives = Signal()
        m.d.comb += [
            tag.eq(tags.r_data),
            bus.rready.eq(tags.r_rdy),
            tags.r_en.eq(bus.rvalid & bus.rlast),
            arrives.eq(bus.rvalid & bus.rready),
            word.data.eq(bus.rdata),
            word.last.eq(bus.rlast & tag[0]),
            word.failed.eq(axi.failed(bus.rresp)),
        ]
        for place, client in enumerate(parts):
            m.d.comb += [client.arriving.eq(word), client.arrives.eq(arrives & (tag[1:] == place))]
