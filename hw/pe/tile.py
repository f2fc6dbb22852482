"""Tile: activations and codes in, results out.

Meaning: ``golden.matvec``. Aligner, activation buffer, array and rescaler, with a small buffer for results so
that a row block's results never hold up the next block.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for

from hw import payloads
from hw.activations.activation_buffer import ActivationBuffer
from hw.activations.aligner import Aligner
from hw.config import Config
from hw.pe import array, rescaler
from hw.pe.array import Array
from hw.pe.rescaler import Rescaler

__all__ = ["Tile", "fill_latency", "product_cycles"]


def fill_latency(config: Config) -> int:
    """Cycles beyond the array's own from the first accepted chunk to the last result, without stalls.

    The last group passes through the array's pipeline and, row by row, through the rescale unit and the
    output converter, and each result through the result buffer.
    """
    buffered = 2 if config.result_beats else 0
    return array.dots_latency(config) + rescaler.latency(config) + config.slots - 1 + buffered


def product_cycles(
    config: Config, blocks: int, inputs: int, terms: int, offsets: bool = False, group: int | None = None
) -> int:
    """Cycles of a matrix-vector product in the array, without stalls.

    Every group takes chunks * terms cycles, unless it is so short that its rows take longer to rescale. With
    ``waiting_groups`` it is a bound: a short group may hide behind the one before.

    Args:
        config: the tile's configuration.
        blocks: row blocks.
        inputs: length of the vector.
        terms: terms of the data type.
        offsets: groups carry offsets, which may take two passes through a rescale unit.
        group: length of groups; the longest one by default.
    """
    group = group or config.group
    full, rest = divmod(inputs, group)
    lengths = [group // config.lanes] * full + [-(-rest // config.lanes)] * (rest > 0)
    turns = config.turns(offsets)
    return blocks * sum(max(array.group_cycles(config, chunks, terms), turns) for chunks in lengths)


class Tile(wiring.Component):
    """Matrix-vector products, one row block of ``rows`` outputs after the other.

    A row block takes the sum over its groups of chunks * terms cycles while its streams keep up, the last
    result of a product comes ``fill_latency`` cycles later.

    Members:
        beats (in stream): FP16 or BF16 activations; vectors wait in the activation buffer, two of any length,
            with ``config.attention`` up to eight short ones.
        vector_valid (out): a vector is complete for the next ``passes``.
        vector_beats, vector_groups (out): its length in beats and in groups.
        passes (in stream): how many row blocks to multiply by that vector, and whether to keep it.
        chunks, scales, channels (in streams): the matrix, from the unpacker.
        dots (out stream): with ``config.attention``, groups whose route is ``DOTS``, with the exponents of
            their activations; they have neither scales nor output scales.
        term_table (in): with ``config.term_table``, as of ``hw.pe.term_encoder``.
        settled (in): what takes ``dots`` takes steady groups every two cycles, as of ``hw.pe.array``.
        results (out stream): outputs.
        overflow (out): a value among the results became infinite.
        error_long (out): one cycle for a vector that was longer than ``maximum_inputs`` and was cut there.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        beats = config.maximum_inputs // config.activation_lanes
        super().__init__(
            {
                "beats": In(stream.Signature(payloads.activation_beat(config))),
                "vector_valid": Out(1),
                "vector_beats": Out(bits_for(beats)),
                "vector_groups": Out(bits_for(config.maximum_groups)),
                "passes": In(stream.Signature(payloads.passes)),
                "chunks": In(stream.Signature(payloads.chunk(config))),
                "scales": In(stream.Signature(payloads.group_scales(config))),
                "channels": In(stream.Signature(payloads.channels(config))),
                **(self._dots_ports() if config.attention else {}),
                **({"term_table": In(payloads.term_table)} if config.term_table else {}),
                "results": Out(stream.Signature(payloads.result(config))),
                "overflow": Out(1),
                "error_long": Out(1),
            }
        )

    def _dots_ports(self) -> dict[str, wiring.Member]:
        return {"dots": Out(stream.Signature(payloads.column_dots(self.config))), "settled": In(1)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.aligner = align = Aligner(config)
        m.submodules.activation_buffer = buffer = ActivationBuffer(config)
        m.submodules.array = products = Array(config)
        m.submodules.rescaler = rescale = Rescaler(config)

        connect(m, flipped(self.beats), align.beats)
        connect(m, align.aligned, buffer.aligned)
        self._passes(m, buffer)
        connect(m, buffer.activations, products.activations)
        connect(m, flipped(self.chunks), products.chunks)
        if not config.attention:
            connect(m, products.dots, rescale.dots)
        summaries = self._summaries(m, buffer, rescale)
        if config.attention:
            self._route(m, products, rescale, summaries)
        if config.term_table:
            m.d.comb += products.term_table.eq(self.term_table)
        self._scales(m, rescale)
        m.d.comb += [
            products.promise.eq(rescale.promise),
            self.vector_valid.eq(buffer.vector_valid),
            self.vector_beats.eq(buffer.vector_beats),
            self.vector_groups.eq(buffer.vector_groups),
            self.error_long.eq(align.error_long),
            self.overflow.eq(rescale.overflow),
        ]
        self._results(m, rescale)
        return m

    def _connect_waiting(self, m: Module, name: str, target: wiring.PureInterface) -> None:
        """Through a register, so that what the stream's source is at does not become the tile's readiness."""
        source = getattr(self, name)
        waiting = Signal.like(source.payload, name=f"waiting_{name}", reset_less=True)
        valid = Signal(name=f"waiting_{name}_valid")
        m.d.comb += [
            target.payload.eq(waiting),
            target.valid.eq(valid),
            source.ready.eq(~valid | target.ready),
        ]
        with m.If(source.ready):
            m.d.sync += [waiting.eq(source.payload), valid.eq(source.valid)]

    def _scales(self, m: Module, rescale: Rescaler) -> None:
        """They wait where a group can wait behind the array, and where weights and attention take turns."""
        config = self.config
        if config.waiting_groups or config.attention:
            self._connect_waiting(m, "scales", rescale.scales)
        else:
            connect(m, flipped(self.scales), rescale.scales)
        if config.attention:
            self._connect_waiting(m, "channels", rescale.channels)
        else:
            connect(m, flipped(self.channels), rescale.channels)

    def _passes(self, m: Module, buffer: ActivationBuffer) -> None:
        """They may be given a cycle before the buffer takes them, which it does late in a cycle."""
        if not self.config.attention:
            connect(m, flipped(self.passes), buffer.passes)
            return
        waiting = Signal(payloads.passes, name="waiting_passes", reset_less=True)
        valid = Signal(name="waiting_passes_valid")
        m.d.comb += [
            buffer.passes.payload.eq(waiting),
            buffer.passes.valid.eq(valid),
            self.passes.ready.eq(~valid),
        ]
        with m.If(~valid):
            m.d.sync += [waiting.eq(self.passes.payload), valid.eq(self.passes.valid)]
        with m.Elif(buffer.passes.ready):
            m.d.sync += valid.eq(0)

    def _route(self, m: Module, products: Array, rescale: Rescaler, summaries: SyncFIFOBuffered) -> None:
        """Each group with its summary to the rescaler, or out with its own exponents."""
        group, unscaled = products.dots, Signal()
        summary = data.View(payloads.summary(self.config), summaries.r_data)
        m.d.comb += [
            unscaled.eq(group.payload.route == payloads.Route.DOTS),
            rescale.dots.payload.eq(group.payload),
            rescale.dots.valid.eq(group.valid & ~unscaled),
            self.dots.payload.dots.eq(group.payload.dots),
            self.dots.payload.bias.eq(group.payload.bias),
            self.dots.valid.eq(group.valid & unscaled & summaries.r_rdy),
            group.ready.eq(Mux(unscaled, self.dots.ready & summaries.r_rdy, rescale.dots.ready)),
            products.settled.eq(self.settled),
        ]
        for exponent, column in zip(self.dots.payload.exponents, summary.columns, strict=True):
            m.d.comb += exponent.eq(column.reference - column.distance)
        with m.If(self.dots.valid & self.dots.ready):
            m.d.comb += summaries.r_en.eq(1)

    def _summaries(self, m: Module, buffer: ActivationBuffer, rescale: Rescaler) -> SyncFIFOBuffered:
        """Two summaries in between, so that the rescaler's turn is not the buffer's in the same cycle."""
        m.submodules.summaries = fifo = SyncFIFOBuffered(width=payloads.summary(self.config).size, depth=2)
        m.d.comb += [
            fifo.w_data.eq(buffer.summaries.payload),
            fifo.w_en.eq(buffer.summaries.valid),
            buffer.summaries.ready.eq(fifo.w_rdy),
            rescale.summaries.payload.eq(fifo.r_data),
            rescale.summaries.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(rescale.summaries.ready),
        ]
        return fifo

    def _results(self, m: Module, rescale: Rescaler) -> None:
        """The result buffer; its free places let the rescaler promise ahead."""
        depth = self.config.result_beats
        if not depth:
            connect(m, rescale.results, flipped(self.results))
            return
        width = payloads.result(self.config).size
        m.submodules.results = fifo = SyncFIFOBuffered(width=width, depth=depth)
        m.d.comb += [
            fifo.w_data.eq(rescale.results.payload),
            fifo.w_en.eq(rescale.results.valid),
            rescale.results.ready.eq(fifo.w_rdy),
            rescale.room.eq(depth - fifo.w_level),
            self.results.payload.eq(fifo.r_data),
            self.results.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.results.ready),
        ]
