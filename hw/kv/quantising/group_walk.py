"""Group walk: the order in which the groups of a page lie in its metadata (``golden.kv.pages``)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.config import Config
from hw.kv.page_shape import channels, group_length
from hw.kv.payloads import Axis, page_format

__all__ = ["GroupWalk"]


class GroupWalk(wiring.Component):
    """Count through the groups of a page: of one token after the other, or channel after channel.

    A group stays for two cycles at least: only in the second one is known where the walk goes on.

    Members:
        form (in): format of the page, held.
        restart (in): go to the first group.
        advance (in): go to the next group, after the last one to the first.
        token, channel (out): where the group begins.
        last (out): this is the page's last group; a cycle later.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "form": In(page_format(config)),
                "restart": In(1),
                "advance": In(1),
                "token": Out(range(config.kv.page_tokens)),
                "channel": Out(range(config.kv.channels)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        by_token = self.form.axis == Axis.TOKEN
        length = group_length(self.form)
        channel_step = Mux(by_token, length, 1)
        token_step = Mux(by_token, 1, length)
        channel_ends = Signal()
        token_ends = Signal()
        m.d.sync += [
            channel_ends.eq(self.channel + channel_step == channels(self.form)),
            token_ends.eq(self.token + token_step == self.config.kv.page_tokens),
        ]
        m.d.comb += self.last.eq(channel_ends & token_ends)
        with m.If(self.advance):
            m.d.sync += self.channel.eq(Mux(channel_ends, 0, self.channel + channel_step))
            with m.If(channel_ends):
                m.d.sync += self.token.eq(Mux(token_ends, 0, self.token + token_step))
        with m.If(self.restart):
            m.d.sync += [self.token.eq(0), self.channel.eq(0)]
        return m
