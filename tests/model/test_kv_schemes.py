"""KV schemes: who finds what quantised, token by token, and what that does to attention."""

import numpy as np
import pytest

from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, Scheme
from golden.model.attention import Plain, attend
from golden.model.kv_schemes import QuantizedMemory

pytestmark = pytest.mark.quick


def reference(query: np.ndarray, keys: np.ndarray, values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Every query by itself, in float64; keys and values [H, T, D], query [T, N, D]."""
    heads, count, channels = keys.shape

    def back(form: Format, x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, -count % 32), (0, 0)), "edge")
        codes = form.quantize(padded.reshape(heads, -1, 32, channels))
        return form.decode(codes).reshape(padded.shape)[:, :count].astype(np.float64)

    old_keys, old_values = back(scheme.key, keys), back(scheme.value, values)
    if scheme.window_format:
        window = [scheme.window_format.decode(scheme.window_format.quantize(x)) for x in (keys, values)]
        keys, values = (x.astype(np.float64) for x in window)
    result = np.zeros(query.shape)
    for t in range(count):
        r = scheme.residual
        key_count, value_count = {
            "kivi": (r * (t // r) if r else 0, max(0, t - r)),
            "paged": (max(0, t + 1 - r) // 32 * 32,) * 2,
            "strict": (t + 1, t + 1),
        }[scheme.order]
        for n in range(query.shape[1]):
            h = n // (query.shape[1] // heads)
            k = np.concatenate([old_keys[h, :key_count], keys[h, key_count : t + 1]])
            v = np.concatenate([old_values[h, :value_count], values[h, value_count : t + 1]])
            weights = np.exp(k @ query[t, n].astype(np.float64) / channels**0.5)
            result[t, n] = weights / weights.sum() @ v
    return result.reshape(count, -1)


SOME = {
    "kivi": Scheme(Format("kivi", 2, "channel"), Format("kivi", 2, "token"), "kivi", 48),
    "paged": Scheme(Format("native", 2, "channel"), Format("native", 3, "channel"), "paged", 40),
    "strict": Scheme(Format("native", 2, "channel"), Format("sign", 1, "channel"), "strict", 0),
    "tokens": SCHEMES["atom2"],
    "window": SCHEMES["native2_paged"],
}


@pytest.mark.parametrize("name", SOME)
def test_attention(rng: np.random.Generator, name: str) -> None:
    """All at once, over more than one block of queries, and in pieces."""
    keys, values = rng.standard_normal((2, 2, 330, 32)).astype(np.float32)
    if SOME[name].value.rule == "sign":
        keys, values = keys[:, :320], values[:, :320]
    query = rng.standard_normal((keys.shape[1], 4, 32)).astype(np.float32)
    wanted = reference(query, keys, values, SOME[name])
    once = QuantizedMemory(2, 32, SOME[name])
    once.append(keys, values)
    np.testing.assert_allclose(attend(query, once), wanted, rtol=0, atol=2e-5)
    if SOME[name].order != "strict" or SOME[name].page == 1:
        pieces, parts = QuantizedMemory(2, 32, SOME[name]), []
        for own in np.split(np.arange(len(query)), [1, 31, 32, 200, 201]):
            pieces.append(keys[:, own], values[:, own])
            parts.append(attend(query[own], pieces))
        np.testing.assert_allclose(np.concatenate(parts), wanted, rtol=0, atol=2e-5)


def test_nothing_is_quantised_within_the_residual(rng: np.random.Generator) -> None:
    keys, values = rng.standard_normal((2, 1, 128, 64)).astype(np.float32)
    query = rng.standard_normal((128, 3, 64)).astype(np.float32)
    plain, quantised = Plain(1, 64), QuantizedMemory(1, 64, SCHEMES["native2"])
    for memory in (plain, quantised):
        memory.append(keys, values)
    np.testing.assert_allclose(attend(query, quantised), attend(query, plain), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_runs(rng: np.random.Generator, name: str) -> None:
    """The error of attention falls as bits rise; here only that it is neither none nor absurd."""
    keys, values = rng.standard_normal((2, 1, 200, 64)).astype(np.float32)
    query = rng.standard_normal((200, 1, 64)).astype(np.float32)
    plain, quantised = Plain(1, 64), QuantizedMemory(1, 64, SCHEMES[name])
    for memory in (plain, quantised):
        memory.append(keys, values)
    error = np.abs(attend(query, quantised) - attend(query, plain))[150:].max()
    assert 1e-6 < error < 8
