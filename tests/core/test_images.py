"""Images of other models, recipes and caches: what they hold, and the same memory of golden and circuit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden import compile
from golden.checkpoint import Checkpoint, open_checkpoint
from golden.compile import compiled
from golden.core import geometry
from golden.core.commands import LINE_BYTES
from golden.core.image import Image
from golden.core.kv_shape import format_of
from golden.core.machine import Machine
from golden.core.model import Model, some_rows
from golden.core.program import assemble
from golden.core.state import RECORD, field_values
from golden.evaluate import calibration_windows
from golden.kv.formats import Format
from golden.model import core_image
from golden.model.architecture import ARCHITECTURES, IN_ALL, names
from golden.model.evaluation import Setting
from golden.model.llama import Llama
from golden.model.subjects import importance
from golden.model.tokenizer import of
from golden.systems import kvtuner
from hw.config import preset
from sim.core import Session, Simulation, Timing, build_core, memory_bytes

PROMPT = [5, 7, 31, 8, 90, 2, 64, 33, 17, 100]
TABLE = [[4, 2], [8, 4]]
"""Bits of keys and of values of the two layers."""

QWEN = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-5,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "hidden_size": 48,
    "intermediate_size": 72,
    "tie_word_embeddings": True,
}
"""Whose heads and whose vector of SwiGLU the core fills up."""
SHAPES = {
    **{"q": (64, 48), "k": (32, 48), "v": (32, 48), "o": (48, 64)},
    **{"gate": (72, 48), "up": (72, 48), "down": (48, 72)},
    **{"attention_norm": (48,), "ffn_norm": (48,), "q_norm": (16,), "k_norm": (16,)},
    **{"q_bias": (64,), "k_bias": (32,), "v_bias": (32,), "embedding": (120, 48), "norm": (48,)},
}


def saved(folder: Path, kind: str, **more: object) -> Checkpoint:
    """A model of random weights, with the parts that its architecture has."""
    rng, own = np.random.default_rng(35), names("huggingface")

    def tensor(part: str) -> np.ndarray:
        shape = SHAPES[part]
        spread = shape[1] ** -0.5 if len(shape) == 2 and part != "embedding" else 0.5
        return rng.normal(float("norm" in part), spread, shape).astype(np.float32)

    parts = [(part, n) for n in range(2) for part in (*IN_ALL, *ARCHITECTURES[kind])]
    tensors = {own[part].format(n): tensor(part) for part, n in [*parts, ("embedding", 0), ("norm", 0)]}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(QWEN | {"model_type": kind} | more))
    return open_checkpoint(folder)


@pytest.fixture(scope="module", params=["qwen2", "qwen3"])
def qwen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """With biases, or with norms of heads."""
    return saved(tmp_path_factory.mktemp("qwen"), request.param)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    kvtuner.save(path := tmp_path_factory.mktemp("table") / "table.toml", TABLE)
    return str(path)


def started(image: Image, *prompts: list[int]) -> Machine:
    return Machine(image.with_prompt(*prompts), image.symbols, geometry.get(image.symbols.preset))


def words_at(image: Image, name: str, count: int = 16) -> np.ndarray:
    """Words from a part's beginning on."""
    return image.memory[image.symbols.lines_of[name] * LINE_BYTES :].view("<u4")[:count]


def check_circuit(machine: Machine, image: Image, tokens: int, columns: int = 1) -> int:
    """As many tokens more leave the same memory, byte for byte but for the cycles in completions.

    Returns:
        Cycles of the tokens.
    """
    timing = Timing(latency=30, spread=20, seed=5)
    library = build_core(preset(image.symbols.preset).changed(columns=columns))
    with Simulation(library, memory_bytes(image), timing=timing) as simulation:
        session = Session(simulation, image, machine.memory)
        steps = [session.step() for _ in range(tokens)]
        assert [step.token for step in steps] == [machine.run_token() for _ in range(tokens)]
        assert np.array_equal(image.symbols.without_cycles(session.memory), machine.memory)
    return sum(step.passed.cycles for step in steps)


@pytest.fixture(scope="module")
def qwen_image(qwen: Checkpoint) -> Image:
    return compiled(str(qwen.path), "int8", "int8", "native4_paged", "tiny", 40)


