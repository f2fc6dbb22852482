"""Seeds of runs: fresh, given, or worked out of a text."""

import pytest

from sim.seeds import run_seed

pytestmark = pytest.mark.quick

SEED = 673313272
"""Of the first run of ``a`` in the test ``one`` of the session ``text``, by SHA-256."""


def test_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KVLOOM_SEED", "KVLOOM_SEEDS"):
        monkeypatch.delenv(name, raising=False)
    assert len({run_seed("a") for _ in range(8)}) > 1


def test_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVLOOM_SEEDS", "text")
    monkeypatch.setenv("KVLOOM_SEED", "4711")
    assert {run_seed("a"), run_seed("b"), run_seed("a")} == {4711}


def test_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known value, as a session elsewhere has to have it; others for other runs, tests and texts."""
    monkeypatch.delenv("KVLOOM_SEED", raising=False)
    found = []
    for seeds, test in (("text", "one"), ("text", "two"), ("other", "one")):
        monkeypatch.setenv("KVLOOM_SEEDS", seeds)
        monkeypatch.setenv("PYTEST_CURRENT_TEST", test)
        found += [run_seed("a"), run_seed("b"), run_seed("a")]
    assert found[0] == SEED
    assert len(set(found)) == len(found)
    assert all(0 <= seed < 1 << 31 for seed in found)
