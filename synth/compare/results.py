"""What a comparison has measured, and how it is told: tables, Markdown, plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth import render
from synth.memories import Macros
from synth.power.energy import Energy
from synth.render import number

__all__ = ["Comparison", "Measured", "markdown"]


@dataclass(frozen=True)
class Measured:
    """One design of a comparison.

    Attributes:
        name: of the block.
        label: the name, and what was varied.
        operands: what it multiplies, in words.
        result: area, timing and rates.
        energy: of a simulated workload, None where unknown.
        note: why it is unknown.
    """

    name: str
    label: str
    operands: str
    result: render.Result
    energy: Energy | None = None
    note: str = ""

    def own_type(self, datatype: str) -> str:
        """The data type compared, or the design's own fastest one where it has not got that."""
        rates = self.result.macs
        return datatype if datatype in rates else max(rates, key=lambda name: rates[name], default=datatype)

    def rate(self, datatype: str) -> float:
        """Multiplications a cycle, of ``own_type``; 1 for a design without rates."""
        return self.result.macs.get(self.own_type(datatype), 1.0)

    def area_per_mac(self, datatype: str, memories: bool = False) -> float:
        """Area of one multiplication a cycle, with that of memories where it is wanted and known."""
        area = self.result.whole_area if memories else None
        return (self.result.report.area if area is None else area) / self.rate(datatype)


