"""Roles: which tensors of which architecture a linear layer multiplies by, and which way round they lie."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.checkpoint import Checkpoint, open_checkpoint
from golden.checkpoint.roles import choose

pytestmark = pytest.mark.quick

LLAMA = {
    "model.embed_tokens.weight": ((40, 16), "embedding"),
    "model.layers.0.self_attn.q_proj.weight": ((16, 16), "linear"),
    "model.layers.0.self_attn.q_proj.bias": ((16,), "bias"),
    "model.layers.0.self_attn.q_norm.weight": ((4,), "norm"),
    "model.layers.0.mlp.down_proj.weight": ((16, 48), "linear"),
    "model.layers.0.input_layernorm.weight": ((16,), "norm"),
    "model.layers.0.self_attn.rotary_emb.inv_freq": ((4,), "rotary table"),
    "lm_head.weight": ((40, 16), "linear"),
}
MODELS: dict[str, dict[str, tuple[tuple[int, ...], str]]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma3_text"), LLAMA),
    "mixtral": {
        "model.layers.0.block_sparse_moe.gate.weight": ((8, 16), "router"),
        "model.layers.0.block_sparse_moe.experts.0.w1.weight": ((48, 16), "linear"),
    },
    "qwen3_moe": {
        "model.layers.0.mlp.gate.weight": ((8, 16), "router"),
        "model.layers.0.mlp.experts.gate_up_proj": ((8, 32, 16), "linear"),
        "model.layers.0.mlp.shared_expert_gate.weight": ((1, 16), "router"),
    },
    "gpt_oss": {
        "model.layers.0.mlp.router.weight": ((8, 16), "router"),
        "model.layers.0.mlp.experts.gate_up_proj_bias": ((8, 16), "bias"),
        "model.layers.0.self_attn.q_proj.weight": ((16, 16), "linear"),
    },
    "phi": {
        "model.layers.0.self_attn.dense.weight": ((16, 16), "linear"),
        "model.layers.0.mlp.fc1.weight": ((64, 16), "linear"),
        "model.layers.0.input_layernorm.weight": ((16,), "norm"),
    },
    "gpt2": {
        "wte.weight": ((40, 16), "embedding"),
        "wpe.weight": ((8, 16), "embedding"),
        "h.0.ln_1.weight": ((16,), "norm"),
        "h.0.attn.bias": ((1, 1, 8, 8), "bias"),
        "h.0.attn.c_attn.weight": ((16, 48), "linear"),
        "h.0.attn.c_attn.bias": ((48,), "bias"),
        "h.0.mlp.c_fc.weight": ((16, 64), "linear"),
    },
    "bert": {
        "bert.embeddings.word_embeddings.weight": ((40, 16), "embedding"),
        "bert.encoder.layer.0.attention.self.query.weight": ((16, 16), "linear"),
        "bert.encoder.layer.0.attention.output.LayerNorm.weight": ((16,), "norm"),
        "bert.pooler.dense.weight": ((16, 16), "linear"),
    },
    "t5": {
        "shared.weight": ((40, 16), "embedding"),
        "encoder.block.0.layer.0.SelfAttention.q.weight": ((16, 16), "linear"),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
            (32, 4),
            "relative positions",
        ),
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": ((16, 16), "linear"),
        "encoder.block.0.layer.1.layer_norm.weight": ((16,), "norm"),
    },
    "mamba": {
        "backbone.embeddings.weight": ((40, 16), "embedding"),
        "backbone.layers.0.mixer.A_log": ((32, 16), "state matrix"),
        "backbone.layers.0.mixer.D": ((32,), "state matrix"),
        "backbone.layers.0.mixer.conv1d.weight": ((32, 1, 4), "convolution"),
        "backbone.layers.0.mixer.in_proj.weight": ((64, 16), "linear"),
        "backbone.layers.0.norm.weight": ((16,), "norm"),
    },
}


def write(folder: Path, shapes: dict[str, tuple[tuple[int, ...], str]], family: str | None) -> Checkpoint:
    """A model with those tensors; an architecture goes to its configuration."""
    rng = np.random.default_rng(1)
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, (shape, _) in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    if family is not None:
        (folder / "config.json").write_text(f'{{"model_type": "{family}"}}')
    return open_checkpoint(folder)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("said", [True, False])
def test_roles(family: str, said: bool, tmp_path: Path) -> None:
    checkpoint = write(tmp_path, MODELS[family], family if said else None)
    assert {tensor.name: tensor.role for tensor in checkpoint.tensors} == {
        name: role for name, (_, role) in MODELS[family].items()
    }


@pytest.mark.parametrize("said", [True, False])
def test_gpt2_lies_the_other_way_round(said: bool, tmp_path: Path) -> None:
    tensor = write(tmp_path, MODELS["gpt2"], "gpt2" if said else None)["h.0.attn.c_attn.weight"]
    assert tensor.shape == (48, 16)
    stored = np.random.default_rng(1)
    for name, (shape, _) in MODELS["gpt2"].items():
        values = stored.standard_normal(shape).astype(np.float32)
        if name == tensor.name:
            np.testing.assert_array_equal(tensor.array(), values.T)


def test_another_model_with_the_same_name_of_a_layer_does_not(tmp_path: Path) -> None:
    shapes = {"transformer.h.0.attn.c_attn.weight": ((48, 16), "linear")}
    assert write(tmp_path, shapes, None)["transformer.h.0.attn.c_attn.weight"].shape == (48, 16)


def test_what_a_known_architecture_does_not_have_is_left_alone(tmp_path: Path) -> None:
    shapes = {"model.layers.0.self_attn.strange.weight": ((16, 16), "")}
    assert write(tmp_path, shapes, "llama").tensors[0].role == "not known in llama"
    assert write(tmp_path, shapes, "unheard").tensors[0].role == "linear"


def test_experts_of_gpt_oss_in_floats_lie_the_other_way_round(tmp_path: Path) -> None:
    shapes = {"model.layers.0.mlp.experts.down_proj": ((2, 8, 16), "linear")}
    tensor = write(tmp_path, shapes, "gpt_oss").tensors[0]
    values = np.random.default_rng(1).standard_normal((2, 8, 16)).astype(np.float32)
    assert tensor.shape == (2, 16, 8)
    np.testing.assert_array_equal(tensor.array(), values.swapaxes(1, 2))
    for matrix, wanted in zip(tensor.matrices(), values, strict=True):
        np.testing.assert_array_equal(matrix.array(), wanted.T)


def test_patterns_have_the_last_word(tmp_path: Path) -> None:
    checkpoint = choose(write(tmp_path, LLAMA, "llama"), ["*embed_tokens*"], ["lm_head.*", "*down*"])
    roles = {tensor.name: tensor.role for tensor in checkpoint.tensors}
    assert roles["model.embed_tokens.weight"] == "linear"
    assert roles["lm_head.weight"] == roles["model.layers.0.mlp.down_proj.weight"] == "skipped"
    with pytest.raises(ValueError, match="argument --include: 'nothing' must fit the name of a tensor"):
        choose(checkpoint, ["nothing"], [])
    with pytest.raises(ValueError, match=r"argument --include: tensor .*q_norm\.weight is not a matrix"):
        choose(checkpoint, ["*q_norm*"], [])
