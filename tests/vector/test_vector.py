"""Functions of the vector unit against float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from golden import vector
from golden.core.commands import Function
from golden.vector.norm import inverse_root, norm, sum_of_squares
from golden.vector.sigmoid import sigmoid

pytestmark = pytest.mark.quick

FIELDS = {"source": 0, "operand": 64, "destination": 128, "elements": 64, "segment": 32}


def relative(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> float:
    return float(np.abs(found.astype(np.float64) / wanted - 1).max())


def test_every_function_has_its_number() -> None:
    assert [name.upper() for name in vector.FUNCTIONS] == [function.name for function in Function]


def test_sigmoid(rng: np.random.Generator) -> None:
    """A dense set, and where nothing is left of 2^-t or all is."""
    small = rng.choice([-1, 1], 200_000) * np.exp(rng.uniform(-80, 4, 200_000))
    a = np.concatenate([np.linspace(-87, 20, 1_000_001), small, [0, 1e30]]).astype(np.float32)
    a = a[a >= -87]
    assert relative(sigmoid(a), 1 / (1 + np.exp(-a.astype(np.float64)))) < 2.0**-16
    with np.errstate(invalid="ignore"):
        assert sigmoid(np.float32([-np.inf, -1e30, -90, np.inf])).tolist() == [0, 0, 0, 1]


def test_inverse_root(rng: np.random.Generator) -> None:
    """Every exponent, and a dense set of two octaves."""
    wide = 2.0 ** rng.uniform(-125, 128, 300_000)
    mean = np.concatenate([np.linspace(1, 4, 1_000_001), wide]).astype(np.float32)
    mean = mean[np.isfinite(mean)]
    assert relative(inverse_root(mean), mean.astype(np.float64) ** -0.5) < 2.0**-17
    assert np.isfinite(inverse_root(np.float32(0)))


@pytest.mark.parametrize("segment", [16, 64, 576])
def test_norm(segment: int, rng: np.random.Generator) -> None:
    x = (rng.normal(size=(3, segment)) * [[1e-3], [1], [1e4]]).astype(np.float32)
    weights = rng.normal(size=segment).astype(np.float32)
    epsilon, reciprocal = np.float32(1e-5), np.float32(1 / segment)
    found = norm(x.reshape(-1), weights, segment, epsilon, reciprocal).reshape(3, -1)
    exact = x.astype(np.float64)
    mean = np.square(exact).mean(axis=1, keepdims=True) + float(epsilon)
    assert relative(found, exact / np.sqrt(mean) * weights) < 2.0**-16


def test_order_of_squares(rng: np.random.Generator) -> None:
    """Partial sums by place modulo 16, then v with v + 8 and v + 4 with v + 12, then pairs of those."""
    x = rng.normal(size=(50, 80)).astype(np.float32)
    for row, found in zip(x, sum_of_squares(x), strict=True):
        sums = list(row[:16] * row[:16])
        for place in range(16, 80):
            sums[place % 16] += row[place] * row[place]
        t = [(sums[v] + sums[v + 8]) + (sums[v + 4] + sums[v + 12]) for v in range(4)]
        assert found == (t[0] + t[1]) + (t[2] + t[3])


def test_rotary(rng: np.random.Generator) -> None:
    """A turn of every pair, by angles of its own."""
    x = rng.normal(size=96).astype(np.float32)
    angles = rng.uniform(0, 6, 16)
    table = np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32)
    found = vector.rotary(x, table, 32).reshape(3, 2, 16)
    pairs = x.astype(np.float64).reshape(3, 2, 16)
    turned = (pairs[:, 0] + 1j * pairs[:, 1]) * np.exp(1j * angles)
    np.testing.assert_allclose(found[:, 0], turned.real, atol=1e-6)
    np.testing.assert_allclose(found[:, 1], turned.imag, atol=1e-6)


def test_silu_multiply(rng: np.random.Generator) -> None:
    a, b = (rng.normal(0, 4, 10_000).astype(np.float32) for _ in range(2))
    exact = a.astype(np.float64)
    assert relative(vector.silu_multiply(a, b), exact / (1 + np.exp(-exact)) * b) < 2.0**-16 + 2.0**-22
    extremes = vector.silu_multiply(
        np.float32([np.nan, -np.inf, -1e30, np.inf, 0]), np.float32([1, 1, 1, 2, 1])
    )
    assert np.isnan(extremes[:2]).all()
    assert extremes[2:].tolist() == [0, np.inf, 0]
    assert np.signbit(extremes[2])


def test_arg_max() -> None:
    nan, infinity = np.nan, np.inf
    for values, index in (
        ([1, 3, 3, 2], 1),
        ([nan, -infinity], 1),
        ([nan, nan], 0),
        ([-0.0, 0.0], 0),
        ([-1e-40, 1e-40], 0),
        ([-2, -1, nan], 1),
        ([nan, infinity, infinity], 1),
    ):
        assert vector.arg_max(np.float32(values)) == index, values


def test_apply_in_place(rng: np.random.Generator) -> None:
    """Results where the command says, nothing else changed; in the place of the source too."""
    start = rng.normal(size=192).astype(np.float32)
    for function, name in enumerate(vector.FUNCTIONS):
        fields = FIELDS | {"function": function, "epsilon": 0x3727C5AC, "reciprocal": 0x3D000000}
        scratch = start.copy()
        index = vector.apply(scratch, fields)
        np.testing.assert_array_equal(scratch[:128], start[:128])
        if name == "arg_max":
            assert index == int(start[:64].argmax())
            continue
        assert not np.array_equal(scratch[128:], start[128:])
        placed = start.copy()
        vector.apply(placed, fields | {"destination": 0})
        np.testing.assert_array_equal(placed[:64], scratch[128:])


@pytest.mark.parametrize(
    "change",
    [
        {"function": 7},
        {"elements": 0},
        {"elements": 24},
        {"source": 8},
        {"source": 144},
        {"operand": 144},
        {"destination": 144},
    ],
)
def test_what_does_not_fit(change: dict[str, int]) -> None:
    fields = FIELDS | {"function": Function.ADD}
    assert vector.fits(fields, 192)
    assert not vector.fits(fields | change, 192)


def test_segments_that_do_not_fit() -> None:
    for segment in (0, 48, 128):
        for function in Function:
            needs = function in (Function.NORM, Function.ROTARY)
            assert vector.fits(FIELDS | {"function": function, "segment": segment}, 192) != needs
    row = FIELDS | {"function": Function.NORM, "operand": 160}
    assert vector.fits(row, 192)
    assert not vector.fits(row | {"operand": 176}, 192)
