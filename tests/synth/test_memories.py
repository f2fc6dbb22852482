"""Memories in areas: by the bit, by macros of a library, and in reports and comparisons."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory as Storage
from amaranth.lib.wiring import In, Out

from synth import asic, memories, render, report
from synth.area import AreaReport, Component
from synth.compare import overview
from synth.compare.results import Comparison, Measured, markdown
from synth.measure import measure
from synth.memories import Macro, Macros, MacrosError, Memory

pytestmark = pytest.mark.quick


def liberty(name: str, address: int, width: int, area: float) -> str:
    return f"""library({name}) {{
  type (bus) {{ bit_width : {width}; }}
  cell({name}) {{
    area : {area};
    memory() {{ type : ram; address_width : {address}; word_width : {width}; }}
    pin(clk) {{ direction : input; }}
  }}
}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two macros, one of them compressed, and a file that is no library."""
    (tmp_path / "small.lib").write_text(liberty("small", 4, 8, 100.0))
    (tmp_path / "large.lib.gz").write_bytes(gzip.compress(liberty("large", 8, 32, 900.0).encode()))
    (tmp_path / "notes.txt").write_text("cell(none) { area : 1; }")
    return tmp_path


def test_a_number_is_the_area_of_a_bit() -> None:
    found = memories.parse("0.5")
    assert found.area([Memory(64, 32), Memory(10, 3, instances=2)]) == 0.5 * (64 * 32 + 2 * 10 * 3)


def test_macros_of_a_folder_and_of_files(folder: Path) -> None:
    small, large = Macro("small", 16, 8, 100.0), Macro("large", 256, 32, 900.0)
    assert set(memories.parse(str(folder)).macros) == {small, large}
    assert memories.parse(f"{folder / 'small.lib'}, {folder / 'large.lib.gz'}").macros == (small, large)


@pytest.mark.parametrize(
    ("memory", "area"),
    [
        (Memory(16, 8), 100.0),
        (Memory(17, 8), 200.0),
        (Memory(16, 9, instances=3), 600.0),
        (Memory(33, 24), 900.0),  # one large macro instead of three by three
        (Memory(257, 33), 4 * 900.0),
    ],
)
def test_memories_are_put_together_from_the_macros_that_make_them_smallest(
    memory: Memory, area: float
) -> None:
    macros = Macros("two", macros=(Macro("small", 16, 8, 100.0), Macro("large", 256, 32, 900.0)))
    assert macros.area([memory]) == area


@pytest.mark.parametrize("text", ["0", "-1", "1001", "nan", "no/such.lib"])
def test_what_is_no_macro_is_refused(text: str) -> None:
    with pytest.raises(
        MacrosError, match=rf"^'{text}' must be the area of a bit, above 0 and at most 1000, or"
    ):
        memories.parse(text)


def test_libraries_without_memories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.lib").write_text("library(cells) { cell(INV) { area : 1; } }")
    with pytest.raises(MacrosError, match=r"no memory macro found$"):
        memories.parse(str(tmp_path))


def test_wrong_macros_are_one_line(refusal) -> None:
    _, error = refusal(report.main, ["--preset", "tiny", "--memories", "0"])
    assert "--memories: '0' must be the area of a bit" in error


class Bank(wiring.Component):
    """A memory and one so small that it becomes registers."""

    address: In(6)
    x: In(32)
    y: Out(32)

    def elaborate(self, platform):
        m = Module()
        data = []
        for name, depth in (("large", 64), ("small", 4)):
            m.submodules[name] = storage = Storage(shape=32, depth=depth, init=[])
            write, read = storage.write_port(), storage.read_port()
            m.d.comb += [write.addr.eq(self.address), write.data.eq(self.x), write.en.eq(1)]
            m.d.comb += read.addr.eq(self.address)
            data.append(read.data)
        m.d.comb += self.y.eq(data[0] ^ data[1])
        return m


class Two(wiring.Component):
    """Two banks, one after the other."""

    address: In(6)
    x: In(32)
    y: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Bank()
        m.submodules.second = second = Bank()
        m.d.comb += [first.address.eq(self.address), second.address.eq(self.address)]
        m.d.comb += [first.x.eq(self.x), second.x.eq(first.y), self.y.eq(second.y)]
        return m


def test_memories_of_a_design_are_found() -> None:
    found = measure(Two(), "two", recipes=(asic.Recipe(mapper="nf"),))
    assert sum(memory.bits for memory in found.memories) == found.memory_bits == 2 * 64 * 32
    assert found.memories == (Memory(64, 32, instances=2),)
    result = render.Result(found, {"int4": 2.0}, macros=Macros("half", bit=0.5))
    assert result.memory_area == 64 * 32
    assert result.whole_area == found.area + 64 * 32
    shown = dict(render.summary(result))
    assert shown["memories as macros"] == "2,048 GE (half)"
    (row,) = render.cost_rows(result)
    assert row[-1] == f"{render.number((found.area + 2048) / 2)} GE"
    assert render.to_dict(result)["memory_area"] == 2048


def measured(label: str, area: float, words: int, macros: Macros | None) -> Measured:
    memory = (Memory(words, 10),) if words else ()
    bits = sum(one.bits for one in memory)
    part = Component(label, (label,), 1, area, area, bits, 1, 1, memories=memory)
    whole = AreaReport(label, "cells", "um2", 1.0, "flat", area, bits, 1, 1, None, (part,))
    return Measured(label, label, "", render.Result(whole, {"int4": 1.0}, macros=macros))


def comparison(macros: Macros | None) -> Comparison:
    ours, theirs = measured("tile", 100.0, 20, macros), measured("dot", 400.0, 0, macros)
    return Comparison("cells", "int4", (ours,), (theirs,))


def test_a_comparison_has_both_ratios() -> None:
    given = comparison(Macros("half", bit=0.5))
    (dot,) = given.baselines
    assert (given.ratio(dot), given.ratio(dot, True)) == (4.0, 2.0)
    place = given.heads.index("um2 with memories")
    assert [row[place : place + 2] for row in given.rows()] == [("200", "1.00"), ("400", "2.00")]
    assert "with it, at half, 2.00 times less area than dot" in given.verdict()
    assert given.to_dict()["designs"][0]["area_per_mac_with_memories"] == 200.0
    assert "um2 with memories" in markdown([given], [[]])


def test_comparisons_side_by_side_have_both_areas() -> None:
    given = comparison(Macros("half", bit=0.5))
    (_, _, areas), (title, _, whole) = overview.tables([given, replace(given, target="other")])
    assert areas[1] == ("dot", "400 (4.00)", "400 (4.00)")
    assert title.startswith("um2 per MAC/cycle with memories (half), int4, with the ratio to tile")
    assert whole == [("tile", "200", "200"), ("dot", "400 (2.00)", "400 (2.00)")]


def test_without_macros_memories_are_only_named() -> None:
    given = comparison(None)
    assert "um2 with memories" not in given.heads
    assert all(len(row) == len(given.heads) for row in given.rows())
    assert given.verdict().endswith("(memory left whole is not in the areas)")
    assert given.to_dict()["designs"][0]["area_per_mac_with_memories"] is None


def test_designs_without_memories_have_no_further_columns() -> None:
    given = comparison(Macros("half", bit=0.5))
    only = replace(given, ours=(measured("tile", 100.0, 0, Macros("half", bit=0.5)),))
    assert "um2 with memories" not in only.heads
