"""Figures of the pages are those of the files that commands wrote; a number that nothing backs is found."""

import functools
import importlib.util
import json
import math
import re
import statistics
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from synth.model import plots

REPOSITORY = Path(__file__).resolve().parents[2]
FIGURES = REPOSITORY / "docs/figures"
INDEX = tomllib.loads((FIGURES / "index.toml").read_text())
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\d)")
CHANCE = {
    **{name: f"{name}_random" for name in ("mikv", "mikv4", "mikv4_paged", "zipvl", "zipcache")},
    **dict.fromkeys(("h2o", "snapkv", "kvcrush", "kvcrush_snapkv", "kvcrush_refresh"), "evict_random"),
    **dict.fromkeys(("h2o_block", "kvcrush_block"), "evict_block_random"),
    **{
        f"vidkv{name}_protect{share}": f"vidkv{name}_protect{share}_random"
        for name in ("", "_kept", "_published")
        for share in (20, 40)
    },
}
"""What draws as many tokens at random."""
KINDS = {"static timing", "gate level", "place and route", "simulation", "model"}
AREAS = "| Nangate45, 1 ns | multiplies |"
SPEEDS = "| tokens/s at a context of | 256 | 8K | 32K | 128K |"
EDGES = "| tokens/s | `native8_paged` |"
SYSTEMS = re.compile(r"\| \[([\w.-]+\.json)\]\(\S+\) \| bits/element \| dNLL \|")
KEYS = "| what | figure | aim | kind |"
DESIGNS = {
    "FP16": "FP16 W16 KV16",
    "ANT, OliVe (16-bit cache)": "ANT W4 KV16",
    "BitMoD (8-bit cache)": "BitMoD W3 KV8",
}

pytestmark = pytest.mark.quick


@functools.cache
def written(name: str) -> Any:
    return json.loads((FIGURES / name).read_text())


def entry(name: str, path: list[str]) -> float:
    """What a path leads to; elements of lists are found by their name, label or place."""
    found = written(name)
    for step in path:
        if isinstance(found, list):
            named = [
                one for one in found if isinstance(one, dict) and step in (one.get("label"), one.get("name"))
            ]
            found = named[0] if named else found[int(step)]
        else:
            found = found[step]
    return float(found)


def is_shown(text: str, value: float) -> bool:
    """Whether a number's text is a value, rounded to as many places."""
    places = len(text.partition(".")[2])
    return f"{value:,.{places}f}" == text or f"{value:.{places}f}" == text


def table(page: str, header: str) -> list[list[str]]:
    """Cells of the rows below the line that begins like ``header``."""
    lines = (REPOSITORY / page).read_text().split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith(header)) + 2
    rows = lines[first : next(number for number in range(first, len(lines)) if not lines[number])]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def unbacked(cell: str, texts: list[str]) -> list[str]:
    """Numbers of a cell that none of the texts has."""
    for text in sorted(texts, key=len, reverse=True):
        cell = cell.replace(text, " ")
    return NUMBER.findall(cell)


def backing(page: str) -> Iterator[str]:
    """All texts with figures of a page that the index knows."""
    yield from (one["text"] for one in INDEX["figure"] if one["page"] == page)
    for one in INDEX["recorded"]:
        if one["page"] == page:
            yield from one["texts"]


@pytest.mark.parametrize("one", INDEX["figure"], ids=lambda one: f"{one['page']}: {one['text']}")
def test_a_figure_is_that_of_its_file(one: dict[str, Any]) -> None:
    value = entry(one["file"], one["at"])
    if "over" in one:
        value /= entry(one["file"], one["over"])
    (number,) = NUMBER.findall(one["text"])
    assert is_shown(number, value), value
    assert one["text"] in (REPOSITORY / one["page"]).read_text()


@pytest.mark.parametrize("one", INDEX["recorded"], ids=lambda one: one["command"])
def test_a_recorded_figure_names_its_command(one: dict[str, Any]) -> None:
    assert all(text in (REPOSITORY / one["page"]).read_text() for text in one["texts"])
    assert one["command"].startswith(("python -m ", "pytest "))


