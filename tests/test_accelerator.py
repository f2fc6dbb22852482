"""The accelerator over its buses against the golden matrix-vector product, on every simulator."""

import re

import pytest

from hw.accelerator import Accelerator
from hw.config import Config, preset
from sim import runner

BENCH = "sim.benches.accelerator"


def run(config: Config, simulator: str, only: str | None = None) -> str:
    """Run the bench, thoroughly on Verilator; returns the log."""
    parameters = {"config": config.model_dump(), "thorough": simulator == "verilator"}
    return runner.run(runner.Design.of_type(Accelerator, config), BENCH, simulator, parameters, only).log


def show_cycles(log: str) -> None:
    """Print what the bench counted; pytest shows it with -s or -rP."""
    lines = re.findall(r"cycles of .*", log)
    assert lines
    print(*lines, sep="\n")


def test_tiny() -> None:
    show_cycles(run(preset("tiny"), "verilator"))


def test_tiny_icarus() -> None:
    """A few beats of each kind: Icarus is some forty times slower."""
    problem = runner.available("icarus")
    if problem is not None:
        pytest.skip(f"icarus: {problem}")
    run(preset("tiny"), "icarus", "every_type|shared_vector|reset_in_a_product|stalls=all|flags")


@pytest.mark.slow
def test_edge() -> None:
    show_cycles(run(preset("edge"), "verilator", "every_type|cycles|stalls=all"))


@pytest.mark.slow
def test_two_columns(two_columns: Config) -> None:
    run(two_columns, "verilator", "every_type|stalls=all")
