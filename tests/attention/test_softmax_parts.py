"""Parts of the softmax: the circuits against golden."""

import pytest

from hw.attention.score_converter import ScoreConverter
from hw.attention.weight_unit import WeightUnit
from sim import runner


@pytest.mark.parametrize("adds", [False, True], ids=["alone", "adds"])
def test_score_converter(simulator: str, adds: bool) -> None:
    parameters = {"pages": 40 if simulator == "verilator" else 2, "adds": adds}
    runner.run(ScoreConverter(adds), "sim.benches.attention.score_converter", simulator, parameters)


def test_weight_unit(simulator: str) -> None:
    parameters = {"stride": 9 if simulator == "verilator" else 61}
    runner.run(WeightUnit(), "sim.benches.attention.weight_unit", simulator, parameters)
