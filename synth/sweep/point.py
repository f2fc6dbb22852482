"""Measure one point of a design space: area, throughput, error."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, TypedDict

import numpy as np

from golden import optional
from golden.accuracy import relative_error
from golden.weights.quantized import quantize
from hw.config import Config
from synth import command
from synth.measure import measure

__all__ = ["Measured", "Task", "errors", "measured", "tools"]

_ROWS, _INPUTS, _TOKENS = 64, 1024, 4


@dataclass(frozen=True)
class Task:
    """All that a worker needs, on whichever machine it runs.

    Attributes:
        config: fields of the configuration.
        block, datatype, target, period, quick: as of ``synth.sweep.space.Space``.
        tools: versions by :func:`tools` where the sweep was started.
    """

    config: dict[str, Any]
    block: str
    datatype: str
    target: str
    period: float | None
    quick: bool
    tools: dict[str, str]


def tools() -> dict[str, str]:
    """Versions of the programs that areas and periods come from."""
    return optional.versions(optional.YOSYS, optional.OPENSTA)


class Measured(TypedDict):
    """What is kept of a point, plain data for JSON; periods in ns."""

    area: float
    unit: str
    memory_bits: int
    macs_per_cycle: float
    shortest_period: float | None
    met: bool
    gmacs_per_second: float | None
    area_per_mac: float
    datapath_error: float
    weight_error: float
    untimed: str
    tools: dict[str, str]
    seconds: float


def measured(task: Task) -> Measured:
    """Measure one point.

    Raises:
        synth.targets.TargetError, synth.yosys.YosysError, ValueError: it cannot be measured, or this machine
            has other tools than the one where the sweep was started.
    """
    started = time.perf_counter()
    if (own := tools()) != task.tools:
        raise ValueError(f"tools of the worker {own} must be those of the sweep {task.tools}")
    config = Config.model_validate(task.config)
    report = measure(
        command.build(task.block, config),
        task.block,
        task.target,
        task.period,
        recipes=command.ways(task.target, task.quick, flatten=False),
    )
    rate = command.macs_per_cycle(task.block, config)[task.datatype]
    shortest = report.timing.min_period if report.timing else None
    period = None if shortest is None else max(shortest, report.period)
    datapath, weights = errors(config, task.datatype)
    return {
        "area": report.area,
        "unit": report.unit,
        "memory_bits": report.memory_bits,
        "macs_per_cycle": rate,
        "shortest_period": shortest,
        "met": report.met,
        "gmacs_per_second": None if period is None else rate / period,
        "area_per_mac": report.area / rate,
        "datapath_error": datapath,
        "weight_error": weights,
        "untimed": report.untimed,
        "tools": report.tools,
        "seconds": time.perf_counter() - started,
    }


def errors(config: Config, datatype: str) -> tuple[float, float]:
    """Relative RMS errors: what the datapath adds to a product, and what quantising does to the weights.

    Gaussian weights, activations of Student's t distribution (5 degrees of freedom), the same every time.
    """
    weights, inputs = _numbers(min(_INPUTS, config.maximum_inputs))
    q = quantize(weights, datatype, config.group)
    lost = np.square(q.dequantize() - weights).sum() / np.square(weights).sum()
    return relative_error(q, inputs, config.numerics), float(np.sqrt(lost))


@cache
def _numbers(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((_ROWS, inputs)), rng.standard_t(5, (_TOKENS, inputs))
