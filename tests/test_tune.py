"""The tuner's command line: a table under its cap, the picture, and refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest

from golden import optional, tune
from golden.checkpoint import Checkpoint
from golden.systems import kvtuner

pytestmark = pytest.mark.quick

SMALL = ["--base", "per_token", "--tokens", "64", "--context", "32"]


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("he and the other one are in a land of sand. " * 20)
    return str(path)


def test_a_table(tiny_file: Checkpoint, text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, picture = tmp_path / "table.toml", tmp_path / "front.png"
    arguments = [str(tiny_file.path), "--out", str(out), *SMALL, "--text", text]
    drawn = ["--picture", str(picture)] if optional.MATPLOTLIB.found() else []
    assert tune.main([*arguments, "--cap", "4.5", *drawn]) == 0
    table = kvtuner.load(out)
    assert table.shape == (2, 2)
    assert table.mean() <= 4.5
    assert picture.exists() == bool(drawn)
    shown = capsys.readouterr().out
    assert "exact front" in shown
    assert "K8V8" in shown
    assert tune.main([*arguments, "--cap", "8"]) == 0
    assert kvtuner.load(out).mean() > table.mean()
    assert out.read_text().startswith("# python -m golden.tune: tiny.bin, 64 tokens, per_token, cap 8.0\n")


def test_trials(tiny_file: Checkpoint, text: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "table.toml"
    arguments = [str(tiny_file.path), "--out", str(out), *SMALL, "--text", text, "--cap", "5"]
    assert tune.main([*arguments, "--trials", "8"]) == 0
    assert kvtuner.load(out).mean() <= 5


def test_refusals(tiny_file: Checkpoint, text: str, tmp_path: Path, refusal: Callable) -> None:
    out = tmp_path / "table.toml"
    arguments = [str(tiny_file.path), "--out", str(out), "--tokens", "64", "--text", text]
    for extra, wording in (
        (["--base", "per_token", "--cap", "1.5"], "cap 1.5 must be one"),
        (["--base", "kivi"], "argument --base: 'kivi' does not fit heads of 8 elements"),
        (["--base", "atom"], "argument --base"),
        (["--base", "per_token", "--trials", "-1"], "argument --trials"),
    ):
        _, error = refusal(tune.main, [*arguments, *extra])
        assert wording in error
    assert not out.exists()
    _, error = refusal(tune.main, ["nothing.bin", "--out", str(out)])
    assert "nothing.bin" in error
