"""Registers of the core: the slave on every simulator."""

from hw.config import preset
from hw.core.registers import Registers
from sim import runner


def test_slave(simulator: str) -> None:
    config = preset("edge")
    parameters = {"config": config.model_dump()}
    runner.run(Registers(config), "sim.benches.core.registers", simulator, parameters)
