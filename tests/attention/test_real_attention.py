"""How far the engine is from exact attention on the same pages: SmolLM2's own numbers, and long contexts.

``pytest tests/attention/test_real_attention.py -s`` prints the figures.
"""

import numpy as np
import pytest

from golden.attention import attend
from golden.checkpoint import Checkpoint
from golden.kv import schemes
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.model import tokenizer
from golden.model.capture import attention_inputs, manual
from golden.model.llama import Llama
from golden.numbers.numerics import Numerics
from hw.config import preset
from synth.model.attention_timeline import expected_moves

pytestmark = pytest.mark.slow

TOKENS, QUERIES = 1024, 32


def exact(cache: PagedCache, q: np.ndarray) -> np.ndarray:
    """Outputs [N, D] in float64 on what the pages stand for."""
    keys, values = (part.astype(np.float64) for part in cache.decompress())
    queries = q.astype(np.float64).reshape(cache.heads, -1, cache.channels)
    scores = queries @ keys.swapaxes(1, 2) / np.sqrt(cache.channels)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights @ values / weights.sum(-1, keepdims=True)).reshape(len(q), -1)


@pytest.fixture(scope="module")
def layers(smollm2: Llama, smollm2_file: Checkpoint) -> list[tuple[np.ndarray, ...]]:
    """Queries, keys and values of all layers for the begin of Python's manual."""
    ids = tokenizer.of(smollm2_file).encode(manual(12 * TOKENS))[:TOKENS]
    return attention_inputs(smollm2, ids)


@pytest.mark.llm
@pytest.mark.parametrize(("bits", "pooled", "worst"), [(12, 2e-3, 5e-3), (14, 1e-3, 2e-3)])
@pytest.mark.parametrize("name", ["native8_paged", "native4_paged", "native4_paged128", "native2_paged"])
def test_every_layer(name: str, bits: int, pooled: float, worst: float, layers) -> None:
    """Relative RMS of the newest 32 tokens' queries over a cache of 1,024 tokens."""
    errors, sizes = [], []
    for queries, keys, values in layers:
        cache = schemes.get(name).compress(keys, values)
        q = queries[:, :, -QUERIES:].reshape(-1, keys.shape[2]).astype(np.float16)
        wanted = exact(cache, q)
        errors.append(np.square(attend(cache, q, Numerics(bits)) - wanted).mean())
        sizes.append(np.square(wanted).mean())
    relative = np.sqrt(np.divide(errors, sizes))
    together = np.sqrt(np.sum(errors) / np.sum(sizes))
    print(f"{name}, A = {bits}: {together:.2e} pooled, {relative.max():.2e} worst layer")
    assert together < pooled
    assert relative.max() < worst


@pytest.mark.llm
def test_moves_of_maxima(layers) -> None:
    """How often a maximum moves over all pages is what the model of cycles expects."""
    found = []
    for queries, keys, _ in layers:
        q = queries[:, :, -QUERIES:].reshape(len(keys), -1, keys.shape[2])
        scores = q @ keys.swapaxes(1, 2) * np.log2(np.e) / np.sqrt(keys.shape[2])
        largest = np.ceil(scores.reshape(*scores.shape[:2], -1, 32).max(-1))
        found.append((np.diff(np.maximum.accumulate(largest, -1)) > 0).sum(-1).mean())
    config = preset("edge")
    pages = [
        PageLayout(Format("native", 2, axis, 32), side, 32, 64, config.rows, config.lanes)
        for axis, side in zip(("channel", "token"), SIDES, strict=True)
    ]
    (expected,) = expected_moves([(*pages, TOKENS // 32)], 1)
    print(
        f"{np.mean(found):.2f} moves of a query, {max(found):.2f} in the worst layer; {expected:.2f} expected"
    )
    assert np.mean(found) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("distance", [3, 9, 14])
@pytest.mark.parametrize("tokens", [1 << 15, 1 << 17])
def test_long_contexts_with_a_sink(tokens: int, distance: int, rng: np.random.Generator) -> None:
    """A first token that weighs about e^distance times as much as others, at A = 12.

    Of single queries some have errors up to five times that: those whose sink weighs as much as all others.
    """
    keys, values = rng.standard_normal((2, 1, tokens, 64))
    keys[0, :, 3] += 8
    base = rng.standard_normal(64)
    q = (rng.standard_normal((8, 64)) + base).astype(np.float16)
    keys[0, 0] += base * distance * 8 / (base @ base)
    values[0, 0] *= 0.02
    cache = schemes.get("native4_paged").compress(keys, values)
    wanted = exact(cache, q)
    errors = np.linalg.norm(attend(cache, q, Numerics(12)) - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    print(f"{tokens} tokens, sink e^{distance}: {np.median(errors):.2e}, at most {errors.max():.2e}")
    most = 3e-3 * (tokens / (1 << 15)) ** 0.5
    assert np.median(errors) < most
    assert errors.max() < 5 * most
