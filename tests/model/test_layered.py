"""Tables of KVTuner as schemes of an evaluation: every layer has its own, from the command line too."""

import json
from pathlib import Path

import numpy as np
import pytest

from golden import evaluate
from golden.checkpoint import Checkpoint
from golden.model import trials
from golden.model.evaluation import Setting
from golden.model.evaluation import evaluate as measure
from golden.model.llama import Llama
from golden.model.subjects import Text
from golden.systems import kvtuner, registry

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("table", [[[8, 8], [2, 2]], [[2, 2], [8, 8]], [[2, 8], [4, 2]]])
def test_every_layer_has_its_own(table: list, tiny_file: Checkpoint, tmp_path: Path) -> None:
    """Against the loss that the tuner's trials measure, on two windows."""
    path = tmp_path / "table.toml"
    kvtuner.save(path, table)
    ids = np.random.default_rng(0).integers(3, 40, (2, 24))
    model = Llama(tiny_file)
    channels = model.architecture.channels
    result = measure(Text(tiny_file, list(ids), channels), Setting(kv=f"per_token:{path}"))
    wanted = trials.loss(model, list(ids), kvtuner.schemes(table, "per_token"))
    assert np.log(result.perplexity) == pytest.approx(wanted, rel=1e-6)
    assert result.kv_bits == np.mean(table) + 32 / channels


def test_command_line(tiny_file: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, text = tmp_path / "table.toml", tmp_path / "text.txt"
    text.write_text("he and the other one are in a land of sand. ")
    kvtuner.save(path, [[4, 2], [8, 4]])
    arguments = ["--model", str(tiny_file.path), "--text", str(text), "--out", str(tmp_path / "out"), "--kv"]
    assert evaluate.main([*arguments, f"per_token:{path}"]) == 0
    kept = [json.loads(own.read_text()) for own in (tmp_path / "out" / "cells").glob("*per_token*.json")]
    assert len(kept) == 1
    kvtuner.save(path, [[4, 2]])
    for name, message in {
        f"per_token:{path}": "of 1 layers must fit: 2 layers",
        f"{tmp_path}/none.toml": "no table of bits",
    }.items():
        with pytest.raises(SystemExit):
            evaluate.main([*arguments, name])
        assert message in "".join(capsys.readouterr().err.split("\n"))


def test_names(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    kvtuner.save(path, [[4, 2], [8, 4]])
    own = registry.get(str(path))
    assert isinstance(own, registry.Layered)
    assert list(own.layers) == kvtuner.schemes([[4, 2], [8, 4]], "native")
    with pytest.raises(ValueError, match="must fit: no place"):
        Setting(kv=str(path)).memory(1, 64)
