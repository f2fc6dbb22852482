"""The datapath's own error on real and random data, and the tool that measures it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from golden import accuracy
from golden.accuracy import Measurement, measure, summarise
from golden.checkpoint import Checkpoint
from golden.matvec import matvec
from golden.model.capture import Linear, layer_inputs, sample_tokens
from golden.numbers.numerics import Numerics
from golden.weights.quantized import quantize


def errors(linear: Linear, **options: int) -> dict[int, float]:
    """Error by the width of the activations."""
    found = measure(linear, 64, ("bitmod4",), **options)
    return {one.activation_bits: one.error for one in found}


@pytest.mark.quick
def test_random_data() -> None:
    """Gaussian data stay below the target at 12 bits; two bits more make at most a third of the error."""
    rng = np.random.default_rng(7)
    weights, inputs = rng.standard_normal((64, 1024)), rng.standard_normal((4, 1024))
    found = errors(
        Linear("random", weights.astype(np.float32), inputs.astype(np.float32)), accumulator_bits=40
    )
    assert found[12] < accuracy.TARGET
    for width in (10, 12, 14):
        assert found[width] < found[width - 2] / 3
    assert found[16] < found[14]


@pytest.mark.quick
def test_relative_error(rng: np.random.Generator) -> None:
    """Root of the squared differences from float64 over that of the squares, FP16 inputs being exact."""
    weights, inputs = rng.standard_normal((8, 256)), rng.standard_normal((3, 256))
    (one,) = measure(Linear("a", weights.astype(np.float32), inputs.astype(np.float32)), 8, ("int4",), (8,))
    q = quantize(weights.astype(np.float32), "int4", 128)
    exact = inputs.astype(np.float32).astype(np.float16).astype(np.float64) @ q.dequantize().T
    got = matvec(q, inputs.astype(np.float32), accuracy._Widths(Numerics(8, 128)), output="fp32")
    assert one.error == pytest.approx(np.linalg.norm(got - exact) / np.linalg.norm(exact))


@pytest.mark.quick
def test_narrow_accumulator() -> None:
    """One large activation takes the small ones' low bits from a narrow accumulator, not from a wide one."""
    rng = np.random.default_rng(8)
    weights, inputs = rng.standard_normal((64, 1024)), rng.standard_normal((4, 1024))
    inputs[:, 5], weights[:, 5] = 1000, 1e-3
    linear = Linear("outlier", weights.astype(np.float32), inputs.astype(np.float32))
    narrow, wide = (errors(linear, accumulator_bits=bits)[16] for bits in (28, 40))
    assert narrow > 4 * wide


@pytest.mark.quick
def test_tool(tiny_file: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its files hold every layer, its table every type and width."""
    arguments = ["--model", str(tiny_file.path), "--tokens", "6", "--rows", "8", "--out", str(tmp_path)]
    assert accuracy.main(arguments) == 0
    assert "bitmod4" in capsys.readouterr().out
    content = json.loads((tmp_path / "accuracy.json").read_text())
    assert len(content["layers"]) == 2 * 7 * len(accuracy.DTYPES) * len(accuracy.ACTIVATION_BITS)
    assert {one["layers"] for one in content["summary"]} == {14}
    assert len((tmp_path / "accuracy.md").read_text().splitlines()) == 22
    assert accuracy.main([*arguments, "--layers", "1"]) == 0
    assert len(json.loads((tmp_path / "accuracy.json").read_text())["layers"]) == len(content["layers"]) / 2


@pytest.mark.quick
def test_stories(stories_file: Checkpoint) -> None:
    """Inputs of 172 with a few large ones cost most."""
    found: list[Measurement] = []
    for linear in layer_inputs(stories_file, sample_tokens(stories_file, 16)):
        found += measure(linear, 64, widths=(12,), accumulator_bits=40)
    for summary in summarise(found):
        assert summary.layers == 5 * 7
        assert summary.median < accuracy.TARGET
        assert summary.worst < 3e-3


@pytest.mark.llm
def test_smollm2(smollm2_file: Checkpoint) -> None:
    """Three blocks of a larger model: the first token's outliers cost most, A = 16 pays for them."""
    found: list[Measurement] = []
    for linear in layer_inputs(smollm2_file, sample_tokens(smollm2_file, 16), 3):
        found += measure(linear, 64, ("bitmod4",), (8, 12, 16), accumulator_bits=40)
    medians = {one.activation_bits: one.median for one in summarise(found)}
    worst = {one.activation_bits: one.worst for one in summarise(found)}
    assert medians[12] < 2e-3
    assert medians[8] > 10 * medians[12] > 100 * medians[16]
    assert worst[12] < 1.2e-2
    assert worst[16] < accuracy.TARGET


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "nowhere.gguf"], "'nowhere.gguf' must be an existing file"),
        (["--tokens", "0"], "'0' must be an integer of at least 1"),
        (["--accumulator", "99"], "'99' must be 24..48"),
    ],
)
def test_errors(arguments: list[str], part: str, refusal: Callable) -> None:
    """One line on standard error and exit status 2."""
    _, message = refusal(accuracy.main, arguments)
    assert part in message
