"""Arg-max: the circuit against golden."""

import pytest

from hw.vector.arg_max import ArgMax
from sim import runner


@pytest.mark.parametrize("lanes", [1, 4])
def test_arg_max(simulator: str, lanes: int) -> None:
    thorough = simulator == "verilator"
    parameters = {"lanes": lanes, "lists": 100 if thorough else 20}
    chosen = None if thorough else "stalls=[03]|throughput"
    runner.run(ArgMax(lanes), "sim.benches.vector.arg_max", simulator, parameters, chosen)
