"""Division: the circuit against golden."""

from hw.attention.division import Division
from sim import runner


def test_division(simulator: str) -> None:
    thorough = simulator == "verilator"
    parameters = {"queries": 60 if thorough else 12}
    filtered = None if thorough else "stalls=[03]|extremes|throughput"
    runner.run(Division(), "sim.benches.attention.division", simulator, parameters, filtered)
