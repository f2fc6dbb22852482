"""Signatures of which only some bits are found anew at a cut."""

from dataclasses import replace

import numpy as np
import pytest

from golden.systems.layers.kvcrush import KVCrush

HEADS, REPEATS, CHANNELS = 2, 2, 64
SMALL = KVCrush(128, 32)

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def data(rng: np.random.Generator, tokens: int) -> Data:
    """Keys, values ``[H, T, D]`` and queries ``[H, R, T, D]``."""
    keys, values = rng.standard_normal((2, HEADS, tokens, CHANNELS)).astype(np.float16)
    return keys, values, 2 * rng.standard_normal((HEADS, REPEATS, tokens, CHANNELS)).astype(np.float32)


def evicting(system: KVCrush, x: Data) -> list[np.ndarray]:
    """The tokens that are kept after each query."""
    layer, kept = system.layer(HEADS, CHANNELS), []
    layer.append(*x[:2])
    for t in range(x[0].shape[1]):
        layer.step(x[2][:, :, t])
        kept.append(layer.kept[0, : t + 1].copy())
    return kept


def test_all_bits_found_anew_are_the_signatures(rng: np.random.Generator) -> None:
    x = data(rng, 300)
    whole = evicting(SMALL, x)
    for refresh in (HEADS * REPEATS, 100):
        for kept, wanted in zip(evicting(replace(SMALL, refresh=refresh), x), whole, strict=True):
            np.testing.assert_array_equal(kept, wanted)


def test_bits_of_other_heads_stay(rng: np.random.Generator) -> None:
    """A cut with one head in turn: the area's signatures by lists."""
    system, x = replace(SMALL, refresh=1), data(rng, 256)
    layer, cuts = system.layer(HEADS, CHANNELS), []
    chosen = KVCrush.chosen

    def note(self: KVCrush, scores: np.ndarray, signatures: np.ndarray | None = None) -> np.ndarray:
        kept = layer.kept[0, : layer.time].copy()
        cuts.append((layer.time, kept, scores, signatures))
        return chosen(self, scores, signatures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KVCrush, "chosen", note)
        layer.append(*x[:2])
        alive, areas = [], []
        for t in range(256):
            before = np.flatnonzero(layer.kept[0, : t + 1])
            layer.step(x[2][:, :, t])
            if len(cuts) > len(areas):
                areas.append(before[system.start : len(before) - system.recent])
                alive.append(t)
    bits: dict[tuple[int, int], bool] = {}
    for number, ((_, _, scores, signatures), area) in enumerate(zip(cuts, areas, strict=True)):
        assert signatures is not None
        heads = range(len(scores)) if number == 0 else [(number - 1) % len(scores)]
        for head in heads:
            best = set(
                sorted(range(len(area)), key=lambda place: (-scores[head][place], place))[: system.room]
            )
            bits |= {(head, token): place in best for place, token in enumerate(area.tolist())}
        for token, signature in zip(area.tolist(), signatures.tolist(), strict=True):
            assert signature == sum(bits.get((head, token), False) << head for head in range(len(scores)))
    assert len(cuts) > 2
