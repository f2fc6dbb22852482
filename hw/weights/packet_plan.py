"""Packet plan: what a header's type numbers mean for the unpacker, worked out from the golden tables."""

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from golden.numbers import datatypes, scales
from golden.numbers.datatypes import DataType
from golden.numbers.reach import reach
from golden.numbers.scales import ScaleFormat
from golden.weights.packet import HEADER_FIELDS, Field, metadata_fields
from hw import payloads
from hw.config import Config
from hw.weights.lane_mapper import lane_map, lane_maps, staged_parts
from hw.weights.realigner import extra_granules, granule_bits

__all__ = [
    "PacketPlan",
    "Tail",
    "header_layout",
    "joined_scales",
    "metadata_bits",
    "plan_layout",
    "scale_takes",
    "tails",
]

header_layout = data.StructLayout(dict(HEADER_FIELDS))


class Tail(enum.Enum, shape=2):
    """What follows the scales of a group."""

    NONE = 0
    ZERO = 1
    OFFSET = 2


def tails(config: Config) -> tuple[Tail, ...]:
    """Tails that packets of the supported types can have."""
    asymmetric = any(entry.asymmetric for entry in config.datatypes)
    return (Tail.NONE, Tail.ZERO, Tail.OFFSET) if asymmetric else (Tail.NONE, Tail.OFFSET)


def scale_takes(scale: ScaleFormat, tail: Tail, config: Config) -> tuple[tuple[Field, ...], ...]:
    """Spread the columns behind a group's codes over as few windows as possible, in order.

    Every window lists (field, bits of an entry); ``zero``, always the last field, counts with the most bits
    of any supported type.
    """
    fitting = [entry for entry in config.datatypes if entry.asymmetric or tail != Tail.ZERO]
    widest = max(fitting, key=lambda entry: entry.bits)
    takes: list[tuple[Field, ...]] = [()]
    for name, bits in metadata_fields(widest, scale, tail == Tail.OFFSET):
        if name == "zero" and tail != Tail.ZERO:
            continue
        if sum(width for _, width in takes[-1]) + bits > config.word_bits // config.rows:
            takes.append(())
        takes[-1] = (*takes[-1], (name, bits))
    return tuple(takes)


def _longest_scales(config: Config) -> int:
    """Windows of the scales that take the most."""
    return max(len(scale_takes(scale, tail, config)) for scale in scales.FORMATS for tail in tails(config))


def metadata_bits(config: Config) -> int:
    """Width of the longest window of scales, and of selectors behind them."""
    longest = max(
        sum(bits for _, bits in fields)
        for scale in scales.FORMATS
        for tail in tails(config)
        for fields in scale_takes(scale, tail, config)
    )
    return config.rows * max(longest, extra_granules(config))


def joined_scales(config: Config) -> tuple[int, ...]:
    """Granules of scales that a group with selectors can have, where both are read together with codes."""
    takes = [
        scale_takes(scale, tail, config) for scale in scales.FORMATS for tail in (Tail.NONE, Tail.OFFSET)
    ]
    lengths = {sum(bits for _, bits in fields) for fields, *more in takes if not more}
    return tuple(sorted(length for length in lengths if length < extra_granules(config)))


