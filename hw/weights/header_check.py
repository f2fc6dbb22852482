"""Header check: is a packet's header legal for this hardware, and what are its counts?"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.weights.packet import OUTPUTS
from hw import payloads
from hw.config import Config
from hw.weights.header_reader import header_layout

__all__ = ["HeaderCheck", "check_cycles"]


def check_cycles(config: Config) -> int:
    """Cycles from ``start`` to ``done``."""
    return bits_for(config.chunks) + 2


class HeaderCheck(wiring.Component):
    """Check a header in ``bits_for(config.chunks) + 2`` cycles.

    The number of inputs must be (groups - 1) x elements of a group + elements of the last group. That sum is
    made by shifting and adding in units of ``lanes``, one bit of the group's length a cycle, then the last
    group; the rest is compared meanwhile.

    Members:
        header (in): held from the cycle after ``start`` on.
        odd (in): a bit of the header that is not kept is wrong.
        known (in): its data type and scale format are supported.
        start (in): the header is there from the next cycle on.
        done (out): for one cycle: the other outputs are valid.
        legal (out): every field is as it must be; only with ``done``.
        last_rows (out): rows of the last row block.
        summary (out): what the packet asks of the activations.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "header": In(header_layout(config)),
                "odd": In(1),
                "known": In(1),
                "start": In(1),
                "done": Out(1),
                "legal": Out(1),
                "last_rows": Out(range(config.rows + 1)),
                "summary": Out(payloads.packet_header(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, header = self.config, self.header
        lane_bits, row_bits = exact_log2(config.lanes), exact_log2(config.rows)
        padding = Signal(len(header.outputs) + 1)  # rows of the last row block that are no outputs
        m.d.comb += [
            padding.eq((header.blocks << row_bits) - header.outputs),
            self.last_rows.eq(config.rows - padding[:row_bits]),
            self.summary.inputs.eq(header.inputs),
            self.summary.groups.eq(header.groups),
            self.summary.group_chunks.eq(header.group_chunks),
            self.summary.last_chunks.eq((header.last_inputs + (config.lanes - 1)) >> lane_bits),
            self.summary.blocks.eq(header.blocks),
            self.summary.keep_activations.eq(header.keep_activations),
        ]
        lengths = [length // config.lanes for length in config.group_lengths]
        has_length = Cat(header.group_chunks == length for length in lengths).any()
        plausible = Signal()
        total = self._total(m)
        m.d.sync += plausible.eq(
            self.known
            & ~self.odd
            & (header.output < len(OUTPUTS))
            & (header.inputs <= config.maximum_inputs)
            & (header.groups != 0)
            & (header.group_chunks <= config.chunks)
            & ((header.groups == 1) | has_length)
            & (header.last_inputs != 0)
            & (header.last_inputs <= header.group_chunks << lane_bits)
            & (header.blocks != 0)
            & (padding < config.rows)
        )
        m.d.comb += self.legal.eq(
            plausible
            & (header.inputs >> lane_bits == total)
            & (header.inputs[:lane_bits] == header.last_inputs[:lane_bits])
        )
        return m

    def _total(self, m: Module) -> Signal:
        """Whole chunks of all groups; complete with ``done``."""
        header = self.header
        chunk_bits = bits_for(self.config.chunks)
        total = Signal(len(header.groups) + chunk_bits)
        step = Signal(range(check_cycles(self.config)))
        adds = Signal()
        summing = Signal()
        m.d.comb += [
            adds.eq((header.group_chunks << 2).bit_select(step, 1)),
            summing.eq(step > 1),
        ]
        last_chunks = header.last_inputs >> exact_log2(self.config.lanes)
        m.d.sync += self.done.eq(step == 1)
        with m.If(self.start):
            m.d.sync += [step.eq(chunk_bits + 1), total.eq(0)]
        with m.Elif(step != 0):
            m.d.sync += step.eq(step - 1)
            m.d.sync += total.eq(
                Mux(summing, total << 1, total) + Mux(summing, Mux(adds, header.groups - 1, 0), last_chunks)
            )
        return total
