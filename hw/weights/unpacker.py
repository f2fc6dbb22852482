"""Unpacker: packets of packed weights to chunks of codes, group scales and channel scales.

Meaning: ``golden.weights.layout``, which documents the packets.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numbers import scales
from golden.weights.packet import HEADER_BITS
from hw import payloads
from hw.config import Config
from hw.weights.header_check import HeaderCheck
from hw.weights.lane_mapper import LaneMapper, lane_maps
from hw.weights.packet_plan import PacketPlan, header_layout, joined_scales, metadata_bits, plan_layout
from hw.weights.realigner import Realigner
from hw.weights.scale_loader import ScaleLoader
from hw.weights.unpack_sequencer import UnpackSequencer

__all__ = ["Unpacker"]


class Unpacker(wiring.Component):
    """Unpack weights at up to one word and one chunk a cycle.

    With W = word_bits and R = rows, and no stall anywhere, a packet takes one cycle to load its first word,
    ceil(256 / W) for its header, ``bits_for(chunks) + 2`` for the check and one to offer ``header``. Then a
    row block takes

    * ``takes`` cycles a chunk: ceil(lanes / floor(W / (R x bits))), for ternary ceil(chunk bits / W);
    * no cycle for a group's scales and the next group's selectors if they are at most 24 granules of R bits
      (and at most one word) and lie, like the chunk before them, within the two words at hand. Otherwise
      they take one cycle if they are at most that long, else one for selectors and one for each word that the
      scales need;
    * one cycle for the first group's selectors, if there are any, and one for the channels.

    So a matrix whose chunks fill whole words (W = lanes x R x bits) is read as fast as its words come, and
    two or three cycles more a row block.

    A chunk's earlier windows wait in a staging register, so that reading overlaps with the use of the chunk
    before: a consumer that needs ``takes`` or more cycles a chunk gets the next one without a gap. Scales are
    read ahead in the same way.

    Bad packets never stop the stream. An illegal header (``error_header``) and one that is refused drop
    their packet. Where ``last`` comes too early (``error_short``) zeros stand for the missing bits and
    ``error`` is set in the ``channels`` of the row blocks that they belong to; the packet still gives all
    the beats that its header promises. Words after the end (``error_long``) are dropped. The next packet is
    always read from its own first word.

    Every output's valid and payload come from registers, but for short sums of registers in ``header``;
    ``words.ready`` depends on the ready of ``chunks`` and ``channels``.

    Members:
        words (in): packets, each closed by ``last``.
        header (out): once a packet with a legal header, before anything else of it.
        reject (in): in the cycle in which ``header`` is accepted: drop the packet.
        chunks (out): codes.
        scales (out): one beat a group, after its chunks.
        channels (out): one beat a row block, after its last group.
        error_header, error_short, error_long (out): high for one cycle for each such packet.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(payloads.word(config))),
                "header": Out(stream.Signature(payloads.packet_header(config))),
                "reject": In(1),
                "chunks": Out(stream.Signature(payloads.chunk(config))),
                "scales": Out(stream.Signature(payloads.group_scales(config))),
                "channels": Out(stream.Signature(payloads.channels(config))),
                "error_header": Out(1),
                "error_short": Out(1),
                "error_long": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.realigner = realigner = Realigner(config)
        m.submodules.sequencer = sequencer = UnpackSequencer(config)
        m.submodules.scale_loader = loader = ScaleLoader(config)
        window = realigner.window
        metadata = self._metadata(m, sequencer, window)
        wiring.connect(m, wiring.flipped(self.words), realigner.words)
        wiring.connect(m, loader.scales, wiring.flipped(self.scales))
        for name in "granules", "more", "take", "finish", "drop":
            m.d.comb += getattr(realigner, name).eq(getattr(sequencer, name))
        m.d.comb += [
            sequencer.available.eq(realigner.available),
            sequencer.missing.eq(realigner.missing),
            sequencer.whole.eq(realigner.whole),
            loader.window.eq(metadata),
            loader.plan.eq(sequencer.plan),
            loader.step.eq(Mux(sequencer.begin.codes, 0, sequencer.step)),
            loader.load.eq(sequencer.load.scales),
            sequencer.room.scales.eq(loader.room),
            self.error_header.eq(sequencer.error_header),
            self.error_short.eq(sequencer.error_short),
        ]
        m.d.sync += self.error_long.eq(realigner.surplus)
        header = self._header(m, sequencer, window)
        self._chunks(m, sequencer, window, self._selectors(m, sequencer, window, metadata))
        self._channels(m, sequencer, window, header.output)
        return m

    def _metadata(self, m: Module, sequencer: UnpackSequencer, window: Value) -> Value:
        """The window from its begin or, after codes that it is read together with, from their end."""
        metadata = Signal(metadata_bits(self.config))
        m.d.comb += metadata.eq(window)
        with m.If(sequencer.begin.codes), m.Switch(sequencer.plan.code_granules[1]):
            for granules in sorted({entry.granules[1] for entry in lane_maps(self.config)}):
                with m.Case(granules):
                    m.d.comb += metadata.eq(window[granules * self.config.rows :])
        return metadata

    def _header(self, m: Module, sequencer: UnpackSequencer, window: Value) -> data.View:
        """Collect the header, plan the packet and offer it downstream."""
        m.submodules.plan = table = PacketPlan(self.config)
        m.submodules.check = check = HeaderCheck(self.config)
        header = Signal(header_layout, reset_less=True)
        plan = Signal(plan_layout(self.config), name="held_plan", reset_less=True)
        with m.If(sequencer.load.header):
            part = window[: min(self.config.word_bits, HEADER_BITS)]
            m.d.sync += header.as_value().eq(Cat(header.as_value()[len(part) :], part))
        m.d.sync += plan.eq(table.plan)
        m.d.comb += [
            table.header.eq(header),
            check.header.eq(header),
            check.known.eq(table.known),
            check.start.eq(sequencer.start_check),
            sequencer.plan.eq(plan),
            sequencer.summary.eq(check.summary),
            sequencer.counts.eq(check.counts),
            sequencer.checked.eq(check.done),
            sequencer.legal.eq(check.legal),
            self.header.payload.eq(check.summary),
            self.header.valid.eq(sequencer.offer),
            sequencer.answer.eq(self.header.ready),
            sequencer.reject.eq(self.reject),
        ]
        return header

    def _chunks(self, m: Module, sequencer: UnpackSequencer, window: Value, selectors: data.View) -> None:
        """Staged windows and the register of the chunk that is offered."""
        m.submodules.lanes = lanes = LaneMapper(self.config)
        staged = Signal(len(lanes.staged), reset_less=True)
        payload = Signal(self.chunks.p.shape(), name="held_chunk", reset_less=True)
        plan, load = sequencer.plan, sequencer.load
        m.d.comb += [
            lanes.staged.eq(staged),
            lanes.window.eq(window),
            lanes.select.eq(plan.lane_map),
            self.chunks.payload.eq(payload),
            sequencer.room.chunks.eq(~self.chunks.valid | self.chunks.ready),
        ]
        with m.If(load.part):
            m.d.sync += staged.word_select(sequencer.step, self.config.word_bits).eq(window)
        with m.If(self.chunks.ready):
            m.d.sync += self.chunks.valid.eq(0)
        with m.If(load.chunk):
            m.d.sync += [
                self.chunks.valid.eq(1),
                payload.codes.eq(lanes.codes),
                payload.selectors.eq(selectors),
                payload.format.eq(plan.format),
                payload.last.eq(sequencer.place.last),
                payload.final.eq(sequencer.place.final),
                payload.finished.eq(sequencer.place.finished),
            ]

    def _selectors(self, m: Module, sequencer: UnpackSequencer, window: Value, metadata: Value) -> data.View:
        """Selectors of the group whose chunks come next; they are first in the window or follow scales."""
        rows, plan, load = self.config.rows, sequencer.plan, sequencer.load
        selectors = Signal(self.chunks.p.selectors.shape(), reset_less=True)
        columns = Signal(2 * rows)
        m.d.comb += columns.eq(window)
        with m.If(sequencer.begin.as_value().any()), m.Switch(plan.scale_granules[0]):
            for granules in joined_scales(self.config):
                with m.Case(granules):
                    m.d.comb += columns.eq(metadata[granules * rows :])
        with m.If(sequencer.offer):
            m.d.sync += selectors.eq(0)
        with m.If(load.selectors):
            for row in range(rows):
                one, two = columns.bit_select(row, 1), columns.word_select(row, 2)
                m.d.sync += selectors[row].eq(Mux(plan.selector_bits == 1, one, two))
        return selectors

    def _channels(self, m: Module, sequencer: UnpackSequencer, window: Value, output: Value) -> None:
        """The register of the row block's channel scales."""
        place, rows = sequencer.place, self.config.rows
        payload = Signal(self.channels.p.shape(), name="held_channels", reset_less=True)
        m.d.comb += sequencer.room.channels.eq(~self.channels.valid | self.channels.ready)
        m.d.comb += self.channels.payload.eq(payload)
        with m.If(self.channels.ready):
            m.d.sync += self.channels.valid.eq(0)
        with m.If(sequencer.load.channels):
            m.d.sync += [
                self.channels.valid.eq(1),
                payload.count.eq(Mux(place.finished, sequencer.counts.last_rows, rows)),
                payload.output.eq(output),
                payload.reach.eq(sequencer.plan.reach),
                payload.last.eq(place.finished),
                payload.error.eq(sequencer.error),
            ]
            for row in range(rows):
                exponent = window.word_select(row, scales.CHANNEL_EXPONENT_BITS)
                m.d.sync += payload.rows[row].exponent.eq(exponent)