def test_every_key_figure_is_backed() -> None:
    rows = table("README.md", KEYS)
    assert len(rows) >= 10
    for _, figure, _, kind in rows:
        assert NUMBER.search(figure)
        assert not unbacked(figure, list(backing("README.md")))
        assert kind in KINDS


def test_every_figure_of_the_core_is_backed() -> None:
    rows = table("docs/core.md", "| | figure | kind |")
    assert len(rows) >= 10
    for _, figure, _ in rows:
        assert not unbacked(figure, list(backing("docs/core.md")))


def test_a_figure_without_a_file_is_found() -> None:
    assert unbacked("475 um2, 3.29 times", ["475 um2", "3.28 times"]) == ["3.29"]
    assert unbacked("1,355 um2 and 77 MHz", ["1,355 um2"]) == ["77"]
    assert not is_shown("474", 474.6)
    assert is_shown("1,355", 1355.047)


def test_the_table_of_baselines() -> None:
    """Areas, clocks and energies of all designs, and their ratios to the tile."""
    rows = table("docs/cost.md", AREAS)
    designs = {one["name"]: one for one in written("comparison-nangate45.json")[0]["designs"]}
    assert [re.findall(r"`(\w+)`", row[0])[0] for row in rows] == list(designs)
    for row, one in zip(rows, designs.values(), strict=True):
        energy = one["energy"]["per_mac"]
        values = [one["area"], one["timing"]["min_period"], one["area"] / one["area_per_mac"]]
        values += [one["area_per_mac"], one["area_to_the_first"], energy, one["energy_to_the_first"]]
        for cell, value in zip(row[2:], values, strict=True):
            assert is_shown(cell, value) or (cell == "" and math.isclose(value, 1)), (row[0], cell, value)


def test_the_table_of_equal_area() -> None:
    """Tokens a second of all designs by context."""
    for name, *cells in table("docs/performance.md", SPEEDS):
        label = DESIGNS.get(name) or "kvloom bitmod3 " + name.split("`")[1]
        for cell, context in zip(cells, (256, 8192, 32768, 131072), strict=True):
            value = entry("model-llama-2-7b.json", ["designs", label, "contexts", str(context)])
            assert is_shown(cell, value), (name, context, value)


def test_the_table_of_one_tile() -> None:
    """Tokens a second of one tile of `edge` at 32K by weights and columns, output layer in `bitmod4`."""
    rows = table("docs/performance.md", EDGES)
    shown = [row for row in rows if "tiles" not in row[0]]
    assert [row[0] for row in shown] == [
        f"weights in `{weights}`{columns}"
        for columns in ("", ", four columns")
        for weights in ("bitmod4", "bitmod3")
    ]
    header = (REPOSITORY / "docs/performance.md").read_text().split(EDGES)[1].split("\n")[0]
    schemes = ["native8_paged", *re.findall(r"`(\w+)`", header)]
    for name, *cells in shown:
        of, file = (" of 4 columns", "-4-columns") if "four" in name else ("", "")
        for scheme, cell in zip(schemes, cells, strict=True):
            label = f"1 edge{of} {name.split('`')[1]} {scheme}"
            path = ["designs", label, "decode", "tokens_per_second"]
            value = entry(f"model-llama-3-8b-32k{file}.json", path)
            assert is_shown(cell.split(" ")[0], value), (name, scheme, value)


def rows_of_systems() -> list[tuple[str, str, list[str]]]:
    """Page, file and cells of every row of the tables of cache systems."""
    found = []
    for page in sorted((REPOSITORY / "docs/systems").glob("*.md")):
        name = None
        for line in page.read_text().split("\n"):
            header = SYSTEMS.match(line)
            name = header[1] if header else name if line.startswith("|") else None
            if name and not header and not line.startswith("|---"):
                found.append((page.name, name, [cell.strip() for cell in line.strip("|").split("|")]))
    return found


def difference(own: dict[str, Any], base: dict[str, Any]) -> tuple[float, float]:
    """Mean difference of the loss over all tokens, and its standard error over windows."""
    pairs = list(zip(own["windows"], base["windows"], strict=True))
    assert all(one[0] == other[0] for one, other in pairs)
    counts, found = [one[0] for one, _ in pairs], [one[1] - other[1] for one, other in pairs]
    mean = statistics.fmean(found, counts)
    squares = [(count * (value - mean)) ** 2 for count, value in zip(counts, found, strict=True)]
    return mean, math.sqrt(sum(squares) * len(found) / (len(found) - 1)) / sum(counts)


