"""KV units: append, close and attend with a tile of their own, which their benches see as one design."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from hw.config import Config
from hw.core.append_unit import AppendUnit
from hw.core.attend_unit import TILE, AttendUnit
from hw.core.close_unit import CloseUnit
from hw.pe.tile import Tile
from hw.sharing import share

__all__ = ["UNITS", "KvUnits"]

UNITS = {"append": AppendUnit, "close": CloseUnit, "attend": AttendUnit}


class KvUnits(wiring.Component):
    """The units side by side; they share nothing.

    Members:
        those of each unit, but for the tile's, with its name ahead: ``append_commands`` and so on.
    """

    def __init__(self, config: Config) -> None:
        self.config = config = config.changed(attention=True)
        self.units = {name: unit(config) for name, unit in UNITS.items()}
        super().__init__(
            {
                f"{unit}_{name}": member
                for unit, component in self.units.items()
                for name, member in component.signature.members.items()
                if name not in TILE
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tile = share(m, "tile", Tile(self.config))
        for unit, component in self.units.items():
            m.submodules[unit] = component
            for name, member in component.signature.members.items():
                own = getattr(component, name)
                if name in TILE:
                    continue
                outer = getattr(self, f"{unit}_{name}")
                if member.is_port:
                    m.d.comb += own.eq(outer)  # the position
                else:
                    connect(m, own, flipped(outer))
        attend = self.units["attend"]
        for name in TILE[:-1]:
            connect(m, getattr(attend, name), getattr(tile, name))
        m.d.comb += tile.settled.eq(attend.settled)
        return m
