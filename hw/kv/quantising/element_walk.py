"""Element walk: the elements of a page group after group, for what sums over groups without a memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.config import Config
from hw.kv.page_shape import beats, group_length, last_beat
from hw.kv.payloads import Axis, page_format

__all__ = ["ElementWalk"]


class ElementWalk(wiring.Component):
    """Count through a page, ``kv.lanes`` channels of one token a step.

    Where groups are tokens, the steps go through so many groups at a time.

    Members:
        form (in): format of the page, held.
        restart (in): go to the first step.
        advance (in): go to the next step, after the last one to the first.
        token, beat (out): where the step's elements are: the token, and the beat within it.
        opens, ends (out): the step is its groups' first or last one.
        last (out): this is the page's last step.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "form": In(page_format(config)),
                "restart": In(1),
                "advance": In(1),
                "token": Out(range(config.kv.page_tokens)),
                "beat": Out(range(beats(config))),
                "opens": Out(1),
                "ends": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        token, beat, lanes = self.token, self.beat, self.config.kv.lanes
        by_token = self.form.axis == Axis.TOKEN
        within = group_length(self.form) - 1
        channel = Signal(range(self.config.kv.channels))
        place = Signal(len(within))  # of the step in its group
        last_place = Signal(len(within))
        beat_ends = Signal()
        m.d.comb += [
            channel.eq(beat << ceil_log2(lanes)),
            place.eq(Mux(by_token, channel, token) & within),
            last_place.eq(Mux(by_token, within & ~(lanes - 1), within)),
            beat_ends.eq(beat == last_beat(self.form, self.config)),
            self.opens.eq(place == 0),
            self.ends.eq(place == last_place),
            self.last.eq(beat_ends & (token == self.config.kv.page_tokens - 1)),
        ]
        with m.If(self.advance):
            with m.If(by_token | self.ends):
                m.d.sync += beat.eq(Mux(beat_ends, 0, beat + 1))
            with m.If(Mux(by_token, beat_ends, ~self.ends | beat_ends)):
                m.d.sync += token.eq(token + 1)
            with m.Elif(~by_token):
                m.d.sync += token.eq(token & ~within)
        with m.If(self.restart):
            m.d.sync += [token.eq(0), beat.eq(0)]
        return m
