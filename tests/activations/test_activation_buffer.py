"""The activation buffer's bench over several shapes."""

from typing import Any

import pytest

from hw.activations.activation_buffer import ActivationBuffer
from hw.config import Config
from sim import runner

SMALL: dict[str, Any] = {
    "rows": 4,
    "lanes": 8,
    "group": 32,
    "activation_lanes": 2,
    "maximum_inputs": 64,
    "memory_bits": 64,
}
SHAPES: dict[str, dict[str, Any]] = {
    "two_columns": {"columns": 2, "activation_bits": 8, "lanes": 4, "group": 16},
    "one_beat_a_chunk": {"activation_lanes": 8, "group": 64, "maximum_inputs": 192},
    "one_chunk_a_vector": {
        "lanes": 16,
        "activation_lanes": 16,
        "group": 16,
        "maximum_inputs": 16,
        "activation_bits": 16,
    },
    "attention": {"attention": True},
    "attention_of_edge": {
        "attention": True,
        "lanes": 16,
        "activation_lanes": 4,
        "group": 128,
        "maximum_inputs": 256,
    },
    "attention_one_beat_a_chunk": {
        "attention": True,
        "activation_lanes": 8,
        "group": 64,
        "maximum_inputs": 192,
    },
}


def run_bench(fields: dict[str, Any], simulator: str) -> None:
    config = SMALL | fields
    buffer = ActivationBuffer(Config.model_validate(config))
    runner.run(buffer, "sim.benches.activations.activation_buffer", simulator, {"config": config})


def test_circuit(simulator: str) -> None:
    run_bench({}, simulator)


@pytest.mark.parametrize("shape", SHAPES)
def test_circuit_shapes(simulator: str, shape: str) -> None:
    run_bench(SHAPES[shape], simulator)
