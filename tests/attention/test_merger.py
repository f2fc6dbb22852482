"""Merger: the circuit against golden."""

import pytest

from hw.attention.merger import Merger
from hw.config import Config, preset
from sim import runner

TINY = preset("tiny")
PAIR, FOUR = (TINY.changed(kv=TINY.kv.model_copy(update={"engines": engines})) for engines in (2, 4))


@pytest.mark.parametrize("config", [PAIR, FOUR], ids=["two", "four"])
def test_merger(config: Config, simulator: str) -> None:
    parameters = {"config": config.model_dump(), "queries": 40 if simulator == "verilator" else 6}
    runner.run(Merger(config), "sim.benches.attention.merger", simulator, parameters)
