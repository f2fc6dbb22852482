"""GGUF's blocks against the gguf library's own dequantisation, or element by element, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from golden.checkpoint import open_checkpoint
from golden.checkpoint.gguf_blocks import BLOCKS, IQ4_NL
from golden.weights import layout
from golden.weights.stored import Inexact, packable

gguf = pytest.importorskip("gguf", reason="gguf is not installed")

SIZES = {kind.name: gguf.GGML_QUANT_SIZES[kind] for kind in gguf.GGMLQuantizationType} | {"Q2_0": (64, 18)}
MINIMUMS = ("Q4_1", "Q5_1")
LAST = {"TQ1_0": 52, "TQ2_0": 64}
"""Where the scale of a block is that does not begin with it."""

ALONE = ("Q1_0", "Q2_0")
"""Types that the library does not dequantise."""

DTYPES = {"Q1_0": "binary", "Q2_0": "ternary", "TQ1_0": "ternary", "TQ2_0": "ternary", "IQ4_NL": "iq4_nl"}


def blocks(kind: str, rows: int, negative: bool, rng: np.random.Generator) -> np.ndarray:
    """Random blocks with finite scales, uint8 [rows, bytes]; codes of ternary types stay below 3."""
    elements, size = SIZES[kind]
    count = 512 // elements
    data = rng.integers(0, 256, (rows, count, size), np.uint8)
    if kind in ("TQ2_0", "Q2_0"):
        data &= data >> 1 & 0x55 ^ 0xFF  # a low bit only where the high one is clear
    if kind == "TQ1_0":
        data[:] = 0
        trits = rng.integers(0, 3, (rows, count, 52, 5))
        digits = (trits * 3 ** np.arange(5)).sum(-1)
        data[..., :52] = -(-digits * 256 // 243)
    if kind == "MXFP4":
        data[..., 0] = rng.integers(100, 140, (rows, count))
    elif kind == "NVFP4":
        data[..., :4] = rng.integers(0, 127, (rows, count, 4))
    else:
        scale = np.ldexp(rng.standard_normal((rows, count, 2)), rng.integers(-9, 3, (rows, count, 2)))
        scale[..., 0] = scale[..., 0] if negative else np.abs(scale[..., 0])
        place = LAST.get(kind, 0)
        width = 4 if kind in MINIMUMS else 2
        data[..., place : place + width] = scale.astype("<f2").view(np.uint8)[..., :width]
    return data.reshape(rows, -1)


def walked(kind: str, data: np.ndarray) -> np.ndarray:
    """Q1_0 and Q2_0 element by element."""
    elements, size = SIZES[kind]
    bits = 128 // elements
    weights = []
    for row in data:
        for block in row.reshape(-1, size):
            scale = block[:2].view("<f2").astype(np.float32)[0]
            number = int.from_bytes(block[2:].tobytes(), "little")
            for element in range(elements):
                code = number >> bits * element & (1 << bits) - 1
                weights.append(scale * np.float32(2 * code - 1 if bits == 1 else code - 1))
    return np.array(weights, np.float32).reshape(len(data), -1)


def write(path: Path, kind: str, data: np.ndarray, name: str = "blk.0.ffn_up.weight") -> Path:
    """A GGUF file of one matrix, by the library where it knows the type."""
    writer = gguf.GGUFWriter(path, "qwen2")
    if kind == "Q2_0":
        writer.add_tensor_info(name, (len(data), data.shape[1] // 18 * 64), np.dtype("f2"), data.nbytes)
        writer.tensors[-1][name].dtype = 42
        writer.tensors[-1][name].tensor = data
    else:
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.quick
@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("negative", [False, True])
def test_every_type_is_exact(kind: str, negative: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    if negative and kind in (*MINIMUMS, "MXFP4", "NVFP4"):
        pytest.skip("has no negative scales")
    data = blocks(kind, 12, negative, rng)
    expected = walked(kind, data) if kind in ALONE else gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
    tensor = open_checkpoint(write(tmp_path / "a.gguf", kind, data))["blk.0.ffn_up.weight"]
    assert (tensor.kind, tensor.shape, tensor.role) == (kind, (12, 512), "linear")
    np.testing.assert_array_equal(tensor.array(), expected)
    q = tensor.quantized()
    np.testing.assert_array_equal(q.dequantize(np.float32), expected)
    assert q.group == min(SIZES[kind][0], 128 if kind != "NVFP4" else 16)
    assert q.dtype.name.split("_")[0] == DTYPES.get(kind, q.dtype.name).split("_")[0]
    unpacked = layout.unpack(layout.pack(packable(q)))
    np.testing.assert_array_equal(unpacked.dequantize(np.float32), expected)


@pytest.mark.slow
def test_every_type_on_the_accelerator(
    tmp_path: Path, rng: np.random.Generator, accelerate: Callable
) -> None:
    """Tables as integers; the scales of MXFP4's own range would leave nothing of FP16 results."""
    matrices = []
    for kind in BLOCKS:
        data = blocks(kind, 8, kind not in (*MINIMUMS, "MXFP4", "NVFP4"), rng)
        if kind == "MXFP4":
            data.reshape(8, -1, 17)[..., 0] = rng.integers(118, 124, (8, 16))
        tensor = open_checkpoint(write(tmp_path / "a.gguf", kind, data))["blk.0.ffn_up.weight"]
        matrices.append(packable(tensor.quantized()))
    accelerate(matrices)


