"""KVTuner: the front against its definition, the optimum against all tables, presets written as published."""

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.systems import kvtuner

pytestmark = pytest.mark.quick

NUMBERS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.1 + 0.2, 1e-300, 5e-324, 1e300, 1.0])


@given(st.lists(st.tuples(st.sampled_from([2, 3, 4, 6, 8]), NUMBERS), max_size=12))
def test_front(points: list[tuple[int, float]]) -> None:
    def beaten(index: int) -> bool:
        bits, error = points[index]
        return any(
            b <= bits and e <= error and ((b, e) != (bits, error) or other < index)
            for other, (b, e) in enumerate(points)
            if other != index
        )

    expected = sorted((i for i in range(len(points)) if not beaten(i)), key=lambda i: points[i][0])
    bits, errors = ([p[part] for p in points] for part in (0, 1))
    assert kvtuner.pareto(bits, errors).tolist() == expected


def every_table(errors: np.ndarray, pairs: np.ndarray, cap: float) -> list[tuple[Fraction, tuple[int, ...]]]:
    """Exact error and pair numbers of all tables under a cap."""
    layers, count = errors.shape
    found = []
    for chosen in product(range(count), repeat=layers):
        own = errors[np.arange(layers), chosen]
        if np.isfinite(own).all() and pairs[list(chosen)].sum() / (2 * layers) <= cap:
            found.append((sum(map(Fraction, own.tolist()), Fraction(0)), chosen))
    return found


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=4),
    st.floats(0, 9),
    st.data(),
)
@settings(max_examples=100)
def test_optimum(layers: int, pairs: list[tuple[int, int]], cap: float, data: st.DataObject) -> None:
    rows = st.lists(NUMBERS | st.just(np.inf), min_size=len(pairs), max_size=len(pairs))
    errors = np.array(data.draw(st.lists(rows, min_size=layers, max_size=layers)))
    choices = np.array(pairs)
    if data.draw(st.booleans()):  # a cap that some table meets exactly
        cap = data.draw(st.sampled_from(range(17))) / (2 * layers)
    tables = every_table(errors, choices, cap)
    if not tables:
        with pytest.raises(ValueError, match=r"^cap .* must be one that a table of these pairs keeps$"):
            kvtuner.search(errors, choices, cap)
        return
    best = choices[list(min(tables)[1])]
    found = kvtuner.search(errors, choices, cap)
    assert found.dtype == np.int64
    assert found.tolist() == best.tolist()


def test_a_rounded_sum_does_not_decide() -> None:
    """In float64 the small error of the last layer would vanish beside the first one's."""
    errors = [[1.0, 1.0], [2.0**-60, 0.0]]
    assert kvtuner.search(errors, np.array([[2, 2], [4, 4]]), 8).tolist() == [[2, 2], [4, 4]]


@pytest.mark.parametrize("cap", [2.9, 3.1, Fraction(29, 10), Fraction(31, 10)])
def test_a_cap_that_is_met(cap: float | Fraction) -> None:
    """2.9 as a float is below 29/10, and yet the mean of these widths."""
    pairs = np.array([[int(5 * cap + 0.5), int(5 * cap + 0.5)]])
    assert len(kvtuner.search(np.zeros((5, 1)), pairs, pairs.mean())) == 5
    mixed = np.array([[2, 2], [2, 3], [3, 4]])
    found = kvtuner.search(np.tile([3.0, 2.0, 0.0], (5, 1)), mixed, cap)
    assert found.sum() == round(10 * cap)


def test_many_layers(rng: np.random.Generator) -> None:
    """The Lagrangian bound: no table is better than the relaxed one, and the gap is at most one layer's."""
    errors = np.sort(rng.random((32, 9)))[:, ::-1] * 2.0 ** rng.integers(-4, 4, (32, 1))
    found = kvtuner.search(errors, kvtuner.PAIRS[::-1], 3.25)
    assert found.mean() <= 3.25
    place = {tuple(pair): number for number, pair in enumerate(kvtuner.PAIRS[::-1].tolist())}
    total = sum(errors[layer, place[tuple(pair)]] for layer, pair in enumerate(found.tolist()))
    widths = kvtuner.PAIRS[::-1].sum(1)
    bounds = [
        (errors + price * widths).min(1).sum() - price * 3.25 * 64 for price in np.geomspace(1e-3, 10, 300)
    ]
    assert max(bounds) * (1 - 1e-12) <= total <= max(bounds) + errors.max()


def test_refused_searches() -> None:
    pairs = [[2, 2], [4, 4]]
    for errors, choices, cap in (
        (np.zeros((2, 3)), pairs, 4),
        (np.zeros((0, 2)), pairs, 4),
        ([[0, np.nan]], pairs, 4),
        ([[0, 1]], [[2, 2], [-4, 4]], 4),
        ([[0, 1]], [[2, 2.5], [4, 4]], 4),
        ([[0, 1]], pairs, float("nan")),
        ([[0, 1]], pairs, 1.99),
    ):
        with pytest.raises(ValueError, match=r"must be"):
            kvtuner.search(errors, choices, cap)
    for bits, error in (([1, 2], [1]), ([1.0], [np.nan])):
        with pytest.raises(ValueError, match=r"^bits .* must"):
            kvtuner.pareto(bits, error)


