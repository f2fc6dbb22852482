"""Arg-max: the circuit against golden."""

import pytest

from hw.vector.arg_max import ArgMax
from sim import runner


@pytest.mark.parametrize(
    ("lanes", "simulator", "lists", "chosen"),
    [
        pytest.param(4, "verilator", 100, None, id="four"),
        pytest.param(1, "icarus", 20, "stalls=[03]|throughput", id="one"),
    ],
    indirect=["simulator"],
)
def test_arg_max(simulator: str, lanes: int, lists: int, chosen: str | None) -> None:
    parameters = {"lanes": lanes, "lists": lists}
    runner.run(ArgMax(lanes), "sim.benches.vector.arg_max", simulator, parameters, chosen)
