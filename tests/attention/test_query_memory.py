"""Query memory: the circuit against golden."""

import re

import pytest

from hw import verilog
from hw.attention.query_memory import QueryMemory
from hw.config import Config, preset
from sim import runner

TINY, EDGE = preset("tiny"), preset("edge")
WIDE = EDGE.changed(activation_lanes=16, kv=EDGE.kv.model_copy(update={"channels": 256, "queries": 16}))
NARROW = TINY.changed(activation_lanes=1, kv=TINY.kv.model_copy(update={"channels": 48, "queries": 2}))
COLUMNS = TINY.changed(columns=2)
SPLIT = TINY.changed(kv=TINY.kv.model_copy(update={"channels": 80, "split_keys": True}))
SMALL = TINY.changed(activation_lanes=2, kv=TINY.kv.model_copy(update={"channels": 16, "queries": 2}))
BENCH = "sim.benches.attention.query_memory"


@pytest.mark.quick
@pytest.mark.parametrize(
    "config", [EDGE, NARROW, SMALL, COLUMNS, SPLIT], ids=["edge", "narrow", "small", "columns", "split"]
)
def test_names(config: Config) -> None:
    modules = verilog.modules(QueryMemory(config), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


def parameters(config: Config, lists: int, stride: int) -> dict[str, object]:
    return {"config": config.model_dump(), "lists": lists, "stride": stride}


def test_tiny(simulator: str) -> None:
    thorough = simulator == "verilator"
    runner.run(QueryMemory(TINY), BENCH, simulator, parameters(TINY, *((40, 1) if thorough else (6, 23))))


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        pytest.param(EDGE, 7, id="edge"),
        pytest.param(WIDE, 47, id="wide"),
        pytest.param(WIDE, 3, id="wide_thorough", marks=pytest.mark.long),
        pytest.param(NARROW, 3, id="narrow"),
        pytest.param(SMALL, 3, id="small"),
        pytest.param(COLUMNS, 23, id="columns"),
        pytest.param(SPLIT, 23, id="split"),
    ],
)
def test_other_shapes(config: Config, stride: int) -> None:
    """Among them every third float16 or fewer, from a random one on, for every length of up to 256: 80, 160
    and 176 have a significand that rounds up to 2."""
    runner.run(QueryMemory(config), BENCH, "verilator", parameters(config, 12, stride))
