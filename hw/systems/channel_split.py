"""Channel split: tokens of keys to their anomalous and their other channels, each in ascending order.

Meaning: the mask of ``golden.systems.vidkv.channel_mask`` as a permutation that is done once, ahead of the
quantiser: a key becomes two pages, one of 2 bits and one of 1 bit, whose scores add.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP
from hw.numbers.pipeline import hold
from hw.selection.payloads import score_lanes, selected_tokens
from hw.systems.payloads import channel_element, head_channels

__all__ = ["ChannelSplit"]


class ChannelSplit(wiring.Component):
    """Send each element to one of two streams, by the bit of its channel.

    An element a cycle, as long as the stream that it goes to is ready. After the last element of some tokens
    the next channels and mask are taken, which is a word a cycle.

    Members:
        channels (in stream): of a head, in units of 16; ahead of the mask.
        masks (in stream): a bit for each channel, as a ``Selector`` gives them.
        elements (in stream): tokens in order, ``last`` with the last element of the last one.
        anomalous, normal (out streams): their elements; ``last`` with the last one of a token.
        error_format, error_short (out): one cycle for an impossible number of channels, whose mask and tokens
            are left out, or for a last token that is not complete.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lanes = score_lanes(config)
        self.word = Signal(self.lanes)
        self.final = {
            name: Signal(range(config.kv.channels), name=f"final_{name}", reset_less=True)
            for name in ("anomalous", "normal")
        }
        super().__init__(
            {
                "channels": In(stream.Signature(head_channels(config))),
                "masks": In(stream.Signature(selected_tokens(config))),
                "elements": In(stream.Signature(channel_element)),
                "anomalous": Out(stream.Signature(channel_element)),
                "normal": Out(stream.Signature(channel_element)),
                **dict.fromkeys(("error_format", "error_short"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        most = self.config.kv.channels
        last_channel = Signal(range(most), reset_less=True)
        channel = Signal(range(most))
        taken = Signal()
        drops = Signal(reset_less=True)
        room = Signal()
        legal = (self.channels.payload != 0) & (self.channels.payload <= most // SHORTEST_GROUP)
        following = Mux(taken, Mux(channel == last_channel, 0, channel + 1), channel)
        m.d.sync += [channel.eq(following), Cat(self.error_format, self.error_short).eq(0)]
        with m.FSM(name="state") as sequence:
            with m.State("channels"):
                m.d.comb += self.channels.ready.eq(1)
                m.d.sync += [
                    channel.eq(0),
                    last_channel.eq((self.channels.payload << ceil_log2(SHORTEST_GROUP)) - 1),
                    drops.eq(~legal),
                ]
                with m.If(self.channels.valid):
                    m.d.sync += self.error_format.eq(~legal)
                    m.next = "mask"
            with m.State("mask"):
                m.d.comb += self.masks.ready.eq(1)
                with m.If(self.masks.valid & self.masks.payload.last):
                    m.next = "first bit"
            with m.State("first bit"):
                m.next = "elements"
            with m.State("elements"):
                m.d.comb += [
                    self.elements.ready.eq(room | drops),
                    taken.eq(self.elements.valid & room & ~drops),
                ]
                with m.If(self.elements.valid & self.elements.ready & self.elements.payload.last):
                    m.d.sync += self.error_short.eq(~drops & (channel != last_channel))
                    m.next = "channels"
        self._mask(m, sequence.ongoing("mask"), following, last_channel)
        chosen = Signal()
        row = hold(m, None, "place", following[: exact_log2(self.lanes)])
        m.d.comb += chosen.eq(self.word.bit_select(row, 1))
        for name, wanted in (("anomalous", chosen), ("normal", ~chosen)):
            out = getattr(self, name)
            free = Signal(name=f"{name}_free")
            m.d.comb += free.eq(~out.valid | out.ready)
            with m.If(wanted):
                m.d.comb += room.eq(free)
            with m.If(free):
                m.d.sync += [
                    out.valid.eq(taken & wanted),
                    out.payload.element.eq(self.elements.payload.element),
                    out.payload.last.eq(channel == self.final[name]),
                ]
        return m

    def _mask(self, m: Module, arrives: Value, following: Value, last_channel: Value) -> None:
        """Keep the words of a mask and its last channel of either kind; look up a channel's word."""
        bits = memory.Memory(shape=self.lanes, depth=-(-self.config.kv.channels // self.lanes), init=[])
        m.submodules.bits = bits
        write = bits.write_port()
        read = bits.read_port()
        number = Signal.like(write.addr)
        mask = self.masks.payload
        m.d.comb += [
            write.addr.eq(number),
            write.data.eq(mask.chosen),
            write.en.eq(arrives & self.masks.valid),
            read.addr.eq(following >> exact_log2(self.lanes)),
            self.word.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += number.eq(Mux(mask.last, 0, number + 1))
            for place in range(self.lanes):
                channel = Signal(range(bits.depth * self.lanes), name=f"channel_{place}")
                m.d.comb += channel.eq(Cat(Const(place, exact_log2(self.lanes)), number))
                with m.If(channel <= last_channel):
                    with m.If(mask.chosen[place]):
                        m.d.sync += self.final["anomalous"].eq(channel)
                    with m.Else():
                        m.d.sync += self.final["normal"].eq(channel)
