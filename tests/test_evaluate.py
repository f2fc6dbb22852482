"""The command lines that evaluate and generate, and the results they keep."""

import json
import re
import wave
from collections.abc import Callable
from itertools import combinations, islice, takewhile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.text import Annotation
from matplotlib.text import Text as Text2D

from golden import evaluate, generate, optional
from golden.checkpoint import Checkpoint
from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, Scheme
from golden.model import tables
from golden.model.capture import manual
from golden.model.evaluation import Result, Setting
from golden.model.evaluation import evaluate as measure
from golden.model.llama import Llama
from golden.model.perplexity import losses, windows
from golden.model.recipes import RECIPES
from golden.model.sampling import continuation, samples
from golden.model.subjects import Sounds, Text
from golden.model.tokenizer import of
from golden.systems.registry import SYSTEMS

BASELINES = ("ant4", "ant3", "olive4", "olive3", "mxfp4", "mxfp3")


@pytest.fixture(scope="module")
def samples_of_stories(stories: Llama, stories_file: Checkpoint) -> Text:
    return Text(stories_file, samples(stories, 1, 8, 255), 8)


@pytest.fixture(scope="module")
def tiny_text(tiny_file: Checkpoint, tiny_llama: Llama) -> Text:
    """Three short texts that the tiny llama says, and one to calibrate with."""
    parts = samples(tiny_llama, 1, 3, 20)
    return Text(tiny_file, parts, 8, lambda: samples(tiny_llama, 1, 1, 40, seed=1))


def chirp() -> np.ndarray:
    """Two seconds of a tone with overtones that rises and falls."""
    phase = np.cumsum(200 + 80 * np.sin(np.arange(32000) / 2000)) / 16000
    return sum(np.sin(2 * np.pi * n * phase) / n for n in range(1, 12)) * 0.1


def test_stories(samples_of_stories: Text) -> None:
    """Full precision against quantised, on texts of the model itself: the bands that others measured."""
    base = measure(samples_of_stories, Setting())
    assert base.perplexity == pytest.approx(3.69, abs=0.3)
    assert base.tokens == 8 * 255
    found = {
        name: measure(samples_of_stories, Setting(name)).against(base)
        for name in ("int8", "bitmod4", "int4_asym", "bitmod3", "int3_asym", "bitmod3_clip", *BASELINES)
    }
    assert abs(found["int8"].mean) < 0.005
    assert 0.06 < found["bitmod4"].mean < found["int4_asym"].mean + 0.03 < 0.2
    assert 0.5 < found["bitmod3"].mean < found["int3_asym"].mean - 0.15
    assert found["bitmod3_clip"].mean < 0.75 * found["bitmod3"].mean
    assert all(found[name].mean > found["bitmod3"].mean + 0.2 for name in BASELINES if name.endswith("3"))
    assert all(found[name].mean > found["bitmod4"].mean for name in BASELINES if name.endswith("4"))
    assert all(0 < one.error < 0.08 for one in found.values())


def test_calibration(samples_of_stories: Text, stories: Llama) -> None:
    """Calibrated on other samples, BitMoD loses less at the same bits."""
    checkpoint, parts = samples_of_stories.checkpoint, samples_of_stories.parts[:3]
    text = Text(checkpoint, parts, 8, lambda: samples(stories, 1, 2, 255, seed=1))
    base, published, calibrated = (
        measure(text, Setting(name)) for name in ("none", "bitmod3", "bitmod3_calibrated")
    )
    assert calibrated.bits_per_weight == published.bits_per_weight
    assert calibrated.against(base).mean < 0.85 * published.against(base).mean


@pytest.mark.quick
def test_nothing_to_calibrate_with(tiny_text: Text) -> None:
    assert measure(tiny_text, Setting("bitmod3_calibrated")).bits_per_weight
    with pytest.raises(ValueError, match="a calibrated recipe needs something to calibrate with"):
        measure(Text(tiny_text.checkpoint, tiny_text.parts, 8), Setting("bitmod3_calibrated"))


def test_exact_numerics(samples_of_stories: Text) -> None:
    """The accelerator's numerics cost next to nothing at 12 bits, and something at 8."""
    few = Text(samples_of_stories.checkpoint, samples_of_stories.parts[:4], 8)
    base = measure(few, Setting("bitmod4", "fp16"))
    errors = {width: measure(few, Setting("bitmod4", width)).against(base).mean for width in ("8", "12")}
    assert abs(errors["12"]) < 1e-3 < abs(errors["8"]) < 0.1


