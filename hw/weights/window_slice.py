"""Window slice: one bit of every granule that the realigner shows."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.weights.group_metadata import longest_metadata

__all__ = ["WindowSlice", "window_granules", "word_granules"]


def word_granules(config: Config) -> int:
    """Granules of a word."""
    return config.memory_bits // config.rows


def window_granules(config: Config) -> int:
    """Granules of the window: codes and the longest metadata behind them, as far as two words hold them."""
    word = word_granules(config)
    return word + min(word - 1, longest_metadata(config))


class WindowSlice(wiring.Component):
    """Shift two words right by whole granules, as far as one bit of each granule goes.

    All bits of a granule go the same way, so the slices are equal circuits. Each has its own copy of the
    offset, which would otherwise drive thousands of gates.

    Members:
        word (in): the bits of the word at the input.
        store (in): it becomes the previous word.
        previous (out): the bits of the previous word.
        beyond, closed (in): the previous word, and the one at the input, read as zero.
        offset (in): granules by which to shift.
        place (in): do so from the next cycle on.
        window (out): the bits of the window.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        granules = word_granules(config)
        super().__init__(
            {
                "word": In(granules),
                "store": In(1),
                "previous": Out(granules),
                "beyond": In(1),
                "closed": In(1),
                "offset": In(exact_log2(granules)),
                "place": In(1),
                "window": Out(window_granules(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        previous = Signal(len(self.word), name="held_word", reset_less=True)
        offset = Signal(len(self.offset), name="held_offset", reset_less=True)
        with m.If(self.store):
            m.d.sync += previous.eq(self.word)
        with m.If(self.place):
            m.d.sync += offset.eq(self.offset)
        m.d.comb += [self.previous.eq(previous), self.window.eq(self._shifted(previous, offset))]
        return m

    def _shifted(self, previous: Value, offset: Value) -> Value:
        """Both words shifted, widest step first, without what reads as zero.

        Each stage keeps only the bits that the later stages can still reach.
        """
        *others, widest = offset
        here = Cat(Mux(self.beyond | widest, 0, previous), Mux(self.closed | widest, 0, self.word))
        there = Cat(Mux(~self.beyond & widest, previous, 0), Mux(~self.closed & widest, self.word, 0))
        shifted = here | there[1 << len(others) :]
        for stage, moves in reversed(list(enumerate(others))):
            step = 1 << stage
            kept = len(self.window) + step - 1
            shifted = Mux(moves, shifted[step : step + kept], shifted[:kept])
        return shifted[: len(self.window)]
