"""Texts read with the attention engine's numerics: every query as one decode step on its own cache."""

import numpy as np
import pytest

from golden.attention import attend
from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, Scheme
from golden.model.attention import attend as attend_model
from golden.model.engine_memory import EngineMemory
from golden.model.kv_schemes import QuantizedMemory
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

NUMERICS = Numerics()
TURNED = Scheme(
    Format("native", 4, "channel", 32),
    Format("native", 2, "channel", 32),
    "paged",
    5,
    SCHEMES["native4_paged"].window_format,
)
SOME = {"paged": SCHEMES["native4_paged"], "paged128": SCHEMES["native2_paged128"], "turned": TURNED}


def inputs(rng: np.random.Generator, tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries [T, 4, 32], keys and values [2, T, 32]; some tokens are loud, so that tops grow.

    Values of the second head are positive: closing a page brings steps larger than any offset before.
    """
    loud = np.exp(rng.standard_normal((2, 2, tokens, 1)))
    keys, values = (rng.standard_normal((2, 2, tokens, 32)) * loud).astype(np.float32)
    values[1] = np.abs(values[1])
    return rng.standard_normal((tokens, 4, 32)).astype(np.float32), keys, values


@pytest.mark.parametrize("name", SOME)
def test_every_query_is_a_decode_step(name: str, rng: np.random.Generator) -> None:
    """Bit for bit, all at once and in pieces."""
    query, keys, values = inputs(rng, 290)
    once = EngineMemory(2, 32, SOME[name], NUMERICS)
    once.append(keys, values)
    found = attend_model(query, once)
    for token in (*range(0, 290, 17), 31, 32, 63, 64, 68, 69, 288, 289):
        cache = SOME[name].compress(keys[:, : token + 1], values[:, : token + 1])
        wanted = attend(cache, query[token], NUMERICS)
        assert found[token].tolist() == wanted.astype(np.float32).ravel().tolist()
    pieces, parts = EngineMemory(2, 32, SOME[name], NUMERICS), []
    for own in np.split(np.arange(290), [1, 31, 32, 33, 200, 201]):
        pieces.append(keys[:, own], values[:, own])
        parts.append(attend_model(query[own], pieces))
    np.testing.assert_array_equal(np.concatenate(parts), found)


@pytest.mark.parametrize("window", [None, 1, 40, 64])
def test_close_to_float32(window: int | None, rng: np.random.Generator) -> None:
    """With and without a sliding window."""
    query, keys, values = inputs(rng, 290)
    engine, plain = EngineMemory(2, 32, SOME["paged"], NUMERICS), QuantizedMemory(2, 32, SOME["paged"])
    for memory in (engine, plain):
        memory.append(keys, values)
    found, wanted = (attend_model(query, memory, window) for memory in (engine, plain))
    assert np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()) < 3e-3


@pytest.mark.parametrize("name", ["native4", "native2_strict", "atom4"])
def test_other_schemes(name: str) -> None:
    message = r"^a scheme for the attention engine must have whole pages and a window format$"
    with pytest.raises(ValueError, match=message):
        EngineMemory(2, 64, SCHEMES[name], NUMERICS)
