"""Page writer: pages of float16 keys or values to words of memory, metadata first.

Meaning: ``golden.kv.formats.Format.quantize``, then ``golden.kv.pages.PageLayout.pack``; ``top`` as of
``golden.kv.window.close``.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.config import Config
from hw.kv.lane_packer import LanePacker
from hw.kv.payloads import TOP_BITS, element_beat, page_record, written_word
from hw.kv.quantiser import FLAGS, Quantiser

__all__ = ["PageWriter"]


class PageWriter(wiring.Component):
    """Write page after page; one leaves in ``quantiser.page_cycles`` cycles, while the next one comes in.

    Members:
        formats (in stream): of every page, ahead of its elements, with ``top``.
        elements (in stream): tokens in order, ``last`` with the page's last beat.
        words (out stream): pages, ``last`` with a page's last word, which is filled up with zeros and
            brings ``top``, raised to the page's own steps and offsets.
        clamped, error_format, error_short, error_long (out): as of ``Quantiser``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "formats": In(stream.Signature(page_record(config))),
                "elements": In(stream.Signature(element_beat(config))),
                "words": Out(stream.Signature(written_word(config.memory_bits))),
                **dict.fromkeys(FLAGS, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.quantiser = quantiser = Quantiser(self.config)
        m.submodules.packer = packer = LanePacker(self.config)
        connect(m, flipped(self.formats), quantiser.formats)
        connect(m, flipped(self.elements), quantiser.elements)
        connect(m, quantiser.beats, packer.beats)
        top = Signal(TOP_BITS)  # of the word that the packer gathers
        beats = packer.beats
        with m.If(beats.valid & beats.ready):
            m.d.sync += top.eq(Mux(beats.payload.last, quantiser.largest, 0))
        m.d.comb += [getattr(self, flag).eq(getattr(quantiser, flag)) for flag in FLAGS]
        m.d.comb += [
            self.words.valid.eq(packer.words.valid),
            packer.words.ready.eq(self.words.ready),
            self.words.payload.data.eq(packer.words.payload.data),
            self.words.payload.last.eq(packer.words.payload.last),
            self.words.payload.top.eq(top),
        ]
        return m