@pytest.mark.quick
def test_the_engines_numerics(
    tiny_text: Text,
    tiny_file: Checkpoint,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable,
) -> None:
    """Little at 14 bits, more at 8; only with schemes of whole pages, and named in the table."""
    heads = Format("native", 4, "token", None), Format("native", 8, "token", None)
    monkeypatch.setitem(
        SCHEMES, "test", Scheme(Format("native", 4, "channel", 32), heads[0], "paged", 8, heads[1])
    )
    base = measure(tiny_text, Setting(kv="test"))
    errors = {
        width: abs(measure(tiny_text, Setting(kv="test", attention=width)).against(base).mean)
        for width in ("8", "14")
    }
    assert 0 < errors["14"] < 3e-3
    assert errors["14"] < errors["8"] < 0.1
    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "40", "--attention", "12"]
    assert evaluate.main([*arguments, "--kv", "test"]) == 0
    assert "test, engine 12" in capsys.readouterr().out
    problem = refusal(evaluate.main, [*arguments, "--kv", "atom4"])[1]
    assert "a scheme for the attention engine must have whole pages and a window format" in problem


@pytest.mark.quick
def test_head(
    tiny_text: Text, tiny_file: Checkpoint, capsys: pytest.CaptureFixture[str], refusal: Callable
) -> None:
    """The same hidden states times the output layer, quantised; bits a weight are those of the blocks."""
    model = Llama(tiny_file)
    weights = RECIPES["bitmod4"].quantize(model.logits(np.eye(64, dtype=np.float32)).T).dequantize()
    expected = []
    for part in tiny_text.parts:
        logits = model.hidden(part[:-1]).astype(np.float64) @ weights.T
        chances = np.exp(logits - logits.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        expected.append(-np.log(chances[np.arange(len(part) - 1), part[1:]]).mean())
    result = measure(tiny_text, Setting(head="bitmod4"))
    assert [mean for _, mean, _ in result.windows] == pytest.approx(expected, abs=1e-5)
    assert result.bits_per_weight is None
    assert result.against(measure(tiny_text, Setting())).mean != 0
    assert measure(tiny_text, Setting("int4", "12", head="int8")).against(result).mean != 0
    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "40", "--head"]
    assert evaluate.main([*arguments, "int8"]) == 0
    assert "head int8" in capsys.readouterr().out
    problem = refusal(evaluate.main, [*arguments, "bitmod4_calibrated"])[1]
    assert "head 'bitmod4_calibrated' must be neither calibrated nor stored" in problem


