"""A block's page and macros: every port has a meaning, every field its place, as the layout itself has it."""

import functools
import gc
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hw import blocks, manifest, page, places
from hw.attention.payloads import attention_page
from hw.bus.axi_ports import AxiPorts
from hw.config import preset
from hw.kv.payloads import Axis, Coding, page_format, page_record
from hw.payloads import chunk

pytestmark = [pytest.mark.quick, pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")]

ROW = re.compile(r"^\| (.*) \|$", re.M)


@functools.cache
def described(block: str) -> tuple[dict[str, Any], str]:
    """The description and the page of a block, without its Verilog."""
    config = preset("tiny")
    component = AxiPorts(blocks.get(block)(config))
    top = f"kvloom_{block}"
    description = manifest.describe(component, config, "tiny", block, top, f"module {top}(clk, rst);")
    text = page.markdown(description, component, config, f"tiny_{block}")
    del component
    gc.collect()  # Amaranth warns of what was never used
    return description, text


def section(text: str, title: str) -> list[list[str]]:
    """Cells of the rows of a section's tables, heads left out."""
    body = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    rows = [row.split(" | ") for row in ROW.findall(body[1] if body else "")]
    return [[cell.strip() for cell in row] for row in rows if row[0] not in ("name", "port")]


@pytest.mark.parametrize("block", blocks.names())
def test_every_port_is_explained(block: str) -> None:
    """Each port of the manifest once, with its bits, in a row that says what it means."""
    description, text = described(block)
    rows = section(text, "Ports")
    found = [port for row in rows for port in re.findall(r"`(\w+)` (\d+)", row[2])]
    assert found == [(port["name"], str(port["width"])) for port in description["ports"]]
    assert all(len(row) == 4 and len(row[3]) > 5 for row in rows)


@pytest.mark.parametrize("block", blocks.names())
def test_every_field_has_a_row_and_macros(block: str) -> None:
    description, text = described(block)
    fields = [(port, field) for port in description["ports"] for field in port.get("fields", ())]
    rows = section(text, "Fields")
    assert [(row[0], row[2]) for row in rows] == [
        (f"`{port['name']}`", field["name"] or "all") for port, field in fields
    ]
    macros = places.macros(description)
    for (port, field), row in zip(fields, rows, strict=True):
        name = "_".join(filter(None, [description["top"], port["name"], *field["name"].split(".")])).upper()
        low, width = macros[f"{name}_LOW"], macros[f"{name}_WIDTH"]
        assert row[1].split(";")[0] == (f"{low + width - 1}:{low}" if width > 1 else str(low))
        for value, number in field.get("values", {}).items():
            assert f"{number} {value}" in row[3]
            assert macros[f"{name}_{value}"] == number


def test_no_two_macros_have_one_name() -> None:
    for block in ("attention", "mover", "unpacker", "vector"):
        text = places.c_header(described(block)[0])
        names = re.findall(r"^#define (\w+)", text, re.M)
        assert len(names) == len({*names}) > 20


@pytest.mark.parametrize(
    ("stream", "block", "layout", "values"),
    [
        ("formats", "kv_page_writer", page_record, {"form": {"coding": Coding.BITS3, "gamma": 77}, "top": 9}),
        ("formats", "kv_page_reader", page_format, {"axis": Axis.CHANNEL, "group": 2, "channels": 2}),
        ("pages", "attention", attention_page, {"last": -3, "first": 7, "form": {"side": 1}, "closes": 1}),
    ],
)  # fmt: skip
def test_macros_place_fields_as_the_layout_does(stream: str, block: str, layout: Any, values: dict) -> None:
    """A payload put together of macros is the constant that Amaranth makes."""
    macros = places.macros(described(block)[0])

    def bits(values: dict, prefix: str) -> int:
        total = 0
        for name, value in values.items():
            macro = f"{prefix}_{name}".upper()
            if isinstance(value, dict):
                total |= bits(value, macro)
            else:
                number = getattr(value, "value", value) & (1 << macros[f"{macro}_WIDTH"]) - 1
                total |= number << macros[f"{macro}_LOW"]
        return total

    wanted = layout(preset("tiny")).const(values)
    assert bits(values, f"kvloom_{block}_{stream}_tdata") == wanted.as_value().value


def test_nested_arrays_have_two_strides() -> None:
    macros = places.macros(described("tile")[0])
    place = "KVLOOM_TILE_CHUNKS_TDATA_CODES"
    value = chunk(preset("tiny")).const({"codes": [[0] * 4, [0, 0, 5, 0], [0] * 4, [0] * 4]}).as_value().value
    low = macros[f"{place}_LOW"] + macros[f"{place}_STRIDE0"] + 2 * macros[f"{place}_STRIDE1"]
    assert value == 5 << low
    assert (macros[f"{place}_COUNT0"], macros[f"{place}_COUNT1"]) == (4, 4)


def test_what_is_said_elsewhere_stands_here() -> None:
    """A port "as of" another class says what that one says, and payloads bring their descriptions."""
    text = described("kv_page_closer")[1]
    assert "| clamped | out | `clamped` 1 | one cycle for a beat with an infinity or a NaN. |" in text
    assert "`top` is the largest exponent field of any step and offset of its head and side so far" in text
    assert "A group has `16 << group` elements" in text
    assert "Pages: the quantised keys, or values, of P tokens" in text
    assert "| bits4 | 5127 |" in text
    assert "| 0x34 | ERROR_SHORT |" in described("accelerator")[1]
    assert "Without a clock" not in text


def test_compilers_take_the_macros(tmp_path: Path) -> None:
    """C without a warning; the page's testbench shows that Verilog does."""
    compiler = shutil.which("cc") or shutil.which("g++")
    assert compiler is not None
    (tmp_path / "ports.h").write_text(places.c_header(described("kv_page_writer")[0]))
    (tmp_path / "use.c").write_text(
        '#include "ports.h"\n#include "ports.h"\n'
        "int top[KVLOOM_KV_PAGE_WRITER_FORMATS_TDATA_TOP_LOW == 18 ? 1 : -1];\n"
    )
    command = [compiler, "-x", "c", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", "use.c"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
