"""Division: the circuit against golden."""

import re

import pytest

from hw import verilog
from hw.attention.division import Division
from sim import runner


@pytest.mark.quick
def test_names() -> None:
    modules = verilog.modules(Division(), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


def test_division(simulator: str) -> None:
    thorough = simulator == "verilator"
    parameters = {"queries": 60 if thorough else 12}
    filtered = None if thorough else "stalls=[03]|extremes|throughput"
    runner.run(Division(), "sim.benches.attention.division", simulator, parameters, filtered)
