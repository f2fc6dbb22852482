"""Token classes: no token is lost or there twice, every page holds what it should, whatever moves where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.selection.classes import LEFT, Classes, Pool, packed

pytestmark = pytest.mark.quick

CHANNELS, PAGE = 16, 32
FORMATS = [
    (Format("native", 8, "token", None), Format("native", 4, "token", None)),
    (Format("native", 2, "channel", 32), Format("native", 2, "token", None)),
]


def pools(pages: int, count: int = 2) -> list[Pool]:
    return [
        Pool(
            (PageLayout(key, "key", PAGE, CHANNELS), PageLayout(value, "value", PAGE, CHANNELS)),
            range(100 * number, 100 * number + pages),
        )
        for number, (key, value) in enumerate(FORMATS[:count])
    ]


class Simple:
    """The same by lists: of a class the pages, each the tokens that filled it and those that are left."""

    def __init__(self) -> None:
        self.pages: list[list[tuple[list, list]]] = [[], []]
        self.waiting: list[list] = [[], []]
        self.data: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, number: int, tokens: list[int]) -> None:
        for token in tokens:
            self.waiting[number].append((token, *self.data[token]))
            if len(self.waiting[number]) == PAGE:
                filled, self.waiting[number] = self.waiting[number], []
                self.pages[number].append((filled, [own[0] for own in filled]))

    def values(self, number: int, filled: list) -> list[np.ndarray]:
        """A page's keys and values, decoded in float64."""
        sides = [np.stack([own[1 + side] for own in filled]) for side in range(2)]
        found = []
        for form, x in zip(FORMATS[number], sides, strict=True):
            codes, scale, zero = form.quantize(x)
            repeats = (PAGE // len(scale), CHANNELS // scale.shape[1])
            step, low = (np.kron(part.astype(np.float64), np.ones(repeats)) for part in (scale, zero))
            found.append(codes * step + low)
        return found

    def move(self, tokens: set[int], target: int) -> None:
        leaving = []
        for number in range(2):
            for filled, left in self.pages[number]:
                keys, values = self.values(number, filled)
                for place, own in enumerate(filled):
                    if own[0] in tokens and own[0] in left:
                        left.remove(own[0])
                        leaving.append(own[0])
                        self.data[own[0]] = (keys[place].astype(np.float16), values[place].astype(np.float16))
            leaving += [own[0] for own in self.waiting[number] if own[0] in tokens]
            self.waiting[number] = [own for own in self.waiting[number] if own[0] not in tokens]
        if target < 2:
            self.add(target, leaving)
        self.pages = [[page for page in pages if page[1]] for pages in self.pages]


def compare(classes: Classes, simple: Simple, used: list[Pool], pages: int) -> None:
    everywhere = []
    for number, pool in enumerate(used):
        found = classes.read(number)
        everywhere += found.index.tolist()
        wanted = []
        for filled, left in simple.pages[number]:
            keys, values = simple.values(number, filled)
            wanted += [
                (own[0], keys[place], values[place]) for place, own in enumerate(filled) if own[0] in left
            ]
        wanted += simple.waiting[number]
        assert found.index.tolist() == [own[0] for own in wanted]
        assert (classes.map[found.index] == number).all()
        for place, own in enumerate(wanted):
            np.testing.assert_array_equal(found.keys[place], own[1].astype(np.float32))
            np.testing.assert_array_equal(found.values[place], own[2].astype(np.float32))
        # a page is in one place only: in the table or free
        numbers = [page.number for page in classes.table(number)] + list(pool.free)
        assert sorted(numbers) == list(range(100 * number, 100 * number + pages))
    assert len(everywhere) == len(set(everywhere)) == (classes.map < classes.evicted).sum()


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_any_sequence(data: st.DataObject, seed: int) -> None:
    rng, used, simple = np.random.default_rng(seed), pools(40), Simple()
    classes = Classes(used)
    for _ in range(data.draw(st.integers(1, 5))):
        count = data.draw(st.sampled_from([0, 1, 31, 32, 70]))
        keys, values = rng.standard_normal((2, count, CHANNELS)).astype(np.float16)
        chosen = rng.integers(0, 3, count)
        first = len(classes.map)
        classes.append(keys, values, chosen)
        simple.data |= {first + place: (keys[place], values[place]) for place in range(count)}
        for number in range(2):
            simple.add(number, (first + np.flatnonzero(chosen == number)).tolist())
        target = data.draw(st.integers(0, 2))
        able = np.flatnonzero((classes.map <= target) & (classes.map < 2))
        share = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
        tokens = able[rng.random(len(able)) < share]
        classes.move(rng.permutation(tokens), target)
        simple.move(set(tokens.tolist()), target)
        compare(classes, simple, used, 40)


def test_heads_share_a_pool(rng: np.random.Generator) -> None:
    used = pools(3)
    heads = [Classes(used) for _ in range(2)]
    for own in heads:
        own.append(*rng.standard_normal((2, 32, CHANNELS)), 0)
    assert [own.table(0)[0].number for own in heads] == [0, 1]
    heads[0].move(range(32), 2)
    assert list(used[0].free) == [2, 0]  # given back once, behind the others
    heads[1].append(*rng.standard_normal((2, 64, CHANNELS)), 0)
    assert [page.number for page in heads[1].table(0)] == [1, 2, 0]


def test_a_token_is_demoted_from_what_its_page_holds(rng: np.random.Generator) -> None:
    """The original is gone: both tiers have rounded it."""
    classes, keys = Classes(pools(4)), rng.standard_normal((32, CHANNELS))
    classes.append(keys, keys, 0)
    seen = classes.read(0)
    assert not np.array_equal(seen.keys, keys.astype(np.float16))
    classes.move(range(32), 1)
    form = FORMATS[1][0]
    wanted = form.decode(form.quantize(seen.keys.astype(np.float16)))
    np.testing.assert_array_equal(classes.read(1).keys, wanted)
    assert not classes.table(0)
    assert (classes.map == 1).all()


def test_holes_are_closed_by_moving_to_the_own_class(rng: np.random.Generator) -> None:
    classes = Classes(pools(4))
    classes.append(*rng.standard_normal((2, 64, CHANNELS)), 0)
    classes.move(range(0, 64, 2), 2)
    assert [(page.tokens == LEFT).sum() for page in classes.table(0)] == [16, 16]
    classes.move(classes.read(0).index, 0)
    (page,) = classes.table(0)
    assert page.tokens.tolist() == list(range(1, 64, 2))


def test_the_order_is_that_of_attention(rng: np.random.Generator) -> None:
    classes = Classes(pools(4))
    classes.append(*rng.standard_normal((2, 70, CHANNELS)), 0)
    classes.move(rng.permutation(70)[:20], 1)
    for number in range(2):
        np.testing.assert_array_equal(classes.order(number), classes.read(number).index)


@pytest.mark.parametrize("bits", [1, 2])
def test_a_packed_map_is_an_integer(rng: np.random.Generator, bits: int) -> None:
    numbers = rng.integers(0, 1 << bits, 77)
    wanted = sum(number << place * bits for place, number in enumerate(numbers.tolist()))
    assert int.from_bytes(packed(numbers, bits).tobytes(), "little") == wanted
    with pytest.raises(ValueError, match="must fit"):
        packed([1 << bits], bits)


def test_bits(rng: np.random.Generator) -> None:
    classes = Classes(pools(4))
    classes.append(*rng.standard_normal((2, 40, CHANNELS)), 0)
    classes.append(*rng.standard_normal((2, 33, CHANNELS)), 1)
    # 8 and 4 bits with 32 bits a token and side; 2 and 2 with 32 bits a channel and token
    high = 32 * (12 * CHANNELS + 2 * 32) + 32 + 32
    low = 32 * (4 * CHANNELS) + 32 * CHANNELS + 32 * 32 + 32 + 32
    assert classes.bits == high + low + 9 * 2 * 16 * CHANNELS + 2 * 73 + 16 * 73  # indices


def test_top_is_that_of_the_steps_and_offsets() -> None:
    classes, keys = Classes(pools(4)), np.zeros((32, CHANNELS))
    keys[0, 0] = 2.0**10
    classes.append(keys, np.zeros_like(keys), 0)
    # 1024 over 255 steps: 4.0, exponent field 17; the offset is 0
    assert classes.top.tolist() == [17, 1]
    classes.move(range(32), 2)
    classes.append(np.zeros_like(keys), np.zeros_like(keys), 0)
    assert classes.top.tolist() == [17, 1]


def test_refused(rng: np.random.Generator) -> None:
    classes = Classes(pools(1))
    x = rng.standard_normal((40, CHANNELS))
    classes.append(x[:33], x[:33], 1)
    classes.move([0], 2)
    before = classes.read(1)
    with pytest.raises(ValueError, match="1 pages of class 1 needed, only 0 free"):
        classes.append(x, x, 1)
    with pytest.raises(ValueError, match=r"must be different ones of 33"):
        classes.move([33], 1)
    with pytest.raises(ValueError, match="must be different ones"):
        classes.move([1, 1], 1)
    with pytest.raises(ValueError, match="target 0"):
        classes.move([1], 0)
    with pytest.raises(ValueError, match=r"target 1 must be a class not before \[1, 2\]"):
        classes.move([0, 1], 1)
    with pytest.raises(ValueError, match=r"must be \[n, 16\]"):
        classes.append(x, x[:1], 0)
    with pytest.raises(ValueError, match=r"classes \[5\] must be 0\.\.2"):
        classes.append(x, x, 5)
    after = classes.read(1)
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert len(classes.map) == 33


def test_refused_pools() -> None:
    with pytest.raises(ValueError, match="0 classes"):
        Classes([])
    with pytest.raises(ValueError, match="different numbers"):
        Pool(pools(1)[0].layouts, [1, 1])