@dataclass(frozen=True)
class Comparison:
    """Designs measured by one flow on one library at one clock.

    Attributes:
        target: name of the library.
        datatype: data type compared.
        ours: the block and its variants.
        baselines: what they are compared with, the yardstick first.
        simulator: version of what simulated the gates, by its name.
    """

    target: str
    datatype: str
    ours: tuple[Measured, ...]
    baselines: tuple[Measured, ...]
    simulator: Mapping[str, str] = field(default_factory=dict)

    @property
    def designs(self) -> tuple[Measured, ...]:
        return (*self.ours, *self.baselines)

    @property
    def tools(self) -> dict[str, str]:
        """Versions of the programs that the figures were made with."""
        return {**self.ours[0].result.report.tools, **self.simulator}

    @property
    def untimed(self) -> str:
        """Why nothing was timed; empty where it was."""
        return self.ours[0].result.report.untimed

    @property
    def period(self) -> float:
        """The clock period asked for in ns."""
        return self.ours[0].result.report.period

    @property
    def title(self) -> str:
        """The library with the clock, or that it was used without timing."""
        return f"{self.target}, {'no timing' if self.untimed else f'{self.period:g} ns'}"

    @property
    def macros(self) -> Macros | None:
        """What memories cost, where that is known and some design has any."""
        known = self.ours[0].result.macros
        return known if any(one.result.report.memory_bits for one in self.designs) else None

    def ratio(self, other: Measured, memories: bool = False) -> float:
        """How many times smaller the block is than another design, for one multiplication a cycle."""
        own = self.ours[0].area_per_mac(self.datatype, memories)
        return other.area_per_mac(self.datatype, memories) / own

    def energy_ratio(self, other: Measured) -> float | None:
        """How many times less energy a multiplication takes in the block; None where unknown."""
        own = self.ours[0].energy
        return other.energy.per_mac / own.per_mac if own and other.energy else None

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table, as text."""
        return [self._row(one) for one in self.designs]

    @property
    def heads(self) -> tuple[str, ...]:
        """Titles of the columns of ``rows``."""
        unit = self.ours[0].result.report.unit
        return (
            "design",
            "multiplies",
            f"area ({unit})",
            "registers",
            "shortest period (ns)",
            "MAC/cycle",
            f"{unit} per MAC/cycle",
            "to the first",
            *((f"{unit} with memories", "to the first") if self.macros else ()),
            "pJ per MAC",
            "to the first",
        )

    def _row(self, one: Measured) -> tuple[str, ...]:
        report = one.result.report
        timing = report.timing
        period = f"{timing.min_period:.3f}{'' if report.met else ' NOT met'}" if timing else "unknown"
        areas = [part.areas.get("registers", 0.0) for part in report.components]
        whole = sum(part.own_area for part in report.components) or 1.0
        ratio = self.energy_ratio(one)
        return (
            one.label,
            one.operands,
            number(round(report.area)),
            f"{100 * sum(areas) / whole:.0f} %",
            period,
            f"{one.rate(self.datatype):.4g}",
            number(one.area_per_mac(self.datatype)),
            f"{self.ratio(one):.2f}",
            *self._with_memories(one),
            f"{one.energy.per_mac:.3f}" if one.energy else one.note,
            f"{ratio:.2f}" if ratio else "",
        )

    def _with_memories(self, one: Measured) -> tuple[str, ...]:
        """Area of one multiplication a cycle with memories, and its ratio; empty where that is not known."""
        if not self.macros:
            return ()
        return number(one.area_per_mac(self.datatype, True)), f"{self.ratio(one, True):.2f}"

    def verdict(self) -> str:
        """The result in a few words."""
        first = self.ours[0]
        parts = [_times(self.ratio(other), other.label) for other in self.baselines]
        caveat = "" if all(one.result.report.met for one in self.designs) else " (not every period is met)"
        if any(one.result.report.memory_bits for one in self.designs):
            caveat += f" (memory left whole is not in the areas{self._memory_note()})"
        if self.untimed:
            caveat += f" ({render.areas_only(self.untimed)})"
        what = f"for one {self.datatype} multiplication a cycle"
        return f"{first.label} needs {', '.join(parts)}, {what}{caveat}"

    def _memory_note(self) -> str:
        """The ratio to the yardstick with memories, where that is known."""
        if not self.macros or not self.baselines:
            return ""
        ratio, name = self.ratio(self.baselines[0], True), self.baselines[0].label
        return f"; with it, at {self.macros.name}, {_times(ratio, name)}"

    def areas(self) -> dict[str, Any]:
        """What ``python -m synth.model --areas`` reads: one entry for every block, variants left out."""
        return {
            "target": self.target,
            "period": self.period,
            "untimed": self.untimed,
            "tools": self.tools,
            "designs": [
                {
                    "name": one.name,
                    "area": round(one.result.report.area, 1),
                    "macs_per_cycle": one.result.macs,
                    "energy_per_mac": {one.energy.datatype: one.energy.per_mac} if one.energy else {},
                }
                for one in (self.ours[0], *self.baselines)
            ],
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "target": self.target,
            "period": self.period,
            "datatype": self.datatype,
            "untimed": self.untimed,
            "tools": self.tools,
            "designs": [
                {
                    "name": one.name,
                    "label": one.label,
                    "operands": one.operands,
                    "area_per_mac": one.area_per_mac(self.datatype),
                    "area_to_the_first": self.ratio(one),
                    "area_per_mac_with_memories": one.area_per_mac(self.datatype, True)
                    if self.macros
                    else None,
                    "energy": one.energy.to_dict() if one.energy else None,
                    "energy_to_the_first": self.energy_ratio(one),
                    "note": one.note,
                    **render.to_dict(one.result),
                }
                for one in self.designs
            ],
        }


def _times(ratio: float, other: str) -> str:
    less = f"{ratio:.2f} times less area than {other}"
    return less if ratio >= 1 else f"{1 / ratio:.2f} times the area of {other}"


def markdown(comparisons: Sequence[Comparison], pictures: Sequence[Sequence[str]]) -> str:
    """All comparisons as Markdown; ``pictures`` has the file names of each."""
    lines: list[str] = []
    for one, names in zip(comparisons, pictures, strict=True):
        lines += [f"# {one.ours[0].label} on {one.title}", "", f"{one.verdict()}.", ""]
        lines += [*render.table(one.heads, one.rows()), "", f"{render.made_with(one.tools)}.", ""]
        lines += [f"![{name}]({name})" for name in names]
        rows = [
            (design.label, part, f"{energy:.4f}")
            for design in one.designs
            if design.energy
            for part, energy in design.energy.parts.items()
        ]
        if rows:
            lines += ["", "## Energy of a multiplication by component (pJ)", ""]
            lines += [*render.table(("design", "component", "pJ"), rows), ""]
        lines += [render.markdown([design.result for design in one.designs], {}).replace("# ", "## ")]
    return "\n".join(lines)