@pytest.mark.parametrize(("page", "name", "cells"), rows_of_systems(), ids=str)
def test_a_row_of_cache_systems(page: str, name: str, cells: list[str]) -> None:
    """Bits, what a scheme loses, and what it loses less than as many tokens drawn at random.

    Of frames also the perplexity, and the relative squared errors of keys and values.
    """
    schemes = {row["setting"]["kv"]: row for row in written(name)["results"]}
    scheme = cells[0].strip("`*")
    own = schemes[scheme]
    assert is_shown(cells[1], own["kv_bits"])
    wanted = [(cells[2], difference(own, schemes["none"]))]
    if len(cells) > 3 and cells[3]:
        wanted.append((cells[3], difference(schemes[CHANCE[scheme]], own)))
    for cell, values in wanted:
        for text, value in zip(cell.strip("*").split(" +- "), values, strict=True):
            assert is_shown(text.lstrip("+"), value), (cell, values)
    if len(cells) > 4:
        windows = own["windows"]
        loss = statistics.fmean([mean for _, mean, _ in windows], [count for count, *_ in windows])
        for cell, value in zip(cells[4:], (math.exp(loss), *own["frame_errors"]), strict=True):
            assert is_shown(cell, value), (cell, value)


def test_all_systems_are_measured() -> None:
    pages = [page for page, *_ in rows_of_systems()]
    assert {"kvcrush.md", "mikv.md", "vidkv.md", "zipvl.md"} <= {*pages}


def test_the_ladder_of_tokens_a_second() -> None:
    """Each rung is that of a design of equal area, its gain the ratio to the rung below."""
    labels = [DESIGNS["FP16"], DESIGNS["ANT, OliVe (16-bit cache)"], DESIGNS["BitMoD (8-bit cache)"]]
    caches = ("native8_paged", "native4_paged", "native3_paged", "native2_paged", "ternary_folded")
    labels += [f"kvloom bitmod3 {name}" for name in caches]
    rates = [entry("model-llama-2-7b.json", ["designs", label, "contexts", "32768"]) for label in labels]
    rows = table("docs/ladder.md", "| step | tokens/s | gain |")
    for (_, shown, gain), rate, before in zip(rows, rates, [0, *rates], strict=False):
        assert is_shown(shown, rate)
        assert is_shown(gain, rate / before) if before else not gain
    assert len(rows) == len(rates)


def test_every_file_has_its_command() -> None:
    """And no file names a place of the machine that wrote it."""
    files = {path.name for path in FIGURES.glob("*.json")}
    assert files == set(INDEX["commands"])
    assert all("/tmp" not in (FIGURES / name).read_text() for name in files)


def program(path: str) -> Any:
    """A program of the documentation, which is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / "docs" / path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_cycles_are_written_as_they_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    program("figures/write_cycles.py").main()
    assert json.loads(capsys.readouterr().out) == written("cycles.json")


def test_the_published_tables_of_kvtuner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page has what the program prints, which says as much of the table in the form of a preset."""
    own = program("figures/write_kvtuner.py")
    preset = tmp_path / "llama.yaml"
    lines = enumerate(own.table(own.TABLES["C3.25"]).tolist())
    preset.write_text("".join(f"{layer}:\n  nbits_key: {k}\n  nbits_value: {v}\n" for layer, (k, v) in lines))
    own.main([str(preset)])
    *printed, loaded = json.loads(capsys.readouterr().out)
    assert printed == written("kvtuner.json")
    assert loaded | {"name": "C3.25"} == {name: printed[-1][name] for name in loaded}
    assert (printed[-1]["bits"], printed[-1]["stored_bits"]) == (3.25, 4.25)
    assert math.isclose(printed[-1]["speed_published"][0], 1.2125, abs_tol=5e-4)  # the paper's +21.25 %

    rows = table("docs/systems/kvtuner.md", "| [kvtuner.json]")
    for row, one in zip(rows, printed, strict=True):
        name, bits, stored, smaller, published, by_bytes = (cell.replace("*", "") for cell in row)
        cells = [bits, stored, smaller, *published.split(", "), by_bytes]
        values = [one["bits"], one["stored_bits"], one["smaller_than_float16"], *one["speed_published"]]
        assert name == one["name"]
        for cell, value in zip(cells, [*values, one["speed_of_bytes"]], strict=True):
            assert is_shown(cell, value), (name, cell, value)
    page = (REPOSITORY / "docs/systems/kvtuner.md").read_text()
    assert f"with {printed[-1]['tokens_for_that_speed']:,} tokens" in page
    assert f"{printed[-1]['smaller_than_k8v8']:.2f} times smaller than\n  K8V8" in page


