"""One RTLIL module for each component.

Amaranth writes a design as one netlist and cuts modules out of it, net by net: a port is whatever happens to
cross a border, split where only some of its bits do, and named by a number then. Here every component is a
netlist of its own. Its ports are its signature, whole and in order, and what contains it instantiates it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, ResetSignal, Signal, Value, ValueCastable
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._ir import Design, PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import wiring
from amaranth.lib.fifo import FIFOInterface
from amaranth.lib.wiring import In, Out

__all__ = ["Modules", "Ports", "ports"]

Ports = Mapping[str, tuple[Value, PortDirection]]
"""Port name to (value, direction)."""

_ZERO_INITIALISATION = re.compile(
    r"^  cell \$meminit_v2 \S+\n(?:    (?:parameter|connect \\(?:ADDR|EN)) [^\n]*\n)*"
    r"    connect \\DATA \d+'0+\n(?:    [^\n]*\n)*  end\n",
    re.MULTILINE,
)
_PORT = re.compile(r"^(  wire width \d+ (?:input|output) )\d+(.* \\(\S+))$", re.MULTILINE)


def ports(component: wiring.Component) -> Ports:
    """Flatten a component's signature to Verilog port names joined by one underscore.

    Args:
        component: any component; a structured payload becomes one port as wide as the structure.

    Returns:
        Port name to (value, direction), in the order of the signature.

    Raises:
        ValueError: two members flatten to one name.
    """
    flat: dict[str, tuple[Value, PortDirection]] = {}
    for path, member, value in _signature(component).flatten(component):
        name = "_".join(map(str, path))
        if name in flat:
            raise ValueError(f"port name {name!r} is not unique")
        direction = PortDirection.Input if member.flow == In else PortDirection.Output
        flat[name] = (value.as_value() if isinstance(value, ValueCastable) else value, direction)
    return flat


def _signature(component: wiring.Component | FIFOInterface) -> wiring.Signature:
    """A component's signature; Amaranth's FIFOs do not say theirs."""
    if not isinstance(component, FIFOInterface):
        return component.signature
    inputs, outputs = ("w_data", "w_en", "r_en"), ("w_rdy", "w_level", "r_data", "r_rdy", "r_level")
    flows = dict.fromkeys(inputs, In) | dict.fromkeys(outputs, Out)
    return wiring.Signature({name: flow(getattr(component, name).shape()) for name, flow in flows.items()})


@dataclass(frozen=True)
class _Written:
    """A module that has been written.

    Attributes:
        name: its name, or that of an equal module which was written before.
        clocks: its clock and reset ports and what drives them.
    """

    name: str
    clocks: Mapping[str, Value]

    def instance(self, component: wiring.Component) -> Instance:
        """An instance, connected to the ports of the component that it stands for."""
        flat = ports(component).items()
        connections = [(way.value[0], port, value) for port, (value, way) in flat if len(value)]
        return Instance(self.name, *connections, *(("i", *clock) for clock in self.clocks.items()))


@dataclass
class Modules:
    """The modules of one source.

    Modules that are equal letter for letter, what they instantiate included, are written once.

    Attributes:
        top: name of the top module, with which all other names begin.
        texts: RTLIL text by module name, inner ones first.
        repeated: names that two things of a module have in the source, as ``module.name``; the second one is
            numbered.
    """

    top: str
    texts: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _equal: dict[str, str] = field(default_factory=dict)
    _shared: dict[tuple, _Written] = field(default_factory=dict)
    _homes: SignalDict = field(default_factory=SignalDict)

    def shared(self, component: wiring.Component) -> Instance:
        """An instance of a component whose type and ``config`` say all; only the first one is elaborated."""
        kind = type(component)
        key = (kind, component.config)  # type: ignore[attr-defined]
        if key not in self._shared:
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
            self._shared[key] = self.write(component, f"{self.top}_{name}")
        return self._shared[key].instance(component)

    def write(self, component: wiring.Component, name: str, fragment: Fragment | None = None) -> _Written:
        """Write a component's module and those of the components in it.

        Args:
            component: any component.
            name: of the module; a number is added where another module has that name.
            fragment: what the component was elaborated to, if it was.

        Raises:
            ValueError: a signal is used in two modules without being a port.
        """
        name = _free(name, self._names)
        fragment = fragment or Fragment.get(component, None)
        self._take_out(fragment, name)
        flat = {port: entry for port, entry in ports(component).items() if len(entry[0])}
        design = fragment.prepare(flat, hierarchy=(name,))
        clocks, names = _clocks(design), SignalDict()
        for port, (signal, _) in flat.items():
            names[signal] = port
        for signal, _ in clocks:
            names[signal] = signal.name
        self._claim(design, names, name)
        self.repeated += (f"{name}.{twice}" for twice in _name(design, names))
        text = rtlil.convert_fragment(design, name=name, emit_src=False)[0]
        text = _ordered(_ZERO_INITIALISATION.sub("", text), [*flat, *(signal.name for signal, _ in clocks)])
        first = self._equal.setdefault(text.replace(f"module \\{name}\n", "", 1), name)
        if first == name:
            self.texts[name] = text
        return _Written(first, {signal.name: outside for signal, outside in clocks})

    def _take_out(self, fragment: Fragment, name: str) -> None:
        """Put instances in the place of all components inside."""
        for index, (inner, label, location) in enumerate(fragment.subfragments):
            if type(inner) is not Fragment:
                continue  # an instance or a memory
            path = f"{name}_{label}"
            component = _component(inner)
            if component is None:
                self._take_out(inner, path)
                continue
            if inner.domains:
                raise ValueError(f"{path} defines the clock domain {next(inner.iter_domains())!r}")
            instance = self.write(component, path, inner).instance(component)
            fragment.subfragments[index] = (instance, label, location)

    def _claim(self, design: Design, outside: SignalDict, name: str) -> None:
        """See that each signal lives in one module; ``outside`` are those that are ports."""
        for signal in design.fragments[design.fragment].used_signals:
            if not len(signal) or (signal in outside and name != self.top):
                continue
            home = self._homes.get(signal, name)
            if home != name:
                raise ValueError(f"signal {signal.name!r} is used in {home} and in {name} but is no port")
            self._homes[signal] = name


def _component(fragment: Fragment) -> wiring.Component | None:
    """What a fragment was made of, if that has a signature."""
    for origin in fragment.origins or ():
        if isinstance(origin, wiring.Component | FIFOInterface):
            return origin
    return None


def _clocks(design: Design) -> list[tuple[Signal, Value]]:
    """Clocks and resets inside and what drives them outside."""
    clocks: list[tuple[Signal, Value]] = []
    for name, domain in sorted(design.fragment.domains.items()):
        clocks.append((domain.clk, ClockSignal(name)))
        if domain.rst is not None:
            clocks.append((domain.rst, ResetSignal(name)))
    return clocks


def _name(design: Design, names: SignalDict) -> list[str]:
    """Decide the names of a module's wires.

    Ports are called as in the signature, the wires at an instance's or a memory's ports ``instance_port``,
    all others as in the source.

    Args:
        design: one module; its inner ones are instances and memories.
        names: names of its ports.

    Returns:
        Names that occur twice.
    """
    module = design.fragments[design.fragment]
    taken = {names[signal] for signal in names}
    twice: list[str] = []

    def free(name: str, width: int = 1) -> str:
        name = name.replace("__", "_")
        if name in taken and width:  # Verilog has no wires without bits
            twice.append(name)
        return _free(name, taken)

    for inner, label, _ in design.fragment.subfragments:
        if type(inner) is not Fragment:
            design.fragments[inner].name = (*design.hierarchy, free(label or "$unnamed"))
    for inner, label, _ in design.fragment.subfragments:
        for port, value in _connections(inner):
            if isinstance(value, Signal) and value not in names:
                names[value] = free(f"{label}_{port}")
    # Of two signals with the same bits the first one gives the driven wire its name: a register if it is one.
    statements = design.fragment.statements.items()
    registers = [target for domain, body in statements if domain != "comb" for target in body._lhs_signals()]
    signals = [*module.signal_names]
    module.signal_names.clear()
    for signal in [*registers, *signals]:
        if signal not in module.signal_names and signal.name:
            module.signal_names[signal] = names[signal] if signal in names else free(signal.name, len(signal))
    return twice


def _connections(inner: Fragment) -> Iterator[tuple[str, Value]]:
    """Ports of an instance or a memory and what they are connected to."""
    if isinstance(inner, Instance):
        yield from ((port, value) for port, (value, _) in inner.ports.items())
    elif isinstance(inner, MemoryInstance):
        for port in (*inner._read_ports, *inner._write_ports):
            for value in (port._addr, port._data, port._en):
                yield getattr(value, "name", ""), value


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, and take it."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _ordered(text: str, order: Sequence[str]) -> str:
    """Number the ports of a module as they are listed."""
    places = {name: place for place, name in enumerate(order, 1)}  # 0 would be no port
    return _PORT.sub(lambda match: f"{match[1]}{places[match[3]]}{match[2]}", text)
