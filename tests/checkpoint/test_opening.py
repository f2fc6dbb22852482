"""Checkpoint readers: files written here byte by byte, malformed ones, and real models where present."""

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.checkpoint import Checkpoint, locate, open_checkpoint
from golden.model.llama import Llama

pytestmark = pytest.mark.quick


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(
    tensors: list[tuple[str, tuple[int, ...], int, bytes]],
    metadata: bytes = b"",
    pairs: int = 0,
    version: int = 3,
) -> bytes:
    """A GGUF file of tensors (name, shape, type number, data)."""
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), pairs) + metadata
    body = b""
    for name, shape, number, data in tensors:
        head += text(name) + struct.pack(
            f"<I{len(shape)}QIQ", len(shape), *reversed(shape), number, len(body)
        )
        body += data + bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + body


def llama(heads: int, kv_heads: int) -> bytes:
    """Metadata of a llama model: three pairs."""
    pairs = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    for key, value in ("head_count", heads), ("head_count_kv", kv_heads):
        pairs += text(f"llama.attention.{key}") + struct.pack("<II", 4, value)
    return pairs


def q4_1(scale: np.ndarray, minimum: np.ndarray, codes: np.ndarray) -> bytes:
    """Blocks of 32 codes [blocks, 32] with scale and minimum [blocks]."""
    header = np.stack([scale, minimum], 1).astype("<f2").view(np.uint8)
    return np.concatenate([header, codes[:, :16] | codes[:, 16:] << 4], 1).astype(np.uint8).tobytes()


def llama2c(shared: bool = True) -> tuple[bytes, np.ndarray]:
    """A llama2.c file with dim 8, hidden 12, 2 layers, 4 heads, 2 kv heads, vocabulary 5, context 3."""
    count = 40 + 2 * (8 + 64 + 32 + 32 + 64 + 8 + 3 * 96) + 8 + 2 * 3 * 1 + 40 * (not shared)
    values = np.arange(count, dtype="<f4")
    return struct.pack("<7i", 8, 12, 2, 4, 2, 5 if shared else -5, 3) + values.tobytes(), values


def test_gguf_types(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    full = rng.standard_normal((4, 64)).astype("<f4")
    scale, minimum = rng.random(8).astype("<f2"), -rng.random(8).astype("<f2")
    codes = rng.integers(0, 16, (8, 32), np.uint8)
    small = rng.integers(-127, 128, (8, 32)).astype(np.int8)
    q8_0 = np.concatenate([scale[:, None].view(np.uint8), small.view(np.uint8)], 1).tobytes()
    tensors = [
        ("blk.0.ffn_up.weight", (4, 64), 0, full.tobytes()),
        ("blk.0.ffn_gate.weight", (4, 64), 1, full.astype("<f2").tobytes()),
        ("blk.0.ffn_down.weight", (4, 64), 3, q4_1(scale, minimum, codes)),
        ("token_embd.weight", (4, 64), 8, q8_0),
        ("blk.0.attn_norm.weight", (64,), 0, full[0].tobytes()),
        ("blk.1.ffn_up.weight", (4, 64), 30, (full.view("<u4") >> 16).astype("<u2").tobytes()),
    ]
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(tensors))
    model = open_checkpoint(path)
    assert model.format == "gguf"
    arrays = [tensor.array() for tensor in model.tensors]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(arrays[0], full)
    np.testing.assert_array_equal(arrays[1], full.astype(np.float16))
    real = scale.astype(np.float32)[:, None] * codes + minimum.astype(np.float32)[:, None]
    np.testing.assert_array_equal(arrays[2], real.reshape(4, 64))
    np.testing.assert_array_equal(arrays[3], (scale.astype(np.float32)[:, None] * small).reshape(4, 64))
    np.testing.assert_array_equal(arrays[4], full[0])
    np.testing.assert_array_equal(arrays[5], (full.view("<u4") & 0xFFFF0000).view("<f4"))
    assert [name for name, _ in model.linears()] == [tensors[index][0] for index in (0, 1, 2, 5)]
    kinds = [str(tensor.stored().dtype) for tensor in model.tensors]
    assert kinds == ["float32", "float16", "float16", "float16", "float32", "float32"]


def test_gguf_metadata(tmp_path: Path) -> None:
    pairs = text("number") + struct.pack("<If", 6, 0.5)
    pairs += text("flag") + struct.pack("<I?", 7, True)
    pairs += text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
    pairs += text("numbers") + struct.pack("<IIQ3h", 9, 3, 3, -1, 0, 1)
    path = tmp_path / "model.gguf"
    pairs += text("broken") + struct.pack("<IQ", 8, 2) + b"a\xff"
    pairs += text("pieces") + struct.pack("<IIQ", 9, 8, 2) + text("a") + struct.pack("<Q", 1) + b"\xfe"
    path.write_bytes(gguf([], pairs, 6, version=2))
    assert open_checkpoint(path).metadata == {
        "number": 0.5,
        "flag": True,
        "words": ["a", "bc"],
        "numbers": [-1, 0, 1],
        "broken": "a\N{REPLACEMENT CHARACTER}",
        "pieces": ["a", "\N{REPLACEMENT CHARACTER}"],
    }


