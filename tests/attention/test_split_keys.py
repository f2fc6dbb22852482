"""Keys in several pages whose scores are added: golden against fractions, bit for bit."""

import numpy as np
import pytest

from golden.attention import engine, page, scores
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

P = 32
TWO, SIGN = Format("native", 2, "channel", 32), Format("sign", 1, "channel", 32)
TRITS, FOUR = Format("ternary_scaled", 2, "channel", 16), Format("native", 4, "token", 16)
VALUES = Format("native", 2, "token", 16)
PARTS = [
    [(TWO, 16), (SIGN, 16)],
    [(SIGN, 32), (TWO, 16)],
    [(FOUR, 16), (TRITS, 32)],
    [(TWO, 16), (FOUR, 16), (SIGN, 16)],
]
MOST = (2**19 - 1) * 4096


def quantized(rng: np.random.Generator, form: Format, channels: int) -> tuple[Format, Quantized]:
    x = rng.standard_normal((P, channels)) * np.exp(rng.standard_normal(channels))
    return form, form.quantize(x.astype(np.float16))


@pytest.mark.parametrize("parts", PARTS, ids=["vidkv", "turned", "other axes", "three"])
def test_every_part_meets_its_channels(parts: list, rational, cells, rng: np.random.Generator) -> None:
    """Two pages of tokens; of the second not all are valid."""
    channels = sum(count for _, count in parts)
    q = rng.standard_normal((2, channels)) * 2
    tokens = [
        ([quantized(rng, *part) for part in parts], quantized(rng, VALUES, channels), last)
        for last in (P - 1, 20)
    ]
    sides = [[one for keys, _, _ in tokens for one in keys], [values for _, values, _ in tokens]]
    top = tuple(max(int(form.largest_field(*own[1:])) for form, own in side) for side in sides)
    query, state = fold(q), engine.start(2, channels, top[1])
    slow = [rational(one, top) for one in q]
    for keys, values, last in tokens:
        own = [page.read(*part) for part in keys], page.read(*values)
        state, found = engine.step(state, query, *own, Numerics(), top[0], 0, last)
        for n, one in enumerate(slow):
            exact = one.step([cells(*part) for part in keys], cells(*values), range(last + 1))
            assert found[n].tolist() == exact
    outputs = engine.finish(state, query).values
    for n, one in enumerate(slow):
        assert (state.maximum[n], state.total[n]) == (one.maximum, one.total)
        assert outputs[n].tolist() == one.finish()


def test_one_page_is_a_list_of_one(rng: np.random.Generator) -> None:
    query, own = fold(rng.standard_normal((3, 32))), page.read(*quantized(rng, TWO, 32))
    whole, parts = (scores.scores(query, keys, 30, Numerics()) for keys in (own, [own]))
    np.testing.assert_array_equal(whole, parts)


def test_every_sum_saturates() -> None:
    """What is beyond a score after one page is not there for the next one; no page's own part saturates."""
    terms = np.array([2**50, 2**50, -(2**50), 2**30, 2**30, (MOST + 100) * 64])
    before = np.array([MOST, -MOST, MOST, MOST - 1, -MOST, -200])
    found = scores.score(np.zeros(6), terms, before)
    assert found.tolist() == [MOST, MOST, -MOST, MOST, 2**24 - MOST, MOST - 100]


def test_other_channels_are_refused(rng: np.random.Generator) -> None:
    pages = [page.read(*quantized(rng, TWO, 16)) for _ in range(3)]
    with pytest.raises(ValueError, match=r"^pages of \[16, 16, 16\] channels must have 32 together"):
        scores.scores(fold(rng.standard_normal((1, 32))), pages, 30, Numerics())
