"""KVTuner's errors against attention written out in float64, and its measured fronts."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from golden import optional
from golden.kv.schemes import Scheme
from golden.model import sensitivity, trials
from golden.model.llama import Llama
from golden.model.perplexity import losses, windows
from golden.systems import kvtuner

pytestmark = pytest.mark.quick


def attention(query: np.ndarray, keys: np.ndarray, values: np.ndarray, window: int | None) -> np.ndarray:
    """Outputs [H, R, T, D] in float64, query by query."""
    result = np.zeros(query.shape)
    for head, repeat, time in np.ndindex(query.shape[:3]):
        first = 0 if window is None else max(time - window + 1, 0)
        scores = keys[head, first : time + 1] @ query[head, repeat, time] / np.sqrt(query.shape[3])
        weights = np.exp(scores - scores.max())
        result[head, repeat, time] = weights @ values[head, first : time + 1] / weights.sum()
    return result


@pytest.mark.parametrize(("base", "window"), [("kivi", None), ("native", None), ("per_token", 9)])
def test_errors(rng: np.random.Generator, base: str, window: int | None) -> None:
    query = rng.standard_normal((2, 2, 64, 32)).astype(np.float32)
    keys, values = rng.standard_normal((2, 2, 64, 32)).astype(np.float32)
    pairs = [(8, 2), (2, 8), (4, 4)]
    found = sensitivity.errors(query, keys, values, pairs, kvtuner.BASES[base], window)
    exact = attention(query.astype(float), keys.astype(float), values.astype(float), window)
    for error, pair in zip(found, pairs, strict=True):
        scheme: Scheme = kvtuner.BASES[base](*pair)
        own = [
            form.decode(form.quantize(x)).astype(float)
            for form, x in ((scheme.key, keys), (scheme.value, values))
        ]
        lost = np.square(attention(query.astype(float), *own, window) - exact).sum()
        assert error == pytest.approx(lost / np.square(exact).sum(), rel=1e-3)


def test_no_output_no_error() -> None:
    nothing = np.zeros((1, 1, 32, 32), np.float32)
    assert sensitivity.errors(nothing, nothing[0], nothing[0], [(2, 2)], kvtuner.BASES["native"]) == [0]


def test_every_layer_has_its_own_scheme(tiny_llama: Llama) -> None:
    """Layers of different widths, over two windows, are what each of them is alone."""
    parts = windows(np.arange(3, 67), 32)
    tables = [[[8, 8], [8, 8]], [[2, 2], [8, 8]], [[8, 8], [2, 2]], [[2, 2], [2, 2]]]
    found = [trials.loss(tiny_llama, parts, kvtuner.schemes(table, "per_token")) for table in tables]
    assert len({round(one, 9) for one in found}) == 4
    plain = np.concatenate(list(losses(tiny_llama, parts))).mean()
    assert abs(found[0] - plain) < 0.01 * plain
    halves = [trials.loss(tiny_llama, [part], kvtuner.schemes(tables[1], "per_token")) for part in parts]
    assert np.mean(halves) == pytest.approx(found[1])


class Study:
    """As much of Optuna as is used: what was asked first, then random trials."""

    def __init__(self) -> None:
        self.trials: list[SimpleNamespace] = []
        self.first: list[dict[str, int]] = []
        self.rng = np.random.default_rng(5)

    def enqueue_trial(self, numbers: dict[str, int]) -> None:
        self.first.append(numbers)

    def optimize(self, objective, n_trials: int, callbacks: list) -> None:
        for _ in range(n_trials):
            given = self.first.pop(0) if self.first else {}
            trial = SimpleNamespace(params={})

            def suggest(name: str, low: int, high: int, given=given, trial=trial) -> int:
                trial.params[name] = given.get(name, int(self.rng.integers(low, high + 1)))
                assert low <= trial.params[name] <= high
                return trial.params[name]

            trial.suggest_int = suggest
            trial.values = objective(trial)
            self.trials.append(trial)
            for call in callbacks:
                call(self, trial)

    @property
    def best_trials(self) -> list[SimpleNamespace]:
        def beaten(one: SimpleNamespace) -> bool:
            return any(
                other.values != one.values
                and all(a <= b for a, b in zip(other.values, one.values, strict=True))
                for other in self.trials
            )

        return [one for one in self.trials if not beaten(one)]


@pytest.fixture(params=["optuna", "stand-in"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna where it is installed, and something as small as what is used of it."""
    if request.param == "optuna":
        pytest.importorskip("optuna")
        return
    module = SimpleNamespace(
        create_study=lambda **_: Study(),
        samplers=SimpleNamespace(NSGAIISampler=lambda **_: None),
        logging=SimpleNamespace(set_verbosity=lambda _: None, WARNING=0),
        __spec__=SimpleNamespace(),
    )
    monkeypatch.setitem(sys.modules, "optuna", module)


@pytest.mark.usefixtures("library")
def test_measured_front() -> None:
    """Every measured table gives a group's layers one pair; the front is that of all trials."""
    groups = np.array([0, 1, 0])
    choices = [np.array([[8, 8], [4, 2], [2, 2]]), np.array([[4, 4], [2, 4]])]
    seen = []

    def measure(table: np.ndarray) -> float:
        seen.append(table.copy())
        return float((table[0] @ [3, 1] + table[1] @ [1, 2]) % 7)

    first = [np.array([[4, 2], [2, 4], [4, 2]]), np.array([[8, 8], [2, 4], [4, 2]])]
    steps = []
    found = trials.measured(groups, choices, measure, 30, first, step=lambda: steps.append(0))
    assert len(steps) == len(seen) == 30
    np.testing.assert_array_equal(seen[0], first[0])  # the other one has layers 0 and 2 apart
    points = {(table.mean(), measure(table)) for table in list(seen)}
    best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert [one[:2] for one in found] == sorted(best)
    for bits, loss, table in found:
        assert (table.mean(), measure(table)) == (bits, loss)
        np.testing.assert_array_equal(table[0], table[2])


def test_trials_need_optuna(hide) -> None:
    hide(optional.OPTUNA)
    with pytest.raises(optional.MissingPart, match="Optuna"):
        trials.measured(np.array([0]), [np.array([[2, 2]])], lambda _: 0.0, 1)
