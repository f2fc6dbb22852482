"""What holds for every table of registers, and for the header and the page that are made of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hw.bus import register_table, registers
from hw.core import registers as core_registers

pytestmark = pytest.mark.quick

TABLES = {"KVLOOM": registers, "KVLOOM_CORE": core_registers}


@pytest.mark.parametrize("prefix", TABLES)
def test_table(prefix: str) -> None:
    """Offsets are words within the address space, nothing overlaps, constants fit."""
    table = TABLES[prefix].TABLE
    offsets = [register.offset for register in table]
    assert sorted(set(offsets)) == offsets
    assert all(offset % 4 == 0 and offset < 1 << register_table.ADDRESS_BITS for offset in offsets)
    for register in table:
        used = [bit for field in register.fields for bit in range(field.low, field.low + field.width)]
        assert len(used) == len(set(used)), register.name
        assert max(used) < register_table.DATA_BITS


@pytest.mark.parametrize("prefix", TABLES)
def test_header(prefix: str, tmp_path: Path) -> None:
    """A C compiler takes it; names and values are the table's."""
    text = TABLES[prefix].c_header()
    defined = dict(re.findall(r"^#define (\w+) (\w+)$", text, flags=re.MULTILINE))
    for register in TABLES[prefix].TABLE:
        assert int(defined[f"{prefix}_{register.name}"].rstrip("u"), 16) == register.offset
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH")
    path = tmp_path / "registers.h"
    path.write_text(text)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", path], check=True)


@pytest.mark.parametrize("prefix", TABLES)
def test_page(prefix: str) -> None:
    """One row a field."""
    rows = [line for line in TABLES[prefix].markdown().splitlines() if line.startswith("| 0x")]
    assert len(rows) == sum(len(register.fields) for register in TABLES[prefix].TABLE)


def test_row_of_the_page() -> None:
    rows = registers.markdown().splitlines()
    assert "| 0x24 | STATUS | 0 | busy | read | Packets are on their way. |" in rows
