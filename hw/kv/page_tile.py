"""Page tile: packed pages of keys or values and activations in, scores or weighted sums out.

Meaning: ``golden.kv.array.accumulate`` of one page: page reader, array feed and tile.
"""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw import payloads
from hw.config import Config
from hw.kv.array_feed import ArrayFeed
from hw.kv.page_reader import ERRORS, PageReader
from hw.kv.payloads import page_format, word
from hw.pe.tile import Tile

__all__ = ["PageTile"]


class PageTile(wiring.Component):
    """Multiply page after page, each by its own activations.

    Members:
        formats, words (in streams): pages, as of ``PageReader``.
        top_field (in): as of ``ArrayFeed``.
        activations (in stream): queries or weights, one vector a page.
        factors (out stream): scales and minima to fold into the activations of a page.
        results (out stream): FP32 results, one for each output of a page.
        error_format, error_short, error_long, error_trits, error_group (out): as of reader and feed.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = config.memory_bits
        super().__init__(
            {
                "formats": In(stream.Signature(page_format(config))),
                "words": In(stream.Signature(word(width))),
                "top_field": In(5),
                "activations": In(stream.Signature(payloads.activation_beat(config))),
                "factors": Out(stream.Signature(word(width))),
                "results": Out(stream.Signature(payloads.result(config))),
                **dict.fromkeys((*ERRORS, "error_group"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = PageReader(self.config)
        m.submodules.feed = feed = ArrayFeed(self.config)
        m.submodules.tile = tile = Tile(self.config)
        connect(m, flipped(self.formats), reader.formats)
        connect(m, flipped(self.words), reader.words)
        for name in ("headers", "numbers", "beats"):
            connect(m, getattr(reader, name), getattr(feed, name))
        for name in ("passes", "chunks", "scales", "channels"):
            connect(m, getattr(feed, name), getattr(tile, name))
        connect(m, flipped(self.activations), tile.beats)
        connect(m, feed.factors, flipped(self.factors))
        connect(m, tile.results, flipped(self.results))
        m.d.comb += [getattr(self, name).eq(getattr(reader, name)) for name in ERRORS]
        m.d.comb += [self.error_group.eq(feed.error_group), feed.top_field.eq(self.top_field)]
        return m
