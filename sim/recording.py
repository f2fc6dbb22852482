"""Record what passes the ports of a component, cycle by cycle, in Amaranth's own simulator.

A recording can be played to another form of the same design, such as its gates, which must answer the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from sim.packing import codec

__all__ = ["Trace", "record"]


@dataclass(frozen=True)
class Trace:
    """Every port of a design in every cycle, as before the rising edge; bits as unsigned integers.

    Attributes:
        inputs: by port, clock and reset left out.
        outputs: by port.
        window: first and last but one cycle of interest.
        multiplications: how many the window holds.
        settled: first cycle whose outputs no register without a reset has had a part in.
    """

    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, Sequence[int]]
    window: tuple[int, int] = (0, 0)
    multiplications: int = 0
    settled: int = 0

    @property
    def cycles(self) -> int:
        """Length of the recording."""
        return max((len(values) for values in self.inputs.values()), default=0)

    def within(self, first: int, stop: int, multiplications: int) -> "Trace":
        """The same with a window."""
        return replace(self, window=(first, stop), multiplications=multiplications)


def record(
    component: wiring.Component,
    cycles: int,
    values: Mapping[str, Sequence[int]] | None = None,
    beats: Mapping[str, Sequence[Any]] | None = None,
) -> Trace:
    """Run a component from reset.

    Args:
        component: with one clock domain.
        cycles: how long; 0 stops 16 cycles after the last beat that entered or left.
        values: bits of plain input ports by cycle; 0 afterwards and for ports not named.
        beats: payloads of input streams, offered as soon as they are taken. Output streams are always ready.
    """
    inputs, outputs = _ports(component)
    values = dict(values or {})
    queues = {name: _queue(component, name, given) for name, given in (beats or {}).items()}
    seen: dict[str, list[int]] = {name: [] for name in (*inputs, *outputs)}

    async def drive(context: Any) -> None:
        offered = {name: next(queue, None) for name, queue in queues.items()}
        for name in inputs:
            if name.endswith("_ready"):
                context.set(inputs[name], 1)
        quiet = 0
        while quiet < 16 if not cycles else len(next(iter(seen.values()))) < cycles:
            cycle = len(next(iter(seen.values())))
            for name, given in values.items():
                context.set(inputs[name], given[cycle] if cycle < len(given) else 0)
            for name, beat in offered.items():
                context.set(inputs[f"{name}_valid"], int(beat is not None))
                context.set(inputs[f"{name}_payload"], beat or 0)
            for name, port in (*inputs.items(), *outputs.items()):
                seen[name].append(context.get(port))
            moved = [name for name in outputs if name.endswith("_valid") and seen[name][-1]]
            for name, beat in offered.items():
                if beat is not None and seen[f"{name}_ready"][-1]:
                    moved.append(name)
                    offered[name] = next(queues[name], None)
            quiet = 0 if moved else quiet + 1
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return Trace({name: seen[name] for name in inputs}, {name: seen[name] for name in outputs})


def _queue(component: wiring.Component, name: str, given: Sequence[Any]) -> Iterator[int]:
    shape = getattr(component, name).payload.shape()
    return map(codec(shape).pack, given)


def _ports(component: wiring.Component) -> tuple[dict[str, Value], dict[str, Value]]:
    """Input and output ports by the name that they have in Verilog."""
    inputs: dict[str, Value] = {}
    outputs: dict[str, Value] = {}
    for path, member, value in component.signature.flatten(component):
        port = Value.cast(value)
        if len(port):
            (inputs if member.flow == wiring.In else outputs)["_".join(map(str, path))] = port
    return inputs, outputs
