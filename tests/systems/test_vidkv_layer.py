"""A layer that decodes with VidKV, against the system's own functions on the tokens that have left."""

import numpy as np
import pytest

from golden.systems import vidkv
from golden.systems.layers.vidkv import VidKV
from golden.systems.registry import get

pytestmark = pytest.mark.quick

HEADS, CHANNELS, TOKENS = 2, 16, 200
NAMES = ["vidkv", "vidkv_plain", "vidkv_published", "vidkv_kept_protect20", "vidkv_protect40_random"]


@pytest.mark.parametrize("name", NAMES)
def test_what_queries_find(name: str, rng: np.random.Generator) -> None:
    """Groups of whole classes equal the functions; nothing newer is touched, nothing before the prompt."""
    system = get(name)
    assert isinstance(system, VidKV)
    keys, values = rng.standard_normal((2, HEADS, TOKENS, CHANNELS)).astype(np.float16).astype(np.float32)
    layer = system.layer(HEADS, CHANNELS)
    layer.append(keys, values)
    mask = vidkv.channel_mask(keys[:, :64], 0.5)
    scores, protected = np.zeros(TOKENS), np.zeros(0, bool)
    for time in range(1, TOKENS + 1):
        query = rng.standard_normal((HEADS, 3, CHANNELS))
        found = query @ layer.keys[:, :time].swapaxes(1, 2) / np.sqrt(CHANNELS)
        weights = np.exp(found)
        scores[:time] += (weights / weights.sum(-1, keepdims=True)).sum((0, 1))
        layer.step(query)
        closed = 0 if time < 64 else (time - 32) // 32 * 32
        assert layer.closed == closed
        np.testing.assert_array_equal(layer.keys[:, closed:], keys[:, closed:])
        np.testing.assert_array_equal(layer.values[:, closed:], values[:, closed:])
        if closed > len(protected):
            new = np.arange(len(protected), closed)
            count = closed * system.protect // 100 - int(protected.sum())
            best = sorted(new, key=lambda t, now=time: -scores[t] / (now - t))[:count]
            protected = np.concatenate([protected, np.isin(new, best)])
    whole = vidkv.quantize_keys(
        keys[:, :closed], mask, transform=system.transform, decode=system.key_decode
    ).decompress()
    np.testing.assert_array_equal(layer.keys[:, :closed], whole)
    if system.ranking == "random":
        assert not np.array_equal(layer.values[:, :closed], values[:, :closed])
        return
    wanted = vidkv.quantize_values(
        values[:, :closed], 0.7, system.decode, protected=protected if system.protect else None
    ).decompress()
    np.testing.assert_array_equal(layer.values[:, :closed], wanted)


def test_bits(rng: np.random.Generator) -> None:
    """Counted by hand: 5 groups of 2 heads of 16 channels."""
    wanted = {
        "vidkv": (8 * (2 + 1) + 8 * (1 + 0.5) + 8 / 32) / 16 + 1.6 + 0.5,
        "vidkv_plain": (8 * (2 + 1) + 8 * (1 + 0.5)) / 16 + 1.6 + 0.5,
        "vidkv_published_plain": (8 * (2 + 1) + 8 * (1 + 0.5)) / 16 + 1.6,
        # Of 160 tokens 32 are protected, and 1 bit a token says which.
        "vidkv_protect20": (8 * (2 + 1) + 8 * (1 + 0.5) + 8 / 32) / 16 + 2.28 + 1 / (HEADS * CHANNELS),
    }
    x = rng.standard_normal((HEADS, TOKENS, CHANNELS))
    for name, sides in wanted.items():
        system = get(name)
        assert isinstance(system, VidKV)
        layer = system.layer(HEADS, CHANNELS)
        layer.append(x, x)
        for _ in range(TOKENS):
            layer.step(np.ones((HEADS, 1, CHANNELS)))
        elements = HEADS * 160 * CHANNELS
        assert layer.closed_elements == 2 * elements
        assert layer.bits == pytest.approx(sides * elements + CHANNELS, abs=1)


def test_types_have_equal_bits() -> None:
    for bits, (native, own) in {4: (4.5, 4.5625), 3: (3.5, 3.5625)}.items():
        names = f"native{bits}_g64", f"bitmod{bits}", f"native{bits}_g64_token", f"bitmod{bits}_token"
        assert [get(name).bits_per_element(64) for name in names] == [native, own] * 2  # type: ignore[union-attr]
