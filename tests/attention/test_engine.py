"""The attention engine against fractions, bit for bit; what it is next to exact attention; extreme inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.attention import engine, page, sums, widths
from golden.attention.scores import fold
from golden.kv import bitmod, table
from golden.kv.affine import Quantized
from golden.kv.formats import DECODES, Format
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

RULES = [
    *(("native", bits) for bits in (8, 4, 3, 2, 1)),
    *(("native_symmetric", bits) for bits in (8, 4, 3, 2)),
    *((rule, 4) for rule in ("kivi", "quanto", "zipcache", "mikv")),
    *((rule, 1 if "sign" in rule else 2) for rule in DECODES),
    *bitmod.TYPES.items(),
]
FORMATS = [Format(rule, bits, axis, 16) for rule, bits in RULES for axis in ("token", "channel")]
FORMATS += [Format("native", 4, "token", None), Format("native", 4, "channel", None)]
FORMATS += [Format("table", 4, axis, 16, table=table.IQ4_NL) for axis in ("token", "channel")]
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


@pytest.mark.parametrize("channels", [8, 16, 32, 48, 64, 80, 128, 256])
def test_queries_in_base_two(channels: int, rational, rng: np.random.Generator) -> None:
    """Any float16, subnormals and the largest included."""
    q = rng.integers(0, 0x7C00, (16, channels)).astype(np.uint16).view(np.float16)
    q[0] = 65504
    q[1::2] *= -1
    for own, one in zip(fold(q).values, q, strict=True):
        assert own.tolist() == [float(value) for value in rational(one, (1, 1)).query]


def test_runs_far_apart(rational, cells, rng: np.random.Generator) -> None:
    """The first run of 16 channels sets the exponent and adds 0; the accumulator drops bits of the second."""
    pairs = []
    for form in (Format(rule, 8, "channel", 16) for rule in ("native", "native_symmetric")):
        codes = rng.integers(0, 256, (P, D)).astype(np.uint8)
        codes[:, :16] = 128
        steps = np.ones((2, D), np.float16)
        own = form, Quantized(codes, steps, 0 * steps)
        pairs.append((own, own))
    for shift in range(12, 24):
        q = rng.standard_normal((1, D)) * np.repeat([1000, 1000 * 2.0**-shift], 16)
        check(rational, cells, q, pairs, [(0, P - 1)] * 2, Numerics(group=16))


TOKEN, CHANNEL = Format("native", 4, "token", 16), Format("native", 4, "channel", 16)


def made(keys: np.ndarray, values: np.ndarray, key: Format = CHANNEL, value: Format = TOKEN) -> list[Pair]:
    """Pages of keys and values [T, D]."""
    split = (x.reshape(-1, P, D) for x in (keys, values))
    return [((key, key.quantize(k)), (value, value.quantize(v))) for k, v in zip(*split, strict=True)]


@pytest.mark.parametrize("forms", [(CHANNEL, TOKEN), (TOKEN, CHANNEL)], ids=["kivi", "turned"])
@pytest.mark.parametrize(
    "situation", ["equal", "huge", "one", "rising", "falling", "largest", "subnormal", "zero"]
)
def test_extremes(situation: str, forms: tuple[Format, Format], rational, cells, rng) -> None:
    """Scores that are equal, of which one is far above the others, and numbers at both ends of float16."""
    keys, values = rng.standard_normal((2, 3 * P, D))
    q, token = np.abs(rng.standard_normal((1, D))) + 0.1, 37
    if situation == "equal":
        keys[:] = keys[0]
    elif situation == "huge":
        keys[token] = 600
    elif situation == "one":
        keys[:] -= 600
        keys[token] = 0
    elif situation in ("rising", "falling"):
        steps = np.arange(3 * P)[:, None] / 4
        keys += steps if situation == "rising" else -steps
    elif situation == "largest":
        keys, values, q = np.sign(keys) * 65504, np.sign(values) * 65504, np.sign(q) * 65504
    elif situation == "subnormal":
        keys, values, q = keys * 2.0**-22, values * 2.0**-22, q * 2.0**-20
    else:
        keys, values, q = keys * 0, values * 0, q * 0
    pairs = made(keys, values, *forms)
    check(rational, cells, q, pairs, [(0, P - 1)] * 3)
    outputs = run(q, pairs, [(0, P - 1)] * 3, tops(pairs))[2]
    exact = np.concatenate([form.decode(part) for _, (form, part) in pairs])
    if situation in ("equal", "subnormal", "zero"):
        expected = exact.mean(0)
    elif situation in ("huge", "one"):
        expected = exact[token]
    else:
        return
    scale = np.abs(exact).max() or 1
    np.testing.assert_allclose(
        outputs.values[0] / scale, expected / scale, atol=2e-3 if scale > 1e-3 else 0.2
    )


@pytest.mark.parametrize("count", range(P + 1))
def test_every_count_of_valid_tokens(count: int, rational, cells, rng: np.random.Generator) -> None:
    """From either end of the second page; what lies outside may be anything."""
    keys, values = rng.standard_normal((2, 2 * P, D))
    q, ends = rng.standard_normal((2, D)), (np.array([0, P - count]), np.array([count - 1, P - 1]))
    pairs = made(keys, values)
    valid = [(0, P - 1), ends]
    if count % 8 == 0:
        check(rational, cells, q, pairs, valid)
    keys[P + count :] = 3e4
    cut = made(keys, values, TOKEN, TOKEN)
    state = run(q[:1], cut, [(0, P - 1), (0, count - 1)], tops(cut))[0]
    keys[P + count :] = -1
    other = made(keys, values, TOKEN, TOKEN)
    again = run(q[:1], other, [(0, P - 1), (0, count - 1)], tops(cut))[0]
    for mine, theirs in zip(state, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_no_valid_token(rng: np.random.Generator) -> None:
    pairs = made(*rng.standard_normal((2, P, D)))
    state, _, outputs = run(
        rng.standard_normal((2, D)), pairs, [(np.array([0, 9]), np.array([5, 8]))], tops(pairs)
    )
    assert outputs.empty.tolist() == [False, True]
    assert (state.maximum[1], state.total[1]) == (-(1 << 19), 0)
    assert outputs.values[1].view(np.uint16).tolist() == [0] * D
    assert outputs.values[0].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
def test_bad_queries(bad: float, rng: np.random.Generator) -> None:
    """Only their own outputs are NaN; the others' are what they were."""
    pairs, q = made(*rng.standard_normal((2, 2 * P, D))), rng.standard_normal((3, D))
    valid = [(0, P - 1)] * 2
    before = run(q, pairs, valid, tops(pairs))[2].values
    q[1, 5] = bad
    after = run(q, pairs, valid, tops(pairs))[2].values
    assert np.isnan(after[1]).all()
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


