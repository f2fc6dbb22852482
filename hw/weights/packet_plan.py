"""Packet plan: what a header's type numbers mean for the unpacker, worked out from the golden tables."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.numbers import scales
from golden.numbers.datatypes import DataType
from golden.numbers.reach import reach
from golden.weights.packet import type_number
from hw import payloads
from hw.config import Config
from hw.weights.group_metadata import (
    CHANNEL_GRANULES,
    Tail,
    longest_metadata,
    scale_fields,
    scale_lengths,
    tails,
)
from hw.weights.header_reader import header_layout
from hw.weights.lane_mapper import lane_map, lane_maps, most_takes
from hw.weights.realigner import granule_bits
from hw.weights.window_slice import window_granules, word_granules

__all__ = ["PacketPlan", "metadata_takes", "plan_layout"]


def metadata_takes(config: Config) -> int:
    """Windows of the longest metadata that is read apart from codes."""
    return -(-longest_metadata(config) // word_granules(config))


def _metadata_layout(config: Config) -> data.StructLayout:
    return data.StructLayout(
        {
            "last": bits_for(metadata_takes(config) - 1),
            "granules": granule_bits(config),
            "bare": 1,
            "joined": 1,
            "joined_granules": granule_bits(config),
            "undivided": 1,
        }
    )


def plan_layout(config: Config) -> data.StructLayout:
    """Everything about a packet that does not change from group to group.

    ``lane_map`` is one-hot over ``lane_maps(config)``. ``code_last`` is the number of a chunk's last window,
    of ``code_granules``; those before are as long as a word. ``undivided``: a chunk can also be read in one
    window. A group's zero point is ``zero_base`` minus its zero, if it has one. The special values of
    ``format`` are left to the header.

    ``scale_granules`` is the length of a group's scales, with zeros or offsets. ``metadata`` is what is read
    behind the codes of a group: scales and the next group's selectors; of a row block's last group scales,
    channels and the next one's selectors; of the packet's last group scales and channels. ``last`` is the
    number of its last window, of ``granules``; those before are as long as a word. ``bare``: there are
    several, and the last one holds nothing but selectors. ``joined``: all of it can come with the last window
    of codes, which has ``joined_granules`` then; ``undivided``: even if that is the chunk's only one.
    """
    granules = granule_bits(config)
    return data.StructLayout(
        {
            "format": payloads.matrix_format(config),
            "lane_map": len(lane_maps(config)),
            "code_last": bits_for(most_takes(config) - 1),
            "code_granules": granules,
            "undivided": 1,
            "selector_bits": 2,
            "scale": bits_for(len(scales.FORMATS) - 1),
            "tail": Tail,
            "zero_bits": 4,
            "zero_base": signed(config.zero_point_bits),
            "scale_granules": bits_for(max(scale_lengths(config))),
            "metadata": data.ArrayLayout(_metadata_layout(config), 3),
            "reach": payloads.REACH_BITS,
        }
    )


def _parts_layout(config: Config) -> data.StructLayout:
    """What the lengths of metadata follow from."""
    members, names = (
        plan_layout(config).members,
        ("scale_granules", "selector_bits", "code_granules", "undivided"),
    )
    return data.StructLayout({name: members[name] for name in names})


class PacketPlan(wiring.Component):
    """Table from a header to its plan.

    ``plan`` is complete a cycle after the header: lengths of metadata wait for those of their parts.

    Members:
        header (in): the packet's header.
        plan (out): its plan; meaningful while ``known``.
        known (out): data type and scale format are supported.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {"header": In(header_layout(config)), "plan": Out(plan_layout(config)), "known": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._types(m)
        self._scales(m)
        self._reach(m)
        return m

    def _types(self, m: Module) -> None:
        """What depends on the data type alone."""
        config, plan = self.config, self.plan
        maps = lane_maps(config)
        with m.Switch(self.header.dtype):
            for entry in config.datatypes:
                packing = lane_map(entry, config)
                with m.Case(type_number(entry)):
                    m.d.comb += [
                        self.known.eq((self.header.scale < len(scales.FORMATS)) & self._flags_agree(entry)),
                        plan.format.decoder.eq(config.decoders.index(entry.decoder)),
                        plan.format.last_term.eq(entry.term_count - 1),
                        plan.format.programming.eq(Cat(Const(bit, 1) for bit in entry.programming)),
                        plan.lane_map.eq(1 << maps.index(packing)),
                        plan.code_last.eq(packing.takes - 1),
                        plan.code_granules.eq(packing.granules),
                        plan.undivided.eq(packing.undivided != 0),
                        plan.selector_bits.eq(entry.selector_bits),
                        plan.zero_bits.eq(entry.bits),
                        plan.zero_base.eq(self._half(entry)),
                        plan.tail.eq(Tail.ZERO if entry.asymmetric else Tail.NONE),
                    ]
        with m.If(self.header.has_offset):
            m.d.comb += plan.tail.eq(Tail.OFFSET)

    def _flags_agree(self, entry: DataType) -> Value:
        """Unsigned codes belong to an asymmetric type with an offset."""
        return ~self.header.unsigned_codes | (self.header.has_offset & entry.asymmetric)

    def _half(self, entry: DataType) -> Value:
        """The zero point that belongs to a zero of 0."""
        counts = ~self.header.has_offset | self.header.unsigned_codes
        return Mux(counts & entry.asymmetric, 1 << entry.bits - 1, 0)

    def _scales(self, m: Module) -> None:
        """The columns of scales, and what is read with them."""
        plan = self.plan
        m.d.comb += plan.scale.eq(self.header.scale)
        for number, scale in enumerate(scales.FORMATS):
            for tail in tails(self.config):
                with m.If((plan.scale == number) & (plan.tail == tail)):
                    fields = scale_fields(scale, tail, self.config)
                    fixed = sum(bits for name, bits in fields if name != "zero")
                    zero = plan.zero_bits if "zero" in dict(fields) else 0
                    m.d.comb += plan.scale_granules.eq(fixed + zero)
        parts = Signal(_parts_layout(self.config), name="parts", reset_less=True)
        m.d.sync += [parts[name].eq(getattr(plan, name)) for name, _ in parts.shape()]
        channels_selectors = CHANNEL_GRANULES + parts.selector_bits
        for number, others in enumerate((parts.selector_bits, channels_selectors, CHANNEL_GRANULES)):
            self._metadata(m, number, parts, others)

    def _metadata(self, m: Module, number: int, parts: data.View, others: Value | int) -> None:
        """The windows of scales and ``others`` granules behind them."""
        part, word = self.plan.metadata[number], word_granules(self.config)
        whole = Signal(range(longest_metadata(self.config) + 1), name=f"granules_{number}")
        joined = parts.code_granules + whole
        m.d.comb += [
            whole.eq(parts.scale_granules + others),
            part.last.eq((whole - 1) >> exact_log2(word)),
            part.granules.eq((whole - 1)[: exact_log2(word)] + 1),
            part.bare.eq((part.last != 0) & (part.granules <= parts.selector_bits)),
            part.joined.eq(joined <= window_granules(self.config)),
            part.joined_granules.eq(joined),
            part.undivided.eq(parts.undivided & (joined + word <= window_granules(self.config))),
        ]

    def _reach(self, m: Module) -> None:
        """The bound of a group's contribution."""
        config = self.config
        patterns: dict[int, list[int]] = {}
        for entry in config.datatypes:
            for number, scale in enumerate(scales.FORMATS):
                for has_offset in (False, True):
                    bound = reach(config.group, config.activation_bits, entry, scale, has_offset)
                    key = type_number(entry) << 3 | number << 1 | has_offset
                    patterns.setdefault(bound, []).append(key)
        with m.Switch(Cat(self.header.has_offset, self.plan.scale, self.header.dtype)):
            for bound, keys in patterns.items():
                with m.Case(*keys):
                    m.d.comb += self.plan.reach.eq(bound)
