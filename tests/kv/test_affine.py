"""Affine KV quantisation: constant groups, lines, agreement of the rules, speed, bad input."""

import time

import numpy as np
import pytest

from golden.kv import affine
from golden.kv.rules import RULES

pytestmark = pytest.mark.quick

SAME_GRID = ("kivi", "zipcache", "quanto", "mikv", "qserve", "hqq", "kvquant")


def sample(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Normal elements, one in 64 of them ten times as large."""
    rng = np.random.default_rng(seed)
    outliers = np.where(rng.random(shape) < 1 / 64, 10, 1)
    return (rng.standard_normal(shape) * outliers).astype(np.float16)


@pytest.mark.parametrize("bits", affine.BITS)
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -0.37, 65504.0, -(2.0**-24)])
@pytest.mark.parametrize("rule", [name for name in RULES if RULES[name].has_zero])
def test_constant_groups_are_exact(rule: str, value: float, bits: int) -> None:
    x = np.full((2, 32), value, np.float16)
    codes, scale, zero = affine.quantize(x, bits, "token", 16, rule)
    assert not codes.any()
    np.testing.assert_array_equal(affine.dequantize(codes, scale, zero, bits, "token", 16, rule), x)
    step, offset = affine.line(scale, zero, bits, rule)
    assert not step.any()
    np.testing.assert_array_equal(offset, np.full((2, 2), x[0, 0], np.float64))


@pytest.mark.parametrize("rule", RULES)
def test_line_is_what_decoding_rounds(rule: str) -> None:
    x = sample(7, (64, 64))
    codes, scale, zero = affine.quantize(x, 4, "token", 64, rule)
    step, offset = affine.line(scale, zero, 4, rule)
    values = affine.dequantize(codes, scale, zero, 4, "token", 64, rule)
    error = np.abs(codes * step + offset - values)
    largest = np.abs(values).max(1, keepdims=True)
    assert (
        error <= largest * {np.float16: 2.0**-9, np.float32: 2.0**-22, np.float64: 0}[RULES[rule].works]
    ).all()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("axis", affine.AXES)
def test_native_agrees_with_the_published_rules(bits: int, axis: str) -> None:
    """Fewer than 0.5 % of the codes differ, always by one, and the squared error is the same to 0.01 %.

    The rules that move zero onto a code are another grid: a third of their codes or so differs.
    """
    x = sample(11, (16, 512, 128))
    own = affine.quantize(x, bits, axis, 32, "native")
    exact = x.astype(np.float64)
    error = np.square(affine.dequantize(*own, bits, axis, 32, "native") - exact).mean()
    for rule in SAME_GRID:
        other = affine.quantize(x, bits, axis, 32, rule)
        values = affine.dequantize(*other, bits, axis, 32, rule).astype(np.float64)
        share = float((own.codes != other.codes).mean())
        ratio = error / np.square(values - exact).mean()
        print(f"{bits} bits, {axis}, {rule}: {share:.4%} of the codes differ, error {ratio:.6f} of its")
        assert share < 0.005
        assert np.abs(own.codes.astype(int) - other.codes).max() <= 1
        assert ratio < 1.0001


@pytest.mark.parametrize("rule", ["native", "kivi"])
def test_a_cache_of_4096_tokens_takes_seconds(rule: str) -> None:
    """Keys and values of 32 heads, 128 channels each: within 6 s of one core, measured below 2; here of 8."""
    x = np.random.default_rng(0).standard_normal((8, 4096, 128), dtype=np.float32).astype(np.float16)
    start = time.process_time()
    affine.quantize(x, 2, "channel", 32, rule)
    affine.quantize(x, 2, "token", 32, rule)
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "gptq"}, r"rule 'gptq' must be one of kivi, kvtuner, .*, native_symmetric"),
        ({"bits": 5}, r"bits 5 must be one of 1, 2, 3, 4, 8"),
        ({"bits": 1, "rule": "kvtuner_symmetric"}, r"bits 1 of rule 'kvtuner_symmetric' must be at least 2"),
        (
            {"x": np.tile([65504.0, -65504.0], (16, 32)), "rule": "kivi"},
            r"rule 'kivi' overflows: a group's range or zero is too large for its precision",
        ),
    ],
)
def test_illegal_arguments(change: dict, message: str) -> None:
    arguments = {"x": np.zeros((16, 64)), "bits": 4, "axis": "token", "group": 32, "rule": "native"} | change
    with pytest.raises(ValueError, match=f"^{message}$"):
        affine.quantize(**arguments)
