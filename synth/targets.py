"""What a design can be mapped to: our own generic gates, any Liberty library, or an FPGA family."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from golden import optional
from synth import liberty

__all__ = ["NO_OPENSTA", "NO_TABLES", "Asic", "Fpga", "Target", "TargetError", "describe", "parse"]

NO_TABLES = "the library has no timing"
NO_OPENSTA = f"OpenSTA is not installed ({optional.OPENSTA.install})"


class TargetError(ValueError):
    """A target that does not exist or cannot be read; the text is one line."""


@dataclass(frozen=True)
class Fpga:
    """An FPGA family: the Yosys command that maps to it and how its cells are counted."""

    name: str
    command: str
    resources: Mapping[str, tuple[str, ...]]
    """Column name to prefixes of the primitive names counted in it."""

    unit: str = "LUT"


@dataclass(frozen=True)
class Asic:
    """A standard-cell library with the conditions the synthesizer assumes."""

    name: str
    texts: tuple[tuple[str, str], ...]
    """File name and Liberty text of every file of the library."""

    cells: Mapping[str, liberty.Cell]
    driver: str
    """Cell that drives each input."""

    load: float
    """Load on each output in fF."""

    period: float
    """Clock period in ns unless the user gives one."""

    dont_use: tuple[str, ...] = ()
    untimed: str = ""
    """Why nothing is timed: NO_TABLES or NO_OPENSTA. No gate is sized then, and no driver strengthened."""

    unit: str = "um2"

    @property
    def timed(self) -> bool:
        return not self.untimed


Target = Asic | Fpga

_TIMING = re.compile(r"\btiming\s*\(")

FPGAS = {
    family.name: family
    for family in (
        Fpga(
            "ecp5",
            "synth_ecp5 -noflatten",
            {
                "LUT": ("LUT4",),
                "FF": ("TRELLIS_FF",),
                "BRAM": ("DP16KD",),
                "DSP": ("MULT18X18D",),
                "carry": ("CCU2C",),
                "LUTRAM": ("TRELLIS_DPR16X4",),
            },
        ),
        Fpga(
            "ice40",
            "synth_ice40 -noflatten",
            {
                "LUT": ("SB_LUT4",),
                "FF": ("SB_DFF",),
                "BRAM": ("SB_RAM",),
                "DSP": ("SB_MAC16",),
                "carry": ("SB_CARRY",),
            },
        ),
        Fpga(
            "xilinx",
            "synth_xilinx -family xc7 -noiopad",
            {
                "LUT": ("LUT",),
                "FF": ("FDRE", "FDSE", "FDCE", "FDPE"),
                "BRAM": ("RAMB",),
                "DSP": ("DSP48",),
                "carry": ("CARRY4",),
                "LUTRAM": ("RAM32", "RAM64", "RAM128", "RAM256", "SRL"),
            },
        ),
    )
}

_CONDITIONS = (
    # a cell of the library            driver                       fF    ns   cells never used
    ("BUF_X2", "BUF_X2", 5.0, 1.0, ()),
    ("sky130_fd_sc_hd__buf_2", "sky130_fd_sc_hd__buf_2", 33.4, 4.5, ()),
    ("sg13g2_buf_4", "sg13g2_buf_4", 6.0, 3.5, ()),
    ("BUFx2_ASAP7_75t_R", "BUFx2_ASAP7_75t_R", 3.9, 0.6, ("DFFHQx4_ASAP7_75t_R",)),
    ("gt2_6t_buf_x2_w31_lvt", "gt2_6t_buf_x2_w31_lvt", 1.0, 0.25, ()),
)
"""Conditions of known libraries, found by the name of a buffer; any other library gets its second buffer."""

_GENERIC_GATES = {
    # name: (area in NAND2 equivalents, function of A, B, C, D)
    "INV": (0.67, "!A"),
    "BUF": (1.00, "A"),
    "NAND2": (1.00, "!(A&B)"),
    "NOR2": (1.00, "!(A|B)"),
    "AND2": (1.33, "A&B"),
    "OR2": (1.33, "A|B"),
    "NAND3": (1.33, "!(A&B&C)"),
    "NOR3": (1.33, "!(A|B|C)"),
    "AOI21": (1.33, "!((A&B)|C)"),
    "OAI21": (1.33, "!((A|B)&C)"),
    "AOI22": (1.67, "!((A&B)|(C&D))"),
    "OAI22": (1.67, "!((A|B)&(C|D))"),
    "XOR2": (2.00, "A^B"),
    "XNOR2": (2.00, "!(A^B)"),
    "MUX2": (2.33, "(A&!C)|(B&C)"),
}
_GENERIC_FULL_ADDER = 5.33
_GENERIC_FLIP_FLOP = 5.67


def generic_liberty() -> str:
    """Liberty text of the built-in library: areas in units of one two-input NAND, no timing."""
    gates = "".join(_gate(name, area, {"Y": function}) for name, (area, function) in _GENERIC_GATES.items())
    adder = _gate("FA", _GENERIC_FULL_ADDER, {"CO": "(A&B)|(C&(A|B))", "S": "A^B^C"})
    flop = (
        f"cell (DFF) {{ area : {_GENERIC_FLIP_FLOP};\n"
        '  ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }\n'
        "  pin (D) { direction : input; } pin (CK) { direction : input; clock : true; }\n"
        '  pin (Q) { direction : output; function : "IQ"; } }\n'
    )
    header = 'delay_model : table_lookup; time_unit : "1ns"; capacitive_load_unit (1, ff);\n'
    return f"library (generic) {{\n{header}{gates}{adder}{flop}}}\n"


def _gate(name: str, area: float, outputs: Mapping[str, str]) -> str:
    used = [pin for pin in "ABCD" if any(pin in function for function in outputs.values())]
    pins = [f"pin ({pin}) {{ direction : input; }}" for pin in used]
    pins += [f'pin ({pin}) {{ direction : output; function : "{f}"; }}' for pin, f in outputs.items()]
    return f"cell ({name}) {{ area : {area};\n  " + "\n  ".join(pins) + " }\n"


def describe() -> str:
    """The allowed target names in one phrase."""
    return (
        f"generic, {', '.join(FPGAS)}, or Liberty files (FILE.lib or FILE.lib.gz, several joined by commas)"
    )


def parse(name: str) -> Target:
    """The target a user's word stands for; a library goes untimed where OpenSTA is missing.

    Args:
        name: ``generic``, an FPGA family, or paths of Liberty files joined by commas.

    Raises:
        TargetError: no such family, an unreadable file, or a library without flip-flops or buffers.
    """
    found = _parsed(name)
    if isinstance(found, Asic) and found.timed and not optional.OPENSTA.found():
        return replace(found, untimed=NO_OPENSTA)
    return found


@lru_cache(maxsize=4)
def _parsed(name: str) -> Target:
    if name in FPGAS:
        return FPGAS[name]
    if name == "generic":
        text = generic_liberty()
        texts, cells = (("generic.lib", text),), liberty.parse(text)
        return Asic("generic", texts, cells, "BUF", 1.0, 1.0, untimed=NO_TABLES, unit="GE")
    return _library([Path(part.strip()) for part in name.split(",")], name)


def _library(paths: list[Path], name: str) -> Asic:
    if not all(path.name.endswith((".lib", ".lib.gz")) for path in paths):
        raise TargetError(f"target: {name!r} is not one of {describe()}")
    texts: list[tuple[str, str]] = []
    for number, path in enumerate(paths):
        try:
            texts.append((f"cells{number}.lib", liberty.read_text(path)))
        except (OSError, EOFError) as error:
            raise TargetError(
                f"target: {str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None
    cells = {cell: entry for _, text in texts for cell, entry in liberty.parse(text).items()}
    buffers = liberty.buffers(cells.values())
    if not buffers or not any(cell.sequential for cell in cells.values()):
        raise TargetError(f"target: {name!r} must hold a buffer and a flip-flop, found {len(cells)} cells")
    stem = paths[0].name.removesuffix(".gz").removesuffix(".lib")
    second = buffers[min(1, len(buffers) - 1)].name
    conditions = [entry for entry in _CONDITIONS if entry[0] in cells] or [(second, second, 5.0, 1.0, ())]
    _, driver, load, period, dont_use = conditions[0]
    untimed = "" if any(_TIMING.search(text) for _, text in texts) else NO_TABLES
    return Asic(stem, tuple(texts), cells, driver, load, period, dont_use, untimed)
