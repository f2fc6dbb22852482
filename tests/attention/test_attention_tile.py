"""Attention tile: lists of pages through all of the engine, against golden."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil

from golden.checkpoint import Checkpoint
from golden.model import tokenizer
from golden.model.capture import attention_inputs, cross_attention_inputs, manual
from golden.model.llama import Llama
from golden.model.whisper import Whisper
from golden.systems.vidkv import real_fft
from golden.systems.vidkv.ranges import hardware_mask
from hw import verilog
from hw.attention.attention_tile import AttentionTile
from hw.attention.engine import Engine, members
from hw.config import Config, ConfigurationError, preset
from hw.core.core import Core
from hw.kv.payloads import page_format
from hw.pe.term_encoder import TermEncoder
from sim import runner

TINY, EDGE = preset("tiny"), preset("edge")
BENCH = "sim.benches.attention.attention_tile"
FOLDED, RESCALED = ("channel", "token"), ("token", "channel")
RATES = [
    (128, "native", 2, FOLDED, 1, 12, 1.05, 2, 1),
    (128, "native", 2, FOLDED, 4, 12, 1.05, 2, 1),
    (128, "native", 8, FOLDED, 1, 12, 1.05, 2, 1),
    (64, "native", 2, FOLDED, 1, 12, 1.05, 2, 2),
    (64, "native", 2, FOLDED, 4, 12, 1.15, 2, 1),
    (128, "ternary", 2, FOLDED, 1, 12, 1.15, 2, 2),
    (128, "sign", 1, FOLDED, 1, 12, 1.15, 2, 2),
    (128, "ternary", 2, RESCALED, 1, 12, 2.2, 2, 1),
]
VIDKV = [("native", 2, 64), ("sign", 1, 64)]
SMALL_VIDKV = [(rule, bits, channels // 2) for rule, bits, channels in VIDKV]
"""Its keys: rule, bits and channels of each page."""
SPLIT_RATES = [
    (VIDKV, ("native", 2, "token"), 1, 32, 1.02, 2, 1),
    (VIDKV, ("ternary", 2, "token"), 1, 32, 1.05, 2, 2),
    (VIDKV, ("ternary", 2, "token"), 4, 32, 1.12, 2, 1),
    (VIDKV, ("ternary", 2, "channel"), 1, 32, 1.7, 2, 1),
    (SMALL_VIDKV, ("ternary", 2, "token"), 1, 32, 1.84, 2, 2),
    (SMALL_VIDKV, ("ternary", 2, "token"), 4, 32, 1.99, 2, 1),
]
RATES_OF_BITMOD = [
    (128, "bitmod3", 3, FOLDED, 1, 12, 1.02, 2, 1),
    (128, "bitmod3", 3, FOLDED, 4, 12, 1.02, 2, 1),
    (128, "bitmod3", 3, RESCALED, 1, 12, 1.3, 2, 1),
    (128, "bitmod3", 3, ("token", "token"), 1, 12, 1.02, 2, 1),
    (128, "bitmod4", 4, FOLDED, 1, 12, 1.02, 2, 1),
    (128, "bitmod4", 4, RESCALED, 1, 12, 1.02, 2, 1),
    (128, "bitmod4", 4, ("token", "token"), 1, 12, 1.02, 2, 1),
    (128, "bitmod4", 4, ("token", "token"), 4, 12, 1.55, 2, 1),
]
RATES_OF_TABLES = [
    (128, "table", 4, FOLDED, 1, 12, 1.02, 2, 1),
    (128, "table", 4, FOLDED, 4, 12, 1.02, 2, 1),
    (128, "table", 4, RESCALED, 1, 12, 1.02, 2, 1),
    (128, "table", 4, RESCALED, 4, 12, 1.15, 2, 1),
    (128, "table", 4, ("token", "token"), 1, 12, 1.02, 2, 1),
    (128, "table", 4, ("token", "token"), 4, 12, 1.02, 2, 1),
]
RATES_OF_COLUMNS = [
    (128, "native", 2, FOLDED, 4, 32, 1.05, 2, 1),
    (128, "native", 2, FOLDED, 8, 32, 1.15, 2, 1),
]
"""Channels, rule, bits, axes of both sides, queries, pages, times the bound of memory and array, order."""


def split(config: Config) -> Config:
    """The same for keys in several pages."""
    return config.changed(kv=config.kv.model_copy(update={"split_keys": True}))


def of_bitmod(config: Config, **fields: object) -> Config:
    """The same for pages of BitMoD's types too."""
    return config.changed(kv=config.kv.model_copy(update={"bitmod": True, **fields}))


def of_tables(config: Config, **fields: object) -> Config:
    """The same for pages of tables too."""
    return config.changed(kv=config.kv.model_copy(update={"table": True, **fields}))


