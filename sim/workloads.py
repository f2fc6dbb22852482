"""What designs are given when their energy is measured: a real layer's weights and activations.

Every design multiplies the same layer; each gets it in the form that it takes, and runs without stalls.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.lib import data, wiring
from numpy.typing import NDArray

from golden.baseline import ant, olive
from golden.baseline import bitmod_pe as bitmod
from golden.baseline import fp16_dot as fp16
from golden.checkpoint import locate, open_checkpoint
from golden.model.capture import Linear, layer_inputs, sample_tokens
from golden.numbers import floats
from golden.weights.quantized import QuantizedWeights, quantize
from hw import blocks, payloads
from hw.baseline import (
    ant_mac,
    ant_pe,
    bitmod_pe,
    fp16_dot,
    fp16_int8_mac,
    fp16_mac,
    int8_mac,
    olive_mac,
    olive_pe,
)
from hw.config import Config
from sim.benches.baseline import term_groups
from sim.benches.weights.matrices import Expected
from sim.packing import codec
from sim.recording import Trace, record

__all__ = ["DESIGNS", "ROW_BLOCKS", "layer", "trace"]

_SKIPPED = 64  # cycles at the start of a unit's run, until its pipeline is full
_UNIT_CYCLES = 1024
ROW_BLOCKS = 6  # of a vector in the tile


def layer(model: str = "smollm2", block: int = 2, part: str = "ffn_down", tokens: int = 16) -> Linear:
    """A linear layer of a real model with the activations of a short text.

    Args:
        model: a name or file that ``golden.checkpoint.locate`` knows.
        block: transformer block.
        part: of the layer's name in the file.
        tokens: length of the text.

    Raises:
        ValueError: no such model or layer.
    """
    checkpoint = open_checkpoint(locate(model))
    for linear in layer_inputs(checkpoint, sample_tokens(checkpoint, tokens), block + 1):
        if f".{block}.{part}." in f".{linear.name}.":
            return linear
    raise ValueError(f"{model} has no layer {part!r} in block {block}")


def trace(name: str, config: Config, linear: Linear, datatype: str) -> Trace:
    """A recording of one design at work, with its window and the multiplications in it.

    Args:
        name: one of DESIGNS.
        config: of the design.
        linear: weights and activations; the last token is used.
        datatype: data type of the weights.

    Raises:
        KeyError: the design has no workload.
    """
    return DESIGNS[name](config, linear, datatype)


def _halves(values: NDArray[np.floating]) -> list[int]:
    return np.asarray(values, np.float16).view(np.uint16).tolist()


def _tile(config: Config, linear: Linear, datatype: str) -> Trace:
    """Row blocks of the layer for one vector after the other; the window is the second vector's time.

    The third vector is aligned meanwhile, so that each cost of a vector is in the window once.
    """
    rows = min(ROW_BLOCKS * config.rows, len(linear.weights))
    inputs = min(linear.weights.shape[1], config.maximum_inputs) // config.group * config.group
    q = quantize(linear.weights[:rows, :inputs], datatype, config.group)
    expected = Expected(config, q)
    lanes = config.activation_lanes
    bits = floats.encode(linear.inputs[-3:, :inputs], "fp16").astype(int)
    beats = [
        {
            "elements": [vector[start : start + lanes].tolist()] * config.columns,
            "last": int(start + lanes >= inputs),
            "format": payloads.ActivationFormat.FP16,
            "halvings": 0,
        }
        for vector in bits
        for start in range(0, inputs, lanes)
    ]
    blocks_ = expected.packet.blocks
    few = config.chunks
    recorded = record(
        blocks.get("tile")(config),
        0,
        beats={
            "beats": beats,
            "passes": [{"count": blocks_, "keep": 0}] * 3,
            "chunks": expected.chunks * 2 + expected.chunks[:few],
            "scales": expected.scales * 2 + expected.scales[:1],
            "channels": expected.channels * 2 + expected.channels[:1],
        },
    )
    taken = [
        cycle
        for cycle, pair in enumerate(
            zip(recorded.inputs["chunks_valid"], recorded.outputs["chunks_ready"], strict=True)
        )
        if all(pair)
    ]
    count = len(expected.chunks)
    return recorded.within(taken[count], taken[2 * count], rows * inputs * config.columns)


def _interleaved(rows: NDArray, count: int) -> list[int]:
    """The first numbers of a few rows, one of each row in turn."""
    return np.ravel(np.asarray(rows)[:, :count].T).astype(int).tolist()


def _unit(component: wiring.Component, slots: int, values: dict[str, list[int]], rate: int = 1) -> Trace:
    """A multiply-add unit with a restart of each accumulator at the start."""
    length = len(values["a"])
    recorded = record(component, length, {**values, "first": [1] * slots})
    return recorded.within(_SKIPPED, length, (length - _SKIPPED) * rate)


def _fp16_mac(config: Config, linear: Linear, datatype: str) -> Trace:
    """Two rows at once, an activation for both of them; the weights are not quantised."""
    count = min(_UNIT_CYCLES // fp16_mac.SLOTS, linear.weights.shape[1])
    weights = [_halves(row) for row in linear.weights[: fp16_mac.SLOTS]]
    values = {
        "a": np.repeat(_halves(linear.inputs[-1, :count]), fp16_mac.SLOTS).tolist(),
        "b": _interleaved(np.array(weights), count),
    }
    return _unit(fp16_mac.Fp16Mac(), fp16_mac.SLOTS, values)


def _fp16_dot(config: Config, linear: Linear, datatype: str) -> Trace:
    """As for ``fp16_mac``, LANES inputs a cycle, two rows after the other."""
    slots, lanes = fp16_dot.SLOTS, fp16.LANES
    beats = linear.weights.shape[1] // lanes
    pairs = min(-(-_UNIT_CYCLES // (slots * beats)), len(linear.weights) // slots)
    pack = codec(data.ArrayLayout(16, lanes)).pack
    activations = [
        pack(beat) for beat in np.reshape(_halves(linear.inputs[-1, : beats * lanes]), (-1, lanes))
    ]
    weights = np.reshape(
        _halves(linear.weights[: pairs * slots, : beats * lanes]), (pairs, slots, beats, lanes)
    )
    values = {
        "a": np.tile(np.repeat(np.array(activations, object), slots), pairs).tolist(),
        "b": [pack(beat) for beat in weights.transpose(0, 2, 1, 3).reshape(-1, lanes)],
        "first": ([1] * slots + [0] * (slots * (beats - 1))) * pairs,
    }
    cycles = pairs * beats * slots
    recorded = replace(record(fp16_dot.Fp16Dot(), cycles, values), settled=fp16_dot.LATENCY)
    return recorded.within(_SKIPPED, cycles, (cycles - _SKIPPED) * lanes)


def _fp16_times(component: wiring.Component, codes: NDArray, linear: Linear, **selects: list[int]) -> Trace:
    """FP16 activations, two rows of codes at once."""
    slots = codes.shape[0]
    count = min(_UNIT_CYCLES // slots, codes.shape[1])
    values = {
        "a": np.repeat(_halves(linear.inputs[-1, :count]), slots).tolist(),
        "b": _interleaved(codes, count),
    }
    return _unit(component, slots, {**values, **selects})


def _fp16_int8_mac(config: Config, linear: Linear, datatype: str) -> Trace:
    q = quantize(linear.weights[: fp16_int8_mac.SLOTS], "int8", 128)
    return _fp16_times(fp16_int8_mac.Fp16Int8Mac(), q.integers() & 255, linear)


def _ant_mac(config: Config, linear: Linear, datatype: str) -> Trace:
    codes, flint = _ant(linear.weights[: ant_mac.SLOTS])
    count = min(_UNIT_CYCLES // ant_mac.SLOTS, codes.shape[1])
    return _fp16_times(ant_mac.AntMac(), codes, linear, flint=_interleaved(flint, count))


def _olive_mac(config: Config, linear: Linear, datatype: str) -> Trace:
    """The pair of a row stays while its two codes are multiplied."""
    pairs = _olive(linear.weights[: olive_mac.SLOTS])
    count = min(_UNIT_CYCLES // olive_mac.SLOTS, 2 * pairs.shape[1])
    second = np.repeat(np.arange(count) % 2, olive_mac.SLOTS).tolist()
    return _fp16_times(olive_mac.OliveMac(), np.repeat(pairs, 2, axis=1), linear, second=second)


def _int8_mac(config: Config, linear: Linear, datatype: str) -> Trace:
    q, x = quantize(linear.weights[:1], "int8", 128), quantize(linear.inputs[-1:], "int8", 128)
    values = {
        "a": _interleaved(x.integers() & 255, _UNIT_CYCLES),
        "b": _interleaved(q.integers() & 255, _UNIT_CYCLES),
    }
    return _unit(int8_mac.Int8Mac(), 1, values)


def _ant_pe(config: Config, linear: Linear, datatype: str) -> Trace:
    """Activations are ANT's as well."""
    (b, b_flint), (a, a_flint) = _ant(linear.weights[:1]), _ant(linear.inputs[-1:])
    given = {"a": a, "b": b, "a_flint": a_flint, "b_flint": b_flint}
    values = {port: _interleaved(value, _UNIT_CYCLES) for port, value in given.items()}
    return _unit(ant_pe.AntPe(), 1, values)


