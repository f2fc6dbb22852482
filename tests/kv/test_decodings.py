"""Decodings of pages: as attention computes, as published, and at the ends of float16."""

import numpy as np
import pytest

from golden.kv import affine
from golden.kv.formats import Format
from golden.kv.schemes import Scheme

pytestmark = pytest.mark.quick


def test_published_decoding(rng: np.random.Generator) -> None:
    """KIVI rounds product and sum to float16; VidKV forgets the negative half and the scale."""
    x = rng.standard_normal((1, 64, 64)).astype(np.float16)
    form = Format("kivi", 2, "channel", 32)
    cache = Scheme(form, form, "paged", 0).compress(x, x)
    codes, scale, zero = form.quantize(x)
    per_token = [part.repeat(32, 1) for part in (scale, zero)]
    expected = (codes.astype(np.float16) * per_token[0]) + per_token[1]
    assert expected.dtype == np.float16
    published, scaled = (cache.decompress(decode)[0] for decode in ("published", "scaled"))
    np.testing.assert_array_equal(published, expected.astype(np.float32))
    exact = codes * per_token[0].astype(float) + per_token[1].astype(float)
    np.testing.assert_array_equal(scaled, exact.astype(np.float32))
    assert 0.05 < (published != scaled).mean() < 0.95
    for rule, bits, values in ("sign", 1, [0, 1]), ("ternary_scaled", 2, [0, 1, -1]):
        plain, flawed = (
            Format(rule, bits, "channel", 32),
            Format(f"{rule.split('_')[0]}_published", bits, "channel", 32),
        )
        quantized = plain.quantize(x)
        step = quantized.scale.repeat(32, 1) if rule == "sign" else 1
        expected = np.array(values)[quantized.codes] * step
        np.testing.assert_array_equal(plain.decode(quantized, "published"), expected.astype(np.float32))
        np.testing.assert_array_equal(flawed.decode(flawed.quantize(x)), expected.astype(np.float32))
    with pytest.raises(ValueError, match=r"^decode 'exact' must be one of scaled, published$"):
        form.decode(quantized, "exact")


@pytest.mark.parametrize(
    ("rule", "bits"),
    [("native", bits) for bits in (1, 2, 3, 4, 8)] + [("native_symmetric", bits) for bits in (2, 3, 4, 8)],
)
def test_the_whole_range_of_float16(rule: str, bits: int) -> None:
    """A scale that is rounded up leads beyond 65504: values saturate."""
    x = np.linspace(-65504, 65504, 64).astype(np.float16)[None]
    form = Format(rule, bits, "token", 64)
    quantized = form.quantize(x)
    own = affine.dequantize(*quantized, bits, "token", 64, rule)
    for values in form.decode(quantized), form.decode_half(quantized), own:
        assert np.isfinite(values.astype(np.float16)).all()
        assert np.abs(values).max() <= 65504
        # One bit cannot: its scale ends at 65504, half the range.
        most = 0.51 * float(quantized.scale[0, 0]) if bits > 1 else 65504
        assert np.abs(values.astype(float) - x.astype(float)).max() <= most
