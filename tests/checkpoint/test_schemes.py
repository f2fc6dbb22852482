"""Quantised safetensors models, written here from their layouts: every scheme bit for bit, others refused."""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.checkpoint import Checkpoint, Tensor, open_checkpoint
from golden.weights import layout
from golden.weights.stored import packable

ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")

OUTPUTS, INPUTS, GROUP = 16, 128, 32
NAME = "model.layers.0.mlp.up_proj"
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def words(codes: Iterable[Iterable[int]], bits: int, kind: str = "<i4") -> np.ndarray:
    """Each row of codes as one number, lowest code first, cut into words."""
    rows = []
    for row in codes:
        number, count = 0, 0
        for code in row:
            number |= int(code) << bits * count
            count += 1
        length = -(-bits * count // 32) * 4
        rows.append(np.frombuffer(number.to_bytes(length, "little"), kind))
    return np.array(rows)


def write(
    folder: Path, tensors: dict[str, np.ndarray], settings: dict | None = None, **more: object
) -> Checkpoint:
    """A model of one file, with a configuration where there are settings."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(contiguous, folder / "model.safetensors")
    if settings is not None or more:
        configuration = {"model_type": "llama", **more}
        if settings is not None:
            configuration["quantization_config"] = settings
        (folder / "config.json").write_text(json.dumps(configuration))
    return open_checkpoint(folder if settings is not None or more else folder / "model.safetensors")


def spread(per_group: np.ndarray, group: int = GROUP) -> np.ndarray:
    return np.repeat(per_group, group, axis=1)


def check(tensor: Tensor, expected: np.ndarray, packed: bool = True) -> None:
    """The tensor's values, its exact matrix and what a packet gives back are the expected weights."""
    assert tensor.shape == expected.shape
    assert tensor.role == "linear"
    np.testing.assert_array_equal(tensor.array(), expected)
    order = slice(None) if tensor.permutation is None else tensor.permutation
    q = tensor.quantized()
    np.testing.assert_array_equal(q.dequantize(np.float32) * tensor.multiplier, expected[:, order])
    if packed:
        q = layout.unpack(layout.pack(packable(q)))
        np.testing.assert_array_equal(q.dequantize(np.float32) * tensor.multiplier, expected[:, order])


def scales_of(rng: np.random.Generator, shape: tuple[int, int], kind: type = np.float16) -> np.ndarray:
    return (rng.random(shape) * np.exp2(rng.integers(-6, 3, shape))).astype(kind)


def gptq(
    rng: np.random.Generator, bits: int, version: int, indices: np.ndarray, signs: bool = False
) -> tuple:
    """Parts of GPTQ with that group of every input, and the true weights."""
    codes = rng.integers(0, 1 << bits, (OUTPUTS * 2, INPUTS))
    groups = INPUTS // GROUP
    zeros = rng.integers(version == 1, (1 << bits) + (version == 1), (OUTPUTS * 2, groups))
    scales = scales_of(rng, zeros.shape)
    if signs:
        scales *= rng.choice([-1, 1], zeros.shape).astype(np.float16)
    parts = {
        "qweight": words(codes, bits).T,
        "qzeros": words((zeros - (version == 1)).T, bits),
        "scales": scales.T,
        "g_idx": indices.astype(np.int32),
    }
    whole = scales.astype(np.float32)[:, indices] * (codes - zeros[:, indices]).astype(np.float32)
    return {f"{NAME}.{part}": array for part, array in parts.items()}, whole


@pytest.mark.quick
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("signs", [True, False])
def test_gptq(
    bits: int, version: int, ordered: bool, signs: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    indices = np.arange(INPUTS) // GROUP
    if not ordered:
        rng.shuffle(indices)
    parts, expected = gptq(rng, bits, version, indices, signs)
    settings = {"quant_method": "gptq", "checkpoint_format": f"gptq_v{version}" if version == 2 else "gptq"}
    tensor = write(tmp_path, parts, settings)[f"{NAME}.weight"]
    assert tensor.kind == f"GPTQ v{version}, {bits} bits"
    assert (tensor.permutation is None) == ordered
    check(tensor, expected, packed=bits < 8 or version == 2)


@pytest.mark.quick
def test_gptq_with_groups_of_unequal_length_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    indices = np.arange(INPUTS) // GROUP
    indices[0] = 1
    parts, _ = gptq(rng, 4, 1, indices)
    with pytest.raises(ValueError, match="g_idx must have 32 inputs in each of 4 groups"):
        write(tmp_path, parts)


def awq(folder: Path, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """A matrix of AWQ, and the true weights; as the next ones."""
    codes = rng.integers(0, 16, (INPUTS, OUTPUTS))
    zeros = rng.integers(0, 16, (INPUTS // GROUP, OUTPUTS))
    scales = scales_of(rng, zeros.shape)

    def eights(matrix: np.ndarray) -> np.ndarray:
        ordered = matrix.reshape(len(matrix), -1, 8)[..., AWQ_ORDER].reshape(len(matrix), -1)
        return words(ordered, 4)

    parts = {"qweight": eights(codes), "qzeros": eights(zeros), "scales": scales}
    tensor = write(folder, {f"{NAME}.{part}": array for part, array in parts.items()})[f"{NAME}.weight"]
    return tensor, spread(scales.astype(np.float32).T) * (codes.T - spread(zeros.T)).astype(np.float32)


@pytest.mark.quick
def test_awq(tmp_path: Path, rng: np.random.Generator) -> None:
    tensor, expected = awq(tmp_path, rng)
    assert tensor.kind == "AWQ, 4 bits"
    check(tensor, expected)


def pack_quantized(
    folder: Path, rng: np.random.Generator, bits: int, zero: bool, groups: int
) -> tuple[Tensor, np.ndarray]:
    half = 1 << bits - 1
    codes = rng.integers(-half, half, (OUTPUTS, INPUTS))
    zeros = rng.integers(-half, half, (OUTPUTS, groups)) * zero
    scales = scales_of(rng, zeros.shape, ml_dtypes.bfloat16)
    parts = {
        "weight_packed": words(codes + half, bits),
        "weight_scale": scales,
        "weight_shape": np.array([OUTPUTS, INPUTS]),
    }
    if zero:
        parts["weight_zero_point"] = words((zeros + half).T, bits).T
    tensors = {f"{NAME}.{part}": array for part, array in parts.items()}
    group = INPUTS // groups
    expected = spread(scales.astype(np.float32), group) * (codes - spread(zeros, group)).astype(np.float32)
    return write(folder, tensors)[f"{NAME}.weight"], expected


@pytest.mark.quick
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("groups", [1, INPUTS // GROUP])
def test_pack_quantized(bits: int, zero: bool, groups: int, tmp_path: Path, rng: np.random.Generator) -> None:
    check(*pack_quantized(tmp_path, rng, bits, zero, groups))


@pytest.mark.quick
@pytest.mark.parametrize("zero", [False, True])
def test_pack_quantized_as_the_library_writes_it(
    zero: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    torch = pytest.importorskip("torch")
    for bits in range(2, 9):
        codes = rng.integers(-(1 << bits - 1), 1 << bits - 1, (OUTPUTS, INPUTS)).astype(np.int8)
        zeros = rng.integers(-(1 << bits - 1), 1 << bits - 1, (OUTPUTS, 4)).astype(np.int8) * zero
        scales = scales_of(rng, zeros.shape)
        parts = {"weight_packed": helpers.pack_to_int32(torch.tensor(codes), bits).numpy()}
        parts |= {"weight_scale": scales, "weight_shape": np.array([OUTPUTS, INPUTS])}
        if zero:
            parts["weight_zero_point"] = helpers.pack_to_int32(torch.tensor(zeros), bits, 0).numpy()
        tensors = {f"{NAME}.{part}": array for part, array in parts.items()}
        real = codes.astype(np.float32) - spread(zeros).astype(np.float32)
        check(write(tmp_path, tensors)[f"{NAME}.weight"], spread(scales.astype(np.float32)) * real)


@pytest.mark.quick
def test_signed_bytes_with_scales(tmp_path: Path, rng: np.random.Generator) -> None:
    codes = rng.integers(-128, 128, (OUTPUTS, INPUTS)).astype(np.int8)
    scales = scales_of(rng, (OUTPUTS, 1), ml_dtypes.bfloat16)
    parts = {f"{NAME}.weight": codes, f"{NAME}.weight_scale": scales}
    expected = scales.astype(np.float32) * codes.astype(np.float32)
    check(write(tmp_path, parts)[f"{NAME}.weight"], expected)


def mlx(
    folder: Path, rng: np.random.Generator, bits: int, group: int, negative: bool
) -> tuple[Tensor, np.ndarray]:
    codes = rng.integers(0, 1 << bits, (OUTPUTS, INPUTS))
    scales = scales_of(rng, (OUTPUTS, INPUTS // group))
    if negative:
        scales *= rng.choice([-1, 1], scales.shape).astype(np.float16)
    biases = (rng.standard_normal(scales.shape) * 4).astype(np.float16)
    parts = {"weight": words(codes, bits, "<u4"), "scales": scales, "biases": biases}
    tensors = {f"{NAME}.{part}": array for part, array in parts.items()}
    quantization = {"group_size": 64, "bits": 2, NAME: {"group_size": group, "bits": bits}}
    tensor = write(folder, tensors, quantization=quantization)[f"{NAME}.weight"]
    expected = spread(scales.astype(np.float32), group) * codes.astype(np.float32)
    return tensor, expected + spread(biases.astype(np.float32), group)


@pytest.mark.quick
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("negative", [True, False])
def test_mlx(bits: int, group: int, negative: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    check(*mlx(tmp_path, rng, bits, group, negative), packed=not negative or bits < 8)


@pytest.mark.quick
def test_mlx_as_the_library_writes_it(tmp_path: Path, rng: np.random.Generator) -> None:
    """Its own dequantisation in float32; in float16 the library rounds the product and the sum."""
    mx = pytest.importorskip("mlx.core")
    weights = mx.array(rng.standard_normal((OUTPUTS, 256)).astype(np.float16))
    for bits in (2, 3, 4, 5, 6, 8):
        packed, scales, biases = mx.quantize(weights, group_size=64, bits=bits)
        whole = [part.astype(mx.float32) for part in (scales, biases)]
        expected = np.array(mx.dequantize(packed, *whole, group_size=64, bits=bits))
        parts = {"weight": packed, "scales": scales, "biases": biases}
        tensors = {f"{NAME}.{part}": np.array(array) for part, array in parts.items()}
        model = write(tmp_path, tensors, quantization={"group_size": 64, "bits": bits})
        check(model[f"{NAME}.weight"], expected, packed=bits < 8)
    for mode, group in ("mxfp4", 32), ("nvfp4", 16):
        packed, scales = mx.quantize(weights, group_size=group, bits=4, mode=mode)
        expected = mx.dequantize(packed, scales, group_size=group, bits=4, mode=mode).astype(mx.float32)
        parts = {"weight": packed, "scales": scales}
        tensors = {f"{NAME}.{part}": np.array(array) for part, array in parts.items()}
        check(write(tmp_path, tensors)[f"{NAME}.weight"], np.array(expected))


@pytest.mark.quick
def test_mlx_needs_its_configuration(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = {"weight": np.zeros((4, 16), np.uint32), "scales": np.ones((4, 2), np.float16)}
    parts["biases"] = parts["scales"]
    with pytest.raises(ValueError, match=r"config\.json must say bits and group_size"):
        write(tmp_path, {f"{NAME}.{part}": array for part, array in parts.items()})


def nibbles(codes: np.ndarray) -> np.ndarray:
    return (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8)


def mxfp4(folder: Path, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    codes = rng.integers(0, 16, (3, OUTPUTS, INPUTS))
    exponents = rng.integers(120, 135, (3, OUTPUTS, INPUTS // 32)).astype(np.uint8)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    blocks = nibbles(codes).reshape(3, OUTPUTS, INPUTS // 32, 16)
    tensor = write(folder, {f"{name}_blocks": blocks, f"{name}_scales": exponents})[name]
    return tensor, E2M1[codes] * np.repeat(np.exp2(exponents.astype(np.float32) - 127), 32, -1)


@pytest.mark.quick
def test_mxfp4_of_gpt_oss(tmp_path: Path, rng: np.random.Generator) -> None:
    tensor, expected = mxfp4(tmp_path, rng)
    np.testing.assert_array_equal(tensor.array(), expected)
    for matrix, wanted in zip(tensor.matrices(), expected, strict=True):
        assert matrix.quantized().scale_format.name == "e8m0"
        check(matrix, wanted)


def raw_e4m3(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.float8_e4m3fn)


def with_kind(path: Path, name: str, kind: str) -> None:
    """Say in the header that a tensor of bytes has another type of one byte."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header[name]["dtype"] = kind
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def nvfp4(folder: Path, rng: np.random.Generator, divides: bool) -> tuple[Tensor, np.ndarray, np.float32]:
    """A matrix of NVFP4, its weights without the scale of the tensor, and the factor that this one is."""
    codes = rng.integers(0, 16, (OUTPUTS, INPUTS))
    scales = raw_e4m3(np.abs(rng.standard_normal((OUTPUTS, INPUTS // 16)) * np.exp2(rng.integers(-9, 8, 8))))
    factor = np.array([0.37 if divides else 0.0123], np.float32)
    data, total = ("weight_packed", "weight_global_scale") if divides else ("weight", "weight_scale_2")
    parts = {f"{NAME}.{data}": nibbles(codes), f"{NAME}.weight_scale": scales.view(np.uint8)}
    path = folder / "model.safetensors"
    save_file(parts | {f"{NAME}.{total}": factor}, path)
    with_kind(path, f"{NAME}.weight_scale", "F8_E4M3")
    tensor = open_checkpoint(path)[f"{NAME}.weight"]
    multiplier = np.float32(1) / factor[0] if divides else factor[0]
    return tensor, E2M1[codes] * spread(scales.astype(np.float32), 16), multiplier


@pytest.mark.quick
@pytest.mark.parametrize("divides", [False, True])
def test_nvfp4(divides: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    tensor, core, multiplier = nvfp4(tmp_path, rng, divides)
    assert tensor.multiplier == multiplier
    q = tensor.quantized()
    assert (q.dtype.name, q.scale_format.name, q.group) == ("e2m1", "e4m3", 16)
    np.testing.assert_array_equal(q.dequantize(np.float32), core)
    np.testing.assert_array_equal(layout.unpack(layout.pack(q)).dequantize(np.float32), core)
    np.testing.assert_array_equal(tensor.array(), core * multiplier)


def bitnet(folder: Path, rng: np.random.Generator, linear_class: str | None) -> tuple[Tensor, np.ndarray]:
    trits = rng.integers(-1, 2, (OUTPUTS, INPUTS))
    quarters = (trits + 1).reshape(4, -1, INPUTS)
    packed = sum(part << 2 * place for place, part in enumerate(quarters)).astype(np.uint8)
    parts = {f"{NAME}.weight": packed, f"{NAME}.weight_scale": np.array([0.7], ml_dtypes.bfloat16)}
    settings = {"quant_method": "bitnet"} | ({"linear_class": linear_class} if linear_class else {})
    return write(folder, parts, settings)[f"{NAME}.weight"], trits


@pytest.mark.quick
@pytest.mark.parametrize("linear_class", [None, "bitlinear", "autobitlinear"])
def test_bitnet(linear_class: str | None, tmp_path: Path, rng: np.random.Generator) -> None:
    tensor, trits = bitnet(tmp_path, rng, linear_class)
    scale = np.float32(ml_dtypes.bfloat16(0.7))
    assert tensor.multiplier == (scale if linear_class == "autobitlinear" else np.float32(1) / scale)
    assert tensor.quantized().dtype.name == "ternary"
    np.testing.assert_array_equal(tensor.quantized().dequantize(), trits)
    check(tensor, trits.astype(np.float32) * tensor.multiplier)


@pytest.mark.slow
def test_every_scheme_on_the_accelerator(
    tmp_path: Path, rng: np.random.Generator, accelerate: Callable
) -> None:
    parts, _ = gptq(rng, 4, 1, rng.permutation(np.arange(INPUTS) // GROUP), signs=True)
    tensors = [write(tmp_path, parts)[f"{NAME}.weight"]]
    makers = [awq, mxfp4]
    makers += [partial(pack_quantized, bits=bits, zero=bits < 8, groups=4) for bits in (3, 4, 8)]
    makers += [partial(mlx, bits=4, group=group, negative=True) for group in (64, 128)]
    makers += [partial(nvfp4, divides=False), partial(bitnet, linear_class=None)]
    matrices = [tensor.quantized() for tensor in tensors]
    for number, make in enumerate(makers):
        folder = tmp_path / str(number)
        folder.mkdir()
        matrices.append(next(make(folder, rng)[0].matrices()).quantized())
    assert {q.group for q in matrices} == {16, 32, 64, 128}
    accelerate(matrices)


def some(kind: type = np.uint8) -> np.ndarray:
    return np.zeros((8, 8), kind)


FOREIGN: list[tuple[dict[str, np.ndarray], str]] = [
    ({"weight": some(), "weight.absmax": some(np.float32)}, "weight.absmax is bitsandbytes (4 bits)"),
    ({"weight": some(np.int8), "SCB": some(np.float32)}, "SCB is bitsandbytes (LLM.int8)"),
    ({"weight": some(), "weight_scale_inv": some(np.float32)}, "weight_scale_inv is FP8 in blocks"),
    ({"codes": some(np.int16), "codebooks": some(np.float16)}, "codebooks is AQLM"),
    ({"trellis": some(np.int16), "suh": some(np.float16)}, "trellis is EXL3"),
    ({"q_weight": some(np.int32)}, "q_weight is EXL2"),
    ({"W_q": some(), "meta": some()}, "W_q is HQQ"),
    ({"qweight": some(np.int32)}, "qweight is of a scheme with .qweight other than"),
    ({"weight_packed": some(np.int32)}, "weight_packed is of a scheme with .weight_packed other than"),
    ({"weight": some(np.float32), "weight_scale": some(np.float32)}, "weight_scale is of a scheme with"),
    (
        {"qweight": some(np.int32), "qzeros": some(np.int32), "scales": some(np.float16)},
        "must be those of GPTQ with 2, 3, 4 or 8 bits or of AWQ (GEMM) with 4",
    ),
]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("parts", "message"), FOREIGN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_other_schemes_are_refused_by_name(parts: dict, message: str, tmp_path: Path) -> None:
    good = {"model.layers.1.mlp.up_proj.weight": np.ones((8, 16), np.float32)}
    tensors = good | {f"{NAME}.{part}": array for part, array in parts.items()}
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}.*: .*{re.escape(message)}") as error:
        write(tmp_path, tensors)
    assert "\n" not in str(error.value)


@pytest.mark.quick
def test_scales_too_far_apart_are_inexact(tmp_path: Path, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 256, (OUTPUTS, INPUTS)).astype(np.uint8)
    scales = np.full((OUTPUTS, 4), 1, ml_dtypes.bfloat16)
    scales[3, 2] = 2.0**-50
    parts = {f"{NAME}.weight": codes.view(np.int8), f"{NAME}.weight_scale": scales}
    tensor = write(tmp_path, parts)[f"{NAME}.weight"]
    with pytest.raises(
        ValueError, match=r"tensor .*up_proj\.weight: scales and offsets of a row must lie within"
    ):
        tensor.quantized()
