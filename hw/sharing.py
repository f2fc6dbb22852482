"""Repeated components, elaborated once.

Amaranth elaborates every instance of a component. An array of a thousand equal processing elements would
take minutes and gigabytes that way; ``share`` elaborates the first one only and instantiates it as often as
needed.
"""

from contextvars import ContextVar
from typing import Protocol, TypeVar

from amaranth.hdl import Instance, Module
from amaranth.lib import wiring

__all__ = ["Library", "library", "share"]

_C = TypeVar("_C", bound=wiring.Component)


class Library(Protocol):
    """The modules that are being written."""

    def shared(self, component: wiring.Component) -> Instance:
        """An instance of the component's module, connected to the component's ports."""
        ...


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
        m.submodules[name] = current.shared(component)
        component._MustUse__used = True  # only its ports are wanted; Amaranth would warn of that
    return component
