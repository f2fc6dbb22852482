"""Calibrated weights: those of the ``clip`` search where all inputs count alike, better ones otherwise."""

import numpy as np
import pytest

from golden import weights
from golden.checkpoint import Checkpoint
from golden.model.calibration import mean_squares, quantize
from golden.model.llama import Llama
from golden.model.recipes import RECIPES, factory

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("dtype", "group", "scale"),
    [("bitmod3", 128, "int8"), ("bitmod4", 64, "fp16"), ("int4", 32, "fp16"), ("e2m1", 32, "e8m0")],
)
def test_equal_importance(rng: np.random.Generator, dtype: str, group: int, scale: str) -> None:
    """All fields are those of the search without importance, a short group and a zero one included."""
    w = rng.standard_normal((300, 304)).astype(np.float32)
    w[3, :128] = 0
    wanted = weights.quantize(w, dtype, group, scale, search="clip")
    found = quantize(w, dtype, np.ones(304), group, scale)
    for name in ("codes", "selector", "scale_mantissa", "scale_distance", "zero_point", "channel_exponent"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    assert found.bits_per_weight == wanted.bits_per_weight


def test_important_inputs_are_more_exact(rng: np.random.Generator) -> None:
    w, importance = rng.standard_normal((64, 256)).astype(np.float32), np.exp(2 * rng.standard_normal(256))
    errors = [
        (importance * (quantize(w, "bitmod3", counts).dequantize() - w) ** 2).sum()
        for counts in (importance, np.ones(256))
    ]
    assert errors[0] < 0.97 * errors[1]


def test_mean_squares(tiny_file: Checkpoint) -> None:
    """Those of inputs, over all tokens of all runs: here of the first norm's output."""
    parts = [np.array([5, 9, 300]), np.array([7, 8])]

    def run(watching) -> None:
        model = Llama(tiny_file, watching, layers=1)
        for part in parts:
            model.hidden(part)

    found = mean_squares(run)
    assert set(found) == {f"layers.0.w{part}" for part in "qkvo123"}
    x = tiny_file["tok_embeddings"].array()[np.concatenate(parts)].astype(np.float64)
    x *= tiny_file["layers.0.attention_norm"].array() / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found["layers.0.wq"], (x**2).mean(0), rtol=1e-5)


def test_bad_calibration(rng: np.random.Generator) -> None:
    w = rng.standard_normal((4, 32)).astype(np.float32)
    with pytest.raises(ValueError, match="dtype 'int4_asym' of a calibrated search must have no zero point"):
        quantize(w, "int4_asym", np.ones(32))
    for counts in (np.ones(31), np.full(32, -1.0), np.full(32, np.nan)):
        with pytest.raises(ValueError, match=r"importance of shape \(3[12],\) must be \[32\], finite"):
            quantize(w, "int4", counts)
    with pytest.raises(ValueError, match="tensor a: a calibrated recipe needs the importance of the inputs"):
        factory(RECIPES["bitmod4_calibrated"])("a", w)
