"""Header check: is a packet's header legal for this hardware, and what are its counts?"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.weights.packet import HEADER_FIELDS, MAGIC, OUTPUTS, VERSION
from hw import payloads
from hw.config import Config
from hw.weights.packet_plan import header_layout

__all__ = ["HeaderCheck", "counts_layout"]

_RESERVED = tuple(name for name, _ in HEADER_FIELDS if name.startswith("reserved"))


def counts_layout(config: Config) -> data.StructLayout:
    """Row blocks of a packet, minus one, and rows of the last one."""
    return data.StructLayout(
        {"last_block": dict(HEADER_FIELDS)["blocks"], "last_rows": bits_for(config.rows)}
    )


class HeaderCheck(wiring.Component):
    """Check a header in ``bits_for(config.chunks) + 2`` cycles.

    The number of inputs is compared with groups x elements of a group; that product is made by shifting and
    adding, one bit of the group's length a cycle.

    Members:
        header (in): held from the cycle after ``start`` on.
        known (in): its data type and scale format are supported.
        start (in): the header is there from the next cycle on.
        done (out): the other outputs are valid; low from the cycle after ``start`` until then.
        legal (out): every field is as it must be.
        counts (out): row blocks.
        summary (out): what the packet asks of the activations.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "header": In(header_layout),
                "known": In(1),
                "start": In(1),
                "done": Out(1),
                "legal": Out(1),
                "counts": Out(counts_layout(config)),
                "summary": Out(payloads.packet_header(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, header = self.config, self.header
        lane_bits, row_bits = exact_log2(config.lanes), exact_log2(config.rows)
        chunk_bits = bits_for(config.chunks)

        group_chunks = header.group[lane_bits:]
        last_chunks = (header.last_inputs + (config.lanes - 1)) >> lane_bits
        rounded = header.outputs - 1
        m.d.comb += [
            self.counts.last_block.eq(header.blocks - 1),
            self.counts.last_rows.eq(rounded[:row_bits] + 1),
            self.summary.inputs.eq(header.inputs),
            self.summary.groups.eq(header.groups),
            self.summary.group_chunks.eq(group_chunks),
            self.summary.last_chunks.eq(last_chunks),
            self.summary.blocks.eq(header.blocks),
            self.summary.keep_activations.eq(header.keep_activations),
        ]

        product = Signal(len(header.groups) + chunk_bits)
        step = Signal(range(chunk_bits + 2))
        bit = (group_chunks[:chunk_bits] << 2).bit_select(step, 1)
        m.d.comb += self.done.eq(step == 0)
        with m.If(self.start):
            m.d.sync += [step.eq(chunk_bits + 1), product.eq(0)]
        with m.Elif(~self.done):
            m.d.sync += step.eq(step - 1)
        with m.If(step > 1):
            m.d.sync += product.eq((product << 1) + Mux(bit, header.groups - 1, 0))

        expected = Cat(Const(0, lane_bits), product) + header.last_inputs
        choices = self.known & (header.output < len(OUTPUTS))
        for name, value in (
            ("magic", MAGIC),
            ("version", VERSION),
            ("rows", config.rows),
            ("lanes", config.lanes),
        ):
            choices &= header[name] == value
        for name in _RESERVED:
            choices &= header[name] == 0
        has_length = Cat(header.group == length for length in config.group_lengths).any()
        m.d.sync += self.legal.eq(
            choices
            & (header.inputs == expected)
            & (header.inputs <= config.maximum_inputs)
            & (header.groups != 0)
            & ((header.groups == 1) | has_length)
            & (header.group <= config.group)
            & (header.group[:lane_bits] == 0)
            & (header.last_inputs != 0)
            & (header.last_inputs <= header.group)
            & (header.outputs != 0)
            & (header.blocks == (rounded >> row_bits) + 1)
        )
        return m
