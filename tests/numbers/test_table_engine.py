"""Table engine: rows and widths, and the circuit against golden."""

import re

import numpy as np
import pytest

from golden.numbers.tables import ARGUMENT_BITS, EXP2, RECIPROCAL, Table
from hw import verilog
from hw.numbers.table_engine import TableEngine, value_bits
from sim import runner

SETS = ([EXP2], [RECIPROCAL], [EXP2, RECIPROCAL])
BENCH = "sim.benches.numbers.table_engine"

together = pytest.mark.parametrize("functions", SETS, ids=lambda chosen: "_".join(one.name for one in chosen))


@pytest.mark.quick
@together
def test_widths(functions: list[Table]) -> None:
    """As wide as the largest value, no wider."""
    largest = max(int(function(np.arange(1 << ARGUMENT_BITS)).max()) for function in functions)
    assert value_bits(functions) == largest.bit_length()


@pytest.mark.quick
@together
def test_names(functions: list[Table]) -> None:
    modules = verilog.modules(TableEngine(functions), "top")
    assert re.findall(r"^  wire .*\\(\S*\$\S*)$", modules.texts["top"], re.MULTILINE) == []
    assert modules.repeated == []


@together
def test_table_engine(simulator: str, functions: list[Table]) -> None:
    names = [function.name for function in functions]
    parameters = {"functions": names, "stride": 1 if simulator == "verilator" else 7}
    runner.run(TableEngine(functions), BENCH, simulator, parameters)
