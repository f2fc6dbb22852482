"""Explore a design space: ``python -m synth.sweep SPACE.toml``."""

import argparse
import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from golden import optional
from golden.command_line import Parser, count, positive, program
from synth import command, render
from synth.sweep import pareto
from synth.sweep.point import Measured, Task, measured, tools
from synth.sweep.space import Point, Space, load, short

__all__ = ["Outcome", "main", "run", "table"]

_DESCRIPTION = """\
Measure every configuration of a design space: area, throughput and error, and which of them no other one
beats. SPACE.toml names a preset, fields that are fixed, and lists of values for fields that vary.

Every result is kept in DIR/points under a hash of its configuration, target, tools and sources: a sweep that
was interrupted goes on where it stopped. Points run in parallel on this machine, or on the workers of a Dask
scheduler, which must have the same Liberty files and tools. Timing is by OpenSTA (Debian and Ubuntu: apt-get
install opensta); without it a library gives areas only, which are marked so.
"""
_EPILOG = """\
examples:
  python -m synth.sweep synth/space.toml
  python -m synth.sweep space.toml --target nangate45.lib --jobs 8 --out sweep/
  python -m synth.sweep space.toml --scheduler tcp://10.0.0.1:8786
"""
_REMARK = (
    "error: of the datapath; of weights: by quantising them, both relative RMS. best: no other point is as "
    "good in area, throughput and errors."
)


@dataclass(frozen=True)
class Outcome:
    """A point with its result, or with the reason why it has none."""

    point: Point
    result: dict[str, Any] | None
    problem: str = ""


def run(tasks: dict[str, Task], jobs: int, scheduler: str | None) -> Iterator[tuple[str, Any]]:
    """Measure tasks somewhere; yields (key, result or exception) as they end.

    Raises:
        golden.optional.MissingPart: a scheduler is asked for, and Dask is not installed.
        OSError: the scheduler cannot be reached.
    """
    return _on_cluster(tasks, scheduler) if scheduler else _here(tasks, jobs)


def _here(tasks: dict[str, Task], jobs: int) -> Iterator[tuple[str, Any]]:
    quiet = (signal.signal, (signal.SIGINT, signal.SIG_DFL))  # Ctrl-C ends a process without a traceback
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), *quiet)
    try:
        futures = {pool.submit(measured, task): key for key, task in tasks.items()}
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _on_cluster(tasks: dict[str, Task], scheduler: str) -> Iterator[tuple[str, Any]]:
    distributed = importlib.import_module(optional.DASK.need("--scheduler"))
    with distributed.Client(scheduler, timeout="10s") as client:
        futures = {client.submit(measured, task, pure=False): key for key, task in tasks.items()}
        for future in distributed.as_completed(futures):
            yield futures[future], future.exception() or future.result()


def explore(space: Space, out: Path, jobs: int, scheduler: str | None, console: Console) -> list[Outcome]:
    """Measure all points that have no result in ``out`` yet, keeping each as soon as it is there."""
    points = list(space.points())
    folder = out / "points"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    tasks = {}
    for point in points:
        if point.problem or point.config is None:
            continue
        key = point.key
        kept = _kept(folder / f"{key}.json")
        if kept is None:
            fields = point.config.model_dump(mode="json")
            how = (space.block, space.datatype, space.target, space.period, space.quick)
            tasks[key] = Task(fields, *how, tools())
        else:
            found[key] = kept
    if found:
        console.print(f"{len(found)} of {count(len(points), 'point')} found in {folder}")
    columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("points", total=len(found) + len(tasks), completed=len(found))
        for key, result in run(tasks, jobs, scheduler) if tasks else ():
            found[key] = result
            if not isinstance(result, BaseException):
                _keep(folder / f"{key}.json", result)
            progress.advance(bar)
    return [_outcome(point, found) for point in points]


def _outcome(point: Point, found: dict[str, Any]) -> Outcome:
    if point.problem:
        return Outcome(point, None, point.problem)
    result = found[point.key]
    if isinstance(result, BaseException):
        return Outcome(point, None, " ".join(str(result).split()) or type(result).__name__)
    return Outcome(point, result)


