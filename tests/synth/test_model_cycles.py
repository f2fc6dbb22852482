"""Cycles of kvloom's model against the simulated circuits."""

import re

import numpy as np
import pytest

from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.numbers import datatypes, scales
from golden.weights import layout
from golden.weights.packet import Packet
from golden.weights.quantized import quantize
from hw.accelerator import Accelerator
from hw.attention.attention_tile import AttentionTile
from hw.config import Config, preset
from sim import runner
from synth.model.attention_timeline import Run, attention_cycles
from synth.model.timeline import _Timeline, product_cycles

LARGEST_ERROR = 0.01
LIST_ERROR = 0.012
SHRINKING, GROWING = 0.25, 2.0
"""How much larger the keys of each run of pages are."""


def packet(
    config: Config,
    outputs: int,
    inputs: int,
    dtype: str,
    scale: str,
    offset: bool = False,
    group: int | None = None,
) -> Packet:
    return Packet(
        datatypes.get(dtype),
        scales.get(scale),
        outputs,
        inputs,
        group or config.group,
        config.rows,
        config.lanes,
        offset,
    )


def check_layers(config: Config, blocks: tuple[tuple[int, float], ...], types: tuple[str, ...]) -> None:
    """Row blocks and groups of every shape, in every type: the model within 1 % of the simulation."""
    asked = [
        (count * config.rows - odd, int(groups * config.group), dtype, scale, offset, length)
        for number, dtype in enumerate(types)
        for odd, (count, groups) in enumerate(blocks)
        for length in (config.group_lengths[(odd + number) % len(config.group_lengths)],)
        for scale, offset in ((("int8", False), ("fp16", number % 2 == 1))[odd % 2],)
    ]
    parameters = {"config": config.model_dump(), "layers": asked}
    log = runner.run(
        runner.Design.of_type(Accelerator, config),
        "sim.benches.accelerator",
        "verilator",
        parameters,
        "layers",
    ).log
    found = re.findall(r"layer (\d+) (\d+) (\w+) (\w+) (\d) (\d+): (\d+) cycles", log)
    assert len(found) == len(asked)
    for outputs, inputs, dtype, scale, offset, group, cycles in found:
        product = packet(config, int(outputs), int(inputs), dtype, scale, offset == "1", int(group))
        assert product_cycles(config, product) == pytest.approx(int(cycles), rel=LARGEST_ERROR), product


def test_layers_of_the_tiny_accelerator() -> None:
    shapes = ((8, 2), (8, 4), (16, 4.5), (16, 8), (5, 3), (24, 2.25), (40, 16))
    check_layers(preset("tiny"), shapes, ("bitmod4", "bitmod3", "int4_asym", "int6", "ternary"))


@pytest.mark.long
def test_layers_of_the_default_accelerator() -> None:
    check_layers(preset("edge"), ((8, 2), (16, 4.5), (12, 8), (32, 4)), ("bitmod4", "bitmod3", "e2m1"))


def pages(config: Config, channels: int, runs: list) -> list[Run]:
    """Runs of pages: how many, and of keys and values bits, axis and group."""
    tokens, rows, lanes = config.kv.page_tokens, config.rows, config.lanes
    found = []
    for count, *formats in runs:
        key, value = (
            PageLayout(Format("native", bits, axis, group), side, tokens, channels, rows, lanes)
            for side, (bits, axis, group) in zip(SIDES, formats, strict=True)
        )
        found.append((key, value, count))
    return found


def native(count: int, bits: int) -> list:
    """Pages in KIVI's arrangement."""
    return [count, [bits, "channel", 32], [bits, "token", 32]]


def window(count: int) -> list:
    """Pages of 8 bits, every token by itself."""
    return [count, [8, "token", 32], [8, "token", 32]]


