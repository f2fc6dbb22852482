"""One shape of a design, hierarchical or flat, on its way to standard cells."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from golden import optional
from synth import asic, drive, hierarchy, liberty, targets, timing, yosys
from synth.area import AreaReport, Component, cell_counts, tabulate
from synth.memories import Memory

__all__ = ["Shape", "read"]

_SLOW_PATHS = 4000
"""Most endpoints looked at to find the components that are too slow."""

_WORST = 0.4
"""Components get a faster mapping where they miss the period by this share of the largest miss or more."""

_CELL = r"(\S+\.)?(?:cell\d+|full_adder_\d+\.fa)/"
"""A cell of a flat netlist; the group is its instance path."""


def read(verilog: str, top: str, folder: Path) -> tuple[hierarchy.Design, dict[str, Any]]:
    """Read a design into ``folder`` as read.il and find its equal modules.

    Raises:
        synth.yosys.YosysError: bad Verilog or no such top.
    """
    script = f"read_verilog -sv design.v\nhierarchy -check -top {top}\nchformal -remove\nproc\nopt_clean\n"
    yosys.run(script + "write_rtlil read.il\nwrite_json read.json\n", folder, {"design.v": verilog}, "read")
    modules = _modules(folder / "read.json")
    return hierarchy.merge_identical(modules, top), modules


@dataclass(frozen=True)
class _Mapped:
    """A mapping of all modules.

    Attributes:
        stem: of its files.
        counts: cells by type of each module.
    """

    stem: str
    counts: Mapping[str, Mapping[str, int]]


class Shape:
    """A design down to gates: what all mappers start from.

    Args:
        target: the library.
        verilog: the design.
        top: name of its top module.
        flatten: dissolve all components first.
        folder: working directory.
    """

    def __init__(self, target: targets.Asic, verilog: str, top: str, flatten: bool, folder: Path):
        design, _ = read(verilog, top, folder)
        adder = liberty.full_adder(target.cells.values())
        files = {
            "constraints.txt": asic.constraints(target),
            "full_adder_cell.v": asic.full_adder_map(adder) if adder else "",
            **dict(target.texts),
        }
        yosys.run(asic.coarse_script(top, flatten, design.merge_commands()), folder, files, "coarse")
        modules = _modules(folder / "coarse.json")
        whole = asic.large_memories(modules)
        yosys.run(asic.gates_script(whole, adder is not None), folder, None, "gates")
        self.target, self.top, self.folder, self.adder = target, top, folder, adder
        self.modules = _modules(folder / "gates.json")
        self.design = hierarchy.Design(top, {top: [top]}) if flatten else design
        self.clock = "clk" if "clk" in modules[top]["ports"] else ""
        self.memories: defaultdict[str, list[Memory]] = defaultdict(list)
        for (module, _), memory in whole.items():
            self.memories[module].append(memory)

    def map(self, recipe: asic.Recipe, period: float) -> AreaReport:
        """Map to cells and time the result."""
        if recipe.mapper == asic.MIXED:
            return self._mixed(recipe, period)
        mapped = self._mapped(recipe, period)
        return self._report(recipe, period, mapped.stem, {module: mapped for module in mapped.counts})

    def _mixed(self, recipe: asic.Recipe, period: float) -> AreaReport:
        """Each component by the mapper that makes it smallest, or a faster one where it is too slow."""
        ways = asic.component_recipes(self.target)
        with ThreadPoolExecutor(max_workers=2) as pool:
            mapped = list(pool.map(lambda way: self._mapped(way, period), ways))
        choices = {module: self._choices(module, mapped) for module in mapped[0].counts}
        reports: list[AreaReport] = []
        while True:
            stem = f"mixed-{len(reports)}"
            chosen = {module: options[0] for module, options in choices.items()}
            reports.append(self._report(recipe, period, stem, chosen))
            if reports[-1].met:
                return reports[-1]
            slow: dict[str, float] = {}
            cells = timing.slow_cells(self._netlist(period, stem), _CELL, _SLOW_PATHS)
            for path, slack in cells.items():
                module = self._module_at(path)
                if len(choices[module]) > 1:
                    slow[module] = min(slow.get(module, 0.0), slack)
            if not slow:
                return min(reports, key=_shortfall)
            for module, slack in slow.items():
                if slack <= _WORST * min(slow.values()):
                    choices[module] = choices[module][1:]

    def _choices(self, module: str, mapped: list[_Mapped]) -> list[_Mapped]:
        """Mappings worth trying for a module, smallest first, each later one larger and faster."""
        found: list[_Mapped] = []
        for way in reversed(mapped):  # from fast to small
            if not found or self._area(way.counts[module]) < self._area(found[0].counts[module]):
                found.insert(0, way)
        return found

    def _area(self, counts: Mapping[str, int]) -> float:
        cells = self.target.cells
        return sum(cells[cell].area * number for cell, number in counts.items() if cell in cells)

    def _apart(self, recipe: asic.Recipe) -> set[str]:
        """Full adders (``module/cell``) that are made of gates from the start."""
        if recipe.adders != "gates":
            return set(asic.wasted_adders(self.modules))
        return {
            f"{module}/{name}"
            for module, body in self.modules.items()
            for name, cell in body["cells"].items()
            if cell["type"] == "$fa"
        }

    def _module_at(self, path: str) -> str:
        """The module at an instance path of the flat netlist, each instance followed by a dot."""
        module = self.top
        for instance in path.split(".")[:-1]:
            module = self.modules[module]["cells"][instance]["type"]
        return module

    def _mapped(self, recipe: asic.Recipe, period: float) -> _Mapped:
        """Map all modules by one mapper."""
        target, apart = self.target, self._apart(recipe)
        stem = f"{recipe.mapper}-{recipe.adders}".replace(" ", "-")
        files = {
            f"{stem}.abc": asic.abc_script(target, recipe.mapper, period),
            f"{stem}.apart": "".join(f"{cell}\n" for cell in sorted(apart)),
        }
        script = asic.mapping_script(target, self.top, period, stem, bool(apart))
        yosys.run(script, self.folder, files, stem)
        counts = cell_counts(self.folder / f"{stem}.json")
        known = {"$mem_v2", *self.design.aliases, *target.cells}
        if foreign := {cell for cells in counts.values() for cell in cells} - known:
            raise yosys.YosysError(f"{target.name} has no cell for {', '.join(sorted(foreign))}")
        return _Mapped(stem, counts)

    def _report(
        self, recipe: asic.Recipe, period: float, stem: str, chosen: Mapping[str, _Mapped]
    ) -> AreaReport:
        """Put a netlist together, time it and count it."""
        target = self.target
        counts = {module: mapped.counts[module] for module, mapped in chosen.items()}
        parts = tabulate(
            self.design,
            counts,
            self.memories,
            area=lambda cell: target.cells[cell].area if cell in target.cells else 0.0,
            purpose=_purpose(target),
        )
        found = None
        if target.timed:
            added = self._flat(stem, chosen)
            parts = _with_drivers(parts, added, target)
            found = timing.static_timing(self._netlist(period, stem))
        return AreaReport(
            top=self.top,
            target=target.name,
            unit=target.unit,
            period=period,
            recipe=str(recipe if self.adder else replace(recipe, adders="gates")),
            area=round(sum(part.own_area for part in parts), 4),
            memory_bits=sum(part.memory_bits for part in parts),
            flip_flops=sum(part.flip_flops for part in parts),
            cells=sum(part.cells for part in parts),
            timing=found,
            components=tuple(parts),
            counts=dict(sum((Counter(part.counts) for part in parts), Counter())),
            netlist=self._netlist(period, stem) if target.timed else None,
            untimed=target.untimed,
            tools=optional.versions(optional.YOSYS, *([optional.OPENSTA] if target.timed else [])),
        )

    def _flat(self, stem: str, chosen: Mapping[str, _Mapped]) -> Counter[str]:
        """Write the flat netlist STEM.v; returns the cells that strong drivers add."""
        sources: dict[str, list[str]] = {}
        for module, mapped in chosen.items():
            sources.setdefault(mapped.stem, []).append(module)
        script = asic.flattening_script(self.target, self.top, stem, sources)
        yosys.run(script, self.folder, None, f"{stem}-flat")
        design = json.loads((self.folder / f"{stem}.flat.json").read_text())
        added = drive.strengthen(design["modules"][self.top], self.target, self.clock)
        (self.folder / f"{stem}.strong.json").write_text(json.dumps(design))
        yosys.run(asic.netlist_script(stem), self.folder, None, f"{stem}-netlist")
        return added

    def _netlist(self, period: float, name: str) -> timing.Netlist:
        cut = bool(self.memories)
        return timing.Netlist(self.target, self.top, period, self.clock, self.folder, name, cut)


def _with_drivers(parts: list[Component], added: Counter[str], target: targets.Asic) -> list[Component]:
    """Count what strong drivers add as a component of its own."""
    area = round(sum(target.cells[cell].area * number for cell, number in added.items()), 4)
    if not added:
        return parts
    drivers = Component(
        name="drivers",
        modules=(),
        instances=1,
        own_area=area,
        total_area=area,
        memory_bits=0,
        cells=sum(added.values()),
        flip_flops=0,
        counts=dict(sorted(added.items())),
        areas={"logic": area},
    )
    top = max(parts, key=lambda part: part.total_area)
    others = [part for part in parts if part is not top]
    whole = replace(top, total_area=round(top.total_area + area, 4))
    return sorted([whole, *others, drivers], key=lambda part: (-part.own_area, part.name))


def _shortfall(report: AreaReport) -> float:
    """By how many ns a report misses its period; 0 where it does not."""
    return max(0.0, -report.timing.slack) if report.timing else 0.0


def _modules(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["modules"]


def _purpose(target: targets.Asic) -> Callable[[str], str]:
    """What a cell's area is spent on, by cell name."""
    adder = liberty.full_adder(target.cells.values())
    special = {name: "registers" for name, cell in target.cells.items() if cell.sequential}
    if adder:
        special[adder.cell] = "full adders"
    return lambda name: special.get(name, "logic")
