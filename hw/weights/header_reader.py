"""Header reader: keep what may differ between legal headers, and see that the rest is as it must be."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from golden.numbers import datatypes, scales
from golden.weights.packet import HEADER_BITS, HEADER_FIELDS, MAGIC, OUTPUTS, VERSION
from hw.config import Config

__all__ = ["HeaderReader", "header_layout", "header_part_bits", "header_takes"]

_BLOCK_BITS = dict(HEADER_FIELDS)["blocks"]


def _kept(config: Config) -> dict[str, tuple[str, int, int]]:
    """What is kept, by name: the header's field, its first bit that may be 1, and the number of such bits."""
    lane_bits = exact_log2(config.lanes)
    return {
        "dtype": ("dtype", 0, bits_for(len(datatypes.names()) - 1)),
        "scale": ("scale", 0, bits_for(len(scales.FORMATS) - 1)),
        "has_offset": ("has_offset", 0, 1),
        "keep_activations": ("keep_activations", 0, 1),
        "output": ("output", 0, bits_for(len(OUTPUTS) - 1)),
        "unsigned_codes": ("unsigned_codes", 0, 1),
        "outputs": ("outputs", 0, _BLOCK_BITS + exact_log2(config.rows)),
        "inputs": ("inputs", 0, bits_for(config.maximum_inputs)),
        "group_chunks": ("group", lane_bits, bits_for(config.chunks)),
        "groups": ("groups", 0, bits_for(config.maximum_inputs // config.lanes)),
        "last_inputs": ("last_inputs", 0, bits_for(config.group)),
        "blocks": ("blocks", 0, _BLOCK_BITS),
        "specials": ("specials", 0, dict(HEADER_FIELDS)["specials"]),
    }


def header_layout(config: Config) -> data.StructLayout:
    """The fields of a legal header that are not the same in all of them, as wide as this hardware needs.

    ``group_chunks`` is the length of a group in chunks.
    """
    return data.StructLayout({name: bits for name, (_, _, bits) in _kept(config).items()})


def header_takes(config: Config) -> int:
    """Windows that a header is read in."""
    return max(HEADER_BITS // config.memory_bits, 1)


def header_part_bits(config: Config) -> int:
    """Bits of the header in each of them."""
    return HEADER_BITS // header_takes(config)


class HeaderReader(wiring.Component):
    """Collect a header, one part a cycle.

    Most of a header's 256 bits are the same in all headers that are legal here. They are compared as they
    pass; only the others are stored.

    Members:
        part (in): bits of the header.
        load (in): take them.
        step (in): number of the part.
        header (out): what was kept; complete from the cycle after the last part on.
        odd (out): some other bit is not as it must be.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "part": In(header_part_bits(config)),
                "load": In(1),
                "step": In(range(header_takes(config))),
                "header": Out(header_layout(config)),
                "odd": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        header = Signal(header_layout(self.config), name="held_header", reset_less=True)
        differs = Signal()
        m.d.comb += self.header.eq(header)
        with m.If(self.load), m.Switch(self.step):
            for step in range(header_takes(self.config)):
                with m.Case(step):
                    self._part(m, step, header, differs)
        with m.If(self.load):
            m.d.sync += self.odd.eq(differs | (self.odd & (self.step != 0)))
        return m

    def _part(self, m: Module, step: int, header: data.View, differs: Signal) -> None:
        """Keep and compare the bits of one part."""
        config = self.config
        places = {field: (name, first, bits) for name, (field, first, bits) in _kept(config).items()}
        constants = {"magic": MAGIC, "version": VERSION, "rows": config.rows, "lanes": config.lanes}
        layout, wrong = header.shape(), []
        position = -step * len(self.part)
        for field, width in HEADER_FIELDS:
            name, first, bits = places.get(field, ("", 0, 0))
            for place in range(width):
                if 0 <= position + place < len(self.part):
                    bit = self.part[position + place]
                    if first <= place < first + bits:
                        m.d.sync += header.as_value()[layout[name].offset + place - first].eq(bit)
                    else:
                        wrong.append(~bit if constants.get(field, 0) >> place & 1 else bit)
            position += width
        m.d.comb += differs.eq(Cat(wrong).any())
