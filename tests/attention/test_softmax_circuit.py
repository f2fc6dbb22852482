"""Softmax: the circuit against golden."""

import re

import pytest

from hw import verilog
from hw.attention.softmax import Softmax
from hw.config import Config, preset
from sim import runner

TINY, EDGE = preset("tiny"), preset("edge")
PAIR = TINY.changed(rescale_units=2, activation_lanes=1, kv=TINY.kv.model_copy(update={"queries": 2}))
LONG = EDGE.changed(kv=EDGE.kv.model_copy(update={"page_tokens": 64, "queries": 4}))
SPLIT = EDGE.changed(kv=EDGE.kv.model_copy(update={"queries": 4, "split_keys": True}))
BENCH = "sim.benches.attention.softmax"


@pytest.mark.quick
@pytest.mark.parametrize("config", [EDGE, PAIR, SPLIT], ids=["edge", "pair", "split"])
def test_names(config: Config) -> None:
    modules = verilog.modules(Softmax(config), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    parameters = {"config": TINY.model_dump(), "pages": 150 if thorough else 8}
    filtered = None if thorough else "stalls=[03]|rising|throughput"
    runner.run(Softmax(TINY), BENCH, simulator, parameters, filtered)


@pytest.mark.parametrize("config", [EDGE, PAIR, LONG, SPLIT], ids=["edge", "pair", "long", "split"])
def test_other_shapes(config: Config) -> None:
    parameters = {"config": config.model_dump(), "pages": 30}
    runner.run(Softmax(config), BENCH, "verilator", parameters)
