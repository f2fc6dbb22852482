"""Quantisers of ANT and OliVe against the same rules written out, weight by weight."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.baseline import ant, olive
from golden.weights.quantized import quantize

pytestmark = pytest.mark.quick

INTEGER_TOP = {3: 3, 4: 7}
ANT_FLOATS = {3: (1, 2, 4), 4: (1, 2, 3, 4, 6, 8, 16)}
OLIVE_OUTLIERS = {3: (8, 16, 32), 4: (12, 16, 24, 32, 48, 64, 96)}


def signed(magnitudes: tuple[int, ...]) -> np.ndarray:
    return np.array(sorted({0, *magnitudes, *(-value for value in magnitudes)}), np.float64)


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Weights with outliers, a row of zeros, one of a single sign and one without outliers."""
    w = rng.standard_normal(shape).astype(np.float32)
    w[:, 7::50] *= 20
    w[1], w[2], w[3] = 0, np.abs(w[2]), rng.uniform(-1, 1, shape[1])
    return w


def relative_error(q: ant.AdaptiveWeights | olive.PairedWeights, w: np.ndarray) -> float:
    return float(np.square(q.dequantize() - w).sum() / np.square(w, dtype=np.float64).sum())


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("group", [32, 48])
def test_ant_group_by_group(rng: np.random.Generator, bits: int, group: int) -> None:
    w = heavy(rng, (6, 112))
    q = ant.quantize(w, group, bits)
    back = q.dequantize()
    for row in range(6):
        for number, first in enumerate(range(0, 112, group)):
            part = w[row, first : first + group].astype(np.float64)
            fits = []
            for table in (signed(tuple(range(1, INTEGER_TOP[bits] + 1))), signed(ANT_FLOATS[bits])):
                scale = float(np.float16(np.abs(part).max() / table.max()))
                nearest = table[np.abs(part[:, None] - scale * table).argmin(1)]
                fits.append((np.square(scale * nearest - part).sum(), scale * nearest))
            chosen = int(fits[1][0] < fits[0][0])
            assert q.select[row, number] == chosen
            np.testing.assert_array_equal(back[row, first : first + group], fits[chosen][1])


@pytest.mark.parametrize("bits", [3, 4])
def test_ant_is_no_worse_than_either_type(rng: np.random.Generator, bits: int) -> None:
    w = rng.standard_t(5, (32, 256)).astype(np.float32)
    w[:8] = rng.uniform(-1, 1, (8, 256))
    q = ant.quantize(w, bits=bits)
    for kind, held in zip(ant.ADAPTIVE[bits], q.kinds, strict=True):
        own = np.square(held.dequantize() - w).reshape(32, 2, 128).sum(-1)
        assert (np.square(q.dequantize() - w).reshape(32, 2, 128).sum(-1) <= own + 1e-9).all()
        integers = (held.integers() * held.dtype.step).astype(int)
        assert (ant.decode(ant.encode(integers, kind), kind) == integers).all()
    assert set(q.select.ravel()) == {0, 1}
    assert q.bits_per_weight == pytest.approx(bits + (16 + 1) / 128 + 8 / 256)


def paired(part: np.ndarray, scale: float, bits: int) -> np.ndarray:
    """Whole numbers of a group, pair by pair."""
    top = INTEGER_TOP[bits]
    table = signed((*range(1, top + 1), *OLIVE_OUTLIERS[bits]))
    values = [table[np.abs(weight / scale - table).argmin()] if scale else 0 for weight in part]
    for place in range(0, len(values), 2):
        if abs(values[place]) > top:
            values[place + 1] = 0
        elif abs(values[place + 1]) > top:
            values[place] = 0
    return np.array(values)


