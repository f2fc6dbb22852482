"""Sequence unit: takes a sequence up and moves its position on.

Meaning: ``golden.core.state`` and the operations ``BEGIN`` and ``ADVANCE`` of ``golden.core.machine``.
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from golden.core.commands import LINE_BYTES, Opcode
from golden.core.state import SEQUENCE
from hw.config import Config
from hw.core.payloads import (
    LINE_BITS,
    Status,
    done,
    operands,
    read_request,
    read_word,
    words_of_line,
    write_request,
)

__all__ = ["SequenceUnit"]

_WORD = 32
_LINE_WORDS = 8 * LINE_BYTES // _WORD
_PLACE_BITS = exact_log2(_LINE_WORDS)
_PLACES = {field.name: field.word for field in SEQUENCE}


class SequenceUnit(wiring.Component):
    """Work on the present sequence.

    ``BEGIN`` reads two lines, one after the other; ``ADVANCE`` writes up to three words of 32 bits.

    Members:
        begin, advance (in streams): commands.
        done (out stream): how each ended.
        largest (in): the arg-max of the last results.
        model (in): identity of the model whose sequences may be taken up.
        requests (out stream), words (in stream), writes (out stream): memory.
        position, token (out): of the present sequence; they stay while other commands work.
        prompted (out): its prompt has the token behind that; likewise.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "begin": In(stream.Signature(operands(Opcode.BEGIN))),
                "advance": In(stream.Signature(operands(Opcode.ADVANCE))),
                "done": Out(stream.Signature(done)),
                "largest": In(_WORD),
                "model": In(2 * _WORD),
                "requests": Out(stream.Signature(read_request())),
                "words": In(stream.Signature(read_word(config))),
                "writes": Out(stream.Signature(write_request(config))),
                "position": Out(_WORD),
                "token": Out(_WORD),
                "prompted": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(8 * LINE_BYTES, name="held_line", reset_less=True)
        asked = Signal(LINE_BITS, reset_less=True)
        sequence = Signal(LINE_BITS, reset_less=True)
        fields = {name: line.word_select(place, _WORD) for name, place in _PLACES.items()}
        status = Signal(Status)
        written = Signal(4)  # words of 32 bits
        following = Signal(_WORD)
        m.d.comb += [
            self.done.payload.status.eq(status),
            self.done.payload.bytes.eq(written << 2),
        ]
        m.d.sync += following.eq(self.position + 1)
        with m.FSM(name="sequence"):
            with m.State("idle"):
                m.d.comb += [self.begin.ready.eq(1), self.advance.ready.eq(~self.begin.valid)]
                m.d.sync += [status.eq(Status.DONE), written.eq(0)]
                with m.If(self.begin.valid):
                    m.d.sync += asked.eq(self.begin.payload.sequence)
                    m.next = "ask_line"
                with m.Elif(self.advance.valid):
                    m.next = "decide"
            self._begin(m, line, following, asked, sequence, status)
            self._advance(m, following, sequence, fields, status, written)
            with m.State("follow"):
                m.next = "settle"
            with m.State("settle"):
                m.d.sync += self.prompted.eq(following < fields["prompt"])
                m.next = "done"
            with m.State("done"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "idle"
        return m

    def _ask(self, m: Module, line: Value, following: str) -> None:
        request = self.requests.payload
        m.d.comb += [
            self.requests.valid.eq(1),
            request.line.eq(line),
            request.words.eq(words_of_line(self.config)),
        ]
        with m.If(self.requests.ready):
            m.next = following

    def _collect(self, m: Module, line: Signal, status: Signal, following: str) -> None:
        """A line, word of memory by word; a bad one ends the command."""
        word, width = self.words.payload, self.config.memory_bits
        m.d.comb += self.words.ready.eq(1)
        with m.If(self.words.valid):
            m.d.sync += line.eq(Cat(line, word.data)[width:])
            with m.If(word.outside):
                m.d.sync += status.eq(Status.OUTSIDE)
            with m.Elif(word.failed & (status == Status.DONE)):
                m.d.sync += status.eq(Status.BUS_ERROR)
            with m.If(word.last):
                bad = Signal(name=f"bad_{following}")
                m.d.comb += bad.eq(word.outside | word.failed | (status != Status.DONE))
                with m.If(bad):
                    m.next = "done"
                with m.Else():
                    m.next = following

    def _begin(
        self, m: Module, line: Signal, following: Signal, asked: Signal, sequence: Signal, status: Signal
    ) -> None:
        """The line is taken up if it is a sequence of the model's; until then the one before stays."""
        coming = Signal(8 * LINE_BYTES, name="coming_line", reset_less=True)
        fields = {name: coming.word_select(place, _WORD) for name, place in _PLACES.items()}
        fits = Signal()
        with m.State("ask_line"):
            self._ask(m, asked, "take_line")
        with m.State("take_line"):
            self._collect(m, coming, status, "identify")
        with m.State("identify"):
            m.d.sync += fits.eq(Cat(fields["model_low"], fields["model_high"]) == self.model)
            m.next = "take_up"
        with m.State("take_up"):
            m.next = "done"
            with m.If(fits):
                m.d.sync += [
                    line.eq(coming),
                    sequence.eq(asked),
                    self.position.eq(fields["position"]),
                    asked.eq(fields["tokens"] + (fields["position"] >> _PLACE_BITS)),
                ]
                m.next = "ask_tokens"
            with m.Else():
                m.d.sync += status.eq(Status.IDENTITY)
        with m.State("ask_tokens"):
            self._ask(m, asked, "take_tokens")
        with m.State("take_tokens"):
            m.d.sync += self.prompted.eq(following < line.word_select(_PLACES["prompt"], _WORD))
            self._collect(m, coming, status, "take_token")
        with m.State("take_token"):
            m.d.sync += self.token.eq(coming.word_select(self.position[:_PLACE_BITS], _WORD))
            m.next = "done"

    def _write(self, m: Module, line: Value, place: Value, word: Value) -> None:
        """Write a word of 32 bits of a line."""
        request, fine = self.writes.payload, exact_log2(self.config.memory_bits // _WORD)
        m.d.comb += [
            self.writes.valid.eq(1),
            request.line.eq(line),
            request.word.eq(place >> fine),
            request.data.eq(word.replicate(self.config.memory_bits // _WORD)),
            request.enables.eq(0xF << (place[:fine] << 2)),
        ]

    def _advance(
        self,
        m: Module,
        following: Signal,
        sequence: Signal,
        fields: dict[str, Value],
        status: Signal,
        written: Signal,
    ) -> None:
        full = Signal()
        stops = Signal()
        place = Signal(_PLACE_BITS)
        with m.State("decide"):
            m.d.sync += [
                full.eq(following >= fields["limit"]),
                stops.eq((self.largest == fields["stop_0"]) | (self.largest == fields["stop_1"])),
            ]
            with m.If(following >= fields["limit"]):
                m.d.sync += status.eq(Status.FULL)
                m.next = "stop"
            with m.Elif(following >= fields["prompt"]):
                m.next = "append"
            with m.Else():
                m.next = "move"
        with m.State("append"):
            m.d.comb += place.eq(following[:_PLACE_BITS])
            self._write(m, fields["tokens"] + (following >> _PLACE_BITS), place, self.largest)
            with m.If(self.writes.ready):
                m.d.sync += written.eq(written + 1)
                m.next = "stop"
                with m.If(~stops):
                    m.next = "move"
        with m.State("stop"):
            m.d.comb += place.eq(_PLACES["stopped"])
            self._write(m, sequence, place, Const(1, _WORD))
            with m.If(self.writes.ready):
                m.d.sync += written.eq(written + 1)
                m.next = "move"
                with m.If(full):
                    m.next = "done"
        with m.State("move"):
            m.d.comb += place.eq(_PLACES["position"])
            self._write(m, sequence, place, following)
            with m.If(self.writes.ready):
                m.d.sync += [written.eq(written + 1), self.position.eq(following)]
                m.next = "follow"
