"""The manifest: what a generated block is, for tools that instantiate, drive or compare it."""

import enum
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from amaranth.hdl import Shape, ShapeCastable, ShapeLike
from amaranth.hdl._ir import PortDirection
from amaranth.lib import data, wiring

from golden.kv.formats import Format
from hw import blocks, verilog
from hw.bus.registers import VERSION
from hw.config import Config
from hw.kv.quantiser import page_cycles
from hw.pe.tile import fill_latency

__all__ = ["as_json", "describe", "fields"]

_TIMED = ("accelerator", "tile")
_WRITERS = ("kv_quantiser", "kv_page_writer", "kv_page_closer")
_ROW_BLOCK_CYCLES = "sum over the groups of a row block of ceil(group elements / lanes) * terms"


def describe(
    component: wiring.Component, config: Config, source: str, block: str, top: str, text: str
) -> dict[str, Any]:
    """Everything that a manifest says of a block, except of its files.

    Args:
        component: the block; after its Verilog was made.
        config: its configuration.
        source: name of the preset or configuration file.
        block: its name in ``hw.blocks``.
        top: name of the top module.
        text: its Verilog.
    """
    return {
        "tool": {"name": "kvloom", "version": ".".join(map(str, VERSION))},
        "configuration": {"name": source, **config.model_dump(mode="json")},
        "block": block,
        "summary": blocks.summary(block),
        "top": top,
        **_domain(top, text),
        "ports": list(_ports(component)),
        "performance": _performance(block, config),
    }


def as_json(description: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The manifest's text, with the name and hash of each file beside it."""
    listed = [
        {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest()} for name, text in files.items()
    ]
    return json.dumps({**description, "files": listed}, indent=2) + "\n"


def _domain(top: str, text: str) -> dict[str, Any]:
    """Clock and reset, which combinational blocks lack."""
    header = re.search(rf"^module {top}\(([^;]*)\);", text, flags=re.MULTILINE)
    names = re.findall(r"\w+", header.group(1)) if header else []
    clock = {"name": "clk", "edge": "rising"} if "clk" in names else None
    reset = {"name": "rst", "active": "high", "synchronous": True} if "rst" in names else None
    return {"clock": clock, "reset": reset}


def _ports(component: wiring.Component) -> Iterator[dict[str, Any]]:
    flat = verilog.ports(component)
    for path, member, _ in component.signature.flatten(component):
        name = "_".join(map(str, path))
        direction = flat[name][1]
        if Shape.cast(member.shape).width == 0:
            continue
        port: dict[str, Any] = {
            "name": name,
            "direction": "input" if direction == PortDirection.Input else "output",
            "width": Shape.cast(member.shape).width,
        }
        parts = list(fields(member.shape))
        if len(parts) > 1 or parts[0]["name"] or {"repeat", "values"} & parts[0].keys():
            port["fields"] = parts
        elif parts[0]["signed"]:
            port["signed"] = True
        yield port


def fields(
    shape: ShapeLike, name: str = "", offset: int = 0, repeat: tuple[dict[str, int], ...] = ()
) -> Iterator[dict[str, Any]]:
    """The leaves of a layout: name, place, and ``values`` by name where it is an enumeration.

    Args:
        shape: a layout or any other shape.
        name: its dotted name.
        offset: its lowest bit.
        repeat: number and distance in bits of the elements of each array around it, outermost first.
    """
    layout = _layout(shape)
    if isinstance(layout, data.ArrayLayout):
        stride = Shape.cast(layout.elem_shape).width
        inner = (*repeat, {"count": layout.length, "stride": stride})
        yield from fields(layout.elem_shape, name, offset, inner)
    elif layout is not None:
        for key, field in layout:
            yield from fields(field.shape, f"{name}.{key}".lstrip("."), offset + field.offset, repeat)
    else:
        cast = Shape.cast(shape)
        entry = {"name": name, "offset": offset, "width": cast.width, "signed": cast.signed}
        if isinstance(shape, type) and issubclass(shape, enum.Enum):
            entry["values"] = {each.name: each.value for each in shape}
        yield {**entry, "repeat": list(repeat)} if repeat else entry


def _layout(shape: ShapeLike) -> data.Layout | None:
    """The layout behind a shape, if there is one."""
    while isinstance(shape, ShapeCastable) and not isinstance(shape, data.Layout):
        inner = shape.as_shape()
        if not isinstance(inner, ShapeCastable):
            return None
        shape = inner
    return shape if isinstance(shape, data.Layout) else None


def _performance(block: str, config: Config) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "terms": {entry.name: entry.term_count for entry in config.datatypes},
        "macs_per_cycle": blocks.macs_per_cycle(block, config),
    }
    if block in _TIMED:
        facts["row_block_cycles"] = _ROW_BLOCK_CYCLES
        facts["fill_latency_cycles"] = fill_latency(config)
    if block in _WRITERS:
        facts["page_cycles"] = {form.coding.name: _page_cycles(form, config) for form in _forms(config)}
    return facts


def _forms(config: Config) -> list[Format]:
    """Formats of keys with groups of all tokens of a page, one for each way to lay codes out."""
    group = config.kv.page_tokens
    affine = [Format("native", bits, "channel", group) for bits in (8, 4, 3, 2, 1)]
    return [*affine, Format("ternary", 2, "channel", group)]


def _page_cycles(form: Format, config: Config) -> int:
    """Of a page of heads with all the channels that there can be."""
    elements = config.kv.page_tokens * config.kv.channels
    return page_cycles(config, form, elements // config.kv.page_tokens, elements)
