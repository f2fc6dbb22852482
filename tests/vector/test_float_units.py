"""Float32 multiplier and adder: the circuits against golden."""

import pytest

from hw.vector.float_adder import FloatAdder
from hw.vector.float_multiplier import FloatMultiplier
from sim import runner

UNITS = {"multiply": FloatMultiplier, "add": FloatAdder}


@pytest.mark.parametrize("operation", UNITS)
def test_float_units(simulator: str, operation: str) -> None:
    count = 25_000 if simulator == "verilator" else 1_500
    parameters = {"operation": operation, "count": count}
    runner.run(UNITS[operation](), "sim.benches.vector.float_units", simulator, parameters)
