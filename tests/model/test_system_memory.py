"""A model that reads with a cache system: as the layer by itself, in order, and what it is said to cost."""

from collections.abc import Callable

import numpy as np
import pytest

from golden import evaluate
from golden.checkpoint import Checkpoint
from golden.model.attention import Plain, attend
from golden.model.evaluation import Setting
from golden.model.evaluation import evaluate as measure
from golden.model.llama import Llama
from golden.model.sampling import samples
from golden.model.subjects import Text
from golden.model.system_memory import SystemMemory
from golden.systems.layers.kvcrush import KVCrush
from golden.systems.layers.mikv import MiKV
from golden.systems.registry import SYSTEMS

pytestmark = pytest.mark.quick


def test_attention(rng: np.random.Generator) -> None:
    """Over more than one block of queries: as in full precision where the budget is not reached."""
    keys, values = rng.standard_normal((2, 2, 300, 16)).astype(np.float16).astype(np.float32)
    query = rng.standard_normal((300, 4, 16)).astype(np.float32)
    plain, kept, evicting = (
        Plain(2, 16),
        SystemMemory(KVCrush(budget=320).layer(2, 16)),
        SystemMemory(KVCrush(budget=160).layer(2, 16)),
    )
    outputs = []
    for memory in (plain, kept, evicting):
        memory.append(keys, values)
        outputs.append(attend(query, memory))
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs[2][:192], outputs[0][:192], rtol=0, atol=2e-6)
    assert np.abs(outputs[2][192:] - outputs[0][192:]).max() > 1e-2


def test_order(rng: np.random.Generator) -> None:
    memory = SystemMemory(MiKV().layer(1, 16))
    memory.append(*rng.standard_normal((2, 1, 4, 16)).astype(np.float32))
    query = np.zeros((1, 1, 2, 16), np.float32)
    with pytest.raises(ValueError, match="queries of token 2 must come after those before: 0 did"):
        memory.read(query, 2)
    with pytest.raises(ValueError, match="window 1 must hide no token"):
        memory.read(query, 0, window=1)
    memory.read(query, 0, window=2)
    memory.read(query, 2)


def test_bits_are_counted(tiny_file: Checkpoint, tiny_llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of every window, whatever was drawn; as a scheme's, without the window."""
    text = Text(tiny_file, samples(tiny_llama, 1, 2, 60), 8)
    monkeypatch.setitem(SYSTEMS, "test", MiKV(prompt=16))
    result = measure(text, Setting(kv="test"))
    # 60 tokens of 8 channels, 12 of them above, a bit for the map, 32 for the score, 16 for each balancer
    wanted = (16 * 12 + (2 + 32 / 4) * 48) / 60 + 33 / (2 * 8) + 16 / (2 * 60)
    assert result.kv_bits == pytest.approx(wanted)
    assert result.against(measure(text, Setting())).mean != 0
    assert Setting(kv="test").definition["scheme"]["prompt"] == 16


def test_command_line(tiny_file: Checkpoint, capsys: pytest.CaptureFixture[str], refusal: Callable) -> None:
    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "40"]
    assert evaluate.main([*arguments, "--kv", "mikv", "evict_random"]) == 0
    assert "evict_random" in capsys.readouterr().out
    problem = refusal(evaluate.main, [*arguments, "--kv", "mikv", "--attention", "12"])[1]
    assert "cache system 'mikv' must read attention in float32" in problem
