"""Metadata and tensors of models: what is there is used, or refused in one line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden import evaluate, generate
from golden.checkpoint import Checkpoint, open_checkpoint
from golden.model import configuration
from golden.model.architecture import IN_ALL, Architecture, bias_of, names
from golden.model.llama import Llama

pytestmark = pytest.mark.quick

Make = Callable[..., Checkpoint]

GGUF = {
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 32,
}
FOLDER = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "intermediate_size": 40,
}
QUERIES, KEYS, WIDTH, HIDDEN = 32, 16, 32, 40
SHAPES = {
    **{"q": (QUERIES, WIDTH), "k": (KEYS, WIDTH), "v": (KEYS, WIDTH), "o": (WIDTH, QUERIES)},
    **{"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)},
    **{"attention_norm": (WIDTH,), "ffn_norm": (WIDTH,), "q_norm": (8,), "k_norm": (8,)},
    **{"q_bias": (QUERIES,), "k_bias": (KEYS,), "v_bias": (KEYS,), "o_bias": (WIDTH,)},
    **{"gate_bias": (HIDDEN,), "up_bias": (HIDDEN,), "down_bias": (WIDTH,)},
    **{"embedding": (50, WIDTH), "norm": (WIDTH,), "output": (50, WIDTH)},
}


def arrays(form: str, extra: tuple[str, ...] = (), parts: tuple[str, ...] = IN_ALL) -> dict[str, np.ndarray]:
    """Random tensors of a model of two layers by their names; of ``extra`` parts too."""
    rng, own = np.random.default_rng(3), names(form)
    wanted = [(part, layer) for part in (*parts, *extra) for layer in range(2)]
    wanted += [("embedding", 0), ("norm", 0)]
    return {
        own[part].format(layer): rng.normal("norm" in part, 0.3, SHAPES[part]).astype(np.float32)
        for part, layer in wanted
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Make:
    """A checkpoint of any format: form, metadata, tensors, architecture. Its tensors lie in one file."""

    def make(
        form: str, metadata: dict[str, Any], tensors: dict[str, np.ndarray], name: str = "llama"
    ) -> Checkpoint:
        save_file(tensors, path := tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors")
        about = described(form, metadata, name)
        return replace(about, tensors=open_checkpoint(path).tensors)

    return make


def described(form: str, metadata: dict[str, Any], name: str) -> Checkpoint:
    """A checkpoint without tensors."""
    key, prefix = ("general.architecture", f"{name}.") if form == "gguf" else ("model_type", "")
    about = {key: name} | {f"{prefix}{entry}": value for entry, value in metadata.items()}
    return Checkpoint(Path("model"), form, about, ())


def read(form: str, changes: dict[str, Any], name: str = "llama") -> Architecture:
    """The architecture of a checkpoint whose tensors need not be there."""
    return configuration.read(described(form, (GGUF if form == "gguf" else FOLDER) | changes, name))


UNKNOWN = [
    ("gguf", "attention.clamp_kqv", 8.0, "model: llama.attention.clamp_kqv 8.0 is not implemented"),
    ("gguf", "expert_count", 8, "model: llama.expert_count 8 is not implemented"),
    ("gguf", "logit_scale", 0.1, "model: llama.logit_scale 0.1 is not implemented"),
    ("gguf", "attention.causal", False, None),
    ("gguf", "rope.scaling.type", "yarn", "model: llama.rope.scaling.type 'yarn' must be none or linear"),
    ("gguf", "rope.scaling.attn_factor", 1.2, "model: llama.rope.scaling.attn_factor 1.2 must be 1"),
    ("gguf", "rope.scale_linear", 4.0, "model: llama.rope.scale_linear 4.0 must be 1"),
    ("gguf", "rope.dimension_count", 10, "rope.dimension_count 10 must be even and at most 8"),
    ("gguf", "rope.dimension_count", 7, "rope.dimension_count 7 must be even and at most 8"),
    ("gguf", "attention.value_length", 16, "attention.value_length 16 must be the key length 8"),
    ("gguf", "attention.head_count", [4, 4], "head_count [4, 4] must be a positive whole number"),
    ("gguf", "attention.layer_norm_rms_epsilon", "x", "rms_epsilon 'x' must be a positive number"),
    ("huggingface", "hidden_act", "gelu", "model: hidden_act 'gelu' must be 'silu'"),
    ("huggingface", "rope_interleaved", True, "model: rope_interleaved True is not implemented"),
    ("huggingface", "sliding_window", 8, "model: sliding_window 8 is not implemented"),
    ("huggingface", "partial_rotary_factor", 0.5, "model: partial_rotary_factor 0.5 is not implemented"),
    (
        *("huggingface", "rope_scaling", {"type": "yarn", "factor": 4.0}),
        "model: rope_parameters.rope_type 'yarn' must be one of default, none, linear, llama3",
    ),
    (
        *("huggingface", "rope_parameters", {"rope_type": "linear", "factor": 2.0, "beta_fast": 32}),
        "model: rope_parameters.beta_fast 32 is not implemented",
    ),
    (
        *("huggingface", "rope_parameters", {"rope_type": "llama3", "factor": 2.0}),
        "model: metadata must have 'rope_parameters.low_freq_factor'",
    ),
    (
        *("huggingface", "rope_parameters", {"partial_rotary_factor": 0.5}),
        "model: rope_parameters.partial_rotary_factor 0.5 must be 1",
    ),
]


@pytest.mark.parametrize(("form", "name", "value", "message"), UNKNOWN)
def test_metadata_that_are_not_used(form: str, name: str, value: Any, message: str | None) -> None:
    if message is None:
        read(form, {name: value})
        return
    with pytest.raises(ValueError, match=re.escape(message)) as stop:
        read(form, {name: value})
    assert "\n" not in str(stop.value)


def test_layers_of_windows() -> None:
    window = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
    assert read("huggingface", window, "qwen2").windows == (None, 5)
    assert read("huggingface", window | {"use_sliding_window": False}, "qwen2").windows == (None, None)
    assert read("huggingface", {"sliding_window": 6}, "mistral").windows == (6, 6)
    assert read("gguf", {"attention.sliding_window": 7}).windows == (7, 7)
    for kinds in (["full_attention"], ["full_attention", "chunked_attention"]):
        with pytest.raises(ValueError, match=r"layer_types .* must be 2 of full_attention or"):
            read("huggingface", window | {"layer_types": kinds}, "qwen3")


EXTRA = [
    ("gguf", "blk.0.attn_q_norm.weight", "llama"),
    ("gguf", "blk.2.attn_q.weight", "llama"),
    ("gguf", "blk.0.ffn_gate_inp.weight", "qwen2"),
    ("gguf", "output.bias", "qwen2"),
    ("huggingface", "model.layers.0.self_attn.q_proj.bias", "llama"),
    ("huggingface", "model.layers.0.self_attn.q_proj.lora_A.weight", "llama"),
    ("huggingface", "model.layers.1.post_feedforward_layernorm.weight", "qwen3"),
]


@pytest.mark.parametrize(("form", "tensor", "name"), EXTRA)
def test_tensors_that_are_not_used(form: str, tensor: str, name: str, checkpoint: Make) -> None:
    tensors = {tensor: np.zeros(32, np.float32)}
    metadata = GGUF if form == "gguf" else FOLDER
    message = f"model: tensor {tensor} must be a part of a {name} model of 2 layers, as the metadata"
    with pytest.raises(ValueError, match=re.escape(message)):
        configuration.read(checkpoint(form, metadata, tensors, name))


def test_tensors_that_are_computed(checkpoint: Make) -> None:
    tensors = {"model.layers.1.self_attn.rotary_emb.inv_freq": np.zeros(4, np.float32)}
    configuration.read(checkpoint("huggingface", FOLDER, tensors))


def test_missing_and_misshapen_tensors(checkpoint: Make) -> None:
    tensors = arrays("huggingface", ("q_bias", "k_bias", "v_bias"))
    tied = FOLDER | {"tie_word_embeddings": True}
    Llama(checkpoint("huggingface", tied, tensors, "qwen2"))
    for name in ("model.layers.1.self_attn.q_proj.bias", "model.norm.weight"):
        kept = {key: value for key, value in tensors.items() if key != name}
        with pytest.raises(ValueError, match=f"must have a tensor {re.escape(name)}"):
            Llama(checkpoint("huggingface", tied, kept, "qwen2"))
    with pytest.raises(ValueError, match=r"must have a tensor lm_head.weight"):
        Llama(checkpoint("huggingface", FOLDER, tensors, "qwen2"))
    with pytest.raises(ValueError, match=r"up_proj.weight of shape \(40, 32\) must be 44 x 32|gate_proj"):
        Llama(checkpoint("huggingface", tied | {"intermediate_size": 44}, tensors, "qwen2"))
    with pytest.raises(ValueError, match=r"q_proj.weight of shape \(32, 32\) must be 64 x 32"):
        Llama(checkpoint("huggingface", tied | {"head_dim": 16}, tensors, "qwen2"))


def test_an_output_layer_beside_the_embedding_it_is_tied_to(checkpoint: Make) -> None:
    tied, tensors = FOLDER | {"tie_word_embeddings": True}, arrays("huggingface")
    same = tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    one, other = (Llama(checkpoint("huggingface", tied, kept)).hidden([3, 4]) for kept in (tensors, same))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"lm_head.weight must be the embedding, to which it is tied"):
        Llama(checkpoint("huggingface", tied, same | {"lm_head.weight": same["lm_head.weight"] + 1}))


def test_every_bias_counts(checkpoint: Make) -> None:
    """Each by itself moves the outputs; a GGUF has any of them."""
    tokens, plain = [3, 7, 1], arrays("gguf")
    base = Llama(checkpoint("gguf", GGUF, plain)).hidden(tokens)
    for part in map(bias_of, ("q", "v", "o", "gate", "up", "down")):
        biased = arrays("gguf", (part,)) | plain
        moved = Llama(checkpoint("gguf", GGUF, biased)).hidden(tokens)
        assert np.abs(moved - base).max() > 1e-3, part


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_partial_rotation(name: str, checkpoint: Make) -> None:
    """Of 8 channels 4 are turned: with llama's order (i, i + 4), else (i, i + 2); the others stay."""
    turned = GGUF | {"rope.dimension_count": 4}
    extra = ("q_bias", "k_bias", "v_bias") if name == "qwen2" else ()
    model = Llama(checkpoint("gguf", turned, arrays("gguf", extra), name))
    plain = Llama(checkpoint("gguf", GGUF | {"rope.freq_base": 1e30}, arrays("gguf", extra), name))
    both = [one.memories() for one in (model, plain)]
    for one, memories in zip((model, plain), both, strict=True):
        one.hidden([9, 9, 9, 9], memories)
    own, fixed = (memories[0].keys.astype(np.float64) for memories in both)  # of one token at four places
    still = fixed[:, :1]
    partner = 4 if name == "llama" else 2
    wanted = np.repeat(still, 4, 1)
    for pair in range(2):
        z = (still[..., pair] + 1j * still[..., pair + partner]) * np.exp(
            1j * np.arange(4) * 1e4 ** (-pair / 2)
        )
        wanted[..., pair], wanted[..., pair + partner] = z.real, z.imag
    np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-5)


