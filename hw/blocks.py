"""The registry of hardware blocks: what the generator, the synthesis reports and the tests may name."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from golden.baseline import bitmod_pe, fp16_dot
from hw.config import Config, ConfigurationError

__all__ = ["CORE", "DEFAULT", "baselines", "get", "macs_per_cycle", "names", "operands", "summary"]

DEFAULT = "accelerator"
CORE = "core"

Rates = Callable[[Config], dict[str, float]]
"""Multiplications a cycle by data type of the weights."""


def _array(config: Config) -> dict[str, float]:
    products = config.rows * config.lanes * config.columns
    return {entry.name: products / entry.term_count for entry in config.datatypes}


def _bitmod(config: Config) -> dict[str, float]:
    types = dict.fromkeys(("bitmod4", "bitmod3", "int6", "int8", *config.types))
    return {name: bitmod_pe.LANES / bitmod_pe.terms_of(name) for name in types if bitmod_pe.has(name)}


def _always(**rates: float) -> Rates:
    """The same rates for every configuration."""
    return lambda config: dict(rates)


@dataclass(frozen=True)
class _Block:
    """Where a component is, loaded when it is asked for.

    Attributes:
        module: module below ``hw``.
        component: class name.
        summary: one line.
        rates: multiplications a cycle, None for a block that does not multiply.
        operands: what a baseline multiplies, empty for the blocks of kvloom.
    """

    module: str
    component: str
    summary: str
    rates: Rates | None = None
    operands: str = ""


_BLOCKS = {
    "accelerator": _Block(
        "accelerator", "Accelerator", "unpacker, tile and registers behind AXI (the default)", _array
    ),
    "tile": _Block("pe.tile", "Tile", "activations and unpacked codes in, results out", _array),
    "array": _Block("pe.array", "Array", "rows x columns processing elements with their encoders", _array),
    "processing_element": _Block(
        "pe.processing_element", "ProcessingElement", "one group dot product, bit-serial"
    ),
    "multiples": _Block("pe.multiples", "Multiples", "the multiples of activations that terms select from"),
    "term_encoder": _Block("pe.term_encoder", "TermEncoder", "codes of a row to bit-serial terms"),
    "aligner": _Block("activations.aligner", "Aligner", "FP16 or BF16 to integers with one exponent a group"),
    "activation_buffer": _Block(
        "activations.activation_buffer", "ActivationBuffer", "aligned vectors, streamed once a row block"
    ),
    "rescaler": _Block("pe.rescaler", "Rescaler", "group dot products to results, all rows and columns"),
    "rescale_unit": _Block("pe.rescale_unit", "RescaleUnit", "one scaled and aligned contribution a cycle"),
    "output_converter": _Block("pe.output_converter", "OutputConverter", "sums to FP16, BF16 or FP32"),
    "unpacker": _Block("weights.unpacker", "Unpacker", "packets of packed weights to codes and scales"),
    "kv_unpacker": _Block("kv.unpacker", "Unpacker", "words of a KV page to beats of codes, a word a cycle"),
    "kv_packer": _Block("kv.packer", "Packer", "beats of codes to words of a KV page, a word a cycle"),
    "kv_lane_packer": _Block("kv.lane_packer", "LanePacker", "a quantiser's few codes a cycle to words"),
    "kv_quantiser": _Block("kv.quantiser", "Quantiser", "float16 keys or values to scales, minima and codes"),
    "kv_page_writer": _Block("kv.page_writer", "PageWriter", "float16 keys or values to packed KV pages"),
    "kv_token_writer": _Block(
        "kv.token_writer",
        "TokenWriter",
        "float16 tokens of keys or values to bytes of windows in memory",
    ),
    "kv_page_closer": _Block(
        "kv.page_closer", "PageCloser", "float16 copies of full windows to packed KV pages"
    ),
    "kv_page_reader": _Block("kv.page_reader", "PageReader", "packed KV pages to scales, minima and codes"),
    "kv_half_reader": _Block("kv.half_reader", "HalfReader", "packed KV pages to float16"),
    "kv_dequantiser": _Block("kv.dequantiser", "Dequantiser", "codes of pages back to float16"),
    "attention_query_memory": _Block(
        "attention.query_memory",
        "QueryMemory",
        "lists of queries, times log2(e) / sqrt(D), read as often as wanted",
    ),
    "attention": _Block(
        "attention.attention_tile",
        "AttentionTile",
        "attention on packed KV pages: queries and pages in, outputs out",
        _array,
    ),
    "attention_folding": _Block(
        "attention.folding", "Folding", "queries or weights times steps, and their exact sums with offsets"
    ),
    "attention_softmax": _Block(
        "attention.softmax", "Softmax", "results of keys and offset terms to weights of values"
    ),
    "attention_value_sums": _Block(
        "attention.value_sums", "ValueSums", "sums of weighted values of all queries, page after page"
    ),
    "attention_division": _Block(
        "attention.division", "Division", "value sums over sums of weights, to float16"
    ),
    "vector": _Block(
        "vector.vector_unit", "VectorUnit", "norms, rotary embedding, SiLU, sums of float32 vectors, arg-max"
    ),
    "selector": _Block(
        "selection.selector", "Selector", "exact top-k and top-p of up to 65,536 scores, as a bitmap"
    ),
    "importance": _Block(
        "selection.importance", "Importance", "attention that tokens have had, a score a cycle"
    ),
    "class_map": _Block("selection.class_map", "ClassMap", "classes of tokens, 1 or 2 bits each in memory"),
    "mover": _Block(
        "selection.mover", "Mover", "tokens of a class to another class' pages, or out of the cache"
    ),
    "signatures": _Block(
        "systems.signatures",
        "Signatures",
        "KVCrush's representatives of up to 65,536 signatures, as a bitmap",
    ),
    "channel_ranges": _Block(
        "systems.channel_ranges", "ChannelRanges", "VidKV's ranges of key channels, as scores for a selector"
    ),
    "channel_split": _Block(
        "systems.channel_split", "ChannelSplit", "keys to VidKV's 2-bit and 1-bit channels, by a mask"
    ),
    "real_fft": _Block(
        "systems.real_fft", "RealFft", "VidKV's transform of keys and queries: 32 or 64 real columns"
    ),
    "core": _Block("core.core", "Core", "the decode core: an image in memory in, tokens out", _array),
    "fp16_mac": _Block(
        "baseline.fp16_mac",
        "Fp16Mac",
        "an FP16 multiply-add, for comparison",
        _always(fp16=1.0),
        "FP16 x FP16 into FP32",
    ),
    "fp16_dot": _Block(
        "baseline.fp16_dot",
        "Fp16Dot",
        "sixteen FP16 products, one FP32 accumulation, for comparison",
        _always(fp16=float(fp16_dot.LANES)),
        "FP16 x FP16, 16 lanes, into FP32",
    ),
    "fp16_int8_mac": _Block(
        "baseline.fp16_int8_mac",
        "Fp16Int8Mac",
        "an FP16 x INT8 multiply-add, for comparison",
        _always(int8=1.0),
        "FP16 x INT8 into FP32",
    ),
    "bitmod_pe": _Block(
        "baseline.bitmod_pe",
        "BitmodPe",
        "BitMoD's processing element, for comparison",
        _bitmod,
        "FP16 x terms, one group",
    ),
    "ant_mac": _Block(
        "baseline.ant_mac",
        "AntMac",
        "FP16 times an ANT code, multiply-add, for comparison",
        _always(ant4=1.0),
        "FP16 x ANT's 4 bits into FP32",
    ),
    "olive_mac": _Block(
        "baseline.olive_mac",
        "OliveMac",
        "FP16 times an OliVe code, multiply-add, for comparison",
        _always(olive4=1.0),
        "FP16 x OliVe's 4 bits into FP32",
    ),
    "ant_pe": _Block(
        "baseline.ant_pe",
        "AntPe",
        "ANT's processing element: 4-bit codes, integer sum",
        _always(ant4=1.0),
        "ANT's 4 bits twice, into INT32",
    ),
    "olive_pe": _Block(
        "baseline.olive_pe",
        "OlivePe",
        "OliVe's processing element: pairs of 4-bit codes, integer sum",
        _always(olive4=2.0),
        "OliVe's 4 bits twice, into INT32",
    ),
    "int8_mac": _Block(
        "baseline.int8_mac",
        "Int8Mac",
        "an INT8 multiply-add, for comparison",
        _always(int8=1.0),
        "INT8 x INT8 into INT32",
    ),
}


def names() -> tuple[str, ...]:
    """Names of the blocks, the largest ones first."""
    return tuple(_BLOCKS)


def _block(name: str) -> _Block:
    if name not in _BLOCKS:
        raise ConfigurationError(f"block {name!r} must be one of {', '.join(_BLOCKS)}")
    return _BLOCKS[name]


def get(name: str) -> Callable[[Config], wiring.Component]:
    """The component class of a block; call it with a configuration.

    Raises:
        ConfigurationError: no such block.
    """
    block = _block(name)
    return getattr(importlib.import_module(f"hw.{block.module}"), block.component)


def summary(name: str) -> str:
    """What a block is, in one line.

    Raises:
        ConfigurationError: no such block.
    """
    return _block(name).summary


def baselines() -> tuple[str, ...]:
    """Names of the blocks that kvloom's are compared with."""
    return tuple(name for name, block in _BLOCKS.items() if block.operands)


def operands(name: str) -> str:
    """What a block multiplies, in a few words.

    Raises:
        ConfigurationError: no such block.
    """
    return _block(name).operands or "FP16 x packed codes"


def macs_per_cycle(name: str, config: Config) -> dict[str, float]:
    """Multiplications a cycle by data type, without stalls; empty for blocks that do not multiply.

    Raises:
        ConfigurationError: no such block.
    """
    rates = _block(name).rates
    return rates(config) if rates else {}