def check_lists(config: Config, lists: list, growth: float = SHRINKING) -> None:
    """Queries, channels and runs of pages: lists of a kind within 1.2 % of the simulation.

    A list by itself, most of whose time is no array's nor memory's, only within 5 %.
    """
    paces = [[queries, channels, growth, *runs] for queries, channels, *runs in lists]
    parameters = {"config": config.model_dump(), "lists": 0, "paces": paces}
    bench = "sim.benches.attention.attention_pace"
    log = runner.run(runner.Design.of_type(AttentionTile, config), bench, "verilator", parameters).log
    found = re.findall(r"list \d+: (\d+) cycles alone, (\d+) more", log)
    assert len(found) == len(lists)
    for (queries, channels, *runs), (alone, more) in zip(lists, found, strict=True):
        moves = [growth > 1 and number > 0 for number in range(len(runs))]
        one, two = (
            attention_cycles(config, pages(config, channels, runs), queries, count, moves=moves)
            for count in (1, 2)
        )
        assert one == pytest.approx(int(alone), rel=0.05), (queries, channels, runs)
        assert two - one == pytest.approx(int(more), rel=LIST_ERROR), (queries, channels, runs)


def test_lists_of_the_tiny_attention_tile() -> None:
    check_lists(preset("tiny"), [[1, 32, native(9, 2)], [3, 32, native(12, 4)], [4, 32, window(8)]])


@pytest.mark.long
def test_lists_of_the_default_attention_tile() -> None:
    lists = [
        [1, 128, native(16, 2)],
        [2, 128, native(11, 3)],
        [4, 96, native(9, 4)],
        [7, 128, native(9, 2)],
        [3, 64, native(20, 8)],
        [4, 128, native(8, 2), window(2)],
        [3, 128, native(7, 4), window(1)],  # sums are read almost all the time
    ]
    check_lists(preset("edge"), lists)


@pytest.mark.slow
def test_lists_whose_maxima_move() -> None:
    """Once in 4 to 8 pages, which is often: every one counts."""
    lists = [
        [1, 96, native(5, 2), native(4, 2), native(5, 2)],
        [3, 128, native(6, 3), native(5, 3)],
        [2, 128, native(7, 4), native(6, 4)],
        [4, 64, native(8, 2), native(7, 2)],
        [1, 64, native(6, 8), native(5, 8)],
    ]
    check_lists(preset("edge"), lists, GROWING)


@pytest.mark.quick
@pytest.mark.parametrize(
    "shape", [(576, 576), (1536, 576), (576, 1536)], ids=lambda shape: f"{shape[0]}x{shape[1]}"
)
@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "group"),
    [
        ("bitmod4", "int8", False, 128),
        ("bitmod3", "int8", False, 128),
        ("int4_asym", "fp16", True, 128),
        ("int4_asym", "fp16", True, 32),
        ("e2m1", "e8m0", False, 32),
        ("int8", "int8", False, 128),
    ],
)
def test_layers_take_no_longer_than_their_words_and_multiplications(
    dtype: str, scale: str, offset: bool, group: int, shape: tuple[int, int]
) -> None:
    """The figures of the README, from the model that the other tests compare with the circuit."""
    config = preset("edge")
    product = packet(config, *shape, dtype, scale, offset, group)
    words = -(-product.bits // config.memory_bits)
    sizes = [product.group] * (product.groups - 1) + [product.last_inputs]
    multiplications = product.blocks * sum(map(product.chunks, sizes)) * product.dtype.term_count
    assert product_cycles(config, product) <= 1.02 * max(words, multiplications)


@pytest.mark.quick
@pytest.mark.parametrize("dtype", ["bitmod3", "bitmod4", "int6", "ternary"])
def test_long_matrices_are_extrapolated_exactly(dtype: str) -> None:
    config = preset("edge")
    for outputs, inputs in ((1600, 256), (2568, 448), (4104, 1024)):
        product = packet(config, outputs, inputs, dtype, "int8")
        assert product_cycles(config, product) == _Timeline(config, product).play(product.blocks)[-1]


@pytest.mark.quick
def test_bytes_are_those_of_packed_weights() -> None:
    config = preset("edge")
    for dtype in ("bitmod3", "int4_asym", "ternary"):
        weights = np.random.default_rng(0).standard_normal((50, 300))
        data = layout.pack(quantize(weights, dtype, config.group), config.rows, config.lanes)
        product = packet(config, 50, 300, dtype, "int8")
        assert len(data) == -(-product.bits // 64) * 8


@pytest.mark.quick
def test_packets_of_other_arrays_are_refused() -> None:
    product = packet(preset("tiny"), 8, 64, "int4", "int8")
    with pytest.raises(ValueError, match=r"^packet for 4 rows, 4 lanes must be for 8, 16$"):
        product_cycles(preset("edge"), product)