@pytest.mark.parametrize("bits", [3, 4])
def test_olive_pair_by_pair(rng: np.random.Generator, bits: int) -> None:
    """The rounding at the scale that was found, and that no other scale is better."""
    w = heavy(rng, (8, 152))
    q = olive.quantize(w, 64, bits)
    outliers = 0
    for row in range(8):
        for number, first in enumerate(range(0, 152, 64)):
            part = w[row, first : first + 64].astype(np.float64)
            reach = abs(part.mean()) + 3 * part.std(ddof=1)
            scales = [
                float(np.float16(reach * percent / 100 / INTEGER_TOP[bits])) for percent in range(75, 250, 2)
            ]
            found = q.scale[row, number]
            assert found in scales
            integers = paired(part, found, bits)
            np.testing.assert_array_equal(q.integers[row, first : first + 64], integers)
            errors = [np.square(scale * paired(part, scale, bits) - part).sum() for scale in scales]
            assert np.square(found * integers - part).sum() <= min(errors) * (1 + 1e-5)
            outliers += int((np.abs(integers) > INTEGER_TOP[bits]).sum())
    assert outliers > 3
    np.testing.assert_array_equal(q.dequantize(), np.repeat(q.scale, 64, 1)[:, :152] * q.integers)
    assert q.bits_per_weight == bits + 16 * 3 / 152


def test_olive_codes_hold_the_integers(rng: np.random.Generator) -> None:
    q = olive.quantize(heavy(rng, (8, 128)))
    np.testing.assert_array_equal(olive.decode_pairs(olive.encode_pairs(q.integers)), q.integers)
    pairs = np.abs(q.integers.reshape(8, -1, 2))
    assert (pairs > 7).any()
    assert (pairs.min(-1)[pairs.max(-1) > 7] == 0).all()


def test_the_first_of_two_outliers_stays(rng: np.random.Generator) -> None:
    w = rng.standard_normal((1, 2048)).astype(np.float32)
    w[0, [10, 11, 21, 30]] = 1000, -1100, -1000, 1000
    for bits in (3, 4):
        integers = olive.quantize(w, 2048, bits).integers[0]
        top = INTEGER_TOP[bits]
        assert integers[10] > top
        assert integers[21] < -top
        assert integers[30] > top
        assert (integers[[11, 20, 31]] == 0).all()


def test_outliers_save_what_a_common_scale_loses(rng: np.random.Generator) -> None:
    """Against symmetric integers with the largest magnitude's scale, on weights with few outliers."""
    w = rng.standard_normal((16, 1024)).astype(np.float32)
    w[:, ::128] *= 12
    for bits in (3, 4):
        plain = quantize(w, f"int{bits}", scale="fp16").dequantize()
        limit = np.square(plain - w).sum() / np.square(w, dtype=np.float64).sum()
        assert relative_error(olive.quantize(w, bits=bits), w) < 0.5 * limit


@given(st.integers(-8, 8), st.integers(0, 2**31))
def test_powers_of_two_change_nothing_else(power: int, seed: int) -> None:
    w = np.random.default_rng(seed).standard_t(4, (3, 64)).astype(np.float32)
    for bits in (3, 4):
        for rule in (ant.quantize, olive.quantize):
            one, other = rule(w, 32, bits), rule(np.ldexp(w, power), 32, bits)
            np.testing.assert_array_equal(np.ldexp(one.dequantize(), power), other.dequantize())


def test_what_is_refused() -> None:
    w = np.ones((2, 32), np.float32)
    for rule in (ant.quantize, olive.quantize):
        with pytest.raises(ValueError, match=r"^bits 5 must be one of 3, 4$"):
            rule(w, bits=5)
    with pytest.raises(ValueError, match=r"^group 31 must be even, because neighbours are pairs$"):
        olive.quantize(w, 31)
    with pytest.raises(ValueError, match=r"^inputs 31 must be even, because neighbours are pairs$"):
        olive.quantize(w[:, 1:])
    w[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^weights must be finite$"):
        olive.quantize(w)
    with pytest.raises(ValueError, match="weights must be finite"):
        ant.quantize(w)