@pytest.mark.quick
def test_a_result(tiny_text: Text) -> None:
    """What is asked for, bits by hand, and a step after every window."""
    seen: list[int] = []
    setting = Setting("bitmod3", "12", search="clip")
    result = measure(tiny_text, setting, lambda found: seen.append(len(found)))
    assert seen == [1, 2, 3]
    assert (result.setting, result.tokens, len(result.windows)) == (setting, 60, 3)
    assert setting.recipe == RECIPES["bitmod3_clip"]
    inputs = {64: 4 * 64 + 2 * 172 - 2 * 32, 172: 64}
    bits = {count: (3 * count + 10 * -(-count // 128) + 8) * rows for count, rows in inputs.items()}
    total = sum(bits.values()) / sum(count * rows for count, rows in inputs.items())
    assert result.bits_per_weight == pytest.approx(total)
    assert result.divergence is None


@pytest.mark.quick
def test_table(
    tiny_file: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable,
) -> None:
    """Files of a small table; asked for again, nothing is measured twice."""
    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "300"]
    arguments += ["--table", "--out", str(tmp_path)]
    chosen = ["--weights", "bitmod3", "bitmod4", "--kv", "none", "native_test"]
    scheme = SCHEMES["atom4"]
    monkeypatch.setitem(SCHEMES, "native_test", scheme)
    assert evaluate.main([*arguments, *chosen]) == 0
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "evaluation.json").read_text())
    names = [(row["setting"]["weights"], row["setting"]["kv"]) for row in content["results"]]
    assert names == [
        ("none", "none"),
        ("bitmod3", "none"),
        ("bitmod3", "native_test"),
        ("bitmod4", "none"),
        ("bitmod4", "native_test"),
    ]
    assert content["results"][2]["perplexity"] > content["results"][0]["perplexity"]
    lines = (tmp_path / "evaluation.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + 5
    assert "bitmod4" in shown
    assert len(list((tmp_path / "cells").iterdir())) == 5
    monkeypatch.setattr(evaluate, "evaluate", None)
    assert evaluate.main([*arguments, *chosen]) == 0
    assert capsys.readouterr().out == shown
    assert evaluate.main([*arguments, *chosen, "--against", "bitmod3"]) == 0
    rows = json.loads((tmp_path / "evaluation.json").read_text())["results"]
    assert [row["difference"] == 0 for row in rows] == [False, True, False, False, False]
    assert rows[0]["difference"] == -content["results"][1]["difference"]
    problem = refusal(evaluate.main, [*arguments, *chosen, "--against", "int3"])[1]
    assert "argument --against: 'int3' must be a recipe or scheme that is measured by itself" in problem


def test_a_cluster(tiny_file: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The workers of a Dask scheduler find the same, and what does not fit is left out all the same."""
    if not optional.DASK.found():
        pytest.skip(optional.DASK.missing("a cluster"))
    from distributed import LocalCluster

    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "40", "--table"]
    chosen = ["--weights", "int4", "stored", "--kv", "none", "atom4"]
    folders = tmp_path / "here", tmp_path / "there"
    few = {name: RECIPES[name] for name in ("int4", "stored")}
    with (
        patch.dict(RECIPES, few, clear=True),
        patch.dict(SCHEMES, {"atom4": SCHEMES["atom4"]}, clear=True),
        patch.dict(SYSTEMS, clear=True),
    ):
        assert evaluate.main([*arguments, "--out", str(folders[0])]) == 0
        with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
            address = ["--scheduler", cluster.scheduler_address]
            assert evaluate.main([*arguments, "--out", str(folders[1]), *address]) == 0
            with pytest.raises(SystemExit):
                evaluate.main([*arguments, *chosen, "--out", str(tmp_path / "other"), *address])
    assert capsys.readouterr().err.count("tensor layers.0.wq: F32 has no exact form") == 3
    rows = [json.loads((folder / "evaluation.json").read_text())["results"] for folder in folders]
    measured = [[(row["setting"], row["windows"]) for row in one] for one in rows]
    assert measured[0] == measured[1]
    assert len(measured[0]) == 3


@pytest.mark.quick
def test_a_whole_table_has_every_recipe_and_every_scheme_that_fits(tmp_path: Path) -> None:
    options = evaluate._parser().parse_args(["--table", "--out", str(tmp_path), "--scale", "fp16"])
    asked = evaluate.settings(options, 64)
    assert asked[0] == Setting()
    assert {one.weights for one in asked} == {"none", *RECIPES}
    assert {one.kv for one in asked} == {"none", *SCHEMES, *SYSTEMS}
    assert {one.scale for one in asked if one.weights == "none"} == {None}
    scales = {one.weights: one.scale for one in asked if one.weights != "none"}
    assert {name for name, scale in scales.items() if scale != "fp16"} == {
        name for name, recipe in RECIPES.items() if recipe.scale != "int8" or recipe.stored
    }
    assert scales["mxfp4"] is scales["ant4"] is None
    assert {(one.weights, one.kv) for one in asked if "none" not in (one.weights, one.kv)} == {
        (weights, kv) for weights in ("bitmod4", "bitmod3_calibrated") for kv in ("native4", "native2")
    }
    small = {one.kv for one in evaluate.settings(options, 8)}
    assert "native4" not in small
    assert {"atom4", "ternary", "mikv", "zipvl", "kvcrush"} < small
    assert not {"mikv4_paged", "zipvl_paged", "kvcrush4_block"} & small


@pytest.mark.quick
def test_the_core_does_the_operations_on_vectors(
    tiny_file: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the row says so."""
    shown = []
    for numerics in ("float", "core"):
        model = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "255"]
        assert evaluate.main([*model, "--weights", "int2", "--numerics", numerics]) == 0
        shown.append(capsys.readouterr().out)
    assert ["numerics core" in text for text in shown] == [False, True]


@pytest.mark.quick
def test_the_core_has_activations_of_its_own(refusal: Callable) -> None:
    _, message = refusal(generate.main, ["prompt", "--numerics", "core", "--activations", "12"])
    assert "argument --activations: must not be given with --numerics core" in message


@pytest.mark.quick
def test_a_whole_table_leaves_out_what_does_not_fit(
    tiny_file: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--model", str(tiny_file.path), "--text", "self", "--tokens", "40", "--table"]
    few = {"int4": RECIPES["int4"], "q4_0": RECIPES["q4_0"]}
    with (
        patch.dict(RECIPES, few, clear=True),
        patch.dict(SCHEMES, {"atom4": SCHEMES["atom4"]}, clear=True),
        patch.dict(SYSTEMS, clear=True),
    ):
        assert evaluate.main([*arguments, "--group", "64", "--out", str(tmp_path)]) == 0
    problem = capsys.readouterr().err
    assert (
        problem
        == "left out q4_0-fp32-none: tensor layers.0.w2: inputs 172 of q4_0 must be a multiple of 32\n"
    )
    rows = json.loads((tmp_path / "evaluation.json").read_text())["results"]
    assert [(row["setting"]["weights"], row["setting"]["kv"], row["setting"]["group"]) for row in rows] == [
        ("none", "none", None),
        ("int4", "none", 64),
        ("none", "atom4", None),
    ]


@pytest.mark.quick
def test_pictures(tmp_path: Path) -> None:
    """Every name is drawn once, none over another, and what is far above lies on the edge with its value."""
    pictures = pytest.importorskip("golden.model.pictures")
    base = Result(Setting(), [(10, 3.0, None)] * 2, None, None, 0, 1, 1)
    results = [base]
    for number, name in enumerate(RECIPES):
        loss = 9.0 if name == "binary" else 3 + 0.01 * (number % 5)
        results.append(Result(Setting(name), [(10, loss, None)] * 2, 4 + 0.01 * (number % 7), None, 0, 1, 1))
    boxes = []
    draw_text = Text2D.draw

    def noted(self: Text2D, renderer: object) -> None:
        draw_text(self, renderer)
        if self.get_text().split(" ")[0] in RECIPES:
            boxes.append((self.get_text(), Text2D.get_window_extent(self)))

    with patch.object(Annotation, "draw", noted):
        pictures.draw(results, base, "weights", "title", tmp_path / "weights.png")
    assert (tmp_path / "weights.png").read_bytes()[1:4] == b"PNG"
    pictures.draw(results, base, "kv", "title", tmp_path / "kv.png")
    assert not (tmp_path / "kv.png").exists()
    drawn = dict(boxes)
    assert set(drawn) == {"binary (8,103)", *RECIPES} - {"binary"}
    for one, other in combinations(drawn.values(), 2):
        assert not one.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8))


