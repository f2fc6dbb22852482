"""All blocks of a step's selection in one design: attention, importance, selector, mover and map."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from hw.attention.attention_tile import AttentionTile
from hw.config import Config
from hw.selection.class_map import ClassMap
from hw.selection.importance import Importance
from hw.selection.mover import Mover
from hw.selection.moving.payloads import CLASS_BITS
from hw.selection.selector import Selector

__all__ = ["PARTS", "SelectionStep"]

PARTS = {
    "attention": AttentionTile,
    "importance": Importance,
    "selector": Selector,
    "mover": Mover,
    "map": ClassMap,
}

_INSIDE = {
    "attention_scores",
    "attention_found",
    "importance_states",
    "importance_scores",
    "selector_selected",
    "mover_chosen",
    "map_changes",
}


class SelectionStep(wiring.Component):
    """What attention finds becomes importance; what the selector chooses by it is moved, and the map changed.

    A list of pages is read twice: first its queries' states go to the importance unit, then (``probes``) its
    scores. Memory is outside.

    Members:
        probes (in): which of the two; the other output of the attention tile is taken and forgotten.
        number (in): class of the tokens that move.
        others: streams and errors of the parts, a part's name ahead; ``mover_moved`` goes to the map too.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._parts = {name: part(config) for name, part in PARTS.items()}
        members = {
            f"{name}_{port}": member
            for name, part in self._parts.items()
            for port, member in part.signature.members.items()
            if f"{name}_{port}" not in _INSIDE
        }
        super().__init__({"probes": In(1), "number": In(CLASS_BITS), **members})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = self._parts
        for name, part in parts.items():
            m.submodules[name] = part
            for port, member in part.signature.members.items():
                outside = f"{name}_{port}"
                if outside in _INSIDE or outside == "mover_moved":
                    continue
                if not member.is_signature:
                    m.d.comb += getattr(self, outside).eq(getattr(part, port))
                elif member.flow == In:
                    connect(m, flipped(getattr(self, outside)), getattr(part, port))
                else:
                    connect(m, getattr(part, port), flipped(getattr(self, outside)))
        attention, importance = parts["attention"], parts["importance"]
        for given, taken, goes in (
            (attention.scores, importance.scores, self.probes),
            (attention.found, importance.states, ~self.probes),
        ):
            m.d.comb += [
                taken.payload.eq(given.payload),
                taken.valid.eq(given.valid & goes),
                given.ready.eq(taken.ready | ~goes),
            ]
        connect(m, parts["selector"].selected, parts["mover"].chosen)
        moved, changes = parts["mover"].moved, parts["map"].changes
        m.d.comb += [
            self.mover_moved.payload.eq(moved.payload),
            self.mover_moved.valid.eq(moved.valid & changes.ready),
            changes.payload.index.eq(moved.payload.entry.index),
            changes.payload.last.eq(moved.payload.last),
            changes.payload.number.eq(self.number),
            changes.payload.wide.eq(1),
            changes.valid.eq(moved.valid & self.mover_moved.ready),
            moved.ready.eq(changes.ready & self.mover_moved.ready),
        ]
        return m
