"""Line writes: words of a page or a token to memory, then ``top`` to the header of their KV head."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden.core.state import HEAD
from hw.config import Config
from hw.core.payloads import LINE_BITS, words_of_line, write_request
from hw.kv.payloads import TOP_BITS

__all__ = ["LineWrites", "line_write"]

_WORD_BITS = 16


def line_write(config: Config) -> data.StructLayout:
    """Bytes of the ``word``-th word from the beginning of a line, those of ``data`` that are enabled.

    ``top`` counts with the ``last`` one.
    """
    return data.StructLayout(
        {
            "line": LINE_BITS,
            "word": _WORD_BITS,
            "data": config.memory_bits,
            "enables": config.memory_bits // 8,
            "last": 1,
            "top": TOP_BITS,
        }
    )


class LineWrites(wiring.Component):
    """Write words as they come, one every other cycle; behind the last one ``top``.

    It takes a word only when its register is empty, so that no channel's readiness reaches what makes words.

    Members:
        words (in stream): bytes of words.
        head, side (in): line of the header, and whose ``top`` it is.
        writes (out stream): the same, for memory.
        finished (out): one cycle when ``top`` is taken.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(line_write(config))),
                "head": In(LINE_BITS),
                "side": In(1),
                "writes": Out(stream.Signature(write_request(config))),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, write = self.words.payload, self.writes.payload
        inner = ceil_log2(words_of_line(self.config))
        room = Signal()
        top = Signal(TOP_BITS)
        closing = Signal()  # ``top`` is yet to be written
        closed = Signal()  # it is in the register
        m.d.comb += [
            room.eq(~self.writes.valid),
            self.words.ready.eq(room & ~closing),
            self.finished.eq(closed & self.writes.ready),
        ]
        with m.If(room):
            m.d.sync += [self.writes.valid.eq(self.words.valid | closing), closed.eq(closing)]
            with m.If(closing):
                m.d.sync += [closing.eq(0), *self._top(top)]
            with m.Else():
                m.d.sync += [
                    closing.eq(self.words.valid & word.last),
                    top.eq(word.top),
                    write.line.eq(word.line + (word.word >> inner)),
                    write.word.eq(word.word & words_of_line(self.config) - 1),
                    write.data.eq(word.data),
                    write.enables.eq(word.enables),
                ]
        with m.Elif(self.writes.ready):
            m.d.sync += [self.writes.valid.eq(0), closed.eq(0)]
        return m

    def _top(self, top: Value) -> list[object]:
        """Write a byte of the header."""
        write, size = self.writes.payload, self.config.memory_bits // 8
        fields = [next(field for field in HEAD if field.name == name) for name in ("key_top", "value_top")]
        words, bytes_ = zip(*(divmod((32 * own.word + own.low) // 8, size) for own in fields), strict=True)
        enables = [1 << byte for byte in bytes_]
        return [
            write.line.eq(self.head),
            write.word.eq(Mux(self.side, words[1], words[0])),
            write.data.eq(Cat(top, Const(0, 8 - TOP_BITS)).replicate(size)),
            write.enables.eq(Mux(self.side, enables[1], enables[0])),
        ]
