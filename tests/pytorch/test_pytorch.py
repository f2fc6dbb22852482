"""kvloom inside models of ``transformers``: equal to golden, bit by bit where the inputs are the same."""

import importlib
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from golden.checkpoint import open_checkpoint
from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, Scheme
from golden.matvec import matvec
from golden.model.attention import attend
from golden.model.evaluation import Setting
from golden.model.kv_schemes import QuantizedMemory
from golden.model.llama import Llama
from golden.model.perplexity import losses
from golden.model.sampling import continuation
from golden.numbers.numerics import Numerics

pytestmark = pytest.mark.quick

torch = pytest.importorskip("torch", reason="the torch extra is not installed")
transformers = pytest.importorskip("transformers", reason="the torch extra is not installed")

from golden.pytorch import ExactLinear, KVCache, replace_linears, use_scheme  # noqa: E402
from golden.pytorch.attention import _attend  # noqa: E402
from golden.pytorch.schemes import find  # noqa: E402

torch.set_num_threads(1)

SOME = ("kivi2", "native4_paged", "native3_strict", "native2_r32", "atom3")
SHORT = Scheme(Format("kivi", 2, "channel", 32), Format("kivi", 2, "token", 32), "kivi", 64)


def tiny() -> Any:
    """A random llama with loud and quiet channels."""
    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        vocab_size=120,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        attention_bias=True,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * 0.2 + ("norm" in name)
    return model


def logits(model: Any, tokens: np.ndarray, **others: Any) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(tokens)[None], **others).logits[0].numpy()


def golden(model: Any, folder: Path, setting: Setting, tokens: np.ndarray) -> np.ndarray:
    """Logits of golden with the same weights."""
    model.save_pretrained(folder)
    own = Llama(open_checkpoint(folder), setting.linear())
    return own.logits(own.hidden(tokens, own.memories(setting.memory)))


def close(own: np.ndarray, wanted: np.ndarray, plain: np.ndarray) -> None:
    """Of the last tokens, which find others quantised: far nearer to golden than to full precision.

    Sums in another order now and then move a scale by its last bit or a code by one step.
    """
    scale, error = np.abs(wanted).max(), np.abs(own - wanted)[-20:]
    assert np.median(error) < 5e-4 * scale
    assert error.max() < 0.05 * scale
    assert np.median(np.abs(plain - wanted)[-20:]) > 1e-2 * scale


@pytest.mark.parametrize("name", SOME)
def test_attention_equals_golden(name: str, rng: np.random.Generator) -> None:
    """Two sequences of 300 tokens, six query heads on two KV heads; quantised numbers bit by bit."""
    keys, values = rng.standard_normal((2, 2, 2, 300, 32)).astype(np.float32)
    query = rng.standard_normal((2, 6, 300, 32)).astype(np.float32)
    scheme = SCHEMES[name]
    cache = KVCache(name, SimpleNamespace(_attn_implementation="kvloom_test"))
    for own in np.split(np.arange(300), [1, 40, 41, 170]):
        key, value = cache.update(*(torch.from_numpy(x[:, :, own]) for x in (keys, values)), 0)
    hidden = torch.full((300, 300), -torch.inf).triu(1)[None, None]
    found, _ = _attend(scheme, torch.nn.Module(), torch.from_numpy(query), key, value, hidden)
    for sequence in range(2):
        memory = QuantizedMemory(2, 32, scheme)
        memory.append(keys[sequence], values[sequence])
        np.testing.assert_array_equal(key.kvloom.keys[sequence].numpy(), memory._quantized_keys)
        np.testing.assert_array_equal(key.kvloom.values[sequence].numpy(), memory._quantized_values)
        wanted = attend(query[sequence].swapaxes(0, 1), memory)
        own = found[sequence].reshape(300, -1).numpy()
        np.testing.assert_allclose(own, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["native3_strict", "native2_r32"])
def test_a_text_in_one_pass(name: str, tmp_path: Path) -> None:
    """Weights and cache quantised, as an evaluation scores texts: without a cache, with one of any kind."""
    model, tokens = tiny(), np.random.default_rng(1).integers(0, 120, 100)
    plain = logits(model, tokens)
    wanted = golden(model, tmp_path, Setting("bitmod4", "fp32", name), tokens)
    replace_linears(model, "bitmod4")
    use_scheme(model, name)
    close(logits(model, tokens, use_cache=False), wanted, plain)
    for cache in (None, transformers.DynamicCache(), KVCache(name, model.config)):
        close(logits(model, tokens, cache=cache), wanted, plain)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "kvloom"])