def test_clusters() -> None:
    errors = [[1, 2, np.inf], [8, 2, np.inf], [1.1, 2.1, np.inf], [1, 2, 3], [1.2, 2, np.inf]]
    assert kvtuner.cluster(errors, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert kvtuner.cluster(errors, 0.2).tolist() == [0, 1, 0, 2, 0]
    assert kvtuner.cluster(errors, 0.1).tolist() == [0, 1, 2, 3, 2]
    assert kvtuner.cluster(errors, 9).tolist() == [0, 0, 0, 1, 0]


def preset(rows: list[tuple[int, int, int]]) -> str:
    return "".join(f"{layer}:\n  nbits_key: {key}\n  nbits_value: {value}\n" for layer, key, value in rows)


def test_presets(tmp_path: Path, rng: np.random.Generator) -> None:
    """Llama-3.1-8B at 3.25 bits as published: so many layers of each pair, here in any order."""
    pairs = [(4, 2)] * 20 + [(4, 4)] * 6 + [(2, 2)] * 4 + [(8, 4)] * 2
    pairs = [pairs[place] for place in rng.permutation(32)]
    lines = preset([(layer, *pairs[layer]) for layer in rng.permutation(32).tolist()])
    path = tmp_path / "preset.yaml"
    path.write_text("# a comment\n\n" + lines)
    table = kvtuner.load(path)
    assert table.dtype == np.int64
    assert table.tolist() == [list(pair) for pair in pairs]
    assert table.mean() == 3.25


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("0:\n  nbits_key: 3\n  nbits_value: 4\n", "bits 3 of layer 0 must be one of"),
        (preset([(0, 4, 4), (2, 4, 4)]), "layer 1 must have its bits"),
        (preset([(1, 4, 4)]), "layer 0 must have"),
        (preset([(0, 4, 4), (0, 4, 4)]), "layer 0 is there twice"),
        ("0:\n  nbits_key: 4\n", "layer 0 must have"),
        ("", "at least one layer"),
        ("hello\n", "line 1, 'hello'"),
        ("  nbits_key: 4\n", "line 1"),
        ("\x00\xff", "no table"),
    ],
)
def test_refused_presets(tmp_path: Path, text: str, wording: str) -> None:
    path = tmp_path / "preset.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=wording):
        kvtuner.load(path)
    with pytest.raises(ValueError, match=r"missing\.yaml"):
        kvtuner.load(tmp_path / "missing.yaml")


def test_tables_of_our_own(tmp_path: Path) -> None:
    table = np.array([[8, 4], [2, 2], [16, 4]])
    path = tmp_path / "table.toml"
    kvtuner.save(path, table, "smollm2\ncap 3.25")
    assert path.read_text().startswith("# smollm2\n# cap 3.25\nbits = 6.0\n")
    assert kvtuner.load(path).tolist() == table.tolist()
    for text in ("layers = 3", "layers = [[3, 2]]", "layers = [[4, 2, 2]]", "a = 1", "=", "layers = []"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"table\.toml"):
            kvtuner.load(path)
    with pytest.raises(ValueError, match=r"bits 5 of layer 0"):
        kvtuner.save(path, [[5, 2]])


@given(st.integers(1, 3), st.data())
@settings(max_examples=30)
def test_front_of_tables(layers: int, data: st.DataObject) -> None:
    """Every mean width that is worth its bits, with the table that the search finds under it."""
    pairs = np.array([[2, 2], [4, 2], [2, 4], [4, 4]])
    rows = st.lists(NUMBERS, min_size=4, max_size=4)
    errors = np.array(data.draw(st.lists(rows, min_size=layers, max_size=layers)))
    every = every_table(errors, pairs, 16)
    found = kvtuner.front(errors, pairs)
    assert found.shape[1:] == (layers, 2)
    widths = found.sum((1, 2)).tolist()
    totals = {tuple(chosen): (pairs[list(chosen)].sum(), error) for error, chosen in every}
    best = {
        width: min(error for own, error in totals.values() if own <= width)
        for width in range(4 * layers, 8 * layers + 1)
    }
    assert widths == [width for width in best if width == 4 * layers or best[width] < best[width - 1]]
    for table, width in zip(found, widths, strict=True):
        np.testing.assert_array_equal(table, kvtuner.search(errors, pairs, width / (2 * layers)))
    with pytest.raises(ValueError, match=r"^errors must leave every layer a pair$"):
        kvtuner.front(np.full((layers, 4), np.inf), pairs)


def test_schemes_of_a_table() -> None:
    kivi = kvtuner.schemes([[8, 4], [2, 2]], "kivi")
    assert [(one.key.bits, one.value.bits) for one in kivi] == [(8, 4), (2, 2)]
    assert {(one.key.rule, one.key.axis, one.value.axis, one.residual) for one in kivi} == {
        ("kivi", "channel", "token", 32)
    }
    assert [kvtuner.schemes([[4, 2]], base)[0].bits_per_element(128) for base in ("kivi", "per_token")] == [
        3 + 1,
        3 + 0.25,
    ]
    with pytest.raises(ValueError, match=r"^base 'atom' must be one of"):
        kvtuner.schemes([[4, 2]], "atom")
    with pytest.raises(ValueError, match=r"^bits 16 of rule"):
        kvtuner.schemes([[16, 2]])
