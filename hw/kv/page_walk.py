"""Page walk: the order in which the elements of a page lie (``golden.kv.pages``)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.page_shape import beats, last_beat
from hw.kv.payloads import Side, page_format

__all__ = ["PageWalk"]


class PageWalk(wiring.Component):
    """Count through a page, ``kv.lanes`` channels of one token a step.

    Members:
        form (in): format of the page, held.
        restart (in): go to the first step, instead of on.
        advance (in): go to the next step.
        token, beat (out): where the step's elements are: the token, and the beat within it.
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
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, token, beat = self.config, self.token, self.beat
        is_key = self.form.side == Side.KEY
        token_low = Signal.like(token)
        beat_low = Signal.like(beat)  # bits within a chunk
        row_ends = Signal()
        chunk_ends = Signal()
        token_ends = Signal()
        beat_ends = Signal()
        m.d.comb += [
            token_low.eq(Mux(is_key, config.rows, config.lanes) - 1),
            beat_low.eq(Mux(is_key, config.lanes // config.kv.lanes, config.rows // config.kv.lanes) - 1),
            row_ends.eq((beat & beat_low) == beat_low),
            chunk_ends.eq((token & token_low) == token_low),
            token_ends.eq(token == config.kv.page_tokens - 1),
            beat_ends.eq(beat == last_beat(self.form, config)),
            self.last.eq(token_ends & beat_ends),
        ]
        with m.If(self.advance):
            with m.If(~row_ends):
                m.d.sync += beat.eq(beat + 1)
            with m.Elif(~chunk_ends):
                m.d.sync += [beat.eq(beat & ~beat_low), token.eq(token + 1)]
            with m.Elif(is_key):
                m.d.sync += [
                    beat.eq(Mux(beat_ends, 0, beat + 1)),
                    token.eq(Mux(beat_ends, token + 1, token & ~token_low)),
                ]
            with m.Else():
                m.d.sync += [
                    token.eq(Mux(token_ends, 0, token + 1)),
                    beat.eq(Mux(token_ends, beat + 1, beat & ~beat_low)),
                ]
        with m.If(self.restart):
            m.d.sync += [token.eq(0), beat.eq(0)]
        return m
