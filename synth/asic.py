"""Yosys scripts of the standard-cell flow; one flow for every design, so that areas can be compared.

Sums of many operands become carry-save trees of the library's own full-adder cell where it has one. Large
memories stay whole and are counted in bits, not in area. Each script is one run of Yosys:

    coarse      Verilog to word-level cells
    gates       to single-bit gates, full adders and whole memories
    mapping     to cells of the library, by one of several mappers
    flattening  to one flat module, each component from the mapping that suits it
    netlist     to Verilog, once ``synth.drive`` has seen to heavily loaded nets
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synth import liberty
from synth.memories import Memory
from synth.targets import Asic

__all__ = [
    "MAPPERS",
    "MIXED",
    "Recipe",
    "abc_script",
    "coarse_script",
    "component_recipes",
    "constraints",
    "flattening_script",
    "full_adder_map",
    "gates_script",
    "large_memories",
    "mapping_script",
    "netlist_script",
    "wasted_adders",
]

MEMORY_THRESHOLD = 1024
"""Writable memories of more bits than this stay whole."""

CLOCK_GATE_THRESHOLD = 4
"""Registers with a common enable that are worth a clock gate, where the library has one."""

_PREPARE = "strash; &get -n; &fraig -x; &put; scorr"
_SIZE = "buffer -c; upsize {D}; dnsize {D}; stime -p"

MAPPERS = {
    "amap": f"{_PREPARE}; dc2; strash; dch -f; amap -m; topo",
    "nf": f"{_PREPARE}; dc2; strash; &get -n; &dch -f; &nf; &put",
    "emap": f"{_PREPARE}; strash; emap; topo",
    "map": f"{_PREPARE}; strash; dch -f; map -B 0.9 -D {{D}}; topo",
    "tight map": f"{_PREPARE}; strash; dch -f; map -B 0.9 -D 1; topo",
}
"""ABC commands by the name of the mapper in them, roughly from small to fast."""


MIXED = "mixed"
"""Not a mapper of its own: each component takes the one that suits it."""


@dataclass(frozen=True)
class Recipe:
    """One way through the flow.

    Attributes:
        flatten: dissolve all components first.
        mapper: a name in :data:`MAPPERS`, or :data:`MIXED`.
            adders: ``cells``: full-adder cells in all carry-save trees; ``gates``: none.
    """

    flatten: bool = False
    mapper: str = MIXED
    adders: str = "cells"

    def __str__(self) -> str:
        adders = "full-adder cells" if self.adders == "cells" else "no full-adder cells"
        return f"{self.shape}, {self.mapper}, {adders}"

    @property
    def shape(self) -> str:
        return "flat" if self.flatten else "hierarchical"


def component_recipes(target: Asic) -> list[Recipe]:
    """What the components of a mixed design may choose from, roughly from small to fast."""
    if not target.timed:
        return [Recipe(mapper=mapper) for mapper in ("amap", "nf")]
    return [*(Recipe(mapper=mapper) for mapper in MAPPERS), Recipe(mapper="tight map", adders="gates")]


def abc_script(target: Asic, mapper: str, period: float) -> str:
    """The commands of a mapper, one a line; gates are sized only where the library has timing.

    Args:
        target: the library.
        mapper: a name in :data:`MAPPERS`.
        period: clock period in ns.
    """
    commands = f"{MAPPERS[mapper]}; {_SIZE}" if target.timed else MAPPERS[mapper]
    return commands.replace("{D}", f"{period * 1000:g}").replace("; ", "\n") + "\n"


def constraints(target: Asic) -> str:
    """ABC's constraint file: what drives the inputs and what hangs on the outputs."""
    return f"set_driving_cell {target.driver}\nset_load {target.load} [all_outputs]\n"


def full_adder_map(adder: liberty.Adder) -> str:
    """Techmap rule from a one-bit ``$fa`` (X carry, Y sum) to the library's cell."""
    a, b, c = adder.inputs
    inverters = "".join(
        f"  \\$_NOT_ invert_{port} (.A({port}_inverted), .Y({port}));\n"
        for port, inverted in (("X", adder.carry_inverted), ("Y", adder.sum_inverted))
        if inverted
    )
    carry = "X_inverted" if adder.carry_inverted else "X"
    total = "Y_inverted" if adder.sum_inverted else "Y"
    return f"""
(* techmap_celltype = "$fa" *)
module full_adder_cell (A, B, C, X, Y);
  parameter WIDTH = 1;
  input A, B, C;
  output X, Y;
  wire X_inverted, Y_inverted;
  {adder.cell} fa (.{a}(A), .{b}(B), .{c}(C), .{adder.carry}({carry}), .{adder.sum}({total}));
{inverters}endmodule
"""


def coarse_script(top: str, flatten: bool, merge: str) -> str:
    """From read.il to word-level cells: coarse.il, and coarse.json for its memories.

    Args:
        top: name of the top module.
        flatten: dissolve all components.
        merge: commands that merge equal modules.
    """
    return f"""
read_rtlil read.il
{merge}
hierarchy -check -top {top}
synth -run coarse:fine {"-flatten" if flatten else "-hieropt"}
write_rtlil coarse.il
write_json coarse.json
"""