def error_of_logits(image: Image, model: Llama, ids: list[int]) -> float:
    """Relative error of the logits of every position, beside a model in float32 with the same weights."""
    symbols = image.symbols
    machine = Machine(image.with_prompt(ids[:1]), symbols, geometry.get(symbols.preset))
    wanted = model.logits(model.hidden(ids))
    assert symbols.logits is not None
    logits = machine.words[16 * symbols.logits :][: symbols.vocabulary].view("<f4")
    tokens = machine.words[16 * symbols.tokens :]
    found = []
    for place, token in enumerate(ids):  # the host's own ones, as no logits are made within a prompt
        tokens[place] = token
        machine.run_token()
        found.append(logits.copy())
    error = float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))
    print(f"relative error {error:.5f}")
    return error


def test_qwen_in_float(qwen: Checkpoint, qwen_image: Image) -> None:
    setting = Setting("int8", head="int8", group=16)
    model = Llama(qwen, setting.linear(), output=setting.output)
    assert error_of_logits(qwen_image, model, PROMPT) < 0.02


@pytest.mark.llm
@pytest.mark.long
@pytest.mark.parametrize(("weights", "kv"), [("bitmod4", "table"), ("bitmod3_calibrated", "native2_paged")])
def test_smollm2(smollm2_file: Checkpoint, tmp_path: Path, weights: str, kv: str) -> None:
    """What the cache holds lies in the window yet; its formats are in the records."""
    kvtuner.save(tmp_path / "table.toml", TABLE * 15)
    scheme = str(tmp_path / "table.toml") if kv == "table" else kv
    image = compiled("smollm2", weights, "int8", scheme, "edge", 64)
    setting, parts = Setting(weights, head="int8"), calibration_windows(smollm2_file, [])
    model = Llama(
        smollm2_file, setting.linear(calibrate=lambda: importance(smollm2_file, parts)), output=setting.output
    )
    ids = of(smollm2_file).encode("The capital of France is")
    assert error_of_logits(image, model, ids) < 0.03


def test_qwen_on_the_circuit(qwen_image: Image) -> None:
    check_circuit(started(qwen_image, PROMPT), qwen_image, 2)


def test_sequences_on_the_circuit(tiny_file: Checkpoint) -> None:
    """Two tokens of each of two."""
    image = compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", "tiny", 40, 2)
    prompts = PROMPT, PROMPT[4:6]
    check_circuit(started(image, *prompts), image, 4)