@pytest.mark.parametrize("scheme", ["native4_paged", "atom2", SHORT], ids=["paged", "strict", "kivi"])
def test_a_text_in_pieces(scheme: str | Scheme, attention: str, tmp_path: Path) -> None:
    """As in generation; passes of a single token need no attention of ours."""
    model, tokens = tiny(), np.random.default_rng(2).integers(0, 120, 100)
    plain = logits(model, tokens)
    pieces = np.split(tokens, [7, 60, 61] if attention == "kvloom" else range(1, 100))
    if attention == "kvloom":
        use_scheme(model, scheme)
    else:
        model.set_attn_implementation(attention)
    cache = KVCache(scheme, model.config)
    own = np.concatenate([logits(model, piece, cache=cache) for piece in pieces])
    assert cache.get_seq_length() == 100
    model.save_pretrained(tmp_path)
    model = Llama(open_checkpoint(tmp_path))
    memories = model.memories(lambda *sizes: QuantizedMemory(*sizes, find(scheme)))
    close(own, model.logits(model.hidden(tokens, memories)), plain)


def test_generation(tmp_path: Path) -> None:
    """``generate`` with the cache: golden's greedy tokens."""
    model, prompt = tiny(), [3, 99, 41, 7] * 9
    model.save_pretrained(tmp_path)
    own = Llama(open_checkpoint(tmp_path))
    memories = own.memories(Setting(kv="native2_r32").memory)
    wanted = list(islice(continuation(own, prompt, memories), 24))
    use_scheme(model, "native2_r32")
    cache = KVCache("native2_r32", model.config)
    options = {"max_new_tokens": 24, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    found = model.generate(torch.tensor([prompt]), cache=cache, **options)
    assert found[0, len(prompt) :].tolist() == wanted
    beams = model.generate(
        torch.tensor([prompt]), cache=KVCache("native2_r32", model.config), num_beams=3, **options
    )
    assert beams.shape == found.shape


def test_tokens_that_are_cut_off(rng: np.random.Generator) -> None:
    """After a crop, and after sequences were chosen, the numbers are those of a cache that never had more."""
    keys, values = (
        torch.from_numpy(rng.standard_normal((2, 2, 90, 32)).astype(np.float32)) for _ in range(2)
    )
    config = SimpleNamespace(_attn_implementation="kvloom_test")
    cache, fresh = KVCache("native4_strict", config), KVCache("native4_strict", config)
    cache.update(keys, values, 0)
    cache.crop(-17)
    cache.reorder_cache(torch.tensor([1, 0]))
    swapped = [x[[1, 0]] for x in (keys, values)]
    fresh.update(*(x[:, :, :73] for x in swapped), 0)
    ours, theirs = (one.update(*(x[:, :, 73:] for x in swapped), 0)[0].kvloom for one in (cache, fresh))
    assert torch.equal(ours.keys, theirs.keys)
    assert torch.equal(ours.values, theirs.values)


def test_fake_quantised_weights(tmp_path: Path) -> None:
    """Float32 rounding; the head, which is tied to the embedding, and what is skipped stay."""
    model, tokens = tiny(), np.random.default_rng(3).integers(0, 120, 50)
    embedding = model.model.embed_tokens.weight.clone()
    wanted = golden(model, tmp_path, Setting("bitmod3"), tokens)
    kept = tiny()
    found = replace_linears(kept, "bitmod3", skip=("*.mlp.*", "model.layers.1.*"))
    assert set(found) == {f"model.layers.0.self_attn.{part}_proj" for part in "qkvo"}
    found = replace_linears(model, "bitmod3")
    assert len(found) == 14
    np.testing.assert_allclose(logits(model, tokens), wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())
    assert torch.equal(model.lm_head.weight, embedding)
    layer = model.model.layers[0].mlp.up_proj
    np.testing.assert_array_equal(
        layer.weight.detach().numpy(), found["model.layers.0.mlp.up_proj"].dequantize(np.float32)
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("recipe", ["bitmod4", "int3_asym", "mxfp4"])
def test_exact_layers_have_the_bits_of_matvec(recipe: str, dtype: str, rng: np.random.Generator) -> None:
    """Inputs in any shape; a bias is added afterwards, in float32."""
    model = torch.nn.Sequential(torch.nn.Linear(96, 40), torch.nn.Linear(40, 24, bias=False))
    found = replace_linears(model, recipe, exact=True)
    assert all(isinstance(layer, ExactLinear) for layer in model)
    inputs = torch.from_numpy(rng.standard_normal((2, 3, 96)).astype(np.float32)).to(getattr(torch, dtype))
    for layer, name in zip(model, found, strict=True):
        q, x = found[name], inputs[..., : layer.in_features]
        config = SimpleNamespace(numerics=Numerics(group=q.group))
        sums = matvec(q, x.float().numpy().reshape(6, -1), config, output="fp32").reshape(2, 3, -1)
        wanted = torch.from_numpy(sums) if layer.bias is None else torch.from_numpy(sums) + layer.bias
        own = layer(x)
        assert own.dtype == x.dtype
        assert torch.equal(own, wanted.to(x.dtype))


def test_an_exact_model(tmp_path: Path) -> None:
    """Aligned activations and the accelerator's sums in every layer, as ``golden.evaluate`` has them."""
    model, tokens = tiny(), np.random.default_rng(4).integers(0, 120, 40)
    wanted = golden(model, tmp_path, Setting("bitmod4", "12"), tokens)
    replace_linears(model, "bitmod4", exact=True, numerics=Numerics(activation_bits=12))
    error = np.abs(logits(model, tokens) - wanted)
    assert np.median(error) < 2e-3 * np.abs(wanted).max()


def test_refusals() -> None:
    model, tokens = tiny(), np.arange(100)
    with pytest.raises(ValueError, match="recipe 'int9' must be one of"):
        replace_linears(model, "int9")
    with pytest.raises(ValueError, match=r"module model.layers.0.self_attn.q_proj: exact must be False"):
        replace_linears(model, "ant4", exact=True)
    assert not any(isinstance(module, ExactLinear) for module in model.modules())
    with pytest.raises(ValueError, match="scheme 'kivi9' must be one of"):
        use_scheme(model, "kivi9")
    with pytest.raises(ValueError, match="a pass of 100 tokens with this scheme needs use_scheme"):
        logits(model, tokens, cache=KVCache("native2_r32", model.config))
    use_scheme(model, "native2_r32")
    with pytest.raises(ValueError, match="must have the scheme that use_scheme gave to the model"):
        logits(model, tokens, cache=KVCache("native4", model.config))
    with pytest.raises(ValueError, match="must be without softcap"):
        _attend(SCHEMES["native4"], torch.nn.Module(), *[torch.zeros(1, 1, 1, 32)] * 3, None, softcap=30.0)
    with pytest.raises(ValueError, match="must be causal"):
        _attend(SCHEMES["native4"], torch.nn.Module(), *[torch.zeros(1, 1, 2, 32)] * 3, None)


def test_lm_eval(tmp_path: Path) -> None:
    """A text's likelihood as lm-eval scores it, weights and cache quantised, against golden's losses."""
    harness = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{n}": n for n in range(120)}, "w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0", pad_token="w0")
    model, tokens = tiny(), np.random.default_rng(5).integers(1, 120, 100)
    model.save_pretrained(tmp_path)
    setting = Setting("bitmod4", kv="native2_r32")
    own = Llama(open_checkpoint(tmp_path), setting.linear())
    (loss,) = losses(own, [np.array([0, *tokens])], setting.memory)
    replace_linears(model, "bitmod4")
    use_scheme(model, "native2_r32")
    scorer = harness.HFLM(pretrained=model, tokenizer=fast, device="cpu", max_length=256)
    text = (" ".join(f"w{token}" for token in tokens),)
    instance = importlib.import_module("lm_eval.api.instance").Instance
    (found,) = scorer.loglikelihood_rolling([instance("loglikelihood_rolling", {}, text, 0)])
    assert found == pytest.approx(-loss.sum(), rel=1e-3)


@pytest.mark.parametrize("pieces", [[], [50], [1, 2, 40]], ids=str)
def test_sliding_windows(pieces: list[int], tmp_path: Path) -> None:
    """A window of 40 over a cache that is quantised but for the newest 32."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.MistralConfig(
        vocab_size=120, num_key_value_heads=2, head_dim=32, sliding_window=40, **sizes
    )
    model = transformers.MistralForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * 0.2 + ("norm" in name)
    tokens = np.random.default_rng(6).integers(0, 120, 100)
    plain = logits(model, tokens)
    wanted = golden(model, tmp_path, Setting(kv="native2_r32"), tokens)
    use_scheme(model, "native2_r32")
    cache = KVCache("native2_r32", model.config)
    own = np.concatenate([logits(model, part, cache=cache) for part in np.split(tokens, pieces)])
    close(own, wanted, plain)
    with pytest.raises(ValueError, match="a cache of a model with sliding windows must be a KVCache"):
        logits(model, tokens[:1], cache=model(torch.tensor(tokens)[None]).past_key_values)
