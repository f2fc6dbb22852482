"""The attention engine against fractions, bit for bit; what it is next to exact attention; extreme inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.attention import engine, page
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.formats import DECODES, Format
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

RULES = [
    *(("native", bits) for bits in (8, 4, 3, 2, 1)),
    *(("native_symmetric", bits) for bits in (8, 4, 3, 2)),
    *((rule, 4) for rule in ("kivi", "quanto", "zipcache", "mikv")),
    *((rule, 1 if "sign" in rule else 2) for rule in DECODES),
]
FORMATS = [Format(rule, bits, axis, 16) for rule, bits in RULES for axis in ("token", "channel")]
FORMATS += [Format("native", 4, "token", None), Format("native", 4, "channel", None)]
P, D = 32, 32
NUMERICS = Numerics()
Pair = tuple[tuple[Format, Quantized], tuple[Format, Quantized]]


def names(form: Format) -> str:
    return f"{form.rule}{form.bits}_{form.axis}_{form.group}"


def pages(rng: np.random.Generator, forms: list[tuple[Format, Format]], loud: float = 1.0) -> list[Pair]:
    """Pages of keys and values, some channels and tokens louder than others."""
    result = []
    for key, value in forms:
        x = rng.standard_normal((2, P, D)) * np.exp(rng.standard_normal((2, 1, D))) * loud
        x *= np.exp(rng.standard_normal((2, P, 1)))
        keys, values = np.clip(x + rng.standard_normal((2, 1, D)), -65504, 65504)
        result.append(((key, key.quantize(keys)), (value, value.quantize(values))))
    return result


def tops(pairs: list[Pair]) -> tuple[int, int]:
    return tuple(
        max(int(form.largest_field(part.scale, part.zero)) for form, part in side)
        for side in zip(*pairs, strict=True)
    )


def run(q, pairs: list[Pair], valid: list, top: tuple[int, int], numerics: Numerics = NUMERICS):
    """The engine: final state, scores of every page, outputs."""
    query, scores = fold(q), []
    state = engine.start(len(q), q.shape[1], top[1])
    for (keys, values), (first, last) in zip(pairs, valid, strict=True):
        own = page.read(*keys), page.read(*values)
        state, found = engine.step(state, query, *own, numerics, top[0], first, last)
        scores.append(found)
    return state, scores, engine.finish(state, query)


def check(rational, cells, q, pairs: list[Pair], valid: list, numerics: Numerics = NUMERICS) -> None:
    """Every query by itself, as fractions."""
    top = tops(pairs)
    state, scores, outputs = run(q, pairs, valid, top, numerics)
    for n, one in enumerate(q):
        slow = rational(one, top, numerics.activation_bits, numerics.group)
        for number, (keys, values) in enumerate(pairs):
            first, last = (np.broadcast_to(bound, len(q))[n] for bound in valid[number])
            found = slow.step(cells(*keys), cells(*values), range(first, last + 1))
            assert scores[number][n].tolist() == found
        assert (state.maximum[n], state.total[n]) == (slow.maximum, slow.total)
        assert state.sums[n].tolist() == slow.sums
        assert outputs.values[n].tolist() == slow.finish()
        assert outputs.empty[n] == (slow.total == 0)
        assert max(map(abs, slow.sums)) < 1 << 50


@pytest.mark.parametrize("form", FORMATS, ids=names)
def test_every_format(form: Format, rational, cells, rng: np.random.Generator) -> None:
    """Two pages of it, keys and values, for two queries."""
    pairs = pages(rng, [(form, form)] * 2)
    q = rng.standard_normal((2, D)) * 2
    check(rational, cells, q, pairs, [(0, P - 1), (0, 20)])


@pytest.mark.parametrize("bits", [8, 14, 16])
def test_other_widths(bits: int, rational, cells, rng: np.random.Generator) -> None:
    forms = [Format("native", 4, axis, 16) for axis in ("channel", "token")]
    pairs = pages(rng, [(forms[0], forms[1]), (forms[1], forms[0])])
    q = rng.standard_normal((1, D))
    check(rational, cells, q, pairs, [(3, P - 1), (0, P - 1)], Numerics(bits, group=16))


@settings(max_examples=25)
@given(st.data())
def test_formats_change_from_page_to_page(rational, cells, data: st.DataObject) -> None:
    """Any formats, any counts of valid tokens, each query its own."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    forms = data.draw(st.lists(st.tuples(*[st.sampled_from(FORMATS)] * 2), min_size=1, max_size=3))
    valid = []
    for _ in forms:
        bounds = np.array([data.draw(st.tuples(*[st.integers(0, P - 1)] * 2)) for _ in range(2)])
        valid.append((bounds[:, 0], bounds[:, 1]))
    loud = data.draw(st.sampled_from([1e-6, 1e-2, 1.0, 30.0]))
    check(rational, cells, rng.standard_normal((2, D)), pages(rng, forms, loud), valid)