def test_many_queries_are_each_by_itself(rng: np.random.Generator) -> None:
    """Rows with tokens and tops of their own, all at once and one at a time."""
    pairs, q = pages(rng, [(a, b) for a in FORMATS[::5] for b in FORMATS[::7]]), rng.standard_normal((40, D))
    first, last = rng.integers(0, P, (2, len(pairs), 40))
    top = [np.asarray(one) + rng.integers(0, 3, 40) for one in tops(pairs)]
    whole, _, outputs = run(q, pairs, list(zip(first, last, strict=True)), tuple(top))
    for n in range(40):
        bounds = list(zip(first[:, n], last[:, n], strict=True))
        one, _, output = run(q[n : n + 1], pairs, bounds, (top[0][n], top[1][n]))
        for mine, theirs in zip((*one, *output), (*whole, *outputs), strict=True):
            np.testing.assert_array_equal(mine[0], theirs[n])


def test_value_sums_have_room() -> None:
    """The loudest page that bytes can hold, all weights 1, as often as the longest context has it."""
    for form in (
        Format(rule, 8, axis, 16) for rule in ("kivi", "native_symmetric") for axis in ("token", "channel")
    ):
        for code, sign in (255, 1), (0, -1), (255, -1):
            shape = form.groups(64, D)
            ends = np.full(shape, 65504, np.float16), np.full(shape, sign * 65504, np.float16)
            own = page.read(form, Quantized(np.full((64, D), code, np.uint8), *ends))
            found = sums.sums(np.ones((1, 64)), own, np.array([30]), NUMERICS)
            assert 0 < np.abs(found).max() * (1 << widths.CONTEXT_BITS - 6) < 1 << widths.SUM_BITS - 1
