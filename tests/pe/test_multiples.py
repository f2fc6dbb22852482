"""Multiples of the activations, all of them."""

from hw.config import Config, preset
from hw.pe.multiples import Multiples
from sim import runner


def test_multiples(simulator: str) -> None:
    config = preset("tiny")
    runner.run(Multiples(config), "sim.benches.pe.multiples", simulator, {"config": config.model_dump()})


def test_wide_multiples() -> None:
    config = Config(rows=4, lanes=16, activation_bits=16, memory_bits=64)
    runner.run(Multiples(config), "sim.benches.pe.multiples", "verilator", {"config": config.model_dump()})
