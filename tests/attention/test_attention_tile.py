"""Attention tile: lists of pages through all of the engine, against golden."""

import re

import pytest

from hw import verilog
from hw.attention.attention_tile import AttentionTile
from hw.config import preset
from sim import runner

TINY, EDGE = preset("tiny"), preset("edge")
BENCH = "sim.benches.attention.attention_tile"


@pytest.mark.quick
def test_names() -> None:
    modules = verilog.modules(AttentionTile(TINY), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    parameters = {"config": TINY.model_dump(), "lists": 60 if thorough else 4}
    runner.run(AttentionTile(TINY), BENCH, simulator, parameters, None if thorough else "stalls=[06]|rising")


def test_edge() -> None:
    parameters = {"config": EDGE.model_dump(), "lists": 6}
    runner.run(AttentionTile(EDGE), BENCH, "verilator", parameters, "stalls=[05]|rising|reset")
