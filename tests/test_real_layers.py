"""A model's weights and activations through the simulated accelerator: bit for bit the golden products.

Layers of SmolLM2-135M (optional package) and of a tiny llama, with the inputs that running the models gives
them.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.matvec import matvec_bits
from golden.model.capture import Linear, layer_inputs, sample_tokens
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
            packet = layout.pack(q, config.rows, config.lanes, "fp16", keep, config.memory_bits)
            yield {"packet": packet.hex(), "vector": [] if before else bits, "results": results}
            before = keep


def run(config: Config, simulator: str, linears: list[Linear], rows: int) -> None:
    """Stream the products of layers through the accelerator and compare."""
    stream(config, simulator, list(products(config, linears, rows)))


def stream(config: Config, simulator: str, given: list[dict[str, Any]]) -> None:
    """Stream products through the accelerator and compare."""
    parameters = {"config": config.model_dump(), "products": given}
    outcome = runner.run(runner.Design.of_type(Accelerator, config), BENCH, simulator, parameters, "given")
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
def test_smollm2_as_stored(smollm2_file: Checkpoint, smollm2_layers: list[Linear]) -> None:
    """The file's own Q4_1 codes, scales and minimums, in its groups of 32."""
    config, given = preset("tiny"), []
    for linear in smollm2_layers[1], smollm2_layers[4]:
        read = smollm2_file[linear.name].codes
        assert read is not None
        whole = read()
        rows, groups = slice(0, 16), slice(0, config.maximum_inputs // 32)
        part = {"scale": whole.scale[rows, groups], "codes": whole.codes[rows, : config.maximum_inputs]}
        assert whole.offset is not None
        q = replace(whole, offset=whole.offset[rows, groups], **part).quantized()
        np.testing.assert_array_equal(q.dequantize(np.float32), linear.weights[rows, : q.shape[1]])
        bits = linear.inputs[-1:, : q.shape[1]].astype(np.float16).view(np.uint16)
        results, _ = matvec_bits(q, bits, config)
        packet = layout.pack(q, config.rows, config.lanes, word_bits=config.memory_bits)
        given.append({"packet": packet.hex(), "vector": bits, "results": results})
    stream(config, "verilator", given)


@pytest.mark.slow
@pytest.mark.llm
def test_smollm2_edge(smollm2_layers: list[Linear]) -> None:
    """Groups of 128: 576 inputs end with a group of 64, 1536 are twelve whole ones."""
    chosen = ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_down")
    linears = [one for part, one in zip(PARTS, smollm2_layers, strict=True) if part in chosen]
    run(preset("edge"), "verilator", linears, 16)