@pytest.mark.parametrize(
    "name",
    [
        "systems-smollm2.json",
        "systems-stories260k.json",
        "systems-whisper.json",
        "evictions-stories260k.json",
    ],
)
def test_pictures_of_systems_name_every_scheme(name: str, tmp_path: Path) -> None:
    """Once, beside nothing else; and the page shows a picture of that name."""
    text = pytest.importorskip("matplotlib.text", reason="pip install '.[synth]'")
    names, boxes = {row["setting"]["kv"] for row in written(name)["results"]} - {"none"}, {}
    draw_text = text.Text.draw

    def noted(self: Any, renderer: object) -> None:
        draw_text(self, renderer)
        name = self.get_text().split(" (")[0]  # what lies beyond the picture has its perplexity behind it
        if name in names:
            boxes[name] = text.Text.get_window_extent(self)

    with patch.object(text.Annotation, "draw", noted):
        picture = program("images/draw_systems.py").draw(FIGURES / name, tmp_path)
    assert boxes.keys() == names
    for one, other in combinations(boxes.values(), 2):
        assert not one.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8))
    assert picture.read_bytes()[1:4] == b"PNG"
    assert f"(../images/{picture.name})" in (REPOSITORY / "docs/systems/index.md").read_text()
    assert (REPOSITORY / "docs/images" / picture.name).exists()


@pytest.mark.parametrize("name", ["model-llama-2-7b.json", "model-llama-3-8b-32k.json"])
def test_lines_of_the_pictures_are_told_apart(name: str) -> None:
    """No two designs have one colour and one line, or one name beside it."""
    found = written(name)
    styles = plots._styles(found)
    assert len(set(styles.values())) == len(styles) == len(found["designs"])
    names = {plots._line_name(label, line, plots._shared(found)) for label, (_, line) in styles.items()}
    assert len(names) == len(styles)


@pytest.mark.parametrize("name", ["model-llama-2-7b.json", "model-llama-3-8b-32k.json"])
def test_pictures_name_every_design(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself or as one of several at the same place; names leave room for the picture."""
    pytest.importorskip("matplotlib", reason="pip install '.[synth]'")
    found, shown = written(name), []
    monkeypatch.setattr(plots, "_labels", lambda axes, ends, side=1.015: shown.append(ends))
    plots._areas(found, tmp_path / "areas.png")
    plots._contexts(found, tmp_path / "contexts.png")
    *columns, lines = shown
    for ends in ([end for column in columns for end in column], lines):
        names = [label for _, label, _ in ends]
        counted = sum(1 + label.count(" and ") for label in names)
        counted += sum(int(more) - 1 for more in re.findall(r" and (\d+) more", " ".join(names)))
        assert counted == len(found["designs"])
        assert max(map(len, names)) < 65
    rates = {one["decode"]["tokens_per_second"] for one in found["designs"]}
    assert {rate for ends in columns for rate, *_ in ends} <= rates


def test_regions_of_the_roofline(tmp_path: Path) -> None:
    """Memory bounds all up to the smallest knee, multipliers bound all from the largest one on."""
    pytest.importorskip("matplotlib", reason="pip install '.[synth]'")
    _, axes = plots._axes("title", "subtitle", (4, 3))
    plots._regions(axes, (0.5, 1000.0), [4.0, 144.0, 24.0])
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert spans == [(0.5, 4.0), (4.0, 144.0), (144.0, 1000.0)]
    assert [text.get_text() for text in axes.texts] == [
        "memory bounds all",
        "memory or multipliers",
        "multipliers bound all",
    ]
