"""Attention, importance, selector, mover and map in one design: `tiny`, after every step against golden."""

import pytest

from hw.config import preset
from sim import runner
from sim.benches.selection.selection_step import SelectionStep


@pytest.mark.long
def test_steps() -> None:
    config = preset("tiny")
    parameters = {"config": config.model_dump(), "steps": 3}
    runner.run(SelectionStep(config), "sim.benches.selection.steps", "verilator", parameters)