def test_gguf_llama_rows_return_to_halves(tmp_path: Path) -> None:
    """The converter maps row (half h, position p) of a head to row 2p + h; reading must undo it."""
    halves = np.arange(16 * 32, dtype=np.float32).reshape(16, 32)
    for name, heads in ("attn_q", 4), ("attn_k", 2):
        interleaved = halves.reshape(heads, 2, 16 // heads // 2, 32).swapaxes(1, 2).reshape(16, 32)
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(gguf([(f"blk.7.{name}.weight", (16, 32), 0, interleaved.tobytes())], llama(4, 2), 3))
        np.testing.assert_array_equal(open_checkpoint(path).tensors[0].array(), halves)


@pytest.mark.parametrize("shared", [True, False])
def test_llama2c_order(tmp_path: Path, shared: bool) -> None:
    data, values = llama2c(shared)
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    model = open_checkpoint(path)
    assert model.metadata["kv_heads"] == 2
    names = [tensor.name for tensor in model.tensors]
    assert names[:4] == [
        "tok_embeddings",
        "layers.0.attention_norm",
        "layers.1.attention_norm",
        "layers.0.wq",
    ]
    assert names[-1] == ("rotary" if shared else "output")
    joined = np.concatenate([tensor.array().ravel() for tensor in model.tensors])
    np.testing.assert_array_equal(joined, values)
    assert model["layers.1.wk"].shape == (4, 8)
    assert model["layers.0.w2"].shape == (8, 12)
    assert sum(tensor.linear for tensor in model.tensors) == 14 + (not shared)


def test_safetensors_types(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "layer.0.weight": rng.standard_normal((3, 5)).astype(np.float32),
        "layer.1.weight": rng.standard_normal((3, 5)).astype(np.float16),
        "layer.1.bias": rng.standard_normal(3).astype(np.float32),
        "embeddings.word.weight": rng.standard_normal((4, 5)).astype(np.float32),
        "positions": np.arange(4),
    }
    path = tmp_path / "model.safetensors"
    save_file(arrays, path, {"made": "here"})
    model = open_checkpoint(path)
    assert model.metadata == {"made": "here"}
    assert {name for name, _ in model.linears()} == {"layer.0.weight", "layer.1.weight"}
    for tensor in model.tensors:
        np.testing.assert_array_equal(tensor.stored(), arrays[tensor.name])
        assert tensor.stored().dtype == arrays[tensor.name].dtype


def test_safetensors_bfloat16(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = np.random.default_rng(2).standard_normal((4, 6)).astype(ml_dtypes.bfloat16)
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": values}, path)
    np.testing.assert_array_equal(open_checkpoint(path)["layer.weight"].array(), values.astype(np.float32))


def header(json: str, data: int = 0) -> bytes:
    """A safetensors file of that header and so many bytes of data."""
    return struct.pack("<Q", len(json)) + json.encode() + bytes(data)


ONE = '{"dtype": "F32", "shape": [], "data_offsets": [%d, %d]}'
TOKENS = text("tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("") + text("bc")
TOKENS += text("types") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3)
GOOD = gguf([("a.weight", (2, 32), 0, bytes(256))], TOKENS, 2)
HUGE = text("x") + struct.pack("<IIQ", 9, 10, 1 << 62)
HUGE_TEXTS = text("x") + struct.pack("<IIQ", 9, 8, 1 << 62)
MALFORMED = {
    "model.gguf": [
        (b"GGU", "size 3 bytes must be at least 24"),
        (b"", "size 0 bytes must be at least 24"),
        (b"GGML" + GOOD[4:], "GGUF magic invalid"),
        (gguf([], version=1), "file appears to be version 1 which we cannot handle"),
        (gguf([], version=0x03000000), "byte order big-endian must be little-endian"),
        (GOOD[:-1], f"size {len(GOOD) - 1} bytes must be at least {len(GOOD)}"),
        (GOOD[:40], "size 40 bytes must be at least"),
        (gguf([("a.weight", (2, 32), 4, b"")]), "tensor a.weight has type 4, must be one of 0 (F32)"),
        (
            gguf([("a.weight", (2, 33), 3, b"")]),
            "tensor a.weight shape (2, 33) must have rows of whole Q4_1 blocks of 32",
        ),
        (
            gguf([("a", (32,), 0, bytes(128)), ("a", (32,), 0, bytes(128))]),
            "tensor a must occur once",
        ),
        (gguf([("a", (32,), 0, b""), ("b", (32,), 0, bytes(128))]), "tensors a and b must not overlap"),
        (
            GOOD.replace(struct.pack("<QIQ", 2, 0, 0), struct.pack("<QIQ", 2, 0, 8)),
            "offset 8 must be a multiple of 32",
        ),
        (gguf([("a.weight", (1,) * 5, 0, b"")]), "tensor a.weight has rank 5, must be 0..4"),
        (gguf([], text("x") + struct.pack("<I", 13), 1), "(13) is not a valid GGUFValueType"),
        (gguf([], HUGE, 1), "size"),
        (gguf([], HUGE_TEXTS, 1), "size"),
        (
            gguf([], text("x") + struct.pack("<If", 6, 0.5) + text("x") + struct.pack("<If", 6, 1), 2),
            "Duplicate x",
        ),
        (gguf([], text("general.alignment") + struct.pack("<II", 4, 0), 1), "Invalid alignment"),
        (
            gguf([("b.attn_q.weight", (6, 32), 0, bytes(768))], llama(4, 4), 3),
            "llama.attention.head_count 4 must divide half of the 6 rows",
        ),
    ],
    "model.bin": [
        (llama2c()[0][:-4], "bytes must be"),
        (bytes(28), "header {'dim': 0"),
        (b"1234", "size 4 bytes must be at least 28"),
    ],
    "model.safetensors": [
        (b"", "header too small"),
        (struct.pack("<Q", 1 << 40), "header too large"),
        (struct.pack("<Q", 2) + b"[]", "invalid JSON in header"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "invalid JSON in header"),
        (header('{"a":' + "[" * 20000), "recursion limit exceeded"),
        (header(f'{{"a": {ONE % (0, 4)}, "a": {ONE % (4, 8)}}}', 8), "invalid offset for tensor `a`"),
        (header(f'{{"a": {ONE % (0, 4)}, "b": {ONE % (2, 6)}}}', 6), "invalid offset for tensor `b`"),
        (header(f'{{"a": {ONE % (0, 4)}}}', 3), "incomplete metadata"),
        (header('{"a": {"dtype": "F33", "shape": [], "data_offsets": [0, 4]}}', 4), "unknown variant `F33`"),
    ],
    "model.txt": [
        (b"text", "suffix '.txt' must be one of .gguf, .bin, .safetensors, .safetensors.index.json")
    ],
}


@pytest.mark.parametrize(
    ("name", "data", "message"), [(n, *case) for n, cases in MALFORMED.items() for case in cases]
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        open_checkpoint(path)


def test_arrays_of_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    expected = {"tokens": ["a", "", "bc"], "types": [1, -2, 3]}
    assert open_checkpoint(path).metadata == expected


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ValueError, match="bytes must be at least"):
            open_checkpoint(path)


def test_locate_names_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model 'nothing' must be an existing file or one of smollm2"):
        locate("nothing")
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    assert locate(str(path)) == path


def test_hash_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    assert open_checkpoint(path).sha256 == hashlib.sha256(GOOD).hexdigest()


def test_both_formats_are_one_model(tiny_llama: Llama, tiny_file: Checkpoint, tmp_path: Path) -> None:
    """GGUF has llama2.c's matrices under other names, and its reader puts the rows of a head into halves."""
    names = {"wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output", "w1": "ffn_gate"}
    names |= {"w2": "ffn_down", "w3": "ffn_up", "attention_norm": "attn_norm", "ffn_norm": "ffn_norm"}
    names |= {"tok_embeddings": "token_embd", "norm": "output_norm"}
    tensors = []
    for tensor in tiny_file.tensors:
        *place, part = tensor.name.split(".")
        if part in names:
            name = ".".join([*place, names[part], "weight"]).replace("layers", "blk")
            tensors.append((name, tensor.shape, 0, tensor.array().tobytes()))
    numbers = {"block_count": 2, "context_length": 512}
    pairs = b"".join(text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in numbers.items())
    pairs += text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf(tensors, llama(8, 4) + pairs, 6))
    other, tokens = Llama(open_checkpoint(path)), [1, 300, 280, 5, 319, 261]
    wanted, found = (model.logits(model.hidden(tokens)) for model in (tiny_llama, other))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert np.ptp(wanted) > 1


def test_stories260k(stories_file: Checkpoint) -> None:
    model = stories_file
    assert (model.metadata["dim"], model.metadata["layers"], model.metadata["vocab"]) == (64, 5, 512)
    assert sum(w.size for _, w in model.linears()) == 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 172 * 64)
    positions, frequencies = np.arange(512)[:, None], 10000.0 ** (-np.arange(4) / 4)
    rotary = model["rotary"].array()
    np.testing.assert_allclose(rotary[0], np.cos(positions * frequencies), atol=1e-4)
    np.testing.assert_allclose(rotary[1], np.sin(positions * frequencies), atol=1e-4)


@pytest.mark.llm
def test_smollm2(smollm2_file: Checkpoint) -> None:
    model = smollm2_file
    assert len(model.tensors) == 272
    assert sum(tensor.linear for tensor in model.tensors) == 210
    assert model["blk.29.ffn_down.weight"].shape == (576, 1536)
    assert model["token_embd.weight"].kind == "Q8_0"
    assert model["token_embd.weight"].shape == (49152, 576)
    assert {tensor.kind for tensor in model.tensors if tensor.linear} == {"Q4_1"}
    assert len(model.metadata["tokenizer.ggml.tokens"]) == 49152
