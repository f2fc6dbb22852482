"""Proofs of the attention engine, on a small one: for all inputs and all time."""

import pytest
from amaranth.hdl import Module, Value

from hw.attention.division import Division
from hw.attention.page_loader import PageLoader
from hw.attention.score_collector import ScoreCollector
from hw.config import Config, KvConfig, preset
from sim import formal
from sim.proofs.attention import OutputsInOrder, PagesInOrder, RisingMaximum

SMALL = preset("tiny").changed(
    attention=True, types=("int4",), activation_bits=8, kv=KvConfig(channels=16, queries=2)
)
SPLIT = SMALL.changed(kv=SMALL.kv.model_copy(update={"split_keys": True}))
DEPTH = 12
"""Cycles from a query's end to its maximum, with a look at what was asked before."""


def test_outputs_leave_in_order() -> None:
    assert formal.prove(OutputsInOrder()) > 0


@pytest.mark.long
def test_pages_are_followed_in_order() -> None:
    assert formal.prove(PagesInOrder(SMALL)) > 0


@pytest.mark.parametrize("config", [SMALL, SPLIT], ids=["whole", "split"])
def test_the_maximum_never_falls(config: Config) -> None:
    formal.prove_by_induction(RisingMaximum(config), DEPTH)


def test_a_maximum_of_the_page_alone_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    raises = ScoreCollector._raise

    def forgets(self: ScoreCollector, m: Module, *arguments: Value) -> None:
        raises(self, m, *arguments)
        with m.If(self.found):
            m.d.sync += self.queries.p.maximum.eq(self.queries.p.maximum)

    monkeypatch.setattr(ScoreCollector, "_raise", forgets)
    with pytest.raises(formal.Refuted):
        formal.prove_by_induction(RisingMaximum(SMALL), 4 * DEPTH)


def test_a_quotient_twice_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    elaborate = Division.elaborate

    def repeats(self: Division, platform: object) -> Module:
        m = elaborate(self, platform)
        m.d.comb += self.quotients.valid.eq(1)
        return m

    monkeypatch.setattr(Division, "elaborate", repeats)
    with pytest.raises(formal.Refuted):
        formal.prove(OutputsInOrder())


def test_a_page_without_its_codes_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    elaborate = PageLoader.elaborate

    def loses(self: PageLoader, platform: object) -> Module:
        m = elaborate(self, platform)
        m.d.comb += self.code_pages.payload.side.eq(0)
        return m

    monkeypatch.setattr(PageLoader, "elaborate", loses)
    with pytest.raises(formal.Refuted):
        formal.prove(PagesInOrder(SMALL))
