"""Area reports: what a design costs, by component."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from synth.hierarchy import Design, component_name, template
from synth.memories import Memory
from synth.timing import Netlist, Timing

__all__ = ["AreaReport", "Component", "best", "cell_counts", "tabulate"]


@dataclass(frozen=True)
class Component:
    """All modules whose names differ in numbers only, taken together; areas in the report's unit.

    Attributes:
        name: readable name.
        modules: names of the different circuits among them.
        instances: how often it occurs.
        own_area: without the components inside it.
        total_area: with them.
        memory_bits: bits of the memories left whole, own only.
        memories: these memories, by size.
        cells: mapped cells, own only.
        flip_flops: own only.
        counts: own cells by type.
        areas: own area by what it is spent on: ``registers``, ``full adders``, ``logic``.
    """

    name: str
    modules: tuple[str, ...]
    instances: int
    own_area: float
    total_area: float
    memory_bits: int
    cells: int
    flip_flops: int
    counts: dict[str, int] = field(default_factory=dict)
    areas: dict[str, float] = field(default_factory=dict)
    memories: tuple[Memory, ...] = ()


@dataclass(frozen=True)
class AreaReport:
    """What a design costs on a target.

    Attributes:
        top: name of the design.
        target: name of the library or FPGA family.
        unit: unit of every area: ``um2``, ``GE`` (two-input NAND equivalents) or ``LUT``.
        period: clock period asked for in ns.
        recipe: the way through the flow that was taken.
        area: total area, memories left whole not included.
        memory_bits: bits of the memories left whole.
        flip_flops: in the whole design.
        cells: in the whole design.
        timing: the slowest path, None where unknown.
        components: largest first; their areas are those of ``components_recipe``.
        components_recipe: the way that kept the components apart.
        counts: cells by type in the whole design; for an FPGA also the columns of its family.
        tried: area and shortest period of every recipe that was tried.
        netlist: the flat netlist, None where nothing is timed; its files last as long as the folder that the
            design was measured in.
        untimed: why standard cells were not timed, so that no gate was sized and no driver strengthened;
            empty where they were.
        tools: versions of the programs that the figures were made with.
    """

    top: str
    target: str
    unit: str
    period: float
    recipe: str
    area: float
    memory_bits: int
    flip_flops: int
    cells: int
    timing: Timing | None
    components: tuple[Component, ...]
    counts: dict[str, int] = field(default_factory=dict)
    tried: dict[str, dict[str, float | None]] = field(default_factory=dict)
    components_recipe: str = ""
    netlist: Netlist | None = field(default=None, repr=False)
    untimed: str = ""
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the period is met, as far as is known."""
        return self.timing is None or self.timing.met

    @property
    def memories(self) -> tuple[Memory, ...]:
        """The memories left whole, by component."""
        return tuple(memory for part in self.components for memory in part.memories)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(replace(self, netlist=None))
        del plain["netlist"]
        return plain


def best(reports: Sequence[AreaReport]) -> AreaReport:
    """The smallest report that meets its period, or the fastest where none does.

    It lists all that were tried. The components are those of the best report that kept them apart.
    """
    chosen = _best(reports)
    apart = [report for report in reports if not report.recipe.startswith("flat")]
    tried = {
        report.recipe: {
            "area": report.area,
            "min_period": report.timing.min_period if report.timing else None,
        }
        for report in reports
    }
    source = _best(apart) if apart else chosen
    return replace(chosen, components=source.components, components_recipe=source.recipe, tried=tried)


def _best(reports: Sequence[AreaReport]) -> AreaReport:
    met = [report for report in reports if report.met]
    if met:
        return min(met, key=lambda report: report.area)
    return min(reports, key=lambda report: report.timing.min_period if report.timing else 0.0)


def cell_counts(stat: Path) -> dict[str, dict[str, int]]:
    """Cells by type of each module, from the file ``stat -json`` wrote."""
    text = stat.read_text()
    modules = json.loads(text[text.index("{") :])["modules"]
    return {name.removeprefix("\\"): body["num_cells_by_type"] for name, body in modules.items()}


def tabulate(
    design: Design,
    counts: Mapping[str, Mapping[str, int]],
    memories: Mapping[str, Sequence[Memory]],
    area: Callable[[str], float],
    purpose: Callable[[str], str],
) -> list[Component]:
    """One entry for each component, largest own area first.

    Args:
        design: the modules and their names.
        counts: cells by type of each module, instances of other modules among them.
        memories: the memories left whole, by module.
        area: area of a cell type.
        purpose: what a cell type's area is spent on.
    """
    skip = {*design.aliases, "$mem_v2"}

    def leaves(module: str) -> Counter[str]:
        return Counter({cell: number for cell, number in counts[module].items() if cell not in skip})

    def own(module: str) -> float:
        return sum(area(cell) * number for cell, number in leaves(module).items())

    def total(module: str) -> float:
        inside = {child: number for child, number in counts[module].items() if child in design.aliases}
        return own(module) + sum(total(child) * number for child, number in inside.items())

    instances = _instances(design, counts)
    groups: dict[str, list[str]] = {}
    for module in instances:
        groups.setdefault(template(module), []).append(module)
    rows = []
    for modules in groups.values():
        cells: Counter[str] = Counter()
        for module in modules:
            cells.update({cell: number * instances[module] for cell, number in leaves(module).items()})
        areas: defaultdict[str, float] = defaultdict(float)
        for cell, number in cells.items():
            areas[purpose(cell)] += area(cell) * number
        number = sum(instances[module] for module in modules)
        whole = _memories(modules, instances, memories)
        same = [
            name
            for module in modules
            for name in design.aliases[module]
            if template(name) == template(module)
        ]
        rows.append(
            Component(
                name=component_name(same, design.top, number),
                modules=tuple(modules),
                instances=number,
                own_area=round(sum(areas.values()), 4),
                total_area=round(sum(total(module) * instances[module] for module in modules), 4),
                memory_bits=sum(memory.bits for memory in whole),
                cells=sum(cells.values()),
                flip_flops=sum(number for cell, number in cells.items() if purpose(cell) == "registers"),
                counts=dict(sorted(cells.items())),
                areas={name: round(value, 4) for name, value in sorted(areas.items())},
                memories=whole,
            )
        )
    return sorted(rows, key=lambda row: (-row.own_area, row.name))


def _memories(
    modules: Sequence[str], instances: Mapping[str, int], memories: Mapping[str, Sequence[Memory]]
) -> tuple[Memory, ...]:
    """The memories of all instances of some modules, by size."""
    sizes = Counter[tuple[int, int]]()
    for module in modules:
        for memory in memories.get(module, ()):
            sizes[memory.words, memory.width] += memory.instances * instances[module]
    return tuple(Memory(*size, count) for size, count in sorted(sizes.items()))


def _instances(design: Design, counts: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """How often each module occurs in the whole design after synthesis."""
    found: Counter[str] = Counter()

    def visit(module: str, count: int) -> None:
        found[module] += count
        for child, number in counts[module].items():
            if child in design.aliases:
                visit(child, count * number)

    visit(design.top, 1)
    return found
