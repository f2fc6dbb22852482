"""Repeated components, written once.

Amaranth elaborates and writes a module for every instance of a component. An array of a thousand equal
processing elements would take minutes and gigabytes that way; ``share`` elaborates the first one only and
instantiates it as often as needed.
"""

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring

__all__ = ["Library", "library", "share"]

_C = TypeVar("_C", bound=wiring.Component)


@dataclass
class Library:
    """The modules that are written once.

    Attributes:
        prefix: what their names start with.
        write: component and module name to RTLIL text.
        ports: component to its flattened ports.
        texts: RTLIL text by module name.
    """

    prefix: str
    write: Callable[[wiring.Component, str], str]
    ports: Callable[[wiring.Component], dict]
    texts: dict[str, str] = field(default_factory=dict)
    _names: dict[tuple, str] = field(default_factory=dict)

    def instance(self, component: wiring.Component) -> Instance:
        """An instance of the component's module, connected to the component's ports."""
        key = (type(component), component.config)  # type: ignore[attr-defined]
        if key not in self._names:
            base = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(component).__name__).lower()
            same = sum(kind is type(component) for kind, _ in self._names)
            name = f"{self.prefix}_{base}" + (f"_{same + 1}" if same else "")
            self._names[key] = name
            self.texts[name] = self.write(component, name)
        name = self._names[key]
        connections = {}
        for port, (value, direction) in self.ports(component).items():
            connections[f"{direction.value[0]}_{port}"] = value
        for port, value in (("clk", ClockSignal()), ("rst", ResetSignal())):
            if re.search(rf"^  wire .*input \d+ +\\{port}$", self.texts[name], re.MULTILINE):
                connections[f"i_{port}"] = value
        return Instance(name, **connections)


library: ContextVar[Library | None] = ContextVar("library", default=None)
"""The library of the Verilog that is being written; None while Amaranth's own simulator elaborates."""


def share(m: Module, name: str, component: _C) -> _C:
    """Add a component that stands in the design many times; use it like a sub-module.

    Args:
        m: module that it is added to.
        name: of the instance.
        component: one with a ``config``; equal type and configuration mean equal circuits.
    """
    current = library.get()
    if current is None:
        m.submodules[name] = component
    else:
        m.submodules[name] = current.instance(component)
        component._MustUse__used = True  # only its ports are wanted; Amaranth would warn of that
    return component
