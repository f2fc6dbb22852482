"""What a user copies runs: steps of the pages as they stand there, and every file of ``examples``."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hw.config import preset
from sim import toolchain
from synth.sweep import __main__ as sweep

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
MOST_LINES = 60
STEPS = re.compile(r"<!-- prints: ([^\n]*) -->\n```sh\n(.*?)```", re.S)


def all_steps() -> list[tuple[str, str]]:
    """Blocks of commands, each with the line that it ends with."""
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [found for page in pages for found in STEPS.findall(page.read_text())]


def environment(**more: str) -> dict[str, str]:
    """kvloom is importable, and ``python`` is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, **more, "PYTHONPATH": str(REPOSITORY)}


def printed(arguments: list[str], folder: Path, **more: str) -> str:
    done = subprocess.run(arguments, cwd=folder, env=environment(**more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_steps() -> None:
    wanted = {"accelerator_tb.v", "kv_page_tb.v", "attention_head.cpp"}
    named = {name for _, block in all_steps() for name in re.findall(r"examples/(\w+\.(?:v|cpp))", block)}
    assert named == wanted


def simulator(block: str) -> str:
    """The one that steps run."""
    return "verilator" if "verilator" in block else "icarus"


STEPS_OF = [
    pytest.param(last, block, id=last, marks=pytest.mark.long if simulator(block) == "verilator" else ())
    for last, block in all_steps()
]
"""Those that compile C++ take half a minute."""


@pytest.mark.parametrize(("last", "block"), STEPS_OF)
def test_steps(last: str, block: str, tmp_path: Path) -> None:
    """A first product, as its page has it: it ends with the line that the page promises."""
    tool = simulator(block)
    if problem := toolchain.available(tool):
        pytest.skip(f"{tool}: {problem}")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    more = {}
    if tool == "verilator":
        more = toolchain.build_environment()
        tree = toolchain.verilator_tree() / "bin"
        more["PATH"] = os.pathsep.join([str(tree), str(Path(sys.executable).parent), more["PATH"]])
    assert printed(["bash", "-euc", block], tmp_path, **more).splitlines()[-1] == last


@pytest.mark.quick
def test_a_head_is_written(tmp_path: Path) -> None:
    """What the C++ program includes: a compiler takes it, and sizes are those of the configuration."""
    config = preset("tiny")
    written = {"configuration": config.model_dump(mode="json")}
    (tmp_path / "head_attention.json").write_text(json.dumps(written))
    assert printed([sys.executable, str(EXAMPLES / "attention_head.py"), "."], tmp_path).startswith(
        "4 queries"
    )
    checks = (
        f"sizeof outputs == 2 * QUERIES * {config.kv.channels} && PAGES * {config.kv.page_tokens} >= TOKENS"
    )
    (tmp_path / "use.cpp").write_text(f'#include "golden.h"\nstatic_assert({checks}, "sizes");\n')
    printed(["g++", "-fsyntax-only", "use.cpp"], tmp_path)


@pytest.mark.quick
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.v")), ids=lambda path: path.name)
def test_testbenches_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.quick
def test_a_matrix_in_every_type() -> None:
    """Fewer bits and larger errors from 4 to 3 bits; smaller groups, more bits and smaller errors."""
    lines = printed([sys.executable, str(EXAMPLES / "quantise.py")], EXAMPLES).splitlines()
    found = {line.split(" bits")[0].split()[0]: float(line.split()[-1]) for line in lines[:9]}
    assert found["bitmod4"] < found["int4"] < found["int3"]
    assert found["bitmod3"] < found["int3"]
    errors = [float(line.split()[-1]) for line in lines[9:]]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 4


def test_an_instance() -> None:
    text = printed([sys.executable, str(EXAMPLES / "instance.py")], EXAMPLES)
    assert re.search(r"^module counted\(", text, re.M)
    assert re.search(r"^  output \[15:0\] beats;", text, re.M)
    assert len(re.findall(r"^endmodule", text, re.M)) > 10


def test_a_design_space(tmp_path: Path) -> None:
    assert sweep.main([str(EXAMPLES / "space.toml"), "--jobs", "1", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/sweep.json").exists()


@pytest.mark.quick
def test_every_example_is_run() -> None:
    """By its name in this file, or by the steps of a page."""
    text = Path(__file__).read_text() + "".join(block for _, block in all_steps())
    assert all(path.name in text for path in EXAMPLES.iterdir() if path.is_file())
