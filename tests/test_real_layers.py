"""Real weights and real activations through the simulated accelerator: bit for bit the golden products.

Layers of SmolLM2-135M (optional package) and stories260K, with the inputs that running the models gives them.
"""

import os
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden.matvec import matvec_bits
from golden.model.checkpoint import locate, open_checkpoint
from golden.model.layer_inputs import Linear, layer_inputs, sample_tokens
from golden.weights import layout
from golden.weights.quantized import quantize
from hw.accelerator import Accelerator
from hw.config import Config, preset
from sim import runner

BENCH = "sim.benches.accelerator"
REPOSITORY = Path(__file__).resolve().parents[1]
STORIES = (
    Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared")) / "data/stories260K/stories260K.bin"
)
DTYPES = ("bitmod3", "bitmod4", "int4_asym")
TOKENS = 40

needs_stories = pytest.mark.skipif(
    not STORIES.is_file(), reason="stories260K.bin is not in KVLOOM_SHARED or ../shared"
)


@cache
def layers(model: str, blocks: int) -> dict[str, Linear]:
    """Linear layers of the first blocks, with their inputs over the sample text; skips without the model."""
    try:
        checkpoint = open_checkpoint(locate(model))
    except ValueError as error:
        pytest.skip(str(error))
    found = layer_inputs(checkpoint, sample_tokens(checkpoint, TOKENS), blocks)
    return {linear.name: linear for linear in found}


def products(config: Config, linears: list[Linear], rows: int) -> Iterator[dict[str, Any]]:
    """What the bench is given: each layer in every data type; layers with one input share its vector."""
    vectors = [linear.inputs[-1].astype(np.float16).view(np.uint16) for linear in linears]
    shared = [np.array_equal(one, other) for one, other in pairwise(vectors)]
    for dtype in DTYPES:
        before = False
        for linear, vector, keep in zip(linears, vectors, [*shared, False], strict=True):
            q = quantize(linear.weights[:rows], dtype, config.group)
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


@needs_stories
@pytest.mark.parametrize("block", [0, 4])
def test_stories(block: int) -> None:
    """Inputs of 64 and 172: two groups of 32, and five and a short one."""
    every = layers(str(STORIES), 5)
    names = ("wq", "wk", "wv", "wo", "w1", "w3", "w2")
    run(preset("tiny"), "verilator", [every[f"layers.{block}.{name}"] for name in names], 172)


@needs_stories
def test_stories_icarus() -> None:
    problem = runner.available("icarus")
    if problem is not None:
        pytest.skip(f"icarus: {problem}")
    every = layers(str(STORIES), 1)
    run(preset("tiny"), "icarus", [every["layers.0.wq"], every["layers.0.w2"]], 8)


@pytest.mark.slow
@pytest.mark.llm
def test_smollm2_tiny() -> None:
    """Query, key and value of the first block share one vector; 576 inputs are too many for tiny's 512."""
    every = layers("smollm2", 1)
    config = Config.model_validate(preset("tiny").model_dump() | {"maximum_inputs": 1536})
    run(config, "verilator", [every[f"blk.0.attn_{name}.weight"] for name in "qkv"], 32)


@pytest.mark.slow
@pytest.mark.llm
def test_smollm2_edge() -> None:
    """Groups of 128: 576 inputs end with a group of 64, 1536 are twelve whole ones."""
    every = layers("smollm2", 1)
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    run(preset("edge"), "verilator", [every[f"blk.0.{name}.weight"] for name in names], 32)
