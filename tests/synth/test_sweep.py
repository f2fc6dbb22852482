"""Design spaces: what is refused, what is kept, which points are best, and where they run."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golden import optional
from golden.numbers import datatypes
from hw.config import Config
from synth import command, render, targets
from synth.measure import measure
from synth.sweep import __main__ as sweep
from synth.sweep import pareto, point, space

SPACE = """
preset = "tiny"
block = "array"
datatype = "int4"
quick = true
[fixed]
types = ["int4"]
[vary]
lanes = [4, 8]
activation_bits = [8]
"""

RESULT = {
    "area": 100.0, "unit": "GE", "memory_bits": 0, "macs_per_cycle": 16.0, "shortest_period": None,
    "met": True, "gmacs_per_second": None, "area_per_mac": 6.25, "datapath_error": 0.01,
    "weight_error": 0.1, "untimed": "", "tools": {"Yosys": "1.0 (pyosys)"}, "seconds": 1.0,
}  # fmt: skip


def written(folder: Path, text: str = SPACE) -> str:
    path = folder / "space.toml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[point.Task]:
    """Tasks that a sweep runs, each with a result made up from its configuration."""
    tasks: list[point.Task] = []

    def run(given: dict[str, point.Task], jobs: int, scheduler: str | None):
        for key, task in given.items():
            tasks.append(task)
            yield key, {**RESULT, "area": 10.0 * task.config["lanes"]}

    monkeypatch.setattr(sweep, "run", run)
    return tasks


def test_a_small_space(tmp_path: Path) -> None:
    """Two processes; the areas are those that a measurement by itself gives."""
    assert sweep.main([written(tmp_path), "--jobs", "2", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())["points"]
    assert [one["values"]["lanes"] for one in found] == [4, 8]
    (first, *_) = space.load(tmp_path / "space.toml").points()
    assert first.config is not None
    alone = measure(
        command.build("array", first.config), "array", recipes=command.ways("generic", True, False)
    )
    assert found[0]["area"] == alone.area
    assert found[0]["macs_per_cycle"] == 16
    assert found[1]["area"] > found[0]["area"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "points", "sweep.json", "sweep.md", "sweep.png",
    }  # fmt: skip


def test_a_cluster(tmp_path: Path) -> None:
    """The same on the worker of a Dask scheduler."""
    if not optional.DASK.found():
        pytest.skip(optional.DASK.missing("a cluster"))
    from distributed import LocalCluster

    text = SPACE.replace("lanes = [4, 8]", "lanes = [4]")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        arguments = [written(tmp_path, text), "--out", str(tmp_path / "out")]
        assert sweep.main([*arguments, "--scheduler", cluster.scheduler_address]) == 0
    (found,) = json.loads((tmp_path / "out" / "sweep.json").read_text())["points"]
    assert found["problem"] == ""
    assert found["area"] > 0


@pytest.mark.quick
def test_nothing_is_measured_twice(tmp_path: Path, counted: list[point.Task], capsys: Any) -> None:
    arguments = [written(tmp_path), "--out", str(tmp_path / "out")]
    assert sweep.main(arguments) == 0
    assert len(counted) == 2
    kept = sorted((tmp_path / "out" / "points").glob("*.json"))
    assert len(kept) == 2
    written(tmp_path, SPACE.replace("[8]", "[8, 9]"))
    assert sweep.main(arguments) == 0
    assert len(counted) == 4
    assert "2 of 4 points found in" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "Expecting property name"), ("[]", "area is missing"), ('{"area": 1}', "area_per_mac is missing")],
)
def test_damaged_results(
    tmp_path: Path, counted: list[point.Task], capsys: Any, text: str, problem: str
) -> None:
    """One line names the file, as an interrupted copy leaves it, and its point is measured again."""
    arguments = [written(tmp_path), "--out", str(tmp_path / "out")]
    assert sweep.main(arguments) == 0
    kept = min((tmp_path / "out" / "points").glob("*.json"))
    kept.write_text(text)
    capsys.readouterr()
    assert sweep.main(arguments) == 0
    assert len(counted) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"measured again, as its file is damaged: {kept}: {problem}")
    assert error.count("\n") == 1
    assert sweep.main(arguments) == 0
    assert len(counted) == 3


@pytest.mark.quick
def test_what_a_result_depends_on(tmp_path: Path, tiny: str) -> None:
    """On everything that is measured and how; of a library on what is in it."""
    other = tmp_path / Path(tiny).name
    other.write_text(Path(tiny).read_text() + "\n")
    both = SPACE.replace('["int4"]', '["int4", "int8"]')
    texts = [
        SPACE,
        SPACE.replace("quick = true", ""),
        SPACE.replace('"array"', '"tile"'),
        "period = 2\n" + SPACE,
        both,
        both.replace('datatype = "int4"', 'datatype = "int8"'),
        *(f'target = "{library}"\n{SPACE}' for library in (tiny, other)),
    ]
    keys = set()
    for text in texts:
        written(tmp_path, text)
        keys |= {one.key for one in space.load(tmp_path / "space.toml").points()}
    assert len(keys) == 2 * len(texts)
    assert {"command.py", "measure.py", "point.py", "yosys.py"} < {path.name for path in space._flow()}


@pytest.mark.quick
def test_impossible_points_are_named(tmp_path: Path, counted: list[point.Task], capsys: Any) -> None:
    path = written(tmp_path, SPACE.replace("lanes = [4, 8]", "lanes = [4, 5, 16]"))
    assert sweep.main([path, "--out", str(tmp_path / "out")]) == 0
    assert len(counted) == 2
    text = (tmp_path / "out" / "sweep.md").read_text()
    assert "not measured: lanes 5, activation_bits 8: lanes = 5: Input should be 4, 8 or 16" in text
    assert "not measured: lanes 5" in capsys.readouterr().out


@pytest.mark.quick
def test_failures_do_not_stop_the_others(tmp_path: Path, monkeypatch: Any, refusal: Callable) -> None:
    def run(given: dict[str, point.Task], jobs: int, scheduler: str | None):
        for number, key in enumerate(given):
            yield key, RuntimeError("no luck") if number < failing else RESULT

    monkeypatch.setattr(sweep, "run", run)
    arguments = [written(tmp_path), "--out", str(tmp_path / "out")]
    failing = 1
    assert sweep.main(arguments) == 0
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())["points"]
    assert [one["problem"] for one in found] == ["no luck", ""]
    failing = 2
    for path in (tmp_path / "out" / "points").iterdir():
        path.unlink()
    _, message = refusal(sweep.main, arguments)
    assert "no point could be measured: no luck" in message


@pytest.mark.quick
@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("lanes = [4, 8]", "lane = [4]", "field 'lane' must be one of rows, columns"),
        ("lanes = [4, 8]", '"kv.lane" = [4]', "field 'kv.lane' must be one of lanes, channels"),
        ("lanes = [4, 8]", "lanes = []", "vary.lanes must have at least one value"),
        ("lanes = [4, 8]", 'types = [["int4"]]', "field 'types' must be fixed or vary, not both"),
        ('block = "array"', 'block = "aligner"', "block 'aligner' must be a block that holds the array"),
        ('datatype = "int4"', 'datatype = "int99"', "int99"),
        ("quick = true", "period = 0", "period 0"),
        ("quick = true", 'target = "ecp5"', "FPGA areas do not add up"),
        ("quick = true", "fast = true", "fast = True"),
        ("[vary]", "vary", "is not readable TOML"),
        ('preset = "tiny"', 'preset = "huge"', "preset 'huge' must be one of tiny, edge, paper"),
    ],
)
def test_refusals(old: str, new: str, part: str, tmp_path: Path, refusal: Callable) -> None:
    assert old in SPACE
    _, message = refusal(
        sweep.main, [written(tmp_path, SPACE.replace(old, new)), "--out", str(tmp_path / "out")]
    )
    assert part in message
    assert not (tmp_path / "out").exists()


@pytest.mark.quick
def test_points_without_timing_are_labelled(
    tmp_path: Path, tiny: str, hide: Callable, monkeypatch: Any, capsys: Any
) -> None:
    hide(optional.OPENSTA)
    monkeypatch.setattr(sweep, "run", lambda tasks, *_: [(key, point.measured(tasks[key])) for key in tasks])
    text = SPACE.replace("lanes = [4, 8]", "lanes = [4]")
    arguments = [written(tmp_path, text), "--target", tiny, "--out", str(tmp_path / "out")]
    assert sweep.main(arguments) == 0
    (found,) = json.loads((tmp_path / "out" / "sweep.json").read_text())["points"]
    assert found["untimed"] == targets.NO_OPENSTA
    assert found["shortest_period"] is found["gmacs_per_second"] is None
    assert set(found["tools"]) == {"Yosys"}
    shown = " ".join(capsys.readouterr().out.split())
    for output in (shown, (tmp_path / "out" / "sweep.md").read_text()):
        assert f"* {render.areas_only(targets.NO_OPENSTA)}" in output
        assert "* made with Yosys" in output


@pytest.mark.quick
def test_workers_with_other_tools_are_refused(tmp_path: Path) -> None:
    (first, *_) = space.load(Path(written(tmp_path))).points()
    assert first.config is not None
    task = point.Task(first.config.model_dump(mode="json"), "array", "int4", "generic", None, True, {})
    with pytest.raises(ValueError, match=r"tools of the worker .*pyosys.* must be those of the sweep"):
        point.measured(task)


@pytest.mark.quick
def test_results_of_other_tools_are_not_taken(tmp_path: Path, hide: Callable) -> None:
    def keys() -> set[str]:
        return {one.key for one in space.load(tmp_path / "space.toml").points()}

    written(tmp_path)
    hide()
    timed = keys()
    hide(optional.OPENSTA)
    assert not timed & keys()


@pytest.mark.quick
def test_results_of_other_sources_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte more in one file of the flow, of the circuits or of the golden model."""
    monkeypatch.setattr(space, "_sources", space._sources.__wrapped__)  # without its cache
    written(tmp_path)
    read = Path.read_bytes

    def keys(changed: str) -> set[str]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == changed))
            return {one.key for one in space.load(tmp_path / "space.toml").points()}

    files = ("", "measure.py", "processing_element.py", "floats.py")
    assert len(set().union(*map(keys, files))) == 2 * len(files)


