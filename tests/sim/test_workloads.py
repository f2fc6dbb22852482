"""Workloads of the energy comparison: they multiply what they say, at the rate that the blocks have."""

import numpy as np
import pytest

from golden.baseline import fp16_mac
from golden.matvec import matvec_bits
from golden.model.capture import Linear
from golden.numbers import floats
from golden.weights.quantized import quantize
from hw import blocks, payloads
from hw.config import preset
from sim import workloads
from sim.packing import codec

CONFIG = preset("tiny")


@pytest.fixture(scope="module")
def layer() -> Linear:
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((64, 1024)).astype(np.float32)
    return Linear("layer", weights, rng.standard_normal((3, 1024)).astype(np.float32))


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.long] * (each == "fp16_dot")) for each in blocks.baselines()],
)
def test_units_work_without_a_pause(name: str, layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "_UNIT_CYCLES", 128)  # as long again as what is skipped
    datatype = "bitmod4" if name == "bitmod_pe" else ""
    trace = workloads.trace(name, CONFIG, layer, datatype)
    rates = blocks.macs_per_cycle(name, CONFIG)
    first, stop = trace.window
    assert trace.multiplications / (stop - first) == pytest.approx(rates.get(datatype, max(rates.values())))
    results = trace.outputs["mantissa" if name == "bitmod_pe" else "acc"]
    assert len(set(results)) > 12


def test_sums_are_those_of_the_layer(layer: Linear) -> None:
    """The last two results are the sums of two rows, but for what is still in the pipeline."""
    trace = workloads.trace("fp16_mac", CONFIG, layer, "")
    count = trace.cycles // 2 - 1
    x = np.broadcast_to(layer.inputs[-1, :count], (2, count))
    expected = fp16_mac.dot(layer.weights[:2, :count], x).view(np.uint32)
    assert trace.outputs["acc"][-2:] == expected.tolist()


def test_the_tile_multiplies_the_layer(layer: Linear) -> None:
    """Results of the first two vectors, bit for bit; the window is one vector's worth."""
    trace = workloads.trace("tile", CONFIG, layer, "bitmod4")
    rows = workloads.ROW_BLOCKS * CONFIG.rows
    q = quantize(layer.weights[:rows, : CONFIG.maximum_inputs], "bitmod4", CONFIG.group)
    bits = floats.encode(layer.inputs[:2, : CONFIG.maximum_inputs], "fp16")
    expected, _ = matvec_bits(q, bits, CONFIG)
    unpack = codec(payloads.result(CONFIG)).unpack
    beats = zip(trace.outputs["results_valid"], trace.outputs["results_payload"], strict=True)
    found = [row[0] for valid, payload in beats if valid for row in unpack(payload)["rows"]]
    assert found[: 2 * rows] == expected.ravel().tolist()
    first, stop = trace.window
    assert trace.multiplications == rows * CONFIG.maximum_inputs
    assert 0.9 < trace.multiplications / (stop - first) / (CONFIG.rows * CONFIG.lanes) <= 1
