"""Importance: the circuit against golden, `tiny` on every simulator."""

from hw.config import preset
from hw.selection.importance import Importance
from sim import runner


def test_importance(simulator: str) -> None:
    thorough = simulator == "verilator"
    config = preset("tiny")
    parameters = {"config": config.model_dump(), "lists": 8 if thorough else 2}
    filtered = None if thorough else "stalls=[03]|kind|throughput"
    runner.run(Importance(config), "sim.benches.selection.importance", simulator, parameters, filtered)