@pytest.mark.quick
def test_the_best_points() -> None:
    def result(area: float, rate: float, error: float) -> dict[str, Any]:
        return {**RESULT, "area": area, "macs_per_cycle": rate, "datapath_error": error}

    good = [result(1, 1, 0.1), result(2, 2, 0.1), result(2, 1, 0.01), result(2, 1, 0.01)]
    beaten = [result(2, 1, 0.1), result(3, 2, 0.1), result(2.5, 1, 0.01)]
    assert pareto.front([*beaten, *good]) == good


@pytest.mark.quick
def test_errors_follow_the_width_and_the_type() -> None:
    datapath = [point.errors(Config(activation_bits=width), "bitmod4")[0] for width in (8, 10, 12, 14)]
    assert all(a > 3 * b for a, b in itertools.pairwise(datapath))
    weights = {name: point.errors(Config(), name)[1] for name in ("bitmod3", "bitmod4", "int8")}
    assert weights["bitmod4"] ** 2 == pytest.approx(9.58e-3, rel=0.03)  # published for Gaussian weights
    assert weights["bitmod3"] ** 2 == pytest.approx(3.80e-2, rel=0.03)
    assert weights["int8"] < weights["bitmod4"]


@pytest.mark.quick
def test_the_example_is_legal() -> None:
    example = Path(space.__file__).parents[1] / "space.toml"
    points = list(space.load(example).points())
    assert 4 <= len(points) <= 8
    assert not [one.problem for one in points if one.problem]
    assert len({one.key for one in points}) == len(points)
    assert datatypes.get("bitmod4").name == space.load(example).datatype
