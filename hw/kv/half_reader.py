"""Half reader: packed pages to float16, for users without our array: page reader and dequantiser.

Meaning: ``golden.kv.pages.PageLayout.unpack``, then ``golden.kv.formats.Format.decode_half``.
"""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.dequantiser import Dequantiser
from hw.kv.page_reader import ERRORS, PageReader
from hw.kv.payloads import page_format, value_beat, word

__all__ = ["HalfReader"]


class HalfReader(wiring.Component):
    """Read and decode page after page, in the order in which they lie; as fast as ``Dequantiser``.

    Members:
        formats, words (in streams): pages, as of ``PageReader``.
        elements (out stream): values, as of ``Dequantiser``.
        error_format, error_short, error_long, error_trits (out): as of ``PageReader``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "formats": In(stream.Signature(page_format(config))),
                "words": In(stream.Signature(word(config.memory_bits))),
                "elements": Out(stream.Signature(value_beat(config))),
                **dict.fromkeys(ERRORS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = PageReader(self.config)
        m.submodules.dequantiser = dequantiser = Dequantiser(self.config)
        connect(m, flipped(self.formats), reader.formats)
        connect(m, flipped(self.words), reader.words)
        for name in ("headers", "numbers", "beats"):
            connect(m, getattr(reader, name), getattr(dequantiser, name))
        connect(m, dequantiser.elements, flipped(self.elements))
        m.d.comb += [getattr(self, name).eq(getattr(reader, name)) for name in ERRORS]
        return m
