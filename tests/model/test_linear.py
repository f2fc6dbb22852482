"""Linear layers with the accelerator's numerics, bit for bit those of ``golden.matvec``; weight recipes."""

import re
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from golden import matvec
from golden.activations import aligner
from golden.checkpoint import Tensor
from golden.model.linear import align, exact, rounded
from golden.model.recipes import RECIPES, Recipe, factory, q4_0
from golden.numbers import datatypes
from golden.numbers.numerics import Numerics
from golden.weights.quantized import QuantizedWeights, quantize
from golden.weights.stored import Stored

pytestmark = pytest.mark.quick


@dataclass(frozen=True)
class Widths:
    numerics: Numerics


def activations(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Numbers over FP16's whole range, with zeros, subnormals and what is infinite in FP16."""
    x = rng.standard_normal(shape) * np.exp(3 * rng.standard_normal(shape))
    x[0] = 0
    x[1] *= 1e-7
    x[2, : shape[1] // 2] *= 1e-8
    x[3, 5], x[4, 6], x[5, 7] = np.inf, np.nan, 1e6
    return x.astype(np.float32)


@pytest.mark.parametrize("group", [32, 128])
@pytest.mark.parametrize("width", [8, 12, 16])
def test_align(rng: np.random.Generator, group: int, width: int) -> None:
    x = activations(rng, (24, 200))
    with np.errstate(over="ignore"):
        bits = x.astype(np.float16).view(np.uint16)
    wanted, found = aligner.align(bits, "fp16", group, width), align(x, group, width)
    np.testing.assert_array_equal(found.integers, wanted.integers)
    np.testing.assert_array_equal(found.exponents, wanted.exponents - 15)
    np.testing.assert_array_equal(found.special, wanted.special)


@pytest.mark.parametrize("output", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "width"),
    [
        ("bitmod3", "int8", "integer", 12),
        ("bitmod4", "int8", "integer", 16),
        ("int8_asym", "int8", "integer", 16),
        ("int4_asym", "fp16", "float", 12),
        ("e3m2", "e4m3", "integer", 12),
        ("e2m1", "e8m0", "integer", 8),
        ("ternary", "fp16", "integer", 10),
    ],
)
def test_exact(rng: np.random.Generator, dtype: str, scale: str, zero: str, width: int, output: str) -> None:
    w = rng.standard_normal((40, 200)) * np.exp(rng.standard_normal((40, 1)))
    q = quantize(w.astype(np.float32), dtype, 64, scale, zero=zero)
    numerics = Numerics(width, 64, int(rng.integers(24, 49)))
    x = activations(rng, (300, 200))
    found = exact(q, numerics, output)(x)
    picked = [*range(8), 255, 256, 299]
    wanted = matvec.matvec(q, x[picked], Widths(numerics), output=output)
    np.testing.assert_array_equal(found[picked].view(np.uint32), wanted.view(np.uint32))


def test_exact_refuses(rng: np.random.Generator) -> None:
    q = quantize(rng.standard_normal((4, 256)), "int4", 64)
    with pytest.raises(ValueError, match=r"group 64 must be 128, the one the activations are aligned in"):
        exact(q, Numerics())
    with pytest.raises(ValueError, match="inputs 256 must be at most 128"):
        exact(q, Numerics(12, 64, 36, 128))


def test_rounded(rng: np.random.Generator) -> None:
    """FP16 activations, and aligned ones, whose root mean square of errors shrinks by half with each bit."""
    w, x = rng.standard_normal((8, 256)).astype(np.float32), rng.standard_normal((5, 256)).astype(np.float32)
    np.testing.assert_array_equal(rounded(w)(x), x.astype(np.float16).astype(np.float32) @ w.T)
    errors = [np.square(rounded(w, 128, width)(x) - rounded(w)(x)).mean() ** 0.5 for width in (8, 10, 12)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0


def test_every_data_type_has_a_recipe() -> None:
    assert set(datatypes.names()) < set(RECIPES)
    assert RECIPES["mxfp4"] == Recipe("e2m1", 32, "e8m0")


PLAIN = [name for name, recipe in RECIPES.items() if not (recipe.calibrated or recipe.stored)]


@pytest.mark.parametrize("form", ["plain", "permuted", "multiplied"])
def test_stored(rng: np.random.Generator, form: str) -> None:
    """The codes of the file, in the order of the inputs and with the factor of the results that it has."""
    codes, scale = rng.integers(0, 16, (16, 128)).astype(np.uint8), rng.standard_normal((16, 4)).astype("f2")
    stored = Stored(codes, scale.astype(np.float32), 32, 4, zero=7)
    order = rng.permutation(128).astype(np.int32) if form == "permuted" else None
    factor = np.float32(1.7 if form == "multiplied" else 1)
    tensor = Tensor("a", (16, 128), "a", "linear", None, lambda: stored, factor, order)
    x, weights = rng.standard_normal((6, 128)).astype(np.float16).astype(np.float32), tensor.array()
    make = partial(factory, RECIPES["stored"], tensors={"a": tensor}.__getitem__)
    for activations in (None, "fp16", 16):
        found = make(activations)("a", weights)(x)
        np.testing.assert_allclose(found, x @ weights.T, rtol=0, atol=0.02 if activations == 16 else 1e-3)
    with pytest.raises(ValueError, match="a stored recipe needs the file's own codes"):
        factory(RECIPES["stored"])("a", weights)


@pytest.mark.parametrize("name", PLAIN)
def test_factory(rng: np.random.Generator, name: str) -> None:
    """Every recipe makes layers, in float32 and in the accelerator's numerics, that agree with each other."""
    w, x = rng.standard_normal((16, 160)).astype(np.float32), rng.standard_normal((6, 160)).astype(np.float32)
    recipe = RECIPES[name]
    real = factory(recipe, "fp16")("a", w)(x)
    np.testing.assert_allclose(factory(recipe)("a", w)(x), real, rtol=0, atol=0.2)
    q = recipe.quantize(w)
    if isinstance(q, QuantizedWeights):
        np.testing.assert_allclose(factory(recipe, 16)("a", w)(x), real, rtol=0, atol=0.02)
    else:
        with pytest.raises(ValueError, match="activations 16 must be fp32 or fp16, these codes are not the"):
            factory(recipe, 16)("a", w)
    weights = q.dequantize()
    np.testing.assert_allclose(real, x.astype(np.float16).astype(np.float64) @ weights.T, rtol=0, atol=1e-3)


def test_factory_names_the_tensor(rng: np.random.Generator) -> None:
    with pytest.raises(
        ValueError, match=re.escape("tensor blk.0: inputs 33 of q4_0 must be a multiple of 32")
    ):
        factory(RECIPES["q4_0"])("blk.0", rng.standard_normal((2, 33)).astype(np.float32))


@pytest.mark.parametrize("name", ["q4_0", "ant4", "olive3"])
def test_rules_with_a_scale_of_their_own(name: str) -> None:
    w = np.ones((2, 64), np.float32)
    for change, value, own in ("scale", "int8", "fp16"), ("search", "clip", "published"):
        with pytest.raises(
            ValueError, match=f"^{change} '{value}' must be '{own}', which this recipe's rule"
        ):
            replace(RECIPES[name], **{change: value}).quantize(w)


def test_q4_0_has_one_group() -> None:
    with pytest.raises(ValueError, match=r"^group 64 of q4_0 must be 32$"):
        replace(RECIPES["q4_0"], group=64).quantize(np.ones((2, 64), np.float32))


def test_q4_0(rng: np.random.Generator) -> None:
    """Block by block as ggml has it, in float32."""
    w = rng.standard_normal((6, 96)).astype(np.float32)
    w[2] = 0
    w[3] = np.abs(w[3])
    q = q4_0(w)
    back = q.dequantize()
    for row in range(6):
        for first in range(0, 96, 32):
            block = w[row, first : first + 32]
            extreme = block[np.abs(block).argmax()]
            scale = np.float32(extreme / np.float32(-8))
            inverse = np.float32(1) / scale if scale else np.float32(0)
            codes = [min(15, int(v * inverse + np.float32(8.5))) for v in block]
            wanted = (np.array(codes) - 8) * float(np.float16(scale))
            np.testing.assert_array_equal(back[row, first : first + 32], wanted)