def with_columns(config: Config, columns: int, turns: int = 2) -> Config:
    """The same with so many columns, and turns of queries."""
    return config.changed(columns=columns, kv=config.kv.model_copy(update={"queries": turns * columns}))


@pytest.mark.parametrize("columns", [1, 2])
def test_names(columns: int) -> None:
    config = with_columns(TINY, columns) if columns > 1 else TINY
    modules = verilog.modules(AttentionTile(config), "top")
    for text in modules.texts.values():
        assert re.findall(r"^  wire .*\\(\S*\$\S*)$", text, re.MULTILINE) == []
    assert modules.repeated == []


@pytest.mark.quick
@pytest.mark.parametrize("columns", [3, 4])
def test_rejects(columns: int) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^columns {columns} must be a power of two and at most half"
    ):
        Engine(TINY.changed(attention=True, columns=columns))


def many_lists(config: Config, simulator: str, lists: int = 28) -> None:
    """All benches; with Icarus, which is slow, one list among random stalls."""
    thorough = simulator == "verilator"
    parameters, chosen = {"config": config.model_dump(), "lists": lists if thorough else 1}, "stalls=6"
    design = runner.Design.of_type(AttentionTile, config)
    runner.run(design, BENCH, simulator, parameters, None if thorough else chosen)


def test_tiny(simulator: str) -> None:
    many_lists(TINY, simulator)


def test_split_keys(simulator: str) -> None:
    """Pages of some of the channels each, whose scores are added."""
    many_lists(split(TINY.changed(kv=TINY.kv.model_copy(update={"channels": 64}))), simulator)


@pytest.mark.long
@pytest.mark.parametrize("name", ["columns", "edge"])
def test_split_keys_of_other_shapes(name: str) -> None:
    config = split(with_columns(TINY, 2) if name == "columns" else EDGE)
    parameters, chosen = {"config": config.model_dump(), "lists": 6}, "stalls=[0356]|rising|terms|reset"
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, chosen)


def test_bitmod(simulator: str) -> None:
    """Pages of BitMoD's types among others, by either axis."""
    many_lists(of_bitmod(TINY), simulator)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(of_bitmod(EDGE), id="edge", marks=pytest.mark.long),
        pytest.param(of_bitmod(with_columns(TINY, 2)), id="columns", marks=pytest.mark.long),
        pytest.param(of_bitmod(TINY, channels=64, split_keys=True), id="split", marks=pytest.mark.long),
    ],
)
def test_bitmod_of_others(config: Config) -> None:
    parameters, chosen = {"config": config.model_dump(), "lists": 6}, "stalls=[05]|reset"
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, chosen)


def test_tables(simulator: str) -> None:
    """Pages of tables among others, by either axis; other tables are loaded between lists."""
    many_lists(of_tables(TINY), simulator, 12)


@pytest.mark.quick
def test_who_has_tables() -> None:
    """Neither port nor gate without ``kv.table``; other blocks of pages have none, the core refuses it."""
    for config, has in ((TINY, False), (of_tables(TINY), True)):
        attention = config.changed(attention=True)
        assert ("tables" in members(attention)) == has
        assert ("term_table" in rtlil.convert(TermEncoder(attention))) == has
        assert "table" not in page_format(config).members
    with pytest.raises(ConfigurationError, match=r"^kv.table of a core must be false$"):
        Core(of_tables(TINY))


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(of_tables(EDGE), id="edge", marks=pytest.mark.long),
        pytest.param(of_tables(with_columns(TINY, 2)), id="columns", marks=pytest.mark.long),
        pytest.param(of_tables(TINY, channels=64, split_keys=True), id="split", marks=pytest.mark.long),
        pytest.param(of_tables(TINY, bitmod=True), id="bitmod", marks=pytest.mark.long),
    ],
)
def test_tables_of_others(config: Config) -> None:
    parameters, chosen = {"config": config.model_dump(), "lists": 8}, "stalls=[056]|reset"
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, chosen)


@pytest.mark.parametrize("columns", [2, pytest.param(4, marks=pytest.mark.long)])
def test_columns(columns: int) -> None:
    """Every column has queries of its own; lists of any count leave some columns without one."""
    config = with_columns(TINY, columns)
    parameters, chosen = {"config": config.model_dump(), "lists": 6}, "stalls=[0356]|rising|terms|reset"
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, chosen)


def test_edge() -> None:
    parameters, chosen = {"config": EDGE.model_dump(), "lists": 6}, "stalls=[05]|rising|terms|reset"
    runner.run(runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, chosen)


