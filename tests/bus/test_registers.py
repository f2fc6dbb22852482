"""Registers: the slave on every simulator, and the C header and the page that come from the same table."""

import tomllib
from pathlib import Path

import pytest

from hw.bus import registers
from hw.bus.registers import Registers
from hw.config import preset
from sim import runner

REPOSITORY = Path(__file__).resolve().parents[2]


def test_slave(simulator: str) -> None:
    config = preset("edge")
    parameters = {"config": config.model_dump()}
    runner.run(Registers(config), "sim.benches.bus.registers", simulator, parameters)


@pytest.mark.quick
def test_version() -> None:
    """The version that software reads is the package's."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert ".".join(map(str, registers.VERSION)) == project["version"]
