"""KVCrush: signatures, anchors, distances and choices, against the published cases and a counting sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.systems import kvcrush

pytestmark = pytest.mark.quick


def twister(seed: int, count: int) -> list[int]:
    """Outputs of MT19937 by its recurrence (Matsumoto and Nishimura, 1998)."""
    state = [seed]
    for index in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + index) & 0xFFFFFFFF)
    outputs = []
    while len(outputs) < count:
        mixed = state[-624] & 0x80000000 | state[-623] & 0x7FFFFFFF
        state.append(state[-227] ^ mixed >> 1 ^ (0x9908B0DF if mixed & 1 else 0))
        own = state[-1]
        own ^= own >> 11
        own ^= own << 7 & 0x9D2C5680
        own ^= own << 15 & 0xEFC60000
        outputs.append(own ^ own >> 18)
    return outputs


@given(st.integers(1, 33), st.integers(1, 9), st.integers(0, 10), st.data())
def test_signatures(heads: int, tokens: int, budget: int, data: st.DataObject) -> None:
    shape, small = (heads, tokens), st.integers(0, 3)
    scores = data.draw(arrays.arrays(np.uint32, shape, elements=small))
    found = kvcrush.signatures(scores, budget)
    assert found.dtype.kind == "u"
    for head in range(heads):
        order = sorted(range(tokens), key=lambda t: (-int(scores[head, t]), t))
        assert {t for t in range(tokens) if int(found[t]) >> head & 1} == set(order[:budget])


def test_known_outputs() -> None:
    """The 10,000th output that the C++ standard demands of a default mt19937, by both generators."""
    assert twister(5489, 10_000)[-1] == 4123659995
    bits = kvcrush.anchor("random", 10_000, 5489)
    assert bits.tolist() == [own >> 31 for own in twister(5489, 10_000)]


@pytest.mark.parametrize(
    ("seed", "bits"),
    [
        (0, "1111111101100010100011101011000100111011101101110111011110000011"),
        (1, "0111000100000001011100110010011100100101111100111111010000110101"),
        (42, "0110111100000010101100111100010101100001100001000011001110011100"),
    ],
)
def test_random_anchor(seed: int, bits: str) -> None:
    """What g++ 12's std::uniform_int_distribution<int>(0, 1) draws from std::mt19937(seed)."""
    assert "".join(map(str, kvcrush.anchor("random", 64, seed))) == bits


def test_other_anchors() -> None:
    assert kvcrush.anchor("zeros", 4).tolist() == [0, 0, 0, 0]
    assert kvcrush.anchor("ones", 3).tolist() == [1, 1, 1]
    assert kvcrush.anchor("alternating", 5).tolist() == [0, 1, 0, 1, 0]
    # bit 0 in three of four, bit 1 in two of four (not more than half), bit 31 in all
    words = np.array([0x80000001, 0x80000003, 0x80000003, 0x80000000], np.uint32)
    assert np.flatnonzero(kvcrush.anchor("mean", 32, signatures=words)).tolist() == [0, 31]
    assert kvcrush.anchor("mean", 4, signatures=np.zeros(0, np.uint32)).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("kind", "bits", "wording"),
    [("median", 4, "anchor 'median'"), ("mean", 4, "must have signatures"), ("zeros", 0, "bits 0")],
)
def test_refused_anchors(kind: str, bits: int, wording: str) -> None:
    with pytest.raises(ValueError, match=wording):
        kvcrush.anchor(kind, bits)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=9), st.integers(0, 2**32 - 1))
def test_distances(words: list[int], point: int) -> None:
    anchor = [point >> bit & 1 for bit in range(32)]
    found = kvcrush.distances(np.array(words, np.uint32), anchor)
    assert found.tolist() == [(word ^ point).bit_count() for word in words]


@given(st.lists(st.integers(0, 32), max_size=40), st.integers(0, 45))
def test_representatives(distance: list[int], budget: int) -> None:
    """A bucket for every distance, tokens in ascending order within: the counting sort of a circuit."""
    buckets: list[list[int]] = [[] for _ in range(33)]
    for place, own in enumerate(distance):
        buckets[own].append(place)
    order = [place for bucket in buckets for place in bucket]
    step = len(distance) // budget if budget else 0
    wanted = [order[index * step] for index in range(budget)] if step else []
    assert kvcrush.representatives(np.array(distance, int), budget).tolist() == wanted


@given(st.lists(st.integers(0, 2) | st.floats(0, 1), max_size=20))
def test_indicators(scores: list[float]) -> None:
    order = sorted(range(len(scores)), key=lambda t: (-scores[t], t))
    chosen = set(order[: len(scores) // 2])
    assert kvcrush.indicators(np.array(scores, float)).tolist() == [t in chosen for t in range(len(scores))]


def released(
    scores: list[float], evicted: list[int], block: int, budget: int, anchor: list[int] | None
) -> list[int]:
    """kvcrush.cpp step by step, its sort made stable; no anchor stands for the mean."""
    count = len(scores) // block
    ranks = sorted(range(len(scores)), key=lambda t: (-scores[t], t))[: len(scores) // 2]
    bits = [int(t in ranks) for t in range(len(scores))]
    if anchor is None:
        sums = [sum(bits[b * block + p] for b in range(count)) for p in range(block)]
        anchor = [int(count > 0 and own / count > 0.5) for own in sums]
    distance = [sum(bits[b * block + p] != anchor[p] for p in range(block)) for b in range(count)]
    order = sorted((b for b in range(count) if b in evicted), key=lambda b: distance[b])
    if not budget or len(order) < budget:
        return []
    return [order[index * (len(order) // budget)] for index in range(budget)]


@given(
    st.lists(st.integers(0, 5).map(float), min_size=1, max_size=48),
    st.sets(st.integers(0, 12)),
    st.integers(1, 9),
    st.integers(0, 5),
    st.sampled_from(kvcrush.ANCHORS),
    st.integers(0, 2**32 - 1),
)
def test_blocks(
    scores: list[float], evicted: set[int], block: int, budget: int, kind: str, seed: int
) -> None:
    points = {
        "random": [own >> 31 for own in twister(seed, block)],
        "zeros": [0] * block,
        "ones": [1] * block,
        "mean": None,
        "alternating": [place % 2 for place in range(block)],
    }
    found = kvcrush.blocks(np.array(scores), sorted(evicted), block, budget, kind, seed)
    assert found.tolist() == released(scores, sorted(evicted), block, budget, points[kind])


def test_blocks_of_a_page_wider_than_a_word() -> None:
    scores = np.arange(4 * 128, dtype=np.uint32)  # the upper half are blocks 2 and 3
    assert kvcrush.blocks(scores, [0, 1, 2, 3], 128, 2, "zeros").tolist() == [0, 2]
    assert kvcrush.blocks(scores, [3, 1], 128, 1, "ones").tolist() == [3]
    assert not kvcrush.blocks(scores, [], 128, 1, "ones").size


def test_refused() -> None:
    with pytest.raises(ValueError, match="heads"):
        kvcrush.signatures(np.ones((65, 2)), 1)
    with pytest.raises(ValueError, match="budget -1"):
        kvcrush.representatives([1], -1)
    with pytest.raises(ValueError, match="block 0"):
        kvcrush.blocks(np.ones(4), [0], 0, 1, "zeros")
    with pytest.raises(ValueError, match="at most 64"):
        kvcrush.distances(np.ones(2, np.uint64), np.zeros(65))
