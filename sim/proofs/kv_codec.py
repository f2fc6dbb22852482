"""Properties of the KV packers and the unpacker."""

import itertools

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from golden.kv.codings import CODINGS
from hw.config import Config
from hw.kv.packer import Packer
from hw.kv.payloads import CODE_BITS, Coding, code_beat
from hw.kv.unpacker import Unpacker

__all__ = ["RoundTrip", "StreamRules", "codec_config"]

IN_FLIGHT = 3
"""Beats that packer and unpacker hold together, at most."""


def codec_config(width: int) -> Config:
    """A configuration with words of any multiple of 8 bits; proofs use shorter ones than memories do."""
    return Config().model_copy(update={"memory_bits": width})


class StreamRules(Elaboratable):
    """Valid and payload of a stream stay until ready.

    Args:
        watched: the stream, only looked at.
        claim: ``Assert`` for an output, ``Assume`` for an input of the design.
    """

    def __init__(self, watched: stream.Interface, claim: type) -> None:
        self.watched, self.claim = watched, claim

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stalled, before = Signal(), Signal(len(self.watched.payload.as_value()))
        payload = self.watched.payload.as_value()
        m.d.sync += [stalled.eq(self.watched.valid & ~self.watched.ready), before.eq(payload)]
        m.d.comb += self.claim(~stalled | (self.watched.valid & (payload == before)))
        return m


class RoundTrip(wiring.Component):
    """The unpacker behind the packer gives every beat back, once and in order, whatever the stalls.

    A solver chooses all inputs: beats of legal codes in pages of any length, stalls at both ends and between
    the two. Claimed: what comes out is what went in, coding and ``last`` included, beat by beat; no beat
    comes out that did not go in; never more than ``IN_FLIGHT`` are inside, so none is lost; both outputs obey
    the stream rules.

    Args:
        config: from ``codec_config``.
        codes: whether the codes are compared; without, only coding and ``last`` of each beat.
        coding: the only coding of all pages; any by default.
        trits: values that codes of trits take.

    Members:
        beats (in): beats of codes.
        ready (in): whether a beat is taken at the end.
        pause (in): no word moves from the packer to the unpacker.
    """

    def __init__(
        self, config: Config, codes: bool, coding: Coding | None = None, trits: tuple[int, ...] = (0, 1, 2)
    ) -> None:
        self.config, self.codes, self.coding, self.trits = config, codes, coding, trits
        super().__init__(
            {
                "beats": In(stream.Signature(code_beat(config.memory_bits))),
                "ready": In(1),
                "pause": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.packer = packer = Packer(self.config)
        m.submodules.unpacker = unpacker = Unpacker(self.config)
        m.d.comb += [
            Assume(~ResetSignal()),
            packer.beats.payload.eq(self.beats.payload),
            packer.beats.valid.eq(self.beats.valid),
            self.beats.ready.eq(packer.beats.ready),
            unpacker.words.payload.eq(packer.words.payload),
            unpacker.words.valid.eq(packer.words.valid & ~self.pause),
            packer.words.ready.eq(unpacker.words.ready & ~self.pause),
            unpacker.beats.ready.eq(self.ready),
        ]
        m.submodules.input_rules = StreamRules(self.beats, Assume)
        m.submodules.word_rules = StreamRules(packer.words, Assert)
        m.submodules.output_rules = StreamRules(unpacker.beats, Assert)
        _assume_pages(m, self.beats, self.coding, self.trits)

        entered, left = Signal(), Signal()
        inside = Signal(range(IN_FLIGHT + 2))
        shape = self.beats.payload.shape()
        queue = [Signal(shape, name=f"queue_{place}") for place in range(IN_FLIGHT + 1)]
        m.d.comb += [
            entered.eq(self.beats.valid & self.beats.ready),
            left.eq(unpacker.beats.valid & self.ready),
            Assert(~unpacker.beats.valid | (inside != 0)),
            Assert(inside <= IN_FLIGHT),
        ]
        m.d.sync += inside.eq(inside + entered - left)
        for place, (here, above) in enumerate(itertools.pairwise(queue)):
            with m.If(entered & (inside - left == place)):
                m.d.sync += here.eq(self.beats.payload)
            with m.Elif(left):
                m.d.sync += here.eq(above)
        with m.If(unpacker.beats.valid):
            oldest = queue[0]
            m.d.comb += Assert(unpacker.beats.p.last == oldest.last)
            m.d.comb += Assert(unpacker.beats.p.coding == oldest.coding)
            if self.codes:
                m.d.comb += Assert(unpacker.beats.p.codes.as_value() == oldest.codes.as_value())
        return m


def _assume_pages(m: Module, beats: stream.Interface, only: Coding | None, trits: tuple[int, ...]) -> None:
    """Codes that fit their coding, one coding a page, no reserved one."""
    within, coding = Signal(), Signal(3)
    now = beats.p.coding.as_value()
    with m.If(beats.valid & beats.ready):
        m.d.sync += [within.eq(~beats.p.last), coding.eq(now)]
    m.d.comb += Assume(~within | (now == coding))
    m.d.comb += Assume(now < len(CODINGS) if only is None else now == only.value)
    for code in beats.p.codes:
        with m.Switch(now):
            for number, entry in enumerate(CODINGS):
                with m.Case(number):
                    if entry.trits:
                        m.d.comb += Assume(Cat(code == trit for trit in trits).any())
                    elif entry.bits < CODE_BITS:
                        m.d.comb += Assume(code < 1 << entry.bits)