@pytest.mark.quick
def test_cells() -> None:
    """A row of the report: names, bits and the paired difference."""
    base = Result(Setting(), [(10, 1.0, 0.0), (10, 2.0, 0.0)], None, None, 0, 1, 1)
    result = Result(Setting("bitmod3", "12", "kivi2"), [(10, 1.5, 0.1), (10, 2.1, 0.3)], 3.2, 3.0, 2, 3, 1)
    assert tables.cells(result, base) == (
        *(
            "bitmod3",
            "3.200",
            "12",
            "kivi2",
            "3.00",
            f"{np.exp(1.8):.3f}",
            "+0.3000",
            "0.2000",
            "0.2000 +- 0.1000",
            "2 + 3",
        ),
    )
    other = Result(Setting("int3"), [(10, 1.4, 0.0), (10, 2.4, 0.3)], 3.2, None, 2, 3, 1)
    assert tables.cells(result, other)[6:9] == ("-0.1000", "0.2000", "0.0500 +- 0.0500")


@pytest.mark.llm
def test_smollm2(smollm2: Llama, smollm2_file: Checkpoint) -> None:
    """One window of the manual: three bits cost much, more without BitMoD; KV4 is cheap, KV2 is not."""
    parts = windows(of(smollm2_file).encode(manual(4000))[:257], 257)
    kv = {
        name: next(losses(smollm2, parts, Setting(kv=name).memory)).mean()
        for name in ("none", "native8", "native4", "native2")
    }
    assert abs(kv["native8"] - kv["none"]) < 1e-3
    assert abs(kv["native4"] - kv["none"]) < 0.03 < kv["native2"] - kv["none"]
    text = Text(smollm2_file, parts, 64)
    weights = {name: measure(text, Setting(name)).windows[0][1] for name in ("bitmod3", "int3_asym")}
    assert 0.5 < weights["bitmod3"] - kv["none"] < weights["int3_asym"] - kv["none"] - 0.2


@pytest.mark.llm
def test_whisper(whisper_file: Checkpoint) -> None:
    """Divergence from full precision: none, little or much."""
    sounds = Sounds(whisper_file, [chirp()], most=12)
    assert 1 <= len(sounds.transcripts[0]) <= 12
    base = measure(sounds, Setting())
    assert base.divergence == pytest.approx(0, abs=1e-6)
    assert base.kv_bits is None
    settings = (Setting("int8"), Setting("int2"), Setting(kv="native8_strict"), Setting(kv="native2_strict"))
    found = [measure(sounds, setting).divergence for setting in settings]
    assert 0 < found[0] < 0.01 < found[1]
    assert 0 < found[2] < 0.001 < found[3]