def test_folders(tmp_path: Path) -> None:
    """Read by their path; the hash is of all their files; what is no model is one line."""
    tensors = arrays("huggingface")
    (tmp_path / "config.json").write_text(json.dumps(FOLDER | {"model_type": "llama"}))
    with pytest.raises(ValueError, match=r"safetensors"):
        open_checkpoint(tmp_path)
    half = len(tensors) // 2
    parts = [dict(list(tensors.items())[:half]), dict(list(tensors.items())[half:])]
    for number, part in enumerate(parts):
        save_file(part, tmp_path / f"part{number}.safetensors")
    save_file(parts[0], tmp_path / "unused.safetensors")
    index = {"weight_map": {name: f"part{number}.safetensors" for number in (0, 1) for name in parts[number]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    found = open_checkpoint(tmp_path)
    assert {tensor.name for tensor in found.tensors} == set(tensors)
    first = found.sha256
    save_file(parts[0] | {"more": np.zeros(3, np.float32)}, tmp_path / "part0.safetensors")
    assert open_checkpoint(tmp_path).sha256 != first
    for text in ("{", "[]", '"x"'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config.json|object"):
            open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("config.json", "rope_theta", 500.0),
        ("config.json", "rope_scaling", {"rope_type": "linear", "factor": 4.0}),
        ("quantize_config.json", "bits", 8),
        ("hf_quant_config.json", "quantization", {"quant_algo": "NVFP4"}),
        ("tokenizer.json", "model", {"type": "WordLevel", "vocab": {"a": 2, "b": 1}, "unk_token": "a"}),
        ("README.md", "license", "other"),
    ],
)
def test_results_of_a_folder_are_kept_by_all_that_decides_them(
    name: str, key: str, value: Any, tmp_path: Path
) -> None:
    """Anything but the text about the model is another key, whose result is measured."""
    tokenizers = pytest.importorskip("tokenizers", reason="the models extra is not installed")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 1, "b": 2}, unk_token="a"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (folder := tmp_path / "model").mkdir()
    words.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(FOLDER | {"model_type": "llama"}))
    save_file(
        arrays("huggingface") | {"lm_head.weight": np.eye(50, 32, dtype=np.float32)}, folder / "a.safetensors"
    )
    (tmp_path / "text.txt").write_text("a b b a b a a b a b")
    options = [
        "--model",
        folder,
        "--text",
        tmp_path / "text.txt",
        "--out",
        tmp_path / "out",
        "--weights",
        "none",
    ]

    def cells() -> int:
        assert evaluate.main([*map(str, options), "--tokens", "8", "--context", "8"]) == 0
        return len(list((tmp_path / "out" / "cells").iterdir()))

    assert cells() == cells() == 1
    path = folder / name
    said = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(said | {key: value}))
    assert cells() == (1 if name == "README.md" else 2)


@pytest.mark.parametrize("program", [evaluate, generate], ids=["evaluate", "generate"])
def test_commands_refuse_a_model_at_once(program: Any, tmp_path: Path, refusal: Callable) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FOLDER | {"model_type": "qwen3", "clip_qkv": 8.0}))
    save_file(arrays("huggingface"), tmp_path / "model.safetensors")
    prompt = ["x"] if program is generate else []
    _, error = refusal(program.main, [*prompt, "--model", str(tmp_path)])
    assert "clip_qkv 8.0 is not implemented" in error
