"""Kept results: each is found again by all that decided about it, and by nothing else."""

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from golden import evaluate
from golden.baseline import ant
from golden.checkpoint import Checkpoint
from golden.kv.schemes import SCHEMES
from golden.model import results, subjects
from golden.model.evaluation import Result, Setting
from golden.model.evaluation import evaluate as measure
from golden.model.recipes import RECIPES
from golden.model.results import Damaged, Results
from golden.model.subjects import Sounds, Text

pytestmark = pytest.mark.quick

STORED, BOTH = "none-fp32-none", "bitmod4_calibrated-fp32-atom4"
WORDS = {
    "text": "the sea is on the lee side and we have to be at the helm",
    "calibration": "a man in a hat has a ham and a leg of lamb to eat at noon",
    "other": "no one saw us go to the sand in the hot noon sun and on to the sea",
}


class Bench:
    """A folder of results, what is read, and the names of the settings that are really measured."""

    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.change = folder, monkeypatch
        for name, words in WORDS.items():
            (folder / f"{name}.txt").write_text(words)
        self.options = {
            "--model": self.model("first", model.read_bytes(), model),
            "--text": folder / "text.txt",
            "--calibration": folder / "calibration.txt",
            "--weights": "bitmod4_calibrated",
            "--kv": "atom4",
            "--tokens": 24,
            "--context": 12,
            "--out": folder / "out",
        }
        self._measured: list[str] = []
        monkeypatch.setattr(evaluate, "evaluate", self._noted)

    def model(self, parent: str, content: bytes, source: Path) -> Path:
        """A model whose folder and file have the same names wherever it lies, with its tokenizer."""
        path = self.folder / parent / "model" / "tiny.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        shutil.copy(source.with_name("tokenizer.bin"), path.parent)
        return path

    def run(self, **changes: object) -> list[str]:
        """Run the command line; returns what was measured."""
        options = self.options | {f"--{name}": value for name, value in changes.items()}
        self._measured.clear()
        assert evaluate.main([part for pair in options.items() for part in map(str, pair)]) == 0
        return list(self._measured)

    def cells(self) -> list[Path]:
        return sorted((self.folder / "out" / "cells").iterdir())

    def _noted(self, subject: Text, setting: Setting, step: Callable) -> Result:
        self._measured.append(setting.name)
        return measure(subject, setting, step)


