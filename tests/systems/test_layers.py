"""Layers that decode: every system against its steps taken one by one, and that nothing looks ahead."""

from dataclasses import replace

import numpy as np
import pytest

from golden.kv.schemes import SCHEMES, WINDOW
from golden.selection.classes import LEFT
from golden.systems import get, mikv, zipvl
from golden.systems.layers.kvcrush import KVCrush
from golden.systems.layers.layer import Layer
from golden.systems.layers.mikv import MiKV
from golden.systems.layers.paged import Paged
from golden.systems.layers.rankings import RANKINGS
from golden.systems.layers.zipvl import ZipVL
from golden.systems.registry import SYSTEMS, System, names

pytestmark = pytest.mark.quick

HEADS, REPEATS, CHANNELS = 2, 2, 64

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def data(rng: np.random.Generator, tokens: int, channels: int = CHANNELS) -> Data:
    """Keys, values ``[H, T, D]`` and queries ``[H, R, T, D]``; float16, so that nothing is rounded first."""
    keys, values = rng.standard_normal((2, HEADS, tokens, channels)).astype(np.float16)
    return keys, values, 2 * rng.standard_normal((HEADS, REPEATS, tokens, channels)).astype(np.float32)


def run(
    system: System, keys: np.ndarray, values: np.ndarray, queries: np.ndarray
) -> tuple[Layer, np.ndarray]:
    layer = system.layer(HEADS, keys.shape[2])
    layer.append(keys, values)
    return layer, np.stack([layer.step(queries[:, :, t]) for t in range(keys.shape[1])], 2)


