"""One decode step on a paged cache: against fractions, exact attention, engines that share the pages."""

import itertools

import numpy as np
import pytest

from golden.attention import attend, engine, page
from golden.attention.decode import decode
from golden.attention.scores import fold
from golden.kv import bitmod, schemes, table
from golden.kv.affine import Quantized
from golden.kv.cache import PagedCache
from golden.kv.formats import Format
from golden.kv.pages import SIDES
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

NUMERICS = Numerics()
NAMES = [name for name, scheme in schemes.SCHEMES.items() if scheme.window_format]


def filled(
    rng: np.random.Generator, name: str, tokens: int, channels: int = 64, size: int = 32
) -> tuple[PagedCache, np.ndarray]:
    """A cache of two heads with a loud channel, and four queries."""
    keys, values = rng.standard_normal((2, 2, tokens, channels)) * 2
    keys[..., 3] += 8
    return schemes.get(name).compress(keys, values, size), rng.standard_normal((4, channels)).astype(
        np.float16
    )


def exact(cache: PagedCache, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [N, D] and base-2 scores [N, T] in float64 on what the pages stand for."""
    keys, values = (part.astype(np.float64) for part in cache.decompress())
    queries = q.astype(np.float64).reshape(cache.heads, -1, cache.channels)
    scores = queries @ keys.swapaxes(1, 2) / np.sqrt(cache.channels) / np.log(2)
    weights = np.exp2(scores - scores.max(-1, keepdims=True))
    outputs = weights @ values / weights.sum(-1, keepdims=True)
    return outputs.reshape(len(q), -1), scores.reshape(len(q), -1)


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(got - wanted).mean() / np.square(wanted).mean()))


@pytest.mark.parametrize("rule", [*bitmod.TYPES, "table"])
@pytest.mark.parametrize("axes", list(itertools.product(("token", "channel"), repeat=2)))
def test_types_close_to_exact_attention(rule: str, axes: tuple[str, str], rng: np.random.Generator) -> None:
    """Pages of BitMoD's types and of a table by either axis, next to float64 on what they stand for."""
    own = table.IQ4_NL if rule == "table" else None
    forms = [Format(rule, bitmod.TYPES.get(rule, 4), axis, 32, table=own) for axis in axes]
    keys, values = rng.standard_normal((2, 5, 32, 64)) * 2
    keys[..., 3] += 8
    q = rng.standard_normal((4, 64)).astype(np.float16)
    pairs = [
        [(form, form.quantize(part)) for form, part in zip(forms, pair, strict=True)]
        for pair in zip(keys, values, strict=True)
    ]
    tops = [max(int(pair[side][0].largest_field(*pair[side][1][1:])) for pair in pairs) for side in (0, 1)]
    read = [
        np.concatenate([form.decode(own).astype(float) for form, own in side])
        for side in zip(*pairs, strict=True)
    ]
    weights = np.exp(q.astype(float) @ read[0].T / np.sqrt(64))
    wanted = weights @ read[1] / weights.sum(-1, keepdims=True)
    for bits, most in (12, 5e-3), (14, 2e-3):
        query, state = fold(q), engine.start(4, 64, tops[1])
        for pair in pairs:
            own = [page.read(*side) for side in pair]
            state, _ = engine.step(state, query, *own, Numerics(bits), tops[0])
        assert error(engine.finish(state, query).values, wanted) < most


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", [1, 31, 64, 333])
def test_close_to_exact_attention(name: str, tokens: int, rng: np.random.Generator) -> None:
    """Closer with two bits more; maximum and sum of weights are those of the scores."""
    cache, q = filled(rng, name, tokens)
    outputs, scores = exact(cache, q)
    found = decode(cache, q, NUMERICS)
    assert found.values.dtype == np.float16
    np.testing.assert_array_equal(found.values, attend(cache, q, NUMERICS))
    assert error(found.values, outputs) < 5e-3
    assert error(attend(cache, q, Numerics(14)), outputs) < 2e-3
    assert found.scores.shape == (4, tokens)
    np.testing.assert_allclose(found.scores / 4096, scores, atol=4e-3 * np.abs(scores).max())
    assert (found.maximum == np.ceil(found.scores.max(1) / 4096)).all()
    weights = np.exp2(found.scores / 4096 - found.maximum[:, None])
    np.testing.assert_allclose(found.total / 2.0**32, weights.sum(1), rtol=1e-3)


@pytest.mark.parametrize(("name", "size"), [("native2_paged", 32), ("native4_paged", 64)])
def test_against_fractions(name: str, size: int, rational, cells, rng: np.random.Generator) -> None:
    """Closed pages, then those of the window, the last one not full."""
    cache, q = filled(rng, name, 32 * 5 + 7, 32, size)
    found = decode(cache, q, NUMERICS)
    for n, one in enumerate(q):
        head, slow = n // 2, rational(one, tuple(cache.top[:, n // 2].tolist()))
        formats = [(cache.layouts[side].format, cache.pages(side)) for side in SIDES]
        window = [(cache.window_format, cache.window_pages(side)) for side in SIDES]
        left, scores = cache.tokens, []
        for form in (formats, window):
            for number in range(form[0][1].codes.shape[1]):
                own = [
                    cells(kind, Quantized(*(part[head, number] for part in pages))) for kind, pages in form
                ]
                scores += slow.step(*own, range(min(left, size)))[:left]
                left -= size
        assert found.scores[n].tolist() == scores
        assert (found.maximum[n], found.total[n]) == (slow.maximum, slow.total)
        assert found.values[n].tolist() == slow.finish()


@pytest.mark.parametrize("engines", [2, 3, 7])
def test_engines_share_the_pages(engines: int, rng: np.random.Generator) -> None:
    """Every k-th page: as close to exact attention as one engine."""
    cache, q = filled(rng, "native4_paged", 7 * 32 + 32)
    outputs, query = exact(cache, q)[0][:2], fold(q[:2])
    keys, values = (
        [
            page.read(cache.layouts[side].format, Quantized(*(x[0, n] for x in cache.pages(side))))
            for n in range(7)
        ]
        for side in SIDES
    )
    recent = [
        page.read(schemes.WINDOW, Quantized(*(x[0, 0] for x in cache.window_pages(side)))) for side in SIDES
    ]

    def found(count: int) -> np.ndarray:
        parts = [engine.start(2, 64, cache.top[1, 0]) for _ in range(count)]
        for n, own in enumerate([*zip(keys, values, strict=True), tuple(recent)]):
            parts[n % count], _ = engine.step(parts[n % count], query, *own, NUMERICS, cache.top[0, 0])
        return engine.finish(engine.merge(parts), query).values

    one, shared = found(1), found(engines)
    np.testing.assert_array_equal(one, attend(cache, q, NUMERICS)[:2])
    assert error(shared, outputs) < 1.01 * error(one, outputs)


def test_a_sink_and_a_long_context(rng: np.random.Generator) -> None:
    """The first token weighs thousands of times as much as others, and 8,192 of these still count."""
    keys, values = rng.standard_normal((2, 1, 8192, 64))
    q = (rng.standard_normal((4, 64)) + rng.standard_normal(64)).astype(np.float16)
    keys[0, 0] = np.linalg.pinv(q.astype(float)) @ np.full(4, 10 * 8)  # a score of 10 with each
    values[0, 0] *= 0.02
    cache = schemes.get("native4_paged").compress(keys, values)
    outputs, scores = exact(cache, q)
    assert (scores[:, 0] - np.median(scores, 1) > 8).all()
    assert error(attend(cache, q, NUMERICS), outputs) < 3e-3


def test_illegal_arguments(rng: np.random.Generator) -> None:
    cache, q = filled(rng, "native4_paged", 40)
    with pytest.raises(ValueError, match=r"^q of shape \(3, 64\) must be \[n \* 2, 64\]$"):
        attend(cache, q[:3], NUMERICS)
    form, window = Format("native", 4, "token", 64), schemes.WINDOW
    with pytest.raises(ValueError, match=r"^cache of 0 tokens must have 1..131072$"):
        attend(PagedCache(form, form, 2, 64, window_format=window), q, NUMERICS)
    plain = PagedCache(form, form, 2, 64)
    plain.append(*np.ones((2, 2, 33, 64)))
    with pytest.raises(ValueError, match=r"^group 64 must be at most 32$"):
        attend(plain, q, Numerics(group=32))
    with pytest.raises(ValueError, match=r"^cache must have a window format$"):
        attend(plain, q, NUMERICS)
    atom = PagedCache(Format("atom", 4, "token", 32), form, 2, 64)
    atom.append(*rng.standard_normal((2, 2, 32, 64)))
    with pytest.raises(
        ValueError, match=r"^format 'atom' has steps or offsets that are not float16 numbers$"
    ):
        attend(atom, q, NUMERICS)
    wide = PagedCache(form, form, 1, 512)
    wide.append(*np.ones((2, 1, 32, 512)))
    with pytest.raises(ValueError, match=r"^channels 512 must be at most 256$"):
        attend(wide, np.ones((1, 512)), NUMERICS)
