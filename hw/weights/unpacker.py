"""Unpacker: packets of packed weights to chunks of codes, group scales and channel scales.

Meaning: ``golden.weights.layout``, which documents the packets.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw import payloads
from hw.config import Config
from hw.weights.chunk_loader import ChunkLoader, code_load_layout
from hw.weights.header_check import HeaderCheck
from hw.weights.header_reader import HeaderReader
from hw.weights.lane_mapper import lane_maps
from hw.weights.metadata_loader import MetadataLoader
from hw.weights.packet_plan import PacketPlan, plan_layout
from hw.weights.realigner import Realigner
from hw.weights.unpack_sequencer import UnpackSequencer
from hw.weights.window_slice import word_granules

__all__ = ["Unpacker"]


class Unpacker(wiring.Component):
    """Unpack weights at up to one word and one chunk a cycle.

    With W = memory_bits and R = rows, and no stall anywhere, a packet takes one cycle to load its first word,
    ceil(256 / W) for its header, ``bits_for(chunks) + 2`` for the check, two to offer ``header`` and to note
    the answer, one to ask for its first window, and one for its first selectors if it has any. Then it is
    read a window a cycle:

    * ceil(chunk bits / W) windows a chunk. Where these are two and the array needs one cycle, as with codes
      of 3 bits and W = 2 lanes x R, one window has both if the two words at hand hold it;
    * a group's scales, with a row block's last group the channels, and the next group's selectors are one
      piece. It comes with the last codes of its group if the two words at hand hold both; else alone, in one
      window if it is at most W bits long or in the two words at hand, else in one window a word.

    A window that leaves out what comes next does so because the words at hand do not hold it, so it reaches
    into the second one: where chunks fill whole words, and with codes of 3 bits as above, every window takes
    a word (if metadata is at most 2 W bits long), and a packet is read as fast as its words come.

    A chunk's earlier windows wait in a staging register, so that reading overlaps with the use of the chunk
    before: a consumer that needs ``takes`` or more cycles a chunk gets the next one without a gap. Metadata
    is read one group ahead in the same way. Chunks are valid one cycle after their last window, scales and
    channels two.

    Bad packets never stop the stream. An illegal header (``error_header``) and one that is refused drop
    their packet. Where ``last`` comes too early (``error_short``) zeros stand for the missing bits and
    ``error`` is set in the ``channels`` of the row blocks that they belong to; the packet still gives all
    the beats that its header promises. Words after the end (``error_long``) are dropped. The next packet is
    always read from its own first word.

    Every output's valid and payload come from registers, but for short sums of registers in ``header``;
    ``words.ready`` depends on the ready of ``chunks``, on ``words.valid``, and otherwise on registers through
    few gates.

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
        m.submodules.metadata_loader = loader = MetadataLoader(config)
        wiring.connect(m, wiring.flipped(self.words), realigner.words)
        wiring.connect(m, sequencer.requests, realigner.requests)
        m.d.comb += [
            realigner.take.eq(sequencer.take),
            realigner.drop.eq(sequencer.drop),
            sequencer.available.eq(realigner.available),
            sequencer.missing.eq(realigner.missing),
            sequencer.cut.eq(realigner.cut),
            sequencer.extended.eq(realigner.extended),
            self.error_header.eq(sequencer.error_header),
            self.error_short.eq(sequencer.error_short),
        ]
        m.d.sync += self.error_long.eq(realigner.surplus)
        header, last_rows = self._header(m, sequencer, loader.room, realigner.front)
        m.d.comb += [loader.output.eq(header.output), loader.last_rows.eq(last_rows)]
        self._chunks(m, sequencer, realigner.window, loader.selectors, header.specials)
        self._metadata(m, sequencer, loader, realigner.window)
        return m

    def _header(
        self, m: Module, sequencer: UnpackSequencer, room: Value, part: Value
    ) -> tuple[data.View, Value]:
        """Collect the header, plan the packet and offer it; returns it and the rows of its last row block."""
        m.submodules.reader = reader = HeaderReader(self.config)
        m.submodules.table = table = PacketPlan(self.config)
        m.submodules.check = check = HeaderCheck(self.config)
        plan = Signal(plan_layout(self.config), name="held_plan", reset_less=True)
        # The metadata loader needs a packet's plan for the last columns that it keeps.
        m.d.sync += sequencer.planned.eq(room)
        with m.If(room):
            m.d.sync += plan.eq(table.plan)
        m.d.comb += [
            reader.part.eq(part),
            reader.load.eq(sequencer.load.header),
            reader.step.eq(sequencer.shown.step),
            table.header.eq(reader.header),
            check.header.eq(reader.header),
            check.odd.eq(reader.odd),
            check.known.eq(table.known),
            check.start.eq(sequencer.start_check),
            sequencer.plan.eq(plan),
            sequencer.summary.eq(check.summary),
            sequencer.checked.eq(check.done),
            sequencer.legal.eq(check.legal),
            self.header.payload.eq(check.summary),
            self.header.valid.eq(sequencer.offer),
            sequencer.answer.eq(self.header.ready),
            sequencer.reject.eq(self.reject),
        ]
        return reader.header, check.last_rows

    def _chunks(
        self, m: Module, sequencer: UnpackSequencer, window: Value, selectors: data.View, specials: Value
    ) -> None:
        """Connect the loader of chunks."""
        m.submodules.chunk_loader = loader = ChunkLoader(self.config)
        shown, load = sequencer.shown, sequencer.load
        wiring.connect(m, loader.chunks, wiring.flipped(self.chunks))
        m.d.comb += [
            loader.window.eq(window),
            *(loader.load[name].eq(load[name]) for name in code_load_layout.members),
            loader.step.eq(shown.step),
            loader.undivided.eq(shown.undivided),
            loader.lane_map.eq(sequencer.plan.lane_map),
            loader.format.eq(sequencer.plan.format),
            loader.format.specials.as_value().eq(specials),
            loader.selectors.eq(selectors),
            loader.place.eq(shown.place),
            sequencer.room.chunks.eq(loader.room),
        ]

    def _metadata(self, m: Module, sequencer: UnpackSequencer, loader: MetadataLoader, window: Value) -> None:
        """Connect the loader of metadata, which lie at the window's begin or behind a chunk's end."""
        shown, load, plan = sequencer.shown, sequencer.load, sequencer.plan
        wiring.connect(m, loader.scales, wiring.flipped(self.scales))
        wiring.connect(m, loader.channels, wiring.flipped(self.channels))
        m.d.comb += [
            loader.window.eq(window),
            loader.plan.eq(plan),
            loader.step.eq(shown.step),
            loader.complete.eq(shown.complete),
            loader.place.eq(shown.place),
            loader.error.eq(sequencer.error),
            loader.load.eq(load.metadata),
            loader.select.eq(load.selectors),
            sequencer.room.metadata.eq(loader.room),
        ]
        ends = {(entry.granules, False) for entry in lane_maps(self.config)}
        ends |= {(entry.granules, True) for entry in lane_maps(self.config) if entry.undivided}
        with m.If(shown.load.chunks), m.Switch(Cat(shown.undivided, plan.code_granules)):
            for granules, undivided in sorted(ends):
                with m.Case(granules << 1 | undivided):
                    begin = granules + (word_granules(self.config) if undivided else 0)
                    m.d.comb += loader.window.eq(window[begin * self.config.rows :])
