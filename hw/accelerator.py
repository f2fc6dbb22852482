"""The accelerator: packets of packed weights and activation vectors in, results out, over AXI.

Meaning: ``golden.matvec`` for numbers, ``golden.weights.layout`` for packets. Unpacker and tile, a controller
that pairs packets with vectors, and the registers.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from golden.numbers.datatypes import LANE_BITS
from hw import payloads
from hw.bus import axi_stream, registers
from hw.bus.registers import Registers
from hw.config import Config
from hw.payloads import ActivationFormat
from hw.pe.term_table import TermTable
from hw.pe.tile import Tile
from hw.weights.unpacker import Unpacker

__all__ = ["Accelerator"]

_EXPONENTS = {ActivationFormat.FP16: slice(10, 15), ActivationFormat.BF16: slice(7, 15)}


class Accelerator(wiring.Component):
    """Products of low-bit matrices, one a packet, and FP16 or BF16 vectors.

    Packets and vectors are paired in the order in which they come. A packet is multiplied by the present
    vector, which then makes way for the next one unless the packet's header says ``keep_activations``. If the
    vector's length in beats is not ceil(inputs / activation_lanes), or its groups are not the packet's, the
    packet is dropped without results and counted, and the vector goes or stays as the header says, so that
    the packets behind it meet their own vectors. An illegal header drops its packet and no vector. No bad
    input stops the streams.

    A row block takes the sum over its groups of chunks * terms cycles while words, activations and results
    keep up; the last result comes ``tile.fill_latency`` cycles after the last chunk was unpacked. The
    unpacker's docstring says how fast words are read.

    Members:
        weights (AXI4-Stream in): packets of ``golden.weights.layout``, whole words, ``tlast`` with the last.
        activations (AXI4-Stream in): ``activation_lanes`` elements of every token column a beat,
            ``[column][lane]``; missing bytes (``tkeep``) read as +0, ``tlast`` closes the vector. The
            format is the one that CONTROL holds when a vector's first beat is taken; in that beat ``tuser``
            says how often ``group`` is halved, to no less than 16, for the groups that it is aligned in.
        results (AXI4-Stream out): ``[unit][column]`` results of 32 bits, of consecutive output rows; 16-bit
            formats are in the low half. ``tkeep`` marks the rows that are meant, ``tlast`` ends a packet's
            results, ``tuser`` marks rows that a packet too short for its header does not have in full; row
            blocks before the cut are whole and unmarked.
        control (AXI4-Lite in): ``hw.bus.registers``.
        table (AXI4-Stream in): with ``config.table``, 16 values of 8 bits for its data type, that of code 0
            first; nothing is taken while a packet is on its way, and packets of that type must not come
            before all of them are taken.
    """

    def __init__(self, config: Config) -> None:
        self.config = config = config.changed(attention=False)
        self.result_rows = payloads.result(config)["rows"].shape
        super().__init__(
            {
                "weights": In(axi_stream.Signature(config.memory_bits)),
                "activations": In(
                    axi_stream.Signature(
                        payloads.activation_beat(config)["elements"].shape,
                        keep=True,
                        user=payloads.HALVING_BITS,
                    )
                ),
                "results": Out(axi_stream.Signature(self.result_rows, keep=True, user=1)),
                "control": In(registers.bus_signature()),
                **({"table": In(axi_stream.Signature(LANE_BITS))} if config.table else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unpacker = unpacker = Unpacker(self.config)
        m.submodules.tile = tile = Tile(self.config)
        m.submodules.registers = bank = Registers(self.config)
        connect(m, flipped(self.control), bank.bus)
        for name in "chunks", "scales", "channels":
            connect(m, getattr(unpacker, name), getattr(tile, name))

        m.d.comb += [
            *axi_stream.handshake_from(self.weights, unpacker.words),
            unpacker.words.p.data.eq(self.weights.tdata),
            unpacker.words.p.last.eq(self.weights.tlast),
            *axi_stream.handshake_to(tile.results, self.results),
            self.results.tdata.eq(tile.results.p.rows),
            self.results.tkeep.eq(axi_stream.keep_elements(self.result_rows, tile.results.p.count)),
            self.results.tlast.eq(tile.results.p.last),
            self.results.tuser.eq(tile.results.p.error),
        ]
        special = self._activations(m, tile, bank.settings.format)
        rejected = self._pair(m, unpacker, tile)
        busy, done = self._progress(m, unpacker, rejected)
        if self.config.table:
            m.submodules.term_table = table = TermTable()
            m.d.comb += [
                self.table.tready.eq(~busy),
                table.values.valid.eq(self.table.tvalid & ~busy),
                table.values.payload.eq(self.table.tdata),
                tile.term_table.eq(table.terms),
            ]
        events = bank.events
        m.d.comb += [
            events.overflow.eq(tile.overflow),
            events.special.eq(special),
            events.busy.eq(busy),
            events.header.eq(unpacker.error_header),
            events.short.eq(unpacker.error_short),
            events.long.eq(unpacker.error_long),
            events.mismatch.eq(rejected),
            events.vector.eq(tile.error_long),
            events.packet.eq(done),
        ]
        return m

    def _activations(self, m: Module, tile: Tile, form: Value) -> Value:
        """Feed the tile; returns that a NaN or an infinity was taken."""
        beat = tile.beats.p
        m.d.comb += [
            *axi_stream.handshake_from(self.activations, tile.beats),
            beat.elements.eq(axi_stream.kept(self.activations)),
            beat.last.eq(self.activations.tlast),
        ]
        # A vector has one format, whatever is written to CONTROL while it comes in.
        inside = Signal(name="inside_vector")
        kept_form = Signal(1)
        special = Signal()
        taken = tile.beats.valid & tile.beats.ready
        vector_form = Mux(inside, kept_form, form)
        m.d.comb += [beat.format.eq(vector_form), beat.halvings.eq(self.activations.tuser)]
        with m.If(taken):
            m.d.sync += [inside.eq(~beat.last), kept_form.eq(vector_form)]

        def is_special(element: Value) -> Value:
            fp16, bf16 = (element[bits].all() for bits in _EXPONENTS.values())
            return Mux(vector_form == ActivationFormat.BF16.value, bf16, fp16)

        found = [is_special(element) for column in beat.elements for element in column]
        m.d.sync += special.eq(taken & Cat(found).any())
        return special

    def _pair(self, m: Module, unpacker: Unpacker, tile: Tile) -> Value:
        """Answer a packet's header as soon as its vector is complete; returns that one was refused before."""
        header, passes = unpacker.header, tile.passes
        lanes = self.config.activation_lanes
        beats = (header.p.inputs + (lanes - 1)) >> ceil_log2(lanes)
        fits = Signal()
        refused = Signal()
        m.d.comb += [
            # Vectors of one length in as many groups have groups of one length, as each is half the next one.
            fits.eq((beats == tile.vector_beats) & (header.p.groups == tile.vector_groups)),
            unpacker.reject.eq(~fits),
            passes.valid.eq(header.valid & tile.vector_valid),
            header.ready.eq(passes.ready & tile.vector_valid),
            passes.p.count.eq(Mux(fits, header.p.blocks, 0)),
            passes.p.keep.eq(header.p.keep_activations),
        ]
        m.d.sync += refused.eq(passes.valid & passes.ready & ~fits)
        return refused

    def _progress(self, m: Module, unpacker: Unpacker, rejected: Value) -> tuple[Value, Value]:
        """Whether any packet is on its way, and the event that the last result of one has left."""
        # A packet on its way is somewhere: in the result buffer or in fewer than 64 other places.
        pending = Signal(range(self.config.result_beats + 64))
        inside = Signal(name="inside_packet")
        enters = Signal()
        done = Signal()
        busy = Signal()
        change = Signal(signed(3))
        word = self.weights.tvalid & self.weights.tready
        m.d.sync += [
            enters.eq(word & ~inside),
            done.eq(self.results.tvalid & self.results.tready & self.results.tlast),
            pending.eq(pending + change),
        ]
        with m.If(word):
            m.d.sync += inside.eq(~self.weights.tlast)
        m.d.comb += [
            change.eq(enters - done - rejected - unpacker.error_header),
            busy.eq(pending.any() | inside | enters),
        ]
        return busy, done
