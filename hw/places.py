"""Sizes of a block and places of all fields of its ports, as macros of C and of Verilog."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["c_header", "macros", "verilog_header"]


def macros(description: Mapping[str, Any]) -> dict[str, int]:
    """Name to value of every macro.

    ``TOP_CONFIG_SIZE`` is a size of the configuration, ``TOP_PORT_WIDTH`` the bits of a port that has more
    than one. A field of a port has ``_LOW`` and ``_WIDTH``, and ``_NAME`` for each name of a value. An array
    in which it lies has ``_COUNT0`` elements, ``_STRIDE0`` bits apart; arrays in that one count from there.

    Args:
        description: of the block, as of ``hw.manifest.describe``.
    """
    top = description["top"]
    found = {f"{top}_config_{name}": size for name, size in _sizes(description["configuration"])}
    for port in description["ports"]:
        place = f"{top}_{port['name']}"
        if port["width"] > 1:
            found[f"{place}_width"] = port["width"]
        for field in port.get("fields", ()):
            inner = "_".join([place, *filter(None, field["name"].split("."))])
            found |= {f"{inner}_{name}": value for name, value in _of_field(field).items()}
    return {name.upper(): value for name, value in found.items()}


def _sizes(configuration: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, int]]:
    """The configuration's numbers."""
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{outer}{name}_")
        elif isinstance(value, int):
            yield f"{outer}{name}", int(value)


def _of_field(field: Mapping[str, Any]) -> dict[str, int]:
    found = {"low": field["offset"], "width": field["width"]}
    for depth, around in enumerate(field.get("repeat", ())):
        found |= {f"count{depth}": around["count"], f"stride{depth}": around["stride"]}
    return found | field.get("values", {})


def c_header(description: Mapping[str, Any]) -> str:
    """The macros for C; the guard is TOP_PORTS_H."""
    guard = f"{description['top']}_ports_h".upper()
    lines = _lines(description, lambda name, value: f"#define {name} {value}")
    title = f"/* {_title(description)} */"
    return "\n".join([title, f"#ifndef {guard}", f"#define {guard}", *lines, "#endif", ""])


def verilog_header(description: Mapping[str, Any]) -> str:
    """The macros for Verilog."""
    lines = _lines(description, lambda name, value: f"`define {name} {value}")
    return "\n".join([f"// {_title(description)}", *lines, ""])


def _title(description: Mapping[str, Any]) -> str:
    return f"Sizes of {description['top']} and places of the fields of its ports. Generated: do not edit."


def _lines(description: Mapping[str, Any], line: Callable[[str, int], str]) -> list[str]:
    return [line(name, value) for name, value in macros(description).items()]
