"""Registers: the slave on every simulator, and the C header and the page that come from the same table."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from hw.bus import register_table, registers
from hw.bus.registers import TABLE, Registers
from hw.config import preset
from sim import runner

REPOSITORY = Path(__file__).resolve().parents[2]


def test_slave(simulator: str) -> None:
    config = preset("edge")
    parameters = {"config": config.model_dump()}
    runner.run(Registers(config), "sim.benches.bus.registers", simulator, parameters)


@pytest.mark.quick
def test_table() -> None:
    """Offsets are words within the address space, nothing overlaps."""
    offsets = [register.offset for register in TABLE]
    assert sorted(set(offsets)) == offsets
    assert all(offset % 4 == 0 and offset < 1 << register_table.ADDRESS_BITS for offset in offsets)
    for register in TABLE:
        used = [bit for field in register.fields for bit in range(field.low, field.low + field.width)]
        assert len(used) == len(set(used)), register.name
        assert max(used) < register_table.DATA_BITS


@pytest.mark.quick
def test_version() -> None:
    """The version that software reads is the package's."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert ".".join(map(str, registers.VERSION)) == project["version"]


@pytest.mark.quick
def test_header(tmp_path: Path) -> None:
    """A C compiler takes the header; names and values are the table's."""
    text = registers.c_header()
    defined = dict(re.findall(r"^#define (\w+) (\w+)$", text, flags=re.MULTILINE))
    for register in TABLE:
        assert int(defined[f"KVLOOM_{register.name}"].rstrip("u"), 16) == register.offset
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH")
    path = tmp_path / "registers.h"
    path.write_text(text)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", path], check=True)


@pytest.mark.quick
def test_page() -> None:
    """One row a field."""
    rows = [line for line in registers.markdown().splitlines() if line.startswith("| 0x")]
    assert len(rows) == sum(len(register.fields) for register in TABLE)
    assert "| 0x24 | STATUS | 0 | busy | read | Packets are on their way. |" in rows
