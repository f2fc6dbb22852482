"""Ranges, selector and split in one design: keys in, then tokens, as two streams of channels."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.payloads import element_beat
from hw.selection.payloads import found_tokens
from hw.selection.selector import Selector
from hw.systems.channel_ranges import ChannelRanges
from hw.systems.channel_split import ChannelSplit
from hw.systems.payloads import channel_element, head_channels, ranges_request

__all__ = ["ChannelPlan"]


class ChannelPlan(wiring.Component):
    """The mask of some keys, and then tokens split by it.

    Members:
        requests, keys (in streams): as of ``ChannelRanges``.
        found (out stream): of the selector.
        channels, elements (in streams), anomalous, normal (out streams): as of ``ChannelSplit``.
        clamped, error_format, error_short (out): of ``ChannelRanges``.
        error_split_format, error_split_short (out): of ``ChannelSplit``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "requests": In(stream.Signature(ranges_request(config))),
                "keys": In(stream.Signature(element_beat(config))),
                "found": Out(stream.Signature(found_tokens)),
                "channels": In(stream.Signature(head_channels(config))),
                "elements": In(stream.Signature(channel_element)),
                "anomalous": Out(stream.Signature(channel_element)),
                "normal": Out(stream.Signature(channel_element)),
                **dict.fromkeys(("clamped", "error_format", "error_short"), Out(1)),
                **dict.fromkeys(("error_split_format", "error_split_short"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ranges = ranges = ChannelRanges(self.config)
        m.submodules.selector = selector = Selector(self.config)
        m.submodules.split = split = ChannelSplit(self.config)
        connect(m, flipped(self.requests), ranges.requests)
        connect(m, flipped(self.keys), ranges.elements)
        connect(m, ranges.selections, selector.requests)
        connect(m, selector.passes, ranges.passes)
        connect(m, ranges.scores, selector.scores)
        connect(m, selector.selected, split.masks)
        connect(m, selector.found, flipped(self.found))
        connect(m, flipped(self.channels), split.channels)
        connect(m, flipped(self.elements), split.elements)
        connect(m, split.anomalous, flipped(self.anomalous))
        connect(m, split.normal, flipped(self.normal))
        m.d.comb += [
            self.clamped.eq(ranges.clamped),
            self.error_format.eq(ranges.error_format),
            self.error_short.eq(ranges.error_short),
            self.error_split_format.eq(split.error_format),
            self.error_split_short.eq(split.error_short),
        ]
        return m
