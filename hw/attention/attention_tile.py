"""Attention tile: the attention engine with a tile of its own.

Meaning: ``golden.attention.engine``.
"""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from hw.attention.engine import Engine
from hw.config import Config
from hw.kv.page_reader import ERRORS
from hw.pe.tile import Tile

__all__ = ["AttentionTile"]

_OWN = ("queries", "pages", "words", "outputs", "scores", "found")
_ERRORS = (*ERRORS, "error_query")


class AttentionTile(wiring.Component):
    """Attend to lists of pages.

    Members:
        queries, pages, words (in streams), outputs, scores, found (out streams): as of ``Engine``.
        error_format, error_short, error_long, error_trits, error_query (out): as of ``Engine``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config = config.changed(attention=True)
        self.engine = Engine(config)
        super().__init__({name: self.engine.signature.members[name] for name in (*_OWN, *_ERRORS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.tile = tile = Tile(self.config)
        for name in ("beats", "passes", "chunks", "scales", "channels"):
            connect(m, getattr(engine, name), getattr(tile, name))
        for name in ("results", "dots"):
            connect(m, getattr(tile, name), getattr(engine, name))
        m.d.comb += tile.settled.eq(engine.settled)
        m.d.comb += [getattr(self, name).eq(getattr(engine, name)) for name in _ERRORS]
        for name in _OWN:
            own, inner = flipped(getattr(self, name)), getattr(engine, name)
            if name in _OWN[:3]:
                connect(m, own, inner)
            else:
                connect(m, inner, own)
        return m
