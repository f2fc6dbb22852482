"""Tiny random models of every known architecture, made with ``transformers``: the same logits as theirs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import evaluate, generate
from golden.checkpoint import open_checkpoint
from golden.model.llama import Llama

pytestmark = pytest.mark.quick

torch = pytest.importorskip("torch", reason="the torch extra is not installed")
transformers = pytest.importorskip("transformers", reason="the torch extra is not installed")

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
WINDOW = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama_one_kv_head_each": ("Llama", {"num_key_value_heads": 4}),
    "llama_biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama_heads_of_another_length": ("Llama", {"head_dim": 12}),
    "llama_tied": ("Llama", {"tie_word_embeddings": True}),
    "llama_linear": ("Llama", {"rope_parameters": LINEAR}),
    "llama_llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral_window": ("Mistral", {"sliding_window": 7}),
    "qwen2": ("Qwen2", {"rms_norm_eps": 1e-5}),
    "qwen2_window": ("Qwen2", WINDOW),
    "qwen2_window_of_one_layer": (
        "Qwen2",
        WINDOW | {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3_tied_biases_window": (
        "Qwen3",
        WINDOW | {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True},
    ),
}


def made(kind: str, changes: dict[str, Any]) -> Any:
    """A model whose every parameter is random, biases and norms too."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{kind}Config")(**(SIZES | changes))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():
        spread = 0.5 if name.endswith("bias") else 0.3
        parameter.data = torch.randn_like(parameter) * spread + ("norm" in name)
    return model


def theirs(model: Any, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(tokens)[None]).logits[0].float().numpy()


def ours(path: Path, tokens: np.ndarray) -> np.ndarray:
    model = Llama(open_checkpoint(path))
    return model.logits(model.hidden(tokens))


@pytest.mark.parametrize("case", CASES)
def test_same_logits(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, tokens = made(*CASES[case]), rng.integers(0, 97, 60)
    model.save_pretrained(tmp_path)
    wanted = theirs(model, tokens)
    assert wanted.std() > 0.5
    np.testing.assert_allclose(ours(tmp_path, tokens), wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_earlier_form_of_the_configuration(tmp_path: Path, rng: np.random.Generator) -> None:
    """``rope_theta`` and ``rope_scaling``, as ``transformers`` 4 wrote them."""
    model, tokens = made("Llama", {"rope_parameters": LLAMA3}), rng.integers(0, 97, 60)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    scaling = config.pop("rope_parameters")
    config |= {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    wanted = theirs(model, tokens)
    np.testing.assert_allclose(ours(tmp_path, tokens), wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_shards_and_bfloat16(tmp_path: Path, rng: np.random.Generator) -> None:
    """Several files behind an index; the numbers are those of bfloat16."""
    model, tokens = made("Qwen2", {}).to(torch.bfloat16), rng.integers(0, 97, 60)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    wanted = theirs(type(model).from_pretrained(tmp_path, dtype=torch.float32), tokens)
    np.testing.assert_allclose(ours(tmp_path, tokens), wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as a GGUF of llama has them: the two halves of a head in turn."""
    halves = weights.reshape(heads, 2, -1, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weights.shape)


def write_gguf(path: Path, model: Any, **entries: Any) -> None:
    """A GGUF of a model, as llama.cpp has its tensors and metadata."""
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    config, name = model.config, model.config.model_type
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[name.upper()], config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    for method, value in entries.items():
        getattr(writer, f"add_{method}")(value)
    for key, tensor in model.state_dict().items():
        found, array = table.get_name(key, (".weight", ".bias")), tensor.numpy()
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name == "llama" and ".q_proj." in key:
            array = interleaved(array, config.num_attention_heads)
        if name == "llama" and ".k_proj." in key:
            array = interleaved(array, config.num_key_value_heads)
        writer.add_tensor(found, array)
    if config.rope_parameters["rope_type"] == "llama3":
        scaled = model.model.rotary_emb.inv_freq.numpy()
        plain = config.rope_parameters["rope_theta"] ** (-np.arange(len(scaled)) / len(scaled))
        writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GGUF_CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama_biases": {},
    "llama_tied": {},
    "llama_heads_of_another_length": {"key_length": 12, "value_length": 12, "rope_dimension_count": 12},
    "llama_llama3": {},
    "qwen2": {},
    "qwen3": {"key_length": 16, "value_length": 16},
}


@pytest.mark.parametrize("case", GGUF_CASES)
def test_same_logits_from_gguf(case: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model, tokens = made(*CASES[case]), rng.integers(0, 97, 60)
    write_gguf(tmp_path / "model.gguf", model, **GGUF_CASES[case])
    wanted, own = theirs(model, tokens), ours(tmp_path / "model.gguf", tokens)
    np.testing.assert_allclose(own, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_linear_scaling_from_gguf(tmp_path: Path, rng: np.random.Generator) -> None:
    """With its type, and by the factor alone, as llama.cpp takes it."""
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    model, tokens = made(*CASES["llama_linear"]), rng.integers(0, 97, 60)
    wanted = theirs(model, tokens)
    kinds = {"typed.gguf": {"rope_scaling_type": gguf.RopeScalingType.LINEAR}, "untyped.gguf": {}}
    for name, entries in kinds.items():
        write_gguf(tmp_path / name, model, rope_scaling_factor=4.0, **entries)
        own = ours(tmp_path / name, tokens)
        np.testing.assert_allclose(own, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_command_lines_take_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``evaluate`` has transformers' perplexity, ``generate`` its greedy tokens."""
    tokenizers = pytest.importorskip("tokenizers", reason="the models extra is not installed")
    model = made("Qwen2", {"tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": 96})
    model.save_pretrained(tmp_path)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{n}": n for n in range(97)}, "w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    tokens = np.random.default_rng(8).integers(0, 96, 50)
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"w{token}" for token in tokens))
    arguments = ["--model", str(tmp_path), "--text", str(text), "--tokens", "50"]
    assert evaluate.main([*arguments, "--weights", "none"]) == 0
    scores = torch.tensor(theirs(model, tokens)[:-1]).log_softmax(-1)
    perplexity = float(torch.exp(-scores[range(49), tokens[1:]].mean()))
    assert f"{perplexity:.3f}" in capsys.readouterr().out
    assert generate.main(["w3 w5", "--model", str(tmp_path), "--tokens", "8"]) == 0
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    found = model.generate(torch.tensor([[3, 5]]), **options)[0, 2:].tolist()
    said = " ".join(f"w{token}" for token in found if token != 96)
    assert said in capsys.readouterr().out