@pytest.fixture
def bench(tmp_path: Path, tiny_file: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The command line, run once."""
    bench = Bench(tmp_path, tiny_file.path, monkeypatch)
    assert bench.run() == [STORED, BOTH]
    assert bench.run() == []
    return bench


def test_another_model_of_the_same_name(bench: Bench, tiny_file: Checkpoint, capsys) -> None:
    """Parent folder, file name and size are the same; one weight is not."""
    shown = capsys.readouterr().out
    content = bytearray(tiny_file.path.read_bytes())
    weight = len(content) // 2 & ~3
    content[weight : weight + 4] = struct.pack("<f", 9)
    other = bench.model("second", bytes(content), tiny_file.path)
    assert bench.run(model=other) == [STORED, BOTH]
    assert capsys.readouterr().out != shown
    assert bench.run() == bench.run(model=other) == []
    assert len(bench.cells()) == 4


def test_the_same_model_elsewhere(bench: Bench, tiny_file: Checkpoint) -> None:
    assert bench.run(model=tiny_file.path) == []


def test_another_text_to_calibrate_with(bench: Bench) -> None:
    """Only what is calibrated is measured again."""
    assert bench.run(calibration=bench.folder / "other.txt") == [BOTH]
    assert bench.run(calibration=bench.folder / "other.txt") == bench.run() == []


@pytest.mark.parametrize(
    ("name", "value"), [("text", "other.txt"), ("text", "text2.txt"), ("tokens", "20"), ("context", "16")]
)
def test_another_text(bench: Bench, name: str, value: str) -> None:
    (bench.folder / "text2.txt").write_text(WORDS["text"].replace("lee", "low"))
    change = {name: bench.folder / value if name == "text" else value}
    assert bench.run(**change) == [STORED, BOTH]
    assert bench.run() == []


def test_a_copy_of_the_text(bench: Bench) -> None:
    shutil.copy(bench.folder / "text.txt", bench.folder / "copy.txt")
    assert bench.run(text=bench.folder / "copy.txt") == []


def test_changed_definitions(bench: Bench) -> None:
    """The same names of recipe and scheme stand for something else."""
    recipe, scheme = RECIPES["bitmod4_calibrated"], SCHEMES["atom4"]
    bench.change.setitem(RECIPES, "bitmod4_calibrated", replace(recipe, group=32))
    assert bench.run() == [BOTH]
    assert bench.run() == []
    bench.change.setitem(RECIPES, "bitmod4_calibrated", recipe)
    bench.change.setitem(SCHEMES, "atom4", replace(scheme, key=replace(scheme.key, bits=3)))
    assert bench.run() == [BOTH]
    assert bench.run() == []
    bench.change.setitem(SCHEMES, "atom4", scheme)
    assert bench.run() == []


def test_another_version(bench: Bench) -> None:
    bench.change.setattr(results, "versions", lambda: {"sources": "others"})
    assert bench.run() == [STORED, BOTH]


def test_settings_differ(tiny_file: Checkpoint, tmp_path: Path) -> None:
    """Every field of a setting, and the widths of exact numerics where these are used."""
    kept = Results(tmp_path, Text(tiny_file, [np.arange(5)], 8))
    settings = [Setting("int4"), Setting("int4", "fp16"), Setting("int4", "12"), Setting("int4", kv="atom4")]
    settings += [Setting("int4", head="int8"), Setting("int4", head="bitmod4")]
    settings += [Setting("int4", group=32), Setting("int4", scale="fp16"), Setting("int4", search="clip")]
    assert len({json.dumps(kept.key(setting)) for setting in settings}) == len(settings)
    assert len({kept.path(setting) for setting in settings}) == len(settings)
    assert kept.key(Setting("int4", "12"))["numerics"]["accumulator_bits"] == 36
    assert kept.key(Setting("int4", "fp16"))["numerics"] is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "Invalid JSON"),
        (lambda text: "", "Invalid JSON"),
        (lambda text: "[]", "Input should be"),
        (lambda text: text.replace('"windows"', '"window"'), "result.windows: Field required"),
        (
            lambda text: text.replace('"seconds": ', '"seconds": "many", "s": '),
            "result.seconds: Input should",
        ),
        (lambda text: text.replace('"kv": "none"', '"kv": "atom4"'), "its key is not that of its name"),
        (lambda text: '"kv": "a"'.join(text.rsplit('"kv": "none"', 1)), "its key is not that of its name"),
        (lambda text: text.replace('"windows": [', '"windows": [[3, 1.0, null], '), "3 windows must be 2"),
    ],
)
def test_damaged_files(bench: Bench, capsys, damage: Callable[[str], str], reason: str) -> None:
    """One line names the file; its setting is measured again, and the file is whole after that."""
    path = next(path for path in bench.cells() if path.name.startswith(STORED))
    good = path.read_text()
    path.write_text(damage(good))
    capsys.readouterr()
    assert bench.run() == [STORED]
    problem = capsys.readouterr().err
    assert problem.startswith(f"measured again, as its file is damaged: {path}: ")
    assert reason in problem
    assert problem.count("\n") == 1
    assert json.loads(path.read_text())["result"]["windows"] == json.loads(good)["result"]["windows"]
    assert bench.run() == []
    assert len(bench.cells()) == 2


def test_a_file_that_cannot_be_read(bench: Bench, refusal: Callable) -> None:
    path = bench.cells()[0]
    path.unlink()
    path.mkdir()
    options = [part for pair in bench.options.items() for part in map(str, pair)]
    assert str(path) in refusal(evaluate.main, options)[1]


def test_there_and_back(tiny_file: Checkpoint, tmp_path: Path) -> None:
    """Every field, infinite losses included; the key lies beside the result."""
    text = Text(tiny_file, [np.arange(5), np.arange(3)], 8)
    kept, setting = Results(tmp_path / "new" / "folder", text), Setting("bitmod3", "12", "atom4", 32)
    result = Result(setting, [(4, float("inf"), None), (2, 0.1, 0.25)], 3.2, 4.5, 0.25, 1.5, 1 << 40)
    assert kept.read(setting) is None
    kept.write(result)
    assert kept.read(setting) == result
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert json.loads(path.read_text())["key"] == kept.key(setting)
    assert kept.key(setting)["model"] == tiny_file.sha256
    path.write_text(path.read_text().replace(tiny_file.sha256, "0" * 64))
    with pytest.raises(Damaged, match="its key is not that of its name"):
        kept.read(setting)


def test_nothing_half_written_is_left(tiny_file: Checkpoint, tmp_path: Path, monkeypatch) -> None:
    def fail(self: Path, text: str) -> None:
        self.touch()
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", fail)
    kept = Results(tmp_path, Text(tiny_file, [np.arange(5)], 8))
    with pytest.raises(OSError, match="disk full"):
        kept.write(Result(Setting(), [(4, 1.0, None)], None, None, 0, 1, 1))
    assert list(tmp_path.iterdir()) == []


def test_rules_of_recipes(tmp_path: Path) -> None:
    """A rule's arguments and the text of its file belong to the recipe's definition."""
    recipe = RECIPES["ant4"]
    definition = recipe.definition
    assert definition["own"]["rule"] == "golden.baseline.ant.quantize"
    assert definition["own"]["arguments"] == [{"bits": 4}]
    assert replace(recipe, own=partial(ant.quantize, bits=3)).definition != definition
    path, found = tmp_path / "rule.py", []
    for text in ("def rule(w, group): return w\n", "def rule(w, group): return 2 * w\n"):
        path.write_text(text)
        found.append(replace(recipe, own=_loaded(path).rule).definition)
    assert found[0] != found[1]
    assert RECIPES["bitmod4"].definition["own"] is None


def _loaded(path: Path) -> ModuleType:
    spec = util.spec_from_file_location(path.stem, path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_hash_what_numbers_depend_on(tmp_path: Path, monkeypatch) -> None:
    """Any source of a room; not the programs above them, and not what only shows results."""
    for name in ("numbers/a.py", "model/results.py", "model/tables.py", "evaluate.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "model/results.py"))

    def changed(name: str) -> bool:
        before = results.versions.__wrapped__()["sources"]
        (tmp_path / name).write_text("2")
        return results.versions.__wrapped__()["sources"] != before

    assert changed("numbers/a.py")
    assert changed("model/results.py")
    assert not changed("model/tables.py")
    assert not changed("evaluate.py")


def test_sounds(tiny_file: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that are heard, those to calibrate with where it matters, and how long a transcript may be."""
    monkeypatch.setattr(subjects, "Whisper", lambda checkpoint: SimpleNamespace(channels=8, encode=np.copy))
    monkeypatch.setattr(Sounds, "_listen", lambda self, model, sound: ([1], np.zeros((1, 2))))
    signal, other = np.zeros(1600), np.sin(np.arange(1600))

    def identity(name: str, *given: object, **more: object) -> dict:
        return Sounds(tiny_file, *given, **more).identity(Setting(name))

    plain = identity("int4", [signal])
    assert plain == identity("int4", [signal], calibration=[other])
    assert plain != identity("int4", [other])
    assert plain != identity("int4", [signal], most=2)
    assert plain != identity("int4", [signal], start=(1, 2))
    calibrated = [identity("bitmod3_calibrated", [signal], calibration=[own]) for own in (signal, other)]
    assert calibrated[0] != calibrated[1]
