"""What a user copies runs: steps of the pages as they stand there, and every file of ``examples``."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sim import toolchain
from synth.sweep import __main__ as sweep

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
MOST_LINES = 60
STEPS = re.compile(r"<!-- prints: (.*) -->\n```sh\n(.*?)```", re.S)


def all_steps() -> list[tuple[str, str]]:
    """Blocks of commands, each with the line that it ends with."""
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [found for page in pages for found in STEPS.findall(page.read_text())]


def environment() -> dict[str, str]:
    """kvloom is importable, and ``python`` is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY)}


def printed(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_steps() -> None:
    wanted = {"accelerator_tb.v", "kv_page_tb.v"}
    assert {name for _, block in all_steps() for name in re.findall(r"examples/(\w+\.v)", block)} == wanted


@pytest.mark.parametrize(("last", "block"), all_steps(), ids=lambda text: text.split("\n")[0])
def test_steps(last: str, block: str, tmp_path: Path) -> None:
    """A first product, as its page has it: it ends with the line that the page promises."""
    if problem := toolchain.available("icarus"):
        pytest.skip(f"icarus: {problem}")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    assert printed(["bash", "-euc", block], tmp_path).splitlines()[-1] == last


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