def test_engines() -> None:
    config = TINY.changed(kv=TINY.kv.model_copy(update={"engines": 2}))
    parameters = {"config": config.model_dump(), "lists": 8}
    bench = "sim.benches.attention.attention_engines"
    runner.run(
        runner.Design.of_type(AttentionTile, config), bench, "verilator", parameters, "stalls=[036]|damaged"
    )


@pytest.mark.slow
def test_rates() -> None:
    """What README promises of `edge`."""
    parameters = {"config": EDGE.model_dump(), "lists": 1, "rates": RATES}
    runner.run(runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, "throughput")


@pytest.mark.long
def test_rates_of_split_keys() -> None:
    """What the page about VidKV says."""
    config = split(EDGE)
    parameters = {"config": config.model_dump(), "lists": 1, "split_rates": SPLIT_RATES}
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, "throughput")


@pytest.mark.long
def test_rates_of_bitmod() -> None:
    """What the page about BitMoD's types on the cache says."""
    config = of_bitmod(EDGE)
    parameters = {"config": config.model_dump(), "lists": 1, "rates": RATES_OF_BITMOD}
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, "throughput")


@pytest.mark.long
def test_rates_of_tables() -> None:
    """What the page about tables on the cache says."""
    config = of_tables(EDGE)
    parameters = {"config": config.model_dump(), "lists": 1, "rates": RATES_OF_TABLES}
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, "throughput")


@pytest.mark.long
def test_rates_of_columns() -> None:
    """Four queries in four columns of `edge` take what one takes in one."""
    config = with_columns(EDGE, 4, 4)
    parameters = {
        "config": config.model_dump(),
        "lists": 1,
        "rates": RATES_OF_COLUMNS,
        "behind": 1,
    }
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, "throughput")


@pytest.mark.llm
def test_queries_keys_and_values_of_smollm2(smollm2: Llama, smollm2_file: Checkpoint) -> None:
    """The first, a middle and the last layer, a KV head of each with its three query heads."""
    ids = tokenizer.of(smollm2_file).encode(manual(1000))[:100]
    layers = attention_inputs(smollm2, ids)
    given = []
    for head, (layer, bits) in enumerate(zip((0, 15, 29), (2, 4, 8), strict=True)):
        queries, keys, values = (part[head].astype(np.float16).view(np.uint16) for part in layers[layer])
        given += [(bits, queries[:, token], keys[: token + 1], values[: token + 1]) for token in (40, 99)]
    parameters = {"config": EDGE.model_dump(), "lists": 1, "given": given}
    runner.run(runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, "given")


@pytest.mark.llm
def test_vidkv_of_smollm2(smollm2: Llama, smollm2_file: Checkpoint) -> None:
    """VidKV's keys in two pages, an anomalous half and columns of the rest, and values as trits by token."""
    ids = tokenizer.of(smollm2_file).encode(manual(1000))[:100]
    layers = attention_inputs(smollm2, ids)
    given = []
    for head, layer in enumerate((0, 15, 29)):
        mask = hardware_mask(layers[layer][1][:, :64], smollm2.channels // 2)
        q, k, v = (part[head].astype(np.float16) for part in layers[layer])
        q, k = (
            [part[..., mask], real_fft.columns(part[..., ~mask], side)]
            for part, side in ((q, "query"), (k, "key"))
        )
        for token in (40, 99):
            queries = np.concatenate([part[:, token] for part in q], -1)
            keys = [
                (*rule, part[: token + 1].view(np.uint16))
                for rule, part in zip((("native", 2), ("sign", 1)), k, strict=True)
            ]
            values = ("ternary", 2, v[: token + 1].view(np.uint16))
            given.append((queries.view(np.uint16), keys, values))
    config = split(EDGE)
    parameters = {"config": config.model_dump(), "lists": 1, "given_split": given}
    runner.run(runner.Design.of_type(AttentionTile, config), BENCH, "verilator", parameters, "given")


@pytest.mark.llm
@pytest.mark.slow
def test_queries_keys_and_values_of_whisper(whisper: Whisper) -> None:
    """Cross-attention of eight tokens to a sound of five pages and a part of one; a head of three layers."""
    time = np.arange(3 * 16_000) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * (200 + 150 * np.sin(7 * time)) * time) * np.sin(9 * time)
    layers = cross_attention_inputs(whisper, sound, range(50257, 50265))
    given = []
    for head, (layer, bits) in enumerate(zip((0, 1, 3), (2, 4, 8), strict=True)):
        queries, keys, values = (part[head].astype(np.float16).view(np.uint16) for part in layers[layer])
        given.append((bits, queries, keys[:172], values[:172]))
    parameters = {"config": EDGE.model_dump(), "lists": 1, "given": given}
    runner.run(runner.Design.of_type(AttentionTile, EDGE), BENCH, "verilator", parameters, "given")
