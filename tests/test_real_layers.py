"""A model's weights and activations through the simulated accelerator: bit for bit the golden products.

Layers of SmolLM2-135M (optional package) and of a tiny llama, with the inputs that running the models gives
them.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from golden.matvec import matvec_bits
from golden.model.capture import Linear, layer_inputs, sample_tokens
from golden.model.checkpoint import Checkpoint
from golden.weights import layout
from golden.weights.quantized import quantize
from hw.accelerator import Accelerator
from hw.config import Config, preset
from sim import runner

BENCH = "sim.benches.accelerator"
DTYPES = ("bitmod3", "bitmod4", "int4_asym")
TOKENS = 40
PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@pytest.fixture(scope="module")
def tiny_layers(tiny_file: Checkpoint) -> dict[str, Linear]:
    """Layers of both blocks of the tiny llama."""
    return {one.name: one for one in layer_inputs(tiny_file, sample_tokens(tiny_file, TOKENS))}


@pytest.fixture(scope="module")
def smollm2_layers(smollm2_file: Checkpoint) -> list[Linear]:
    """Layers of SmolLM2's first block over a real text."""
    found = layer_inputs(smollm2_file, sample_tokens(smollm2_file, TOKENS), 1)
    assert [one.name for one in found] == [f"blk.0.{part}.weight" for part in PARTS]
    return found


def products(config: Config, linears: list[Linear], rows: int) -> Iterator[dict[str, Any]]:
    """What the bench is given: each layer in every data type; layers with one input share its vector.

    Longer vectors than the configuration allows are cut.
    """
    most = config.maximum_inputs
    vectors = [linear.inputs[-1, :most].astype(np.float16).view(np.uint16) for linear in linears]
    shared = [np.array_equal(one, other) for one, other in pairwise(vectors)]
    for dtype in DTYPES:
        before = False
        for linear, vector, keep in zip(linears, vectors, [*shared, False], strict=True):
            q = quantize(linear.weights[:rows, :most], dtype, config.group)
            bits = np.tile(vector, (config.columns, 1))
            results, overflow = matvec_bits(q, bits, config)
            assert not overflow.any()
            assert np.count_nonzero(results & 0x7FFF) > results.size // 2
            packet = layout.pack(q, config.rows, config.lanes, "fp16", keep, config.word_bits)
            yield {"packet": packet.hex(), "vector": [] if before else bits, "results": results}
            before = keep


def run(config: Config, simulator: str, linears: list[Linear], rows: int) -> None:
    """Stream the products through the accelerator and compare."""
    given = list(products(config, linears, rows))
    parameters = {"config": config.model_dump(), "products": given}
    outcome = runner.run(Accelerator(config), BENCH, simulator, parameters, "given")
    assert outcome.tests == 1


def test_tiny_llama(tiny_layers: dict[str, Linear], simulator: str) -> None:
    """Inputs of 64 and 172: two groups of 32, and five and a short one."""
    parts, rows = ("qko2", 32) if simulator == "verilator" else ("q2", 8)
    run(preset("tiny"), simulator, [tiny_layers[f"layers.1.w{part}"] for part in parts], rows)


@pytest.mark.slow
@pytest.mark.llm
def test_smollm2_tiny(smollm2_layers: list[Linear]) -> None:
    """Query, key and value share one vector."""
    run(preset("tiny"), "verilator", smollm2_layers[:3], 16)


@pytest.mark.slow
@pytest.mark.llm
def test_smollm2_edge(smollm2_layers: list[Linear]) -> None:
    """Groups of 128: 576 inputs end with a group of 64, 1536 are twelve whole ones."""
    chosen = ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_down")
    linears = [one for part, one in zip(PARTS, smollm2_layers, strict=True) if part in chosen]
    run(preset("edge"), "verilator", linears, 16)
