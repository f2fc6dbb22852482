"""Attention tile: lists of pages through all of the engine, against golden."""

import re

import pytest

from hw import verilog
from hw.attention.attention_tile import AttentionTile
from hw.config import preset
from sim import runner

TINY, EDGE = preset("tiny"), preset("edge")
BENCH = "sim.benches.attention.attention_tile"
FOLDED, RESCALED = ("channel", "token"), ("token", "channel")
RATES = [
    (128, "native", 2, FOLDED, 1, 12, 1.05, 2, 1),
    (128, "native", 2, FOLDED, 4, 12, 1.05, 2, 1),
    (128, "native", 8, FOLDED, 1, 12, 1.05, 2, 1),
    (64, "native", 2, FOLDED, 1, 12, 1.05, 2, 2),
    (64, "native", 2, FOLDED, 4, 12, 1.15, 2, 1),
    (128, "ternary", 2, FOLDED, 1, 12, 1.15, 2, 2),
    (128, "sign", 1, FOLDED, 1, 12, 1.15, 2, 2),
    (128, "ternary", 2, RESCALED, 1, 12, 2.2, 2, 1),
]
"""Channels, rule, bits, axes of both sides, queries, pages, times the bound of memory and array, order."""


def test_names() -> None:
    modules = verilog.modules(AttentionTile(TINY), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    parameters = {"config": TINY.model_dump(), "lists": 28 if thorough else 1}
    runner.run(
        runner.Design.of_type(AttentionTile, TINY),
        BENCH,
        simulator,
        parameters,
        None if thorough else "stalls=6",
    )


def test_edge() -> None:
    parameters = {"config": EDGE.model_dump(), "lists": 6}
    runner.run(
        runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, "stalls=[05]|rising|reset"
    )


def test_engines() -> None:
    config = TINY.changed(kv=TINY.kv.model_copy(update={"engines": 2}))
    parameters = {"config": config.model_dump(), "lists": 8}
    bench = "sim.benches.attention.attention_engines"
    runner.run(
        runner.Design.of_type(AttentionTile, config), bench, "verilator", parameters, "stalls=[036]|damaged"
    )


@pytest.mark.slow
def test_rates() -> None:
    """What README promises of `edge`."""
    parameters = {"config": EDGE.model_dump(), "lists": 1, "rates": RATES}
    runner.run(runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, "throughput")
