"""Programs end as the user ends them, under either name, on any terminal."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.table import Table

import kvloom
from golden import command_line
from golden.command_line import Parser
from kvloom import command

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = "from golden.command_line import program\n@program\ndef main():\n    {}\nraise SystemExit(main())"

pytestmark = pytest.mark.quick


def run(*words: str, cwd: Path = REPOSITORY, **options) -> subprocess.CompletedProcess:
    """Python without the working directory on its path, as a console command has it."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | options.pop("environment", {})
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-P", *words], cwd=cwd, env=environment, **options, check=False)


@pytest.mark.parametrize("name", command.PROGRAMS)
def test_interrupted_programs_say_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Under its own name and as ``python -m``."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Parser, "parse_args", interrupt)
    module = command.PROGRAMS[name].module
    assert command.main([name]) == 130
    assert importlib.import_module(module).main([]) == 130
    lines = capsys.readouterr().err.splitlines()
    own = f"python -m {module.removesuffix('.__main__')}"
    assert lines == [f"kvloom {name}: interrupted", f"{own}: interrupted"]


def test_every_program_has_a_name() -> None:
    """No file with a main function is left out."""
    files = [path for tree in ("golden", "hw", "sim", "synth") for path in (REPOSITORY / tree).rglob("*.py")]
    programs = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in files
        if '\nif __name__ == "__main__":' in path.read_text()
    }
    assert sorted(program.module for program in command.PROGRAMS.values()) == sorted(programs)


def test_a_reader_that_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("-c", PROGRAM.format("print('words'); return 0"), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ascii_terminals() -> None:
    done = run(
        "-c",
        PROGRAM.format("print('2 \\u00b5m\\u00b2'); return 0"),
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2 ?m?\n", b"")


def test_a_folder_of_the_users_own(tmp_path: Path) -> None:
    """``hw`` in the working directory is not taken for ours."""
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "__init__.py").write_text("raise ImportError\n")
    done = run("-c", "import kvloom; print(kvloom.hw.__path__[0])", cwd=tmp_path)
    assert done.stdout.decode().strip() == str(REPOSITORY / "hw")


def test_help_and_version(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == [*command.PROGRAMS]
    assert command.main(["--version"]) == 0
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"kvloom {project['version']}\n"
    module, function = project["scripts"]["kvloom"].split(":")
    assert getattr(importlib.import_module(module), function) is command.main


def test_unknown_programs_are_one_line(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["quantise"])
    error = capsys.readouterr().err
    assert error == f"kvloom: error: program 'quantise' must be one of {', '.join(command.PROGRAMS)}\n"


def test_packages_are_handed_on() -> None:
    for name in ("golden", "hw", "sim", "synth"):
        assert getattr(kvloom, name) is importlib.import_module(name)
    with pytest.raises(AttributeError, match="has no attribute 'gloden'"):
        _ = kvloom.gloden


def test_names_in_tables_are_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """On a terminal that is narrower than the names."""
    monkeypatch.setenv("COLUMNS", "40")
    table = Table()
    for head in ("tensor", "became"):
        table.add_column(head, overflow="fold")
    names = ("model.layers.0.self_attn.q_proj.weight", "native2_paged_with_a_long_name")
    table.add_row(*names)
    command_line.show(table)
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


@pytest.mark.parametrize(("number", "said"), [(0, "0 layers"), (1, "1 layer"), (2_000, "2,000 layers")])
def test_counts(number: int, said: str) -> None:
    assert command_line.count(number, "layer") == said