def _kept(path: Path) -> dict[str, Any] | None:
    """A result that an earlier run left; a damaged one is announced and counts as none."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        problem = " ".join(str(error).split())
    else:
        missing = Measured.__required_keys__ - (found.keys() if isinstance(found, dict) else set())
        if not missing:
            return found
        problem = f"{min(missing)} is missing"
    print(f"measured again, as its file is damaged: {path}: {problem}", file=sys.stderr)
    return None


def _keep(path: Path, result: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(command.as_json(result))
    part.replace(path)


def table(outcomes: list[Outcome]) -> tuple[tuple[str, ...], ...]:
    """Heads, then a row of text for each point that has a result; the first column is its number."""
    best = pareto.front([outcome.result for outcome in outcomes if outcome.result])
    fields = (field.replace("_", " ") for field in outcomes[0].point.values)
    unit = next((outcome.result["unit"] for outcome in outcomes if outcome.result), "")
    heads = ("", *fields, f"area ({unit})", "MAC / cycle", "area / MAC", "ns", "GMAC/s", "memory bits")
    rows: list[tuple[str, ...]] = [(*heads, "error", "of weights", "best")]
    for number, outcome in enumerate(outcomes, 1):
        result = outcome.result
        if result is None:
            continue
        period, rate = result["shortest_period"], result["gmacs_per_second"]
        rows.append(
            (
                str(number),
                *(short(value) for value in outcome.point.values.values()),
                f"{result['area']:,.0f}",
                f"{result['macs_per_cycle']:g}",
                f"{result['area_per_mac']:,.0f}",
                "unknown" if period is None else f"{period:.3f}{'' if result['met'] else ' (missed)'}",
                "unknown" if rate is None else f"{rate:,.1f}",
                f"{result['memory_bits']:,}",
                f"{100 * result['datapath_error']:.2g} %",
                f"{100 * result['weight_error']:.2g} %",
                "yes" if result in best else "",
            )
        )
    return tuple(rows)


def notes(outcomes: list[Outcome]) -> list[str]:
    """What was not timed and why, and what the figures were made with; one line each."""
    results = [outcome.result for outcome in outcomes if outcome.result]
    untimed = (render.areas_only(result["untimed"]) for result in results if result["untimed"])
    made = (render.made_with(result["tools"]) for result in results)
    return [f"* {note}" for note in dict.fromkeys((*untimed, *made))]


def _write(space: Space, outcomes: list[Outcome], folder: Path) -> None:
    """Write sweep.json, sweep.md and, with at least one result, sweep.png."""
    best = pareto.front([outcome.result for outcome in outcomes if outcome.result])
    content = {
        "space": space.model_dump(mode="json"),
        "points": [
            {
                "values": outcome.point.values,
                "problem": outcome.problem,
                "best": outcome.result in best,
                **(outcome.result or {}),
            }
            for outcome in outcomes
        ],
    }
    (folder / "sweep.json").write_text(command.as_json(content))
    title = space.title
    heads, *rows = table(outcomes)
    lines = [f"# {title}", "", *render.table(heads, rows), "", *notes(outcomes)]
    lines += [
        f"* not measured: {outcome.point.name}: {outcome.problem}" for outcome in outcomes if outcome.problem
    ]
    lines += ["", _REMARK]
    (folder / "sweep.md").write_text("\n".join([*lines, ""]))
    named = [
        (f"{number}  {outcome.point.name}", outcome.result)
        for number, outcome in enumerate(outcomes, 1)
        if outcome.result
    ]
    if named:
        pareto.draw(named, title, folder / "sweep.png")


def _shown(rows: tuple[tuple[str, ...], ...], title: str) -> Table:
    """The table for the terminal, without columns that tell no points apart."""
    found = Table(
        header_style="bold", title=title, title_justify="left", caption=_REMARK, box=box.SIMPLE_HEAD
    )
    columns = [column for column in zip(*rows, strict=True) if len(rows) <= 2 or len(set(column[1:])) > 1]
    for head, *_ in columns:
        found.add_column(head.replace(" ", "\n").replace("\n/", " /"), justify="right")
    for cells in zip(*(column[1:] for column in columns), strict=True):
        found.add_row(*cells, style="bold" if cells[-1] else None)
    return found


def parser() -> Parser:
    """The command line."""
    found = Parser(
        prog="python -m synth.sweep",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("space", type=Path, metavar="SPACE.toml", help="the design space")
    add("--target", type=command.target_name, metavar="TARGET", help="instead of the file's")
    add("--quick", action="store_true", help="one fast mapper for everything, whatever the file says")
    add("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes (all cores)")
    add("--scheduler", metavar="ADDRESS", help="address of a Dask scheduler whose workers measure")
    add("--out", type=command.folder, default=Path("sweep"), metavar="DIR", help="results (sweep)")
    return found


def _sweep(arguments: argparse.Namespace) -> None:
    changes: dict[str, Any] = {"target": arguments.target} if arguments.target else {}
    if arguments.quick:
        changes["quick"] = True
    space, console = load(arguments.space, **changes), Console()
    cluster = ("--scheduler", optional.DASK, arguments.scheduler)
    command.require([space.target], space.period, arguments.out, cluster)
    outcomes = explore(space, arguments.out, arguments.jobs, arguments.scheduler, console)
    console.print(_shown(table(outcomes), space.title))
    for note in notes(outcomes):
        console.print(note, markup=False)
    problems = [outcome for outcome in outcomes if outcome.problem]
    for outcome in problems:
        console.print(f"not measured: {outcome.point.name}: {outcome.problem}", markup=False)
    command.publish(arguments.out, lambda folder: _write(space, outcomes, folder))
    console.print(f"written to {arguments.out}: sweep.json, sweep.md and a picture")
    if len(problems) == len(outcomes):
        raise ValueError(f"no point could be measured: {problems[0].problem}")


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command.run(parser(), _sweep, argv)


if __name__ == "__main__":
    raise SystemExit(main())
