"""A block's page: what an engineer needs to drive it who has nothing but the emitted files."""

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from amaranth.hdl import ShapeLike
from amaranth.lib import data
from amaranth.lib.wiring import In

from hw import meanings
from hw.bus import registers
from hw.bus.axi_ports import AxiPorts, streams
from hw.config import Config
from hw.core import registers as core_registers

__all__ = ["markdown"]

_REGISTERS = {"accelerator": registers, "core": core_registers}
_MEMORY = {
    "golden.weights.layout": ("accelerator", "unpacker"),
    "golden.kv.pages": ("kv_page_writer", "kv_page_closer", "kv_page_reader", "kv_half_reader", "attention"),
}
"""Modules whose docstrings say what lies in memory, and the blocks that read or write it."""

_RULES = """\
One clock `clk`, rising edge; one synchronous reset `rst`, active high, one cycle is enough. Hold every
`tvalid` that you drive low until it is over.

Streams are AXI4-Stream: a beat moves in each cycle in which `tvalid` and `tready` are both high. Any stream
may stall at any time on either side. `tvalid` never waits for `tready`, what a stream carries stays as it is
while it waits, and outputs that nobody takes stop the block without a loss. No `tready` of one stream
decides in the same cycle about `tvalid` of another. `tlast` is the field `last` of what a stream carries; a
stream without it has packets of one beat. Bits of `tdata` above the last field are zeros, or do not matter
where they come in.

**Busy and stuck** means that an input's next beat is missing, or that an output's `tready` stays low;
nothing else stops the block, and it has no time limit inside. Bad input is counted or flagged as the table
says and left out or filled up; what follows it is taken as if nothing had been.
"""

_COMBINATIONAL = "Without a clock: outputs follow inputs.\n"


def markdown(description: Mapping[str, Any], component: AxiPorts, config: Config, stem: str) -> str:
    """The page.

    Args:
        description: of the block, as of ``hw.manifest.describe``.
        component: the block behind its ports.
        config: its configuration.
        stem: name of the Verilog file without its suffix.
    """
    summary = description["summary"]
    sections = {
        "What it does": f"{meanings.prose(type(component.inner))}\n",
        "Clock, reset, streams": _RULES if description["clock"] else _COMBINATIONAL,
        "Ports": _ports(description, component),
        "Fields": "\n".join(_fields(description, component, config)),
        "Time": _time(description["performance"]),
        **_documents(description["block"]),
        "Configuration": f"```json\n{json.dumps(description['configuration'])}\n```\n",
    }
    lines = [f"# {description['top']}", "", f"{summary[0].upper()}{summary[1:]}.", ""]
    lines += [
        f"The circuit is `{stem}.v`. `{stem}_ports.h` and `{stem}_ports.vh` have the sizes and places below"
    ]
    lines += ["as macros of C and of Verilog.", ""]
    for title, text in sections.items():
        lines += [f"## {title}", "", text] if text else []
    return "\n".join(lines)


def _table(*rows: tuple[object, ...]) -> str:
    """A table whose first row is its head."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:], ""])


def _owned(description: Mapping[str, Any], component: AxiPorts) -> dict[str, list[dict[str, Any]]]:
    """Ports of each member."""
    paths = [path for path, _, _ in component.signature.flatten(component)]
    owners = {"_".join(map(str, path)): str(path[0]) for path in paths}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in component.signature.members}
    for port in description["ports"]:
        found[owners[port["name"]]].append(port)
    return found


def _ports(description: Mapping[str, Any], component: AxiPorts) -> str:
    """Members of the block in order, each with its ports, their bits, and what it means."""
    said = meanings.ports(type(component.inner))
    rows: list[tuple[object, ...]] = [("name", "direction", "ports and bits", "meaning")]
    for name, ports in _owned(description, component).items():
        own = ", ".join(f"`{port['name']}` {port['width']}" for port in ports)
        direction = "in" if component.signature.members[name].flow == In else "out"
        rows.append((name, direction, own, said.get(name) or said.get(name.rstrip("_0123456789"), "")))
    return _table(*rows)


def _fields(description: Mapping[str, Any], component: AxiPorts, config: Config) -> Iterator[str]:
    """Payloads, stream by stream: what they are, and where each field lies."""
    room = type(component.inner).__module__.split(".")[1]
    payloads = {name: shape for name, _, shape in streams(component.inner)}
    for name, ports in _owned(description, component).items():
        rows = [_row(port, field) for port in ports for field in port.get("fields", ())]
        texts = [*_texts(payloads[name], room, config)] if name in payloads else []
        if rows or texts:
            yield f"### {name}\n"
            yield from (f"{text}\n" for text in texts)
        if rows:
            yield _table(("port", "bits", "field", "values"), *rows)


def _texts(shape: ShapeLike, room: str, config: Config) -> Iterator[str]:
    """What a payload is, then what its parts are that are payloads themselves."""
    text = meanings.payload(shape, room, config)
    if text is not None:
        yield text
    if isinstance(shape, data.StructLayout):
        for name, field in shape:
            yield from (f"`{name}`: {inner}" for inner in _texts(field.shape, room, config))


def _row(port: Mapping[str, Any], field: Mapping[str, Any]) -> tuple[object, ...]:
    low, width, arrays = field["offset"], field["width"], field.get("repeat", ())
    bits = f"{low + width - 1}:{low}" if width > 1 else str(low)
    if any(each["count"] > 1 for each in arrays):
        counts = " x ".join(str(each["count"]) for each in arrays)
        apart = " and ".join(str(each["stride"]) for each in arrays)
        bits += f"; {counts} of them, {apart} bits apart"
    values = ", ".join(f"{value} {name}" for name, value in field.get("values", {}).items())
    values = values or ("two's complement" if field["signed"] else "")
    return f"`{port['name']}`", bits, field["name"] or "all", values


def _time(performance: Mapping[str, Any]) -> str:
    """What is known in cycles, beyond the text."""
    parts = []
    if performance["macs_per_cycle"]:
        rates = performance["macs_per_cycle"].items()
        parts.append(_table(("type", "products a cycle"), *((name, f"{rate:g}") for name, rate in rates)))
    if "row_block_cycles" in performance:
        parts.append(
            f"Cycles of a row block: {performance['row_block_cycles']}. The last result comes"
            f" {performance['fill_latency_cycles']} cycles behind the last chunk.\n"
        )
    if "page_cycles" in performance:
        cycles = performance["page_cycles"].items()
        parts.append("Of a page of keys with all channels, in groups of all its tokens, without stalls:\n")
        parts.append(_table(("codes", "cycles of a page (`page_cycles`)"), *cycles))
    return "\n".join(parts)


def _documents(block: str) -> dict[str, str]:
    """Registers, and what lies in memory."""
    found = {}
    if block in _REGISTERS:
        found["Registers"] = _REGISTERS[block].markdown().partition("\n\n")[2]
    for module, readers in _MEMORY.items():
        if block in readers:
            text = inspect.getdoc(importlib.import_module(module))
            found["In memory"] = f"```text\n{text}\n```\n"
    return found
