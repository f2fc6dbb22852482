"""What ``python -m synth.model`` shows, as plain data: the published model, its corrections, the designs."""

from dataclasses import dataclass
from typing import Any

from synth.model import corrections, published, system
from synth.model.accelerators import UNITS, Accelerator
from synth.model.accelerators import published as published_designs
from synth.model.areas import Areas
from synth.model.kvloom import edge, kvloom, tiles
from synth.model.networks import PUBLISHED, Network
from synth.model.published_designs import DESIGNS
from synth.model.system import Machine

__all__ = ["CONTEXTS", "Question", "evaluate"]

CONTEXTS = (256, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
PROMPT = 256


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        network: the model.
        context: tokens in the cache while decoding.
        batch: sequences.
        weights: data types of kvloom.
        kv: KV schemes of kvloom.
        head: data type of kvloom's output layer.
        tiles: tiles of ``edge`` that are shown beside those of equal area.
        columns: of the arrays of these tiles.
        machine: clock and memory.
        areas: measured areas.
    """

    network: Network
    context: int
    batch: int
    weights: tuple[str, ...]
    kv: tuple[str, ...]
    head: str
    tiles: int
    columns: int
    machine: Machine
    areas: Areas

    @property
    def designs(self) -> tuple[Accelerator, ...]:
        """Every design, FP16 first, then kvloom in the order asked for, in equal area and as ``edge``."""
        asked = [(weights, kv, self.head) for weights in self.weights for kv in self.kv]
        equal = (kvloom(self.areas, *own) for own in asked)
        return (
            *published_designs(self.areas),
            *equal,
            *(edge(*own, self.tiles, self.columns) for own in asked),
        )


def evaluate(question: Question) -> dict[str, Any]:
    """All figures, for JSON and for the tables."""
    return {
        "question": {
            "model": question.network.name,
            "context": question.context,
            "batch": question.batch,
            "bandwidth": question.machine.bandwidth,
            "clock": question.machine.clock,
            "prompt": PROMPT,
            "head": question.head,
        },
        "published": [_reproduced(name) for name in DESIGNS],
        "corrections": [
            {
                "name": correction.name,
                "fault": correction.fault,
                "headline": found.both,
                "prefill": found.prefill,
                "generate": found.generate,
                "decode": found.decode,
                "energy": found.energy,
            }
            for correction, found in corrections.table()
        ],
        "areas": _areas(question),
        "designs": [_design(design, question) for design in question.designs],
    }


def _reproduced(name: str) -> dict[str, Any]:
    """Cycles and energy of a published design, by network."""
    runs = {"prefill": published.prefill, "decode": published.decode, "generate": published.generate}
    found: dict[str, Any] = {"name": name}
    for task, run in runs.items():
        costs = {network.name: run(DESIGNS[name], network) for network in PUBLISHED}
        found[task] = {
            "cycles": {network: cost.cycles for network, cost in costs.items()},
            "joules": {network: cost.energy * 1e-12 for network, cost in costs.items()},
        }
    return found


def _areas(question: Question) -> dict[str, Any]:
    areas, found = question.areas, []
    units = {name: areas.unit(entry) for name, entry in UNITS.items()}
    units |= {unit.name: unit for unit in areas.designs if unit not in units.values()}
    for name, unit in units.items():
        row: dict[str, Any] = {"name": name, "area_per_mac": None, "datatype": None, "pj_per_mac": None}
        if unit is not None:
            datatype, rate = unit.rate(2.0 if name == "BitMoD" else 1.0)
            row |= {"area_per_mac": unit.area / rate, "datatype": datatype}
            row["pj_per_mac"] = unit.picojoules
        found.append(row)
    shown = areas.model_dump(include={"target", "period", "untimed", "tools"})
    return {**shown, "tiles": tiles(areas), "units": found}


def _design(design: Accelerator, question: Question) -> dict[str, Any]:
    network, machine = question.network, question.machine
    step = system.decode(design, network, question.context, question.batch, machine)
    prompt = system.prefill(design, network, PROMPT, question.batch, machine)
    elements = 2 * question.context * network.kv_width
    steps = {
        context: system.decode(design, network, context, question.batch, machine) for context in CONTEXTS
    }
    return {
        "name": design.name,
        "label": design.label,
        "macs_per_cycle": design.peak,
        "kv_bits": 8 * design.cached(network, question.context) / elements,
        "weight_bits": 8 * step.bytes("weight") / network.parameters,
        "decode": _step(step, design, question.areas),
        "prefill": _step(prompt, design, question.areas),
        "contexts": {str(context): one.tokens_per_second for context, one in steps.items()},
    }


def _step(step: system.Step, design: Accelerator, areas: Areas) -> dict[str, Any]:
    unit = areas.unit(UNITS[design.name])
    picojoules = unit.picojoules if unit else None
    return {
        "seconds": step.seconds,
        "tokens_per_second": step.tokens_per_second,
        "gigabytes": {kind: step.bytes(kind) / 1e9 for kind in ("weight", "kv", "activation")},
        "dram_joules": step.dram_energy,
        "array_joules": None if picojoules is None else step.macs * picojoules * 1e-12,
        "macs": step.macs,
        "macs_per_byte": step.macs / step.bytes(),
        "macs_per_second": step.macs / step.seconds,
        "array_share": step.share("compute"),
        "memory_share": step.share("memory"),
        "quantiser_share": step.share("writing"),
    }
