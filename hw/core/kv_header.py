"""Header of a KV head: read from memory, and what follows from it at a sequence's position."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.attention.widths import CONTEXT_BITS
from golden.core.state import HEAD
from golden.kv.schemes import WINDOW
from hw.config import Config
from hw.core.payloads import LINE_BITS, Status, read_request, read_word, words_of_line
from hw.kv.payloads import SHORTEST_GROUP, TOP_BITS, Side

__all__ = ["KvHeader", "blocks", "first_fault", "kv_head", "top_of"]

SLOT_CYCLES = 3
"""From ``block`` to its slot."""


def kv_head() -> data.StructLayout:
    """The fields of a header."""
    return data.StructLayout({field.name: field.width for field in HEAD})


def blocks(config: Config) -> int:
    """Width of a number of blocks of ``kv.page_tokens`` tokens."""
    return bits_for((1 << CONTEXT_BITS) // config.kv.page_tokens)


def top_of(head: data.View, side: Value) -> Value:
    """The largest exponent field of a side."""
    return Mux(side == Side.VALUE.value, head.value_top, head.key_top)[:TOP_BITS]


def first_fault(m: Module, status: Signal, word: data.View, taken: Value) -> None:
    """Keep what was wrong with the first bad word of memory."""
    with m.If(taken & (status == Status.DONE)):
        with m.If(word.outside):
            m.d.sync += status.eq(Status.OUTSIDE)
        with m.Elif(word.failed):
            m.d.sync += status.eq(Status.BUS_ERROR)


class KvHeader(wiring.Component):
    """Read a header and check it.

    Members:
        lines (in stream): of a header that is wanted.
        position (in): of the present token, stable from then on.
        requests (out stream), words (in stream): channel of memory.
        finished (out): one cycle; the others are there from then on, the slot too if the block does not
            change.
        status (out): ``DONE``; what was wrong with memory; or ``BAD_PAGE`` where a field is out of range:
            channels, slots, either ``top``, the position, or too few records.
        head (out): the fields.
        closed (out): blocks that are pages.
        due (out): the last of them is to be closed at this position.
        newest (out), place (out): the present token's block, and its place there.
        block (in), slot (out): a block, and the line of its slot ``SLOT_CYCLES`` later.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        count = blocks(config)
        super().__init__(
            {
                "lines": In(stream.Signature(LINE_BITS)),
                "position": In(32),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "finished": Out(1),
                "status": Out(Status),
                "head": Out(kv_head()),
                "closed": Out(count),
                "due": Out(1),
                "newest": Out(count),
                "place": Out(range(config.kv.page_tokens)),
                "block": In(count),
                "slot": Out(LINE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        place_bits = exact_log2(config.kv.page_tokens)
        width = config.memory_bits
        line = Signal(LINE_BITS)
        number = Signal(range(words_of_line(config) + 1))
        taken = Signal()
        m.d.comb += [
            self.requests.payload.line.eq(line),
            self.requests.payload.words.eq(words_of_line(config)),
            self.newest.eq(self.position >> place_bits),
            self.place.eq(self.position[:place_bits]),
        ]
        self._place(m)
        left = Signal(signed(CONTEXT_BITS + 2))  # tokens beyond the residual
        m.d.sync += [
            left.eq(self.position[: CONTEXT_BITS + 1] + 1 - self.head.residual),
            self.closed.eq(Mux(left < 0, 0, left[place_bits : CONTEXT_BITS + 1])),
            self.due.eq((left > 0) & (left[:place_bits] == 0)),
            self.finished.eq(0),
        ]
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.lines.ready.eq(1)
                with m.If(self.lines.valid):
                    m.d.sync += [number.eq(0), self.status.eq(Status.DONE), line.eq(self.lines.payload)]
                    m.next = "request"
            with m.State("request"):
                m.d.comb += self.requests.valid.eq(1)
                with m.If(self.requests.ready):
                    m.next = "words"
            with m.State("words"):
                m.d.comb += [self.words.ready.eq(1), taken.eq(self.words.valid)]
                with m.If(taken):
                    m.d.sync += number.eq(number + 1)
                    with m.If(self.words.payload.last):
                        m.next = "subtract"
            with m.State("subtract"):
                m.next = "divide"
            with m.State("divide"):
                m.next = "number"
            with m.State("number"):  # and then the place, of the slot of a block that stays from now on
                m.next = "multiply"
            with m.State("multiply"):
                m.next = "check"
            with m.State("check"):
                m.d.sync += self.finished.eq(1)
                with m.If((self.status == Status.DONE) & ~self._possible(m)):
                    m.d.sync += self.status.eq(Status.BAD_PAGE)
                m.next = "idle"
        first_fault(m, self.status, self.words.payload, taken)
        held = Signal(self.head.shape(), name="held_head", reset_less=True)
        m.d.comb += self.head.eq(held)
        for field in HEAD:
            word, low = divmod(32 * field.word + field.low, width)
            with m.If(taken & (number == word)):
                m.d.sync += held[field.name].eq(self.words.payload.data[low : low + field.width])
        return m

    def _place(self, m: Module) -> None:
        """The line of a block's slot."""
        head = self.head
        slot = Signal(head.slots.shape(), name="slot_number")
        distance = Signal(len(head.slots) + len(head.pitch))
        m.d.sync += [
            slot.eq(self.block & (head.slots - 1)),
            distance.eq(slot * head.pitch),
            self.slot.eq(head.window + distance),
        ]

    def _possible(self, m: Module) -> Value:
        """Whether all fields are in range."""
        config, head = self.config, self.head
        unit = max(WINDOW.group or SHORTEST_GROUP, config.rows) // SHORTEST_GROUP
        possible = Signal()
        tops = (head.key_top, head.value_top)
        m.d.comb += possible.eq(
            (head.channels != 0)
            & (head.channels <= config.kv.channels // SHORTEST_GROUP)
            & ((head.channels & unit - 1) == 0)
            & (head.slots != 0)
            & ((head.slots & (head.slots - 1)) == 0)
            & (tops[0] != 0)
            & (tops[1] != 0)
            & (tops[0] < 1 << TOP_BITS)
            & (tops[1] < 1 << TOP_BITS)
            & (self.position < 1 << CONTEXT_BITS)
            & (self.closed <= head.pages)
        )
        return possible
