"""Registers of the core: the slave on every simulator, and the C header and the page of its table."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hw.bus import register_table
from hw.config import preset
from hw.core import registers
from hw.core.registers import TABLE, Registers
from sim import runner


def test_slave(simulator: str) -> None:
    config = preset("edge")
    parameters = {"config": config.model_dump()}
    runner.run(Registers(config), "sim.benches.core.registers", simulator, parameters)


@pytest.mark.quick
def test_table() -> None:
    """Offsets are words within the address space, nothing overlaps, constants fit."""
    offsets = [register.offset for register in TABLE]
    assert sorted(set(offsets)) == offsets
    assert all(offset % 4 == 0 and offset < 1 << register_table.ADDRESS_BITS for offset in offsets)
    for register in TABLE:
        used = [bit for field in register.fields for bit in range(field.low, field.low + field.width)]
        assert len(used) == len(set(used)), register.name
        assert max(used) < register_table.DATA_BITS


@pytest.mark.quick
def test_texts(tmp_path: Path) -> None:
    """A C compiler takes the header; the page has a row a field."""
    text = registers.c_header()
    defined = dict(re.findall(r"^#define (\w+) (\w+)$", text, flags=re.MULTILINE))
    for register in TABLE:
        assert int(defined[f"KVLOOM_CORE_{register.name}"].rstrip("u"), 16) == register.offset
    rows = [line for line in registers.markdown().splitlines() if line.startswith("| 0x")]
    assert len(rows) == sum(len(register.fields) for register in TABLE)
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH")
    path = tmp_path / "registers.h"
    path.write_text(text)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", path], check=True)
