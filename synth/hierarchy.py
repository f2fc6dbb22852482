"""Modules of a design: find those that are the same circuit, count instances, name components.

The hardware generator writes one module for every instance. Equal ones are merged before synthesis, which
saves time and gives a report one row for each kind of component. Modules are read from Yosys' JSON form.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Design", "component_name", "merge_identical", "template"]

_ROUNDS = 12
"""Steps of refinement; two circuits that agree this far around every net are taken for the same."""


@dataclass(frozen=True)
class Design:
    """Which modules there are once equal ones are one.

    Attributes:
        top: name of the top module.
        aliases: module name to the names of all modules equal to it, itself first.
    """

    top: str
    aliases: dict[str, list[str]]

    def merge_commands(self) -> str:
        """Yosys commands that replace every module by the one it equals."""
        pairs = [(name, copy) for name, names in self.aliases.items() for copy in names[1:]]
        change = [f"chtype -set {name} */t:{copy}" for name, copy in pairs]
        return "\n".join([*change, *(f"delete {copy}" for _, copy in pairs)])


def merge_identical(modules: Mapping[str, Any], top: str) -> Design:
    """Find equal modules, children before parents.

    Args:
        modules: the ``modules`` of Yosys' JSON.
        top: name of the top module.
    """
    chosen: dict[str, str] = {}
    merged: dict[str, str] = {}
    aliases: dict[str, list[str]] = {}

    def visit(name: str) -> str:
        if name not in merged:
            cells = modules[name]["cells"].values()
            types = {cell["type"]: visit(cell["type"]) for cell in cells if cell["type"] in modules}
            found = chosen.setdefault(fingerprint(modules[name], types), name)
            merged[name] = found
            aliases.setdefault(found, []).append(name)
        return merged[name]

    visit(top)
    return Design(top, aliases)


def fingerprint(module: Mapping[str, Any], types: Mapping[str, str]) -> str:
    """Hash of a circuit that depends neither on internal names nor on the order of anything.

    Args:
        module: one module of Yosys' JSON.
        types: instantiated module to the module it stands for.
    """
    colours = _first_colours(module)
    cells = [
        (
            _digest(types.get(cell["type"], cell["type"]), sorted(cell["parameters"].items())),
            cell["connections"],
        )
        for cell in module["cells"].values()
    ]
    summary: list[str] = []
    for _ in range(_ROUNDS):
        meetings: dict[Any, list[str]] = {}
        summary = []
        for kind, connections in cells:
            pins = [
                (port, [colours.get(b, str(b)) for b in bits]) for port, bits in sorted(connections.items())
            ]
            colour = _digest(kind, pins)
            summary.append(colour)
            for port, bits in connections.items():
                for index, bit in enumerate(bits):
                    meetings.setdefault(bit, []).append(f"{colour} {port} {index}")
        colours = {
            bit: _digest(colours.get(bit, ""), sorted(seen))
            for bit, seen in meetings.items()
            if isinstance(bit, int)
        } | {bit: colour for bit, colour in colours.items() if bit not in meetings}
    outside = [
        (name, port["direction"], [colours.get(b, str(b)) for b in port["bits"]])
        for name, port in sorted(module["ports"].items())
    ]
    return _digest(outside, sorted(summary))


def _first_colours(module: Mapping[str, Any]) -> dict[int, str]:
    """What tells nets apart before looking at cells: ports and initial values."""
    colours: dict[int, str] = {}
    for name, port in sorted(module["ports"].items()):
        for index, bit in enumerate(port["bits"]):
            colours[bit] = f"{colours.get(bit, '')} {name} {index}"
    for net in module["netnames"].values():
        init = net.get("attributes", {}).get("init")
        for bit, value in zip(net["bits"], reversed(init or ""), strict=False):
            if value in "01":
                colours[bit] = f"{colours.get(bit, '').removesuffix(' init ' + value)} init {value}"
    return colours


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def template(name: str) -> str:
    """A module name without its numbers: modules of one template are one component of a report."""
    return re.sub(r"\d+", "#", name)


def component_name(modules: Sequence[str], top: str, instances: int) -> str:
    """What names of one template have in common: ``top_lane_3_add`` and ``top_lane_4_add`` give ``lane_add``.

    Numbers that differ are dropped, and where there are many instances so are numbers between underscores.
    """
    names = [name.removeprefix(f"{top}_") for name in modules]
    numbers = zip(*(re.findall(r"\d+", name) for name in names), strict=True)
    common = iter([seen[0] if len(set(seen)) == 1 else "" for seen in numbers])
    parts = re.sub(r"\d+", lambda _: next(common), names[0]).split("_")
    return "_".join(part for part in parts if part and (instances == 1 or not part.isdigit())) or names[0]
