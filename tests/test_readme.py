"""Commands of README and docs exist as they stand; in a bare environment each works or says what it lacks."""

import importlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from golden.command_line import Parser

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
TEXT = "\n\n".join(path.read_text() for path in PAGES)
LIBRARIES = ("nangate45.lib", "sky130hd.lib", "cells.lib")
PLACEHOLDERS = ("speech/*.wav", "wikitext2/test.txt", "FILE.toml", "SPACE.toml", "FILE.json")
MODEL = "stories260K.bin"
"""A file that nothing installs; without it its commands say so."""

TABLE = "layers = [[4, 2]]\n"
"""What `golden.tune` writes, of one layer."""

BARE = os.environ.get("KVLOOM_BARE")
"""Python of an environment with what README's first line installs and nothing else; CI makes one."""


def spans(text: str) -> Iterator[str]:
    """All code: lines of blocks, with their continuations, and what stands between backticks."""
    text = re.sub(r" *\\\n +", " ", text)
    yield from (
        line.strip() for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.split("\n")
    )
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    yield from (line.strip() for line in re.findall(r"^ {4,}(\S.*)$", text, re.M))
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))


def commands(program: str) -> list[list[str]]:
    """The words of every command that begins with a program, each once."""
    parts = (part.strip() for span in spans(TEXT) for part in span.split("&&"))
    found = [shlex.split(part) for part in parts if part.startswith(f"{program} ") or part == program]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


PYTHON = [words[2:] for words in commands("python") if words[1] == "-m" and words[2] != "pytest"]
PYTEST = commands("pytest")
FIRST = ["hw.generate"]
"""What README's first line runs after it has installed."""


class Understood(BaseException):
    """The arguments were taken; the command must not go on."""


def write_tables(folder: Path) -> None:
    """Those that commands name."""
    for name in {word for words in PYTHON for word in words if re.fullmatch(r"[\w.]+\.toml", word)}:
        (folder / name).write_text(TABLE)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Command lines stop once they have read their arguments; libraries and tables lie beside them."""
    parse = Parser.parse_args

    def stop(self: Parser, *arguments: object) -> None:
        raise Understood(parse(self, *arguments))

    monkeypatch.setattr(Parser, "parse_args", stop)
    for name in LIBRARIES:
        shutil.copy(REPOSITORY / "tests/synth/tiny.lib", tmp_path / name)
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)


def program(module: str):
    """The main function of ``python -m module``."""
    path = REPOSITORY.joinpath(*module.split("."))
    return importlib.import_module(f"{module}.__main__" if path.is_dir() else module).main


@pytest.mark.quick
def test_there_are_commands() -> None:
    modules = {words[0] for words in PYTHON}
    assert {module.partition(".")[0] for module in modules} <= {"golden", "hw", "sim", "synth"}
    assert {"hw.generate", "synth.report", "synth.compare", "synth.sweep", "synth.model"} <= modules
    assert {"golden.quantize", "golden.evaluate", "golden.generate", "golden.accuracy"} <= modules
    assert len(PYTHON) >= 20
    assert len(PYTEST) >= 10


@pytest.mark.quick
@pytest.mark.usefixtures("options")
@pytest.mark.parametrize("words", PYTHON, ids=" ".join)
def test_arguments_are_understood(words: list[str]) -> None:
    module, *arguments = words
    with pytest.raises(Understood):
        program(module)(arguments)
    for word in arguments:
        if "/" in word and word not in PLACEHOLDERS:
            assert (REPOSITORY / word).exists()


@pytest.mark.quick
@pytest.mark.parametrize("words", PYTEST, ids=" ".join)
def test_tests_are_there(words: list[str]) -> None:
    """Files exist, keywords occur in them, marks are known, plug-ins come with the extra."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    marks = [mark.partition(":")[0] for mark in project["tool"]["pytest"]["ini_options"]["markers"]]
    paths = [REPOSITORY / word for word in words[1:] if "/" in word]
    assert all(path.exists() for path in paths)
    files = [file for path in paths for file in ([path] if path.is_file() else path.glob("test_*.py"))]
    for option, value in itertools.pairwise(words):
        if option == "-k":
            assert any(value in file.read_text() for file in files)
        if option == "-m":
            assert value in marks
        if option == "-n":
            assert any("pytest-xdist" in name for name in project["project"]["optional-dependencies"]["test"])


@pytest.mark.quick
def test_every_option_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that stand in the text without their command."""
    known = {"--no-deps", "--require-hashes", "--strict", "--cores-root", "--help"}  # of pip, MkDocs, FuseSoC
    known |= {"--cc", "--exe", "--build"}  # of Verilator

    def stop(self: Parser, *_: object) -> None:
        known.update(re.findall(r"--[a-z][\w-]*", self.format_usage()))
        raise Understood

    monkeypatch.setattr(Parser, "parse_args", stop)
    for module in {words[0] for words in PYTHON}:
        with pytest.raises(Understood):
            program(module)([])
    named = {option for span in spans(TEXT) for option in re.findall(r"(?<!\S)--[a-z][\w-]*", span)}
    assert named
    assert named <= known


@pytest.mark.quick
def test_what_is_installed_exists() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [words for words in commands("pip") if words[1:2] == ["install"]]
    assert len(lines) >= 5
    for words in lines:
        for names in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
            assert set(names.split(",")) <= set(extras)
        for option, value in itertools.pairwise(words):
            assert option != "-r" or (REPOSITORY / value).is_file()
    first = next(words for words in lines)
    assert first == ["pip", "install", "."]


if BARE:

    @pytest.mark.parametrize("words", [words for words in PYTHON if words != FIRST], ids=" ".join)
    def test_a_bare_environment(
        words: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Without any program on the PATH: exit status 0, or 2 and what installs that which is missing.

        All share a home, where Yosys is kept once it has been compiled.
        """
        (tmp_path / "synth").symlink_to(REPOSITORY / "synth")
        write_tables(tmp_path)
        shutil.copy(REPOSITORY / "synth/space.toml", tmp_path / "SPACE.toml")
        for name in LIBRARIES:
            shutil.copy(REPOSITORY / "tests/synth/tiny.lib", tmp_path / name)
        done = subprocess.run(
            [str(BARE), "-P", "-m", *words],  # what is installed, not what lies here
            cwd=tmp_path,
            env={"PATH": str(tmp_path), "HOME": str(tmp_path_factory.getbasetemp())},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            assert done.returncode == 2
            assert done.stdout == ""
            assert done.stderr
            lines = done.stderr.splitlines()
            assert not [
                line for line in lines if "which is not installed: " not in line and MODEL not in line
            ]