def large_memories(modules: Mapping[str, Any]) -> dict[tuple[str, str], Memory]:
    """Each writable memory above the threshold, by module and cell name."""
    found = {}
    for module, body in modules.items():
        for name, cell in body["cells"].items():
            if cell["type"] == "$mem_v2":
                words, width, writers = (int(cell["parameters"][k], 2) for k in ("SIZE", "WIDTH", "WR_PORTS"))
                if writers and words * width > MEMORY_THRESHOLD:
                    found[module, name] = Memory(words, width)
    return found


def gates_script(memories: Iterable[tuple[str, str]], adders: bool) -> str:
    """From coarse.il to single-bit gates and full adders: gates.il, and gates.json for the adders.

    Sums of many operands are carry-save trees by now, made by Yosys or by the designer; their full adders
    are found again in the gates, after constants and equal operands are gone. The carry chains of ordinary
    adders are left to ABC, which makes them as small and can make them faster.

    Args:
        memories: module and cell names of the memories that stay whole.
        adders: whether the library has a full adder.
    """
    find = ["extract_fa -fa", "opt_clean", "rename -enumerate -pattern full_adder_% t:$fa"] if adders else []
    return f"""
read_rtlil coarse.il
opt -fast -full
{_lines(f"setattr -set whole 1 {module}/{cell}" for module, cell in memories)}
memory_map -attr !whole
opt -full
techmap t:$macc t:$macc_v2
techmap {"t:$alu %n" if adders else ""}
opt -full
{_lines(find)}
techmap {"t:$fa %n" if adders else ""}
opt -full
simplemap t:$mux
write_rtlil gates.il
write_json gates.json
"""


def wasted_adders(modules: Mapping[str, Any]) -> list[str]:
    """Full adders (``module/cell``) whose sum or carry nobody uses; single gates are smaller there.

    Args:
        modules: the ``modules`` of Yosys' JSON.
    """
    wasted = []
    for module, body in modules.items():
        outputs = [port["bits"] for port in body["ports"].values() if port["direction"] == "output"]
        used = {bit for bits in outputs for bit in bits}
        for cell in body["cells"].values():
            directions = cell.get("port_directions", {})
            for port, bits in cell["connections"].items():
                if directions.get(port, "input") != "output":
                    used.update(bits)
        for name, cell in body["cells"].items():
            if cell["type"] == "$fa" and not all(used.issuperset(cell["connections"][port]) for port in "XY"):
                wasted.append(f"{module}/{name}")
    return wasted


def mapping_script(target: Asic, top: str, period: float, name: str, apart: bool) -> str:
    """From gates.il to cells of the library: NAME.il, and NAME.json with the counts of its modules.

    Args:
        target: the library; its texts lie in the working directory.
        top: name of the top module.
        period: clock period in ns.
        name: stem of all files of this run; NAME.abc holds the mapper, NAME.apart the full adders to make of
            gates.
        apart: whether NAME.apart names any.
    """
    files = " ".join(f"-liberty {file}" for file, _ in target.texts)
    avoid = "".join(f" -dont_use {cell}" for cell in target.dont_use)
    timing = f" -constr constraints.txt -D {period * 1000:g}" if target.timed else ""
    gated = any(cell.clock_gate for cell in target.cells.values())
    return f"""
read_rtlil gates.il
{_read_cells(target)}
{_lines([f"select -read {name}.apart", "techmap", "select -clear"] if apart else [])}
techmap -map full_adder_cell.v t:$fa
rename -hide w:full_adder_*
opt -fast
{f"clockgate {files}{avoid} -min_net_size {CLOCK_GATE_THRESHOLD}" if gated else ""}
dfflibmap {files}{avoid}
opt
abc {files}{timing} -script {name}.abc{avoid}
opt_clean -purge
tee -q -o {name}.json stat -json {files} -top {top}
write_rtlil {name}.il
"""


def flattening_script(target: Asic, top: str, name: str, parts: Mapping[str, Iterable[str]]) -> str:
    """Put a netlist together from modules of one or more mappings: NAME.flat.json, memories cut out.

    Args:
        target: the library.
        top: name of the top module.
        name: stem of the result.
        parts: stem of a mapping to the modules that are taken from it.
    """
    reads, everything = [], {module for modules in parts.values() for module in modules}
    taken: set[str] = set()
    for stem, modules in parts.items():
        taken |= set(modules)
        reads += [f"read_rtlil -nooverwrite {stem}.il", *(f"delete {m}" for m in sorted(everything - taken))]
    return f"""
{_read_cells(target)}
{_lines(reads)}
hierarchy -check -top {top}
flatten
expose -evert t:$mem_v2
splitnets -ports -format __v
opt_clean -purge
write_json {name}.flat.json
"""


def netlist_script(name: str) -> str:
    """From NAME.strong.json to the flat netlist for timing, NAME.v."""
    return f"read_json {name}.strong.json\nwrite_verilog -noattr -noexpr -nohex {name}.v\n"


def _read_cells(target: Asic) -> str:
    missing = "-ignore_miss_func -ignore_miss_data_latch -ignore_miss_dir"
    return _lines(f"read_liberty -lib {missing} {file}" for file, _ in target.texts)


def _lines(commands: Iterable[str]) -> str:
    return "\n".join(commands)