@pytest.mark.quick
def test_a_code_of_three_makes_two_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    data = rng.integers(0, 256, (4, 2, 18), np.uint8)
    data[..., :2] = np.array(0.5, "<f2").reshape(1).view(np.uint8)
    tensor = open_checkpoint(write(tmp_path / "a.gguf", "Q2_0", data.reshape(4, -1)))["blk.0.ffn_up.weight"]
    q = tensor.quantized()
    assert q.dtype.name == "int2_asym"
    np.testing.assert_array_equal(q.dequantize(np.float32), walked("Q2_0", data.reshape(4, -1)))


@pytest.mark.quick
def test_longer_blocks_of_a_fork(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two tensors of type 42 in blocks of 128: read as blocks of 64 they would overlap."""
    data, path = rng.integers(0, 256, (2, 16, 2, 34), np.uint8), tmp_path / "a.gguf"
    data[..., 2:] &= data[..., 2:] >> 1 & 0x55 ^ 0xFF
    data[..., :2] = np.array([0.75], "<f2").view(np.uint8)
    writer = gguf.GGUFWriter(path, "qwen2")
    for number, part in enumerate(data):
        name = f"blk.{number}.ffn_up.weight"
        writer.add_tensor_info(name, (16, 256), np.dtype("f2"), part.nbytes)
        writer.tensors[-1][name].dtype = 42
        writer.tensors[-1][name].tensor = part
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for tensor, part in zip(open_checkpoint(path).tensors, data, strict=True):
        codes = part[..., 2:, None] >> np.arange(0, 8, 2) & 3
        expected = (codes.reshape(16, 256) - 1).astype(np.float32) * np.float32(0.75)
        np.testing.assert_array_equal(tensor.array(), expected)
        q = tensor.quantized()
        assert (q.dtype.name, q.group) == ("ternary", 128)
        np.testing.assert_array_equal(q.dequantize(), expected)


@pytest.mark.quick
def test_a_negative_scale_beside_a_minimum_takes_a_bit_more(tmp_path: Path, rng: np.random.Generator) -> None:
    data = blocks("Q4_1", 6, True, rng)
    tensor = open_checkpoint(write(tmp_path / "a.gguf", "Q4_1", data))["blk.0.ffn_up.weight"]
    q = layout.unpack(layout.pack(tensor.quantized()))
    assert q.dtype.name == "int5"
    expected = gguf.dequantize(data, gguf.GGMLQuantizationType.Q4_1)
    np.testing.assert_array_equal(q.dequantize(np.float32), expected)


@pytest.mark.quick
def test_scales_that_are_not_finite_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    data = blocks("Q4_0", 2, False, rng)
    data[1, :2] = np.array(np.inf, "<f2").reshape(1).view(np.uint8)
    tensor = open_checkpoint(write(tmp_path / "a.gguf", "Q4_0", data))["blk.0.ffn_up.weight"]
    with pytest.raises(Inexact, match=r"tensor blk\.0\.ffn_up\.weight: scales and offsets must be finite"):
        tensor.quantized()


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ2_S"])
def test_other_types_are_dequantised_by_the_library(
    kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    data = rng.integers(0, 60, (3, 2 * SIZES[kind][1]), np.uint8)
    tensor = open_checkpoint(write(tmp_path / "a.gguf", kind, data))["blk.0.ffn_up.weight"]
    np.testing.assert_array_equal(tensor.array(), gguf.dequantize(data, gguf.GGMLQuantizationType[kind]))
    with pytest.raises(Inexact, match=f": {kind} has no exact form"):
        tensor.quantized()


@pytest.mark.quick
def test_experts_are_matrices(tmp_path: Path, rng: np.random.Generator) -> None:
    data = blocks("Q4_0", 3 * 8, True, rng).reshape(3, 8, -1)
    path = write(tmp_path / "a.gguf", "Q4_0", data, "blk.0.ffn_up_exps.weight")
    tensor = open_checkpoint(path)["blk.0.ffn_up_exps.weight"]
    expected = gguf.dequantize(data, gguf.GGMLQuantizationType.Q4_0)
    assert (tensor.shape, tensor.role) == ((3, 8, 512), "linear")
    np.testing.assert_array_equal(tensor.array(), expected)
    for matrix, wanted in zip(tensor.matrices(), expected, strict=True):
        np.testing.assert_array_equal(matrix.quantized().dequantize(np.float32), wanted)


@pytest.mark.quick
def test_the_scale_of_a_tensor_is_a_multiplier(tmp_path: Path, rng: np.random.Generator) -> None:
    """llama.cpp keeps NVFP4's second scale as a tensor of its own."""
    data, path = blocks("NVFP4", 4, False, rng), tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=gguf.GGMLQuantizationType.NVFP4)
    writer.add_tensor("blk.0.ffn_up.scale", np.array([0.3], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tensor,) = open_checkpoint(path).tensors
    core = gguf.dequantize(data, gguf.GGMLQuantizationType.NVFP4)
    assert tensor.multiplier == np.float32(0.3)
    np.testing.assert_array_equal(tensor.quantized().dequantize(np.float32), core)
    np.testing.assert_array_equal(tensor.array(), core * np.float32(0.3))


@pytest.mark.quick
def test_a_copy_beyond_float16_is_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    data = blocks("Q8_0", 4, False, rng)
    small = open_checkpoint(write(tmp_path / "a.gguf", "Q8_0", data, "token_embd.weight")).tensors[0]
    assert (small.role, small.stored().dtype) == ("embedding", np.float16)
    data[0, :3] = [*np.array([60000], "<f2").view(np.uint8), 100]
    large = open_checkpoint(write(tmp_path / "a.gguf", "Q8_0", data, "token_embd.weight")).tensors[0]
    assert large.stored().dtype == np.float32
    np.testing.assert_array_equal(large.stored(), gguf.dequantize(data, gguf.GGMLQuantizationType.Q8_0))


@pytest.mark.quick
def test_the_table_has_a_sign_for_every_group() -> None:
    assert IQ4_NL.selector_bits == 1
    np.testing.assert_array_equal(IQ4_NL.values(1), -IQ4_NL.values(0))
    for selector in (0, 1):
        for value in IQ4_NL.values(selector):
            terms = IQ4_NL.terms(int(value))
            total = sum(IQ4_NL.term_value(t) << s for t, s in zip(terms, IQ4_NL.shifts, strict=True))
            assert total == value
