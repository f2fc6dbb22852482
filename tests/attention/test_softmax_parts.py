"""Parts of the softmax: the circuits against golden."""

from hw.attention.score_converter import ScoreConverter
from hw.attention.weight_unit import WeightUnit
from sim import runner


def test_score_converter(simulator: str) -> None:
    parameters = {"pages": 40 if simulator == "verilator" else 2}
    runner.run(ScoreConverter(), "sim.benches.attention.score_converter", simulator, parameters)


def test_weight_unit(simulator: str) -> None:
    parameters = {"stride": 9 if simulator == "verilator" else 61}
    runner.run(WeightUnit(), "sim.benches.attention.weight_unit", simulator, parameters)
