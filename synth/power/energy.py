"""Energy of a design at work: a recorded workload is played to its gates, their activity is priced."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from synth.power import gates
from synth.power.cells import Power, cell_power
from synth.timing import Netlist

__all__ = ["Energy", "Workload", "measure"]


class Workload(gates.Recording, Protocol):
    """A recording with the multiplications in its window."""

    @property
    def multiplications(self) -> int: ...


@dataclass(frozen=True)
class Energy:
    """Energy of a workload, pJ for one multiplication of it.

    Attributes:
        datatype: of its weights.
        per_mac: everything in the netlist.
        parts: by component, largest first.
        kinds: as internal (inside cells), switching (of nets) and leakage.
        rate: multiplications a cycle, stalls of the workload included.
    """

    datatype: str
    per_mac: float
    parts: Mapping[str, float]
    kinds: Mapping[str, float]
    rate: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(netlist: Netlist, workload: Workload, datatype: str) -> Energy:
    """Play a workload to a netlist and price it.

    Raises:
        golden.optional.MissingPart: Icarus is missing.
        synth.power.gates.GateSimulationError: the netlist answers otherwise.
        ValueError: the library has no power tables.
    """
    powers = cell_power(netlist, gates.simulate(netlist, workload))
    first, stop = workload.window
    seconds = (stop - first) * netlist.period * 1e-9
    scale = seconds / workload.multiplications * 1e12
    parts: defaultdict[str, float] = defaultdict(float)
    for name, power in powers.items():
        parts[_component(name)] += power.total * scale
    total = sum(powers.values(), Power())
    return Energy(
        datatype=datatype,
        per_mac=total.total * scale,
        parts=dict(sorted(parts.items(), key=lambda item: -item[1])),
        kinds={kind: value * scale for kind, value in asdict(total).items()},
        rate=workload.multiplications / (stop - first),
    )


def _component(cell: str) -> str:
    """The component that a cell of a flat netlist belongs to: at most two instances deep, without indices."""
    if not cell:
        return "input nets"
    path = [re.sub(r"(_?\d+)+$", "", part) for part in cell.split(".")[:-1]]
    return ".".join(path[:2]) or "itself"