def test_logits_on_request(tiny_file: Checkpoint, tmp_path: Path) -> None:
    """Without them the arg-max finds the same tokens, in fewer cycles."""
    found = []
    for name in ("logits", "no-logits"):
        options = ["--preset", "tiny", "--tokens", "40", "--out", str(tmp_path / name), f"--{name}"]
        compile.main([str(tiny_file.path), *options])
        image = Image.load(tmp_path / name)
        machine = started(image, PROMPT[:1])
        cycles = check_circuit(machine, image, 2)
        tokens = machine.words[LINE_BYTES // 4 * image.symbols.tokens :][:3]
        found.append((image.symbols.logits is None, cycles, tokens.tolist()))
    (kept, longer, tokens), (left, shorter, others) = found
    assert (kept, left) == (False, True)
    assert tokens == others
    print(longer, shorter)
    assert shorter < longer


@pytest.mark.parametrize("core", ["tiny", pytest.param("edge", marks=pytest.mark.long)])
def test_logits_that_fill_no_word(tiny_file: Checkpoint, core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind the last one stays."""

    def cut(model: Model, *rest: Any) -> Image:
        return assemble(replace(model, output=some_rows(model.output, slice(0, 317))), *rest)

    monkeypatch.setattr(core_image, "assemble", cut)
    image = compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", core, 40)
    machine = started(image, PROMPT[:1])
    logits = machine.words[LINE_BYTES // 4 * (image.symbols.logits or 0) :][:320]
    logits[:] = 0xA5A5A5A5
    check_circuit(machine, image, 2)
    assert (logits == 0xA5A5A5A5).tolist() == [False] * 317 + [True] * 3


def test_table(tiny_file: Checkpoint, table: str) -> None:
    """Each layer's records have its row's formats."""
    image = compiled(str(tiny_file.path), "bitmod4", "int8", table, "tiny", 80)
    for layer, bits in enumerate(TABLE):
        for head in range(4):
            record = field_values(words_at(image, f"layer{layer}.head{head}", 20)[16:], RECORD)
            for side, axis, own in zip(("key", "value"), ("channel", "token"), bits, strict=True):
                assert format_of(record[f"{side}_format"]) == Format("native", own, axis, 32)


@pytest.mark.long
@pytest.mark.parametrize(("weights", "kv"), [("bitmod4", "table"), ("bitmod3_calibrated", "native2_paged")])
def test_caches_on_the_circuit(tiny_file: Checkpoint, table: str, weights: str, kv: str) -> None:
    """The tokens with which the first pages close, and those that see them."""
    scheme = table if kv == "table" else kv
    image = compiled(str(tiny_file.path), weights, "int8", scheme, "tiny", 80)
    machine = started(image, PROMPT)
    for _ in range(60):
        machine.run_token()
    assert not machine.memory[image.symbols.lines_of["layer0.head0.pages"] * LINE_BYTES :][:256].any()
    check_circuit(machine, image, 6)
    assert machine.memory[image.symbols.lines_of["layer0.head0.pages"] * LINE_BYTES :][:256].any()


@pytest.mark.long
def test_columns_on_the_circuit(tiny_file: Checkpoint) -> None:
    """Two queries of a KV head read its pages and its window together, and find what they find one by one."""
    image = compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", "tiny", 80)
    machine = started(image, PROMPT)
    for _ in range(62):
        machine.run_token()
    begin = machine.memory.copy()
    alone = check_circuit(machine, image, 3)
    again = Machine(begin, image.symbols, geometry.get("tiny"))
    together = check_circuit(again, image, 3, columns=2)
    print(alone, together)
    assert together < 0.95 * alone


def test_command_line(
    tiny_file: Checkpoint, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with the image that the same names give, and what is in it in a line."""
    more = ["--preset", "tiny", "--kv", table, "--tokens", "40", "--sequences", "2"]
    assert compile.main([str(tiny_file.path), *more, "--out", str(tmp_path / "made")]) == 0
    found = Image.load(tmp_path / "made")
    wanted = compiled(str(tiny_file.path), "bitmod4", "int8", table, "tiny", 40, 2)
    assert found.symbols == wanted.symbols
    assert np.array_equal(found.memory, wanted.memory)
    commands = found.symbols.commands // 2
    said = f"{commands} commands a token, room for 2 sequences of 40 tokens"
    assert said in capsys.readouterr().out


def test_calibrated(tiny_file: Checkpoint, tmp_path: Path) -> None:
    """Packets depend on the text and are as long as plain BitMoD's; the same text gives the same bytes."""
    made = []
    for text in ("abc. the sea is on it " * 20, "zzz qqq " * 60, "zzz qqq " * 60):
        (tmp_path / "text").write_text(text)
        more = ("tiny", 40, 1, [str(tmp_path / "text")])
        made.append(compiled(str(tiny_file.path), "bitmod3_calibrated", "int8", "native2_paged", *more))
    plain = compiled(str(tiny_file.path), "bitmod3", "int8", "native2_paged", "tiny", 40)
    assert np.array_equal(made[1].memory, made[2].memory)
    for name in ("layer0.kv", "layer1.o", "layer1.down"):
        packets = [words_at(each, name, 600).tobytes() for each in (*made[:2], plain)]
        assert len(set(packets)) == 3, name
    assert made[0].memory.shape == plain.memory.shape


@pytest.mark.parametrize(
    ("model", "kv", "weights", "said"),
    [
        ("tiny", "long", "bitmod4", "table of 3 layers must have 2, as the model has"),
        ("tiny", "kivi2", "bitmod4", "must have a window format"),
        ("tiny", "mikv", "bitmod4", "'mikv' must be one of whole pages"),
        ("tiny", "native4_paged", "none", "recipe 'none' must be one that packets hold"),
        ("tiny", "native4_paged", "olive4", "must be one that packets hold"),
        ("mistral", "native4_paged", "bitmod4", "mistral must have no sliding windows"),
    ],
)
def test_refusals(
    tiny_file: Checkpoint, tmp_path: Path, model: str, kv: str, weights: str, said: str
) -> None:
    kvtuner.save(tmp_path / "long.toml", [*TABLE, [2, 2]])
    path = saved(tmp_path, model, sliding_window=8).path if model == "mistral" else tiny_file.path
    scheme = str(tmp_path / "long.toml") if kv == "long" else kv
    with pytest.raises(ValueError, match=said):
        compiled(str(path), weights, "int8", scheme, "tiny", 40)