def plan_layout(config: Config) -> data.StructLayout:
    """Everything about a packet that does not change from group to group.

    ``lane_map`` is one-hot over ``lane_maps(config)``. ``code_granules`` are those of a chunk's earlier
    windows and of its last one, number ``code_last``; ``scale_granules`` those of each window of scales, the
    last one number ``scale_last``. ``joined``: the scales, and the next group's selectors, are few enough to
    be read together with the last codes of their group; ``joined_granules`` is the number of all those, in
    the last group of a row block without selectors. A group's zero point is ``zero_base`` minus its zero,
    if it has one.
    """
    granules = granule_bits(config)
    takes = _longest_scales(config)
    return data.StructLayout(
        {
            "format": payloads.matrix_format(config),
            "lane_map": len(lane_maps(config)),
            "code_last": bits_for(staged_parts(config)),
            "code_granules": data.ArrayLayout(granules, 2),
            "selector_bits": 2,
            "scale": bits_for(len(scales.FORMATS) - 1),
            "tail": Tail,
            "zero_bits": 4,
            "zero_base": signed(config.zero_point_bits),
            "scale_last": bits_for(takes - 1),
            "scale_granules": data.ArrayLayout(granules, takes),
            "joined": 1,
            "joined_granules": data.ArrayLayout(granules + 1, 2),
            "reach": payloads.REACH_BITS,
        }
    )


class PacketPlan(wiring.Component):
    """Table from a header to its plan; combinational.

    Members:
        header (in): the packet's header.
        plan (out): its plan; meaningful while ``known``.
        known (out): data type and scale format are supported.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__({"header": In(header_layout), "plan": Out(plan_layout(config)), "known": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._types(m)
        self._scales(m)
        self._reach(m)
        m.d.comb += self.plan.format.specials.as_value().eq(self.header.specials)
        return m

    def _types(self, m: Module) -> None:
        """What depends on the data type alone."""
        config, plan = self.config, self.plan
        maps, numbers = lane_maps(config), datatypes.names()
        with m.Switch(self.header.dtype):
            for entry in config.datatypes:
                packing = lane_map(entry, config)
                with m.Case(numbers.index(entry.name)):
                    m.d.comb += [
                        self.known.eq((self.header.scale < len(scales.FORMATS)) & self._flags_agree(entry)),
                        plan.format.decoder.eq(config.decoders.index(entry.decoder)),
                        plan.format.last_term.eq(entry.term_count - 1),
                        plan.format.programming.eq(Cat(Const(bit, 1) for bit in entry.programming)),
                        plan.lane_map.eq(1 << maps.index(packing)),
                        plan.code_last.eq(packing.takes - 1),
                        plan.code_granules[0].eq(packing.granules[0]),
                        plan.code_granules[1].eq(packing.granules[1]),
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
        """The windows of scales."""
        plan = self.plan
        m.d.comb += plan.scale.eq(self.header.scale)
        for number, scale in enumerate(scales.FORMATS):
            for tail in tails(self.config):
                with m.If((plan.scale == number) & (plan.tail == tail)):
                    takes = scale_takes(scale, tail, self.config)
                    m.d.comb += plan.scale_last.eq(len(takes) - 1)
                    for step, fields in enumerate(takes):
                        fixed = sum(bits for name, bits in fields if name != "zero")
                        zero = Mux("zero" in dict(fields), plan.zero_bits, 0)
                        m.d.comb += plan.scale_granules[step].eq(fixed + zero)
        selectors = plan.scale_granules[0] + plan.selector_bits
        m.d.comb += [
            plan.joined.eq((selectors <= extra_granules(self.config)) & (plan.scale_last == 0)),
            plan.joined_granules[0].eq(plan.code_granules[1] + selectors),
            plan.joined_granules[1].eq(plan.code_granules[1] + plan.scale_granules[0]),
        ]

    def _reach(self, m: Module) -> None:
        """The bound of a group's contribution."""
        config = self.config
        patterns: dict[int, list[int]] = {}
        for entry in config.datatypes:
            for number, scale in enumerate(scales.FORMATS):
                for has_offset in (False, True):
                    bound = reach(config.group, config.activation_bits, entry, scale, has_offset)
                    key = datatypes.names().index(entry.name) << 3 | number << 1 | has_offset
                    patterns.setdefault(bound, []).append(key)
        with m.Switch(Cat(self.header.has_offset, self.plan.scale, self.header.dtype)):
            for bound, keys in patterns.items():
                with m.Case(*keys):
                    m.d.comb += self.plan.reach.eq(bound)
