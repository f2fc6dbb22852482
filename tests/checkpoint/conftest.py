"""Matrices taken over from files, on the simulated accelerator."""

from collections.abc import Callable
from itertools import groupby

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
    """Multiply each matrix by a random vector on `tiny` with its group: bit for bit the golden product."""

    def run(matrices: list[QuantizedWeights]) -> None:
        for group, some in groupby(sorted(matrices, key=lambda q: q.group), lambda q: q.group):
            config = preset("tiny").changed(group=group)
            products = []
            for q in some:
                vector = rng.standard_normal((1, q.shape[1])).astype(np.float16).view(np.uint16)
                results, _ = matvec_bits(q, vector, config)
                assert np.count_nonzero(results & 0x7FFF) > results.size // 2
                packet = layout.pack(q, config.rows, config.lanes, word_bits=config.word_bits)
                products.append({"packet": packet.hex(), "vector": vector, "results": results})
            parameters = {"config": config.model_dump(), "products": products}
            outcome = runner.run(
                Accelerator(config), "sim.benches.accelerator", "verilator", parameters, "given"
            )
            assert outcome.tests == 1

    return run