@pytest.mark.llm
def test_vidkv_of_whisper(whisper_file: Checkpoint) -> None:
    """1,500 frames of real keys and values: the order of divergences, and the bits of all of them."""
    sounds = Sounds(whisper_file, [chirp()], most=12)
    names = ("native4_paged", "native2_paged", "vidkv_kept", "vidkv_published")
    found = {name: measure(sounds, Setting(kv=name)) for name in names}
    native4, native2, kept, published = (one.divergence for one in found.values())
    assert 0 < native4 < min(native2, kept) < max(native2, kept) < published
    assert [round(one.kv_bits, 2) for one in found.values()] == [5.01, 3.01, 2.44, 2.19]
    keys, values = zip(*(one.frame_errors for one in found.values()), strict=True)
    assert keys[0] < keys[1] < keys[2] < 0.02 < keys[3]
    assert values[2] < values[1] < 0.2 < 1 < values[3]


@pytest.mark.quick
def test_sampling(tiny_llama: Llama) -> None:
    """Seeded, of the model's own probability, and without a seed the likeliest."""
    one, other = (samples(tiny_llama, 1, 2, 20, seed) for seed in (3, 3))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, samples(tiny_llama, 1, 2, 20, 4))
    first = [next(continuation(tiny_llama, [1, 303], rng=np.random.default_rng(n))) for n in range(300)]
    logits = tiny_llama.logits(tiny_llama.hidden([1, 303]))[-1]
    weights = np.exp(logits - logits.max())
    likeliest = int(logits.argmax())
    assert next(continuation(tiny_llama, [1, 303])) == likeliest
    assert np.mean(np.array(first) == likeliest) == pytest.approx(weights.max() / weights.sum(), abs=0.1)


@pytest.mark.quick
def test_generate(tiny_file: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    """First the likeliest tokens of the model as stored, then those of the quantised one."""
    begin = ["the sea", "--model", str(tiny_file.path), "--tokens", "12"]
    assert generate.main([*begin, "--weights", "int2", "--activations", "12", "--kv", "atom4"]) == 0
    shown = capsys.readouterr().out
    ids = of(tiny_file).encode("the sea")
    for setting in (Setting(), Setting("int2", "12", "atom4")):
        model = Llama(tiny_file, setting.linear())
        following = continuation(model, ids, model.memories(setting.memory))
        said = list(takewhile(lambda token: token not in (1, 2), islice(following, 12)))
        begins = f"[{setting.weights} weights, {setting.activations} activations, KV {setting.kv}]\n"
        assert f"{begins}{of(tiny_file).decode(said)}\n[{len(said)} tokens, " in shown
    assert re.fullmatch(r"\[the first \d+ tokens are the same\]", shown.splitlines()[-1])
    assert generate.main(begin) == 0
    assert "[the first" not in capsys.readouterr().out


@pytest.mark.llm
def test_chat(smollm2_file: Checkpoint) -> None:
    words = of(smollm2_file)
    ids, ends = generate.prompt_ids(words, "Hi")
    assert words.decode(ids) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert ends == {0, 1, 2}
    assert generate.prompt_ids(words, "Hi", plain=True)[0] == words.encode("Hi")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "nowhere.gguf"], "'nowhere.gguf' must be an existing file"),
        (["--tokens", "0"], "'0' must be an integer of at least 1"),
        (["--weights", "int9"], "'int9' must be none or one of "),
        (["--kv", "native9"], "'native9' must be none or one of "),
        (["--activations", "7"], "invalid choice: '7'"),
        (["--table"], "argument --table: needs --out DIR"),
        (["--model", "whisper-none"], "model 'whisper-none' must be an existing file"),
    ],
)
def test_errors(arguments: list[str], part: str, refusal: Callable) -> None:
    """One line on standard error and exit status 2."""
    _, message = refusal(evaluate.main, arguments)
    assert part in message


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tokens", "1"], "text of 1 tokens, context 1024: both must be at least 2"),
        (["--text", "nowhere.txt"], "No such file"),
        (["--kv", "native4"], "token axis of 8 elements must be a multiple of the group 32"),
        (["--weights", "q4_0"], "tensor layers.0.w2: inputs 172 of q4_0 must be a multiple of 32"),
    ],
)
def test_late_errors(tiny_file: Checkpoint, arguments: list[str], part: str, refusal: Callable) -> None:
    _, message = refusal(evaluate.main, ["--model", str(tiny_file.path), "--tokens", "40", *arguments])
    assert part in message


@pytest.mark.quick
def test_sounds_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match="not a WAV file"):
        evaluate._sound(path)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(8))
    with pytest.raises(ValueError, match=re.escape("channels (16000, 2, 2) must be (16000, 2, 1)")):
        evaluate._sound(path)