def attention(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Output and weights of one query head, in float64."""
    weights = np.exp(keys.astype(np.float64) @ query.astype(np.float64) / len(query) ** 0.5)
    weights /= weights.sum()
    return weights @ values.astype(np.float64), weights


SMALL = {
    "mikv": MiKV(prompt=32),
    "mikv4": MiKV(high=4, prompt=32),
    "mikv_random": MiKV(ranking="random", prompt=32),
    "mikv_paged": MiKV(high=8, paged=True, prompt=64),
    "zipvl": ZipVL(period=40),
    "zipvl_random": ZipVL(period=40, ranking="random"),
    "zipvl_paged": ZipVL(period=64, paged=True),
    "h2o": KVCrush(96, 0),
    "kvcrush": KVCrush(128, 32),
    "snapkv": KVCrush(128, 32, ranking="window", anchor="alternating"),
    "block": KVCrush(128, 32, "block", ranking="mean", anchor="random", bits=4),
}


@pytest.mark.parametrize("name", SMALL)
def test_nothing_looks_ahead(rng: np.random.Generator, name: str) -> None:
    """Tokens that come later change nothing, nor does it matter how many are appended at a time."""
    keys, values, queries = data(rng, 180)
    layer, outputs = run(SMALL[name], keys, values, queries)
    assert layer.bits < 2 * 16 * keys.size
    pieces = SMALL[name].layer(HEADS, CHANNELS)
    found = []
    for tokens in np.split(np.arange(180), [1, 33, 165]):
        sign = -3 if tokens[0] == 165 else 1
        pieces.append(sign * keys[:, tokens], sign * values[:, tokens])
        found += [pieces.step(queries[:, :, t]) for t in tokens]
    np.testing.assert_allclose(np.stack(found, 2)[:, :, :165], outputs[:, :, :165], rtol=0, atol=1e-5)


@pytest.mark.parametrize("high", [16, 8])
def test_mikv(rng: np.random.Generator, high: int) -> None:
    """Lists of tokens, one head at a time."""
    keys, values, queries = data(rng, 90)
    system = MiKV(share=30, high=high, prompt=20)
    layer, outputs = run(system, keys, values, queries)
    for head in range(HEADS):
        seen = [keys[head].astype(np.float64), values[head].astype(np.float64)]
        score, high_tier = np.zeros(90), set()
        for t in range(90):
            high_tier.add(t)
            for row in range(REPEATS):
                wanted, weights = attention(queries[head, row, t], seen[0][: t + 1], seen[1][: t + 1])
                np.testing.assert_allclose(outputs[head, row, t], wanted, rtol=0, atol=2e-5)
                score[: t + 1] += weights
            if t == 19:
                b = mikv.balancer(queries[head, :, :20], keys[head, :20])
                lying = [(keys[head].astype(np.float32) * b).astype(np.float16), values[head].copy()]
            if t < 19:
                continue
            budget = (t + 1) * 30 // 100
            recent = set(range(t + 1 - budget // 2, t + 1))
            heavy = sorted(high_tier - recent, key=lambda j: -score[j])[: budget - budget // 2]
            gone, high_tier = high_tier - recent - set(heavy), recent | set(heavy)
            fresh = list(range(20)) if t == 19 else [t]
            for tokens, bits in ((fresh, high), (sorted(gone), 2)):
                if tokens and bits < 16:
                    none = np.zeros((1, len(tokens)), bool)
                    for side, own, factor in zip(lying, seen, (b, np.float32(1)), strict=True):
                        stored = mikv.quantize_values(side[tokens][None], none, low=bits)
                        side[tokens] = stored.decompress()[0]
                        own[tokens] = side[tokens].astype(np.float32) / factor
        if high == 16:
            raw = [j for j in range(90) if np.array_equal(layer.keys[head, j], keys[head, j])]
            assert set(raw) == high_tier


def test_bits_of_mikv(rng: np.random.Generator) -> None:
    """20 of 100 tokens above: 5.2 bits, a bit for the map, 32 for the score, 16 for each balancer."""
    keys, values, queries = data(rng, 100, 128)
    layer, _ = run(MiKV(), keys, values, queries)
    assert layer.bits_per_element == pytest.approx(5.2 + 33 / (2 * 128) + 16 / (2 * 100))
    assert run(MiKV(ranking="random"), keys, values, queries)[0].bits == layer.bits


def test_zipvl(rng: np.random.Generator) -> None:
    """All queries are probes: as many tokens as carry 90 % of the mass, by mean attention in each head."""
    keys, values, queries = data(rng, 70)
    layer, outputs = run(ZipVL(tau=900, period=30, probes=200), keys, values, queries)
    seen = [keys.astype(np.float64), values.astype(np.float64)]
    for begin in (0, 30, 60):
        rows = np.zeros((HEADS, 30, 30))
        for t in range(begin, min(begin + 30, 70)):
            for head, row in np.ndindex(HEADS, REPEATS):
                own = [side[head, : t + 1] for side in seen]
                wanted, weights = attention(queries[head, row, t], *own)
                np.testing.assert_allclose(outputs[head, row, t], wanted, rtol=0, atol=2e-5)
                rows[head, t - begin, : t + 1 - begin] += weights[begin:]
        if begin == 60:
            break
        mass = np.sort(rows.sum((0, 1)))[::-1].cumsum()
        count = int((mass < 0.9 * mass[-1]).sum()) + 1
        means = rows.sum(1) / np.arange(30, 0, -1)
        important = np.argsort(np.argsort(-means, 1), 1) < count
        own = slice(begin, begin + 30)
        seen[0][:, own] = zipvl.quantize_keys(keys[:, own], important).decompress()
        seen[1][:, own] = zipvl.quantize_values(values[:, own], important).decompress()
    assert layer.closed == 60


def test_drawn_tokens_are_as_many(rng: np.random.Generator) -> None:
    x = data(rng, 200)
    for system in (ZipVL(tau=None, share=60), KVCrush(96, 0)):
        drawn = replace(system, ranking="random")
        one, other = run(system, *x), run(drawn, *x)
        assert one[0].bits == other[0].bits
        assert not np.array_equal(one[1], other[1])
        np.testing.assert_array_equal(run(drawn, *x)[1], other[1])


def evicting(system: KVCrush, x: Data) -> list[np.ndarray]:
    """The tokens that are kept after each query."""
    layer, kept = system.layer(HEADS, CHANNELS), []
    layer.append(*x[:2])
    for t in range(x[0].shape[1]):
        layer.step(x[2][:, :, t])
        assert (layer.kept == layer.kept[0]).all()
        kept.append(layer.kept[0, : t + 1].copy())
    return kept


@pytest.mark.parametrize("name", ["h2o", "kvcrush", "snapkv", "block"])
def test_budget(rng: np.random.Generator, name: str) -> None:
    system = SMALL[name]
    assert isinstance(system, KVCrush)
    before = np.zeros(0, bool)
    for t, kept in enumerate(evicting(system, data(rng, 300))):
        assert kept.sum() < system.budget + 32
        if (t + 1) % 32 == 0 and t >= system.budget + 31:
            assert kept.sum() == system.budget
        assert kept[: system.start].all()
        assert kept[-system.recent :].all()
        assert not (kept[:-1] & ~before).any()  # nothing returns
        before = kept


def test_h2o_keeps_the_largest_sums(rng: np.random.Generator) -> None:
    x = data(rng, 128)
    sums = np.zeros(128)
    for t in range(128):
        for head, row in np.ndindex(HEADS, REPEATS):
            sums[: t + 1] += attention(x[2][head, row, t], x[0][head, : t + 1], x[1][head, : t + 1])[1]
    kept = evicting(KVCrush(96, 0), x)[127]
    assert set(np.flatnonzero(~kept)) == set(np.argsort(sums[32:96])[:32] + 32)


def test_representatives(rng: np.random.Generator) -> None:
    """Half the room for the best; the others by the heads that would keep them, against their majority."""
    scores = rng.random((5, 40))
    found = KVCrush(64 + 16 + 8, 8, recent=32).chosen(scores)
    best = set(np.argsort(-scores.sum(0))[:16])
    votes = [set(np.argsort(-own)[:16]) for own in scores]
    majority = [2 * len(own) > 40 for own in votes]
    others = [t for t in range(40) if t not in best]
    away = [sum((t in own) != most for own, most in zip(votes, majority, strict=True)) for t in others]
    order = [others[place] for place in sorted(range(24), key=lambda place: away[place])]
    assert set(found) == best | {order[index * 3] for index in range(8)}


def test_released_blocks_free_whole_pages(rng: np.random.Generator) -> None:
    kept = evicting(SMALL["block"], data(rng, 300))[-1]
    whole = kept[:288].reshape(-1, 32)
    assert (whole.all(1) | ~whole.any(1)).all()


@pytest.mark.parametrize("system", [MiKV(high=8, paged=True), ZipVL(period=64, paged=True)])
def test_pages(rng: np.random.Generator, system: System) -> None:
    """What queries find is what lies in the classes, and factors are powers of two."""
    keys, values, queries = data(rng, 210)
    keys[..., 3] *= 30
    values[..., 5] *= 100
    layer, _ = run(system, keys, values, queries)
    assert isinstance(layer, Paged)
    assert layer.closed == 210 // getattr(system, "period", 32) * getattr(system, "period", 32)
    factors = layer.key_factors if isinstance(system, MiKV) else layer.value_factors
    assert (np.frexp(factors)[0] == 0.5).all()
    assert len(np.unique(factors)) > 1
    lying = keys[:, layer.closed :] * layer.key_factors
    window = WINDOW.decode(WINDOW.quantize(lying)) / layer.key_factors
    np.testing.assert_array_equal(layer.keys[:, layer.closed :], window)
    for head, own in enumerate(layer.classes):
        for number in range(2):
            found, table = own.read(number), own.table(number)
            assert (np.flatnonzero(own.map == number) == np.sort(found.index)).all()
            paged = len(found.index) - len(own.waiting(number).index)
            index = found.index[:paged]
            np.testing.assert_array_equal(
                layer.keys[head, index] * layer.key_factors[head], found.keys[:paged]
            )
            np.testing.assert_array_equal(
                layer.values[head, index] * layer.value_factors[head], found.values[:paged]
            )
            assert sum(int((page.tokens == LEFT).sum()) for page in table) < 64
        if isinstance(system, MiKV):
            assert (own.map == 0).sum() == layer.closed * 20 // 100


def test_rankings(rng: np.random.Generator) -> None:
    rows = [rng.random((1, 2, t + 1)).astype(np.float32) for t in range(40)]
    made = {name: ranking() for name, ranking in RANKINGS.items()}
    for row in rows:
        for ranking in made.values():
            ranking.add(row)
    sums = np.array([[sum(float(row[0, r, j]) for row in rows[j:]) for j in range(40)] for r in range(2)])
    np.testing.assert_allclose(made["sum"].scores()[0], sums)
    np.testing.assert_allclose(made["mean"].scores()[0], sums / (40 - np.arange(40)))
    late = np.array(
        [[sum(float(row[0, r, j]) for row in rows[max(j, 8) :]) for j in range(40)] for r in range(2)]
    )
    wanted = [[own[max(j - 3, 0) : j + 4].max() for j in range(40)] for own in late]
    np.testing.assert_allclose(made["window"].scores()[0], wanted)
    assert len(np.unique(made["random"].scores())) > 75


def test_refused(rng: np.random.Generator) -> None:
    layer = MiKV().layer(HEADS, CHANNELS)
    with pytest.raises(ValueError, match="token 0 must be appended"):
        layer.step(np.zeros((HEADS, 1, CHANNELS)))
    with pytest.raises(ValueError, match=r"must be \(2, 3, 64\)"):
        layer.append(np.zeros((HEADS, 3, CHANNELS)), np.zeros((HEADS, 2, CHANNELS)))
    assert np.isnan(layer.bits_per_element)


def test_names() -> None:
    assert set(names()) == {*SCHEMES, *SYSTEMS}
    assert not {*SCHEMES} & {*SYSTEMS}
    assert get("native4") is SCHEMES["native4"]
    assert get("mikv") == MiKV()
    with pytest.raises(ValueError, match="scheme 'none' must be one of"):
        get("none")
    assert not get("mikv8_paged").fits(8)
    assert get("mikv").fits(8)
