"""Matrices taken over from files, on the simulated accelerator."""

from collections.abc import Callable

import numpy as np
import pytest

from golden.matvec import matvec_bits
from golden.weights import layout
from golden.weights.quantized import QuantizedWeights
from hw.accelerator import Accelerator
from hw.config import preset
from sim import runner

Accelerate = Callable[[list[QuantizedWeights]], None]


@pytest.fixture
def accelerate(rng: np.random.Generator) -> Accelerate:
    """Multiply each matrix by a random vector on `tiny` with groups up to 128: golden's bits."""
    config = preset("tiny").changed(group=128)

    def run(matrices: list[QuantizedWeights]) -> None:
        products = []
        for q in matrices:
            vector = rng.standard_normal((1, q.shape[1])).astype(np.float16).view(np.uint16)
            results, _ = matvec_bits(q, vector, config)
            assert np.count_nonzero(results & 0x7FFF) > results.size // 2
            packet = layout.pack(q, config.rows, config.lanes, word_bits=config.memory_bits)
            given = {"packet": packet.hex(), "vector": vector, "group": q.group, "results": results}
            products.append(given)
        parameters = {"config": config.model_dump(), "products": products}
        bench = "sim.benches.accelerator"
        outcome = runner.run(
            runner.Design.of_type(Accelerator, config), bench, "verilator", parameters, "given"
        )
        assert outcome.tests == 1

    return run