def _olive_pe(config: Config, linear: Linear, datatype: str) -> Trace:
    """Activations are OliVe's as well; a pair a cycle."""
    values = {
        "a": _interleaved(_olive(linear.inputs[-1:]), _UNIT_CYCLES),
        "b": _interleaved(_olive(linear.weights[:1]), _UNIT_CYCLES),
    }
    return _unit(olive_pe.OlivePe(), 1, values, rate=2)


def _ant(numbers: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Codes, and which of them are flint."""
    q = ant.quantize(numbers)
    codes = [ant.encode(one.integers(), name) for one, name in zip(q.kinds, ant.ADAPTIVE[4], strict=True)]
    flint = np.repeat(q.select, q.group, axis=1)[:, : numbers.shape[1]]
    return np.where(flint, codes[1], codes[0]), flint


def _olive(numbers: NDArray[np.floating]) -> NDArray:
    """Bytes of two codes."""
    codes = olive.encode_pairs(olive.quantize(numbers).integers)
    return codes[:, ::2] | codes[:, 1::2] << 4


def _bitmod_pe(config: Config, linear: Linear, datatype: str) -> Trace:
    """Two rows at once, an activation vector for both of them, all groups of the layer."""
    q = quantize(linear.weights[: bitmod_pe.SLOTS], datatype, 128)
    activations = _halves(linear.inputs[-1])
    groups = []
    for group in range(linear.weights.shape[1] // q.group):
        for row in range(bitmod_pe.SLOTS):
            groups.append(_term_group(q, activations, row, group))
    plan = term_groups.schedule(groups)
    values = {port: [step[place] for step in plan.inputs] for place, port in enumerate(term_groups.INPUTS)}
    cycles = len(plan.inputs)
    recorded = record(bitmod_pe.BitmodPe(), cycles, values)
    stop = cycles - _SKIPPED
    rate = bitmod.LANES / bitmod.terms_of(q.dtype.name)
    return recorded.within(_SKIPPED, stop, round((stop - _SKIPPED) * rate))


def _term_group(q: QuantizedWeights, activations: list[int], row: int, group: int) -> term_groups.Group:
    """A group of a row as terms."""
    start = group * q.group
    integers = q.dtype.values(int(q.selector[row, group]))[q.codes[row, start : start + q.group]]
    cycles = []
    for place in range(0, q.group, bitmod.LANES):
        numbers = tuple(activations[start + place : start + place + bitmod.LANES])
        lanes = [bitmod.terms(q.dtype.name, int(value)) for value in integers[place : place + bitmod.LANES]]
        for step in zip(*lanes, strict=True):
            cycles.append((numbers, tuple(term for term, _ in step), step[0][1]))
    return term_groups.Group("any", "float", tuple(cycles), int(q.scale_mantissa[row, group]))


DESIGNS: dict[str, Callable[[Any, Linear, str], Trace]] = {
    "tile": _tile,
    "fp16_mac": _fp16_mac,
    "fp16_dot": _fp16_dot,
    "fp16_int8_mac": _fp16_int8_mac,
    "bitmod_pe": _bitmod_pe,
    "ant_mac": _ant_mac,
    "olive_mac": _olive_mac,
    "ant_pe": _ant_pe,
    "olive_pe": _olive_pe,
    "int8_mac": _int8_mac,
}
"""Workloads by the name of the block."""
