"""Attention tile: attention engines, each with a tile of its own, and the division of what they find.

Meaning: ``golden.attention.engine``.
"""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out, connect, flipped

from hw.attention.division import Division
from hw.attention.engine import Engine, members
from hw.attention.merger import Merger
from hw.attention.payloads import quotient
from hw.config import Config
from hw.kv.page_reader import ERRORS
from hw.pe.tile import Tile
from hw.sharing import share

__all__ = ["AttentionTile"]

_INPUTS = ("queries", "pages", "words")
_OUTPUTS = ("scores", "found")
_ERRORS = (*ERRORS, "error_query")


class AttentionTile(wiring.Component):
    """Attend to lists of pages.

    With several engines all of them get the same queries, each gets pages of its own; every engine's list has
    at least one page, the same queries and the same ``top``. What they find is merged, engine 0 first.

    Members:
        queries, pages, words, tables (in streams), scores, found (out streams): as of ``Engine``; with
            several engines ``queries_0`` and so on.
        error_format, error_short, error_long, error_trits, error_query (out): as of ``Engine``.
        outputs (out stream): attention outputs, query by query of each list; ``error`` marks those of a list
            with a bad page or bad queries, of any engine.
    """

    def __init__(self, config: Config) -> None:
        self.config = config = config.changed(attention=True)
        count = config.kv.engines
        self.suffixes = [f"_{number}" for number in range(count)] if count > 1 else [""]
        ports = members(config)
        self.inputs = (*_INPUTS, "tables") if config.page_tables else _INPUTS
        super().__init__(
            {
                **{
                    name + suffix: ports[name]
                    for suffix in self.suffixes
                    for name in (*self.inputs, *_OUTPUTS, *_ERRORS)
                },
                "outputs": Out(stream.Signature(quotient)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engines = [self._engine(m, suffix) for suffix in self.suffixes]
        m.submodules.division = division = Division(self.config)
        source: Engine | Merger = engines[0]
        if len(engines) > 1:
            m.submodules.merger = source = merger = Merger(self.config)
            for suffix, engine in zip(self.suffixes, engines, strict=True):
                for name in ("divisors", "sums"):
                    connect(m, getattr(engine, name), getattr(merger, name + suffix))
        connect(m, source.divisors, division.divisors)
        connect(m, source.sums, division.sums)
        connect(m, division.quotients, flipped(self.outputs))
        return m

    def _engine(self, m: Module, suffix: str) -> Engine:
        """An engine with its tile."""
        engine = share(m, f"engine{suffix}", Engine(self.config))
        tile = share(m, f"tile{suffix}", Tile(self.config))
        for name in ("beats", "passes", "chunks", "scales", "channels"):
            connect(m, getattr(engine, name), getattr(tile, name))
        for name in ("results", "dots"):
            connect(m, getattr(tile, name), getattr(engine, name))
        m.d.comb += tile.settled.eq(engine.settled)
        if self.config.page_tables:
            m.d.comb += tile.term_table.eq(engine.term_table)
        m.d.comb += [getattr(self, name + suffix).eq(getattr(engine, name)) for name in _ERRORS]
        for name in self.inputs:
            connect(m, flipped(getattr(self, name + suffix)), getattr(engine, name))
        for name in _OUTPUTS:
            connect(m, getattr(engine, name), flipped(getattr(self, name + suffix)))
        return engine
