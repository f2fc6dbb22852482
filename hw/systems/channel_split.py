"""Channel split: tokens of keys to their anomalous and their other channels, each in ascending order.

Meaning: the mask of ``golden.systems.vidkv.channel_mask`` as a permutation that is done once, ahead of the
quantiser: a key becomes two pages, one of 2 bits and one of 1 bit, whose scores add.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP
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
        words = -(-most // self.lanes)
        m.submodules.bits = bits = memory.Memory(shape=self.lanes, depth=words, init=[])
        write = bits.write_port()
        read = bits.read_port()
        word = Signal(range(words))
        channel = Signal(range(most))
        following = Signal(range(most))
        last_channel = Signal(range(most), reset_less=True)
        final = {
            name: Signal(range(most), name=f"final_{name}", reset_less=True)
            for name in ("anomalous", "normal")
        }
        chosen = Signal()
        taken = Signal()
        offered, mask = self.elements.payload, self.masks.payload
        lane_bits = exact_log2(self.lanes)
        m.d.comb += [
            write.addr.eq(word),
            write.data.eq(mask.chosen),
            read.addr.eq(following >> lane_bits),
            chosen.eq(read.data.bit_select(channel[:lane_bits], 1)),
            following.eq(Mux(taken, Mux(channel == last_channel, 0, channel + 1), channel)),
        ]
        m.d.sync += [channel.eq(following), self.error_format.eq(0), self.error_short.eq(0)]
        for place in range(self.lanes):
            number = Signal(range(words * self.lanes), name=f"number_{place}")
            m.d.comb += number.eq((word << lane_bits) + place)
            with m.If(write.en & (number <= last_channel)):
                with m.If(mask.chosen[place]):
                    m.d.sync += final["anomalous"].eq(number)
                with m.Else():
                    m.d.sync += final["normal"].eq(number)
        legal = (self.channels.payload != 0) & (self.channels.payload <= most // SHORTEST_GROUP)
        drops = Signal()
        room = Signal()
        with m.FSM(name="state"):
            with m.State("channels"):
                m.d.comb += self.channels.ready.eq(1)
                m.d.sync += [word.eq(0), channel.eq(0), drops.eq(~legal)]
                m.d.sync += last_channel.eq((self.channels.payload << ceil_log2(SHORTEST_GROUP)) - 1)
                with m.If(self.channels.valid):
                    m.d.sync += self.error_format.eq(~legal)
                    m.next = "mask"
            with m.State("mask"):
                m.d.comb += [self.masks.ready.eq(1), write.en.eq(self.masks.valid & ~drops)]
                with m.If(self.masks.valid):
                    m.d.sync += word.eq(word + 1)
                    with m.If(mask.last):
                        m.next = "look up"
            with m.State("look up"):
                m.next = "elements"
            with m.State("elements"):
                m.d.comb += [
                    self.elements.ready.eq(room | drops),
                    taken.eq(self.elements.valid & room & ~drops),
                ]
                with m.If(self.elements.valid & self.elements.ready & offered.last):
                    m.d.sync += self.error_short.eq(~drops & (channel != last_channel))
                    m.next = "channels"
        for name, wanted in (("anomalous", chosen), ("normal", ~chosen)):
            out = getattr(self, name)
            free = Signal(name=f"{name}_free")
            m.d.comb += free.eq(~out.valid | out.ready)
            with m.If(wanted):
                m.d.comb += room.eq(free)
            with m.If(free):
                m.d.sync += out.valid.eq(taken & wanted)
                m.d.sync += [
                    out.payload.element.eq(offered.element),
                    out.payload.last.eq(channel == final[name]),
                ]
        return m
