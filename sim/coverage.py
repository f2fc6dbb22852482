"""Functional coverage: which combinations of situations the benches reached, merged over all runs.

A bench declares a plan, the cross product of named axes, and hits bins as it meets them. Each run writes
its own file; the report merges them and names the bins that nobody reached::

    coverage = Coverage("skid_buffer", {"situation": SITUATIONS, "stalled": (False, True)})
    coverage.hit(situation="free_running", stalled=False)

``python -m sim.coverage`` prints the merged table and exits with 1 when a bin is empty.
"""

import atexit
import itertools
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from golden.command_line import Parser, program
from sim import context
from sim.toolchain import results_directory

__all__ = ["Coverage", "Merged", "merge", "print_table"]

Value = str | int | bool
Bin = tuple[Value, ...]

_SHOWN = 8  # empty bins named in one row of the table


class Coverage:
    """A plan and the hits of this run.

    Args:
        name: the plan's name; runs of the same name are merged.
        axes: axis name to the values it must take.
        impossible: given a bin's values by axis name, says that the bin cannot occur and is not required.
    """

    def __init__(
        self,
        name: str,
        axes: Mapping[str, Iterable[Value]],
        impossible: Callable[..., bool] = lambda **_: False,
    ) -> None:
        self.name = name
        self.axes = {axis: tuple(values) for axis, values in axes.items()}
        self._names = tuple(self.axes)
        self._hits: dict[Bin, int] = {
            values: 0
            for values in itertools.product(*self.axes.values())
            if not impossible(**dict(zip(self._names, values, strict=True)))
        }
        if os.environ.get(context.VARIABLE):
            path = context.results_directory() / f"{name}-{uuid.uuid4().hex}.json"
            atexit.register(self.save, path)

    @property
    def bins(self) -> tuple[Bin, ...]:
        """Values of the axes of every bin that must be reached."""
        return tuple(self._hits)

    def hit(self, **values: Value) -> None:
        """Count one visit of a bin.

        Raises:
            ValueError: the plan has no such bin, or calls it impossible.
        """
        try:
            key = tuple([values[axis] for axis in self._names])
            self._hits[key] += 1
        except KeyError:
            raise ValueError(f"coverage {self.name} has no bin {values}") from None
        if len(values) != len(key):
            raise ValueError(f"coverage {self.name} has only the axes {', '.join(self._names)}")

    def save(self, path: Path) -> None:
        """Write the plan and its hits as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"name": self.name, "axes": self._names, "hits": list(self._hits.items())}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(content))
        unfinished.rename(path)


@dataclass
class Merged:
    """The hits of one plan over all its runs.

    Attributes:
        name: the plan's name.
        axes: names of its axes.
        hits: bin to the number of visits.
        runs: files merged.
    """

    name: str
    axes: tuple[str, ...]
    hits: dict[Bin, int] = field(default_factory=dict)
    runs: int = 0

    @property
    def empty(self) -> list[Bin]:
        """Bins of the plan that no run reached."""
        return [values for values, count in self.hits.items() if count == 0]


def merge(directory: Path) -> list[Merged]:
    """Merge every file of ``directory``, plans in alphabetical order."""
    plans: dict[str, Merged] = {}
    for path in sorted(directory.glob("*.json")):
        content = json.loads(path.read_text())
        axes = tuple(content["axes"])
        plan = plans.setdefault(content["name"], Merged(content["name"], axes))
        if plan.axes != axes:
            raise ValueError(f"coverage {plan.name} was declared with the axes {plan.axes} and {axes}")
        plan.runs += 1
        for values, count in content["hits"]:
            key = tuple(values)
            plan.hits[key] = plan.hits.get(key, 0) + count
    return sorted(plans.values(), key=lambda plan: plan.name)


def print_table(plans: Sequence[Merged]) -> None:
    """Print one row a plan, with the empty bins named."""
    from rich.console import Console  # the benches must not wait for it
    from rich.table import Table

    table = Table("plan", "axes", "runs", "bins", "reached", "empty", title="functional coverage")
    for plan in plans:
        empty = [" ".join(map(str, values)) for values in plan.empty]
        more = [f"and {len(empty) - _SHOWN} more"] if len(empty) > _SHOWN else []
        reached = len(plan.hits) - len(empty)
        named = "\n".join(empty[:_SHOWN] + more)
        axes = " x ".join(plan.axes)
        table.add_row(plan.name, axes, str(plan.runs), str(len(plan.hits)), str(reached), named)
    Console().print(table)


@program
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a results folder."""
    parser = Parser(prog="python -m sim.coverage", description="Merge and print coverage.")
    parser.add_argument(
        "directory", nargs="?", type=Path, default=results_directory(), help="results of the runs"
    )
    plans = merge(parser.parse_args(arguments).directory)
    if not plans:
        print("no coverage recorded; run pytest first", file=sys.stderr)
        return 1
    print_table(plans)
    return 1 if any(plan.empty for plan in plans) else 0


if __name__ == "__main__":
    sys.exit(main())
