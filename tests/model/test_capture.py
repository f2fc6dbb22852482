"""Captured inputs of linear layers: those that a llama model really multiplies by."""

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.model.capture import Linear, keys_and_values, layer_inputs, sample_tokens
from golden.model.llama import Llama

pytestmark = pytest.mark.quick

TOKENS = [1, 300, 280, 5, 319, 261]


@pytest.fixture(scope="module")
def captured(tiny_file: Checkpoint) -> dict[str, Linear]:
    return {linear.name: linear for linear in layer_inputs(tiny_file, TOKENS)}


def test_every_layer_in_its_order(captured: dict[str, Linear], tiny_file: Checkpoint) -> None:
    parts = ("wq", "wk", "wv", "wo", "w1", "w3", "w2")
    assert list(captured) == [f"layers.{block}.{part}" for block in range(2) for part in parts]
    for name, linear in captured.items():
        np.testing.assert_array_equal(linear.weights, tiny_file[name].array())
        assert linear.inputs.shape == (len(TOKENS), linear.weights.shape[1])
        assert linear.inputs.dtype == np.float32


def test_inputs_are_the_models(captured: dict[str, Linear], tiny_llama: Llama, tiny_file: Checkpoint) -> None:
    """Normed embeddings go in first; products of the inputs are what the model caches, gates and returns."""
    x = tiny_file["tok_embeddings"].array()[TOKENS].astype(np.float64)
    for block, (_, values) in enumerate(keys_and_values(tiny_llama, TOKENS)):
        own = {name.split(".")[-1]: one for name, one in captured.items() if f".{block}." in name}
        product = {part: one.inputs.astype(np.float64) @ one.weights.T for part, one in own.items()}
        cached = product["wv"].reshape(len(TOKENS), 4, 8).swapaxes(0, 1)
        np.testing.assert_allclose(cached, values, rtol=0, atol=1e-5)
        gated = product["w1"] / (1 + np.exp(-product["w1"])) * product["w3"]
        np.testing.assert_allclose(own["w2"].inputs, gated, rtol=0, atol=1e-4)
        for norm, parts, after in ("attention_norm", "qkv", "o"), ("ffn_norm", "13", "2"):
            wanted = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
            wanted = wanted * tiny_file[f"layers.{block}.{norm}"].array()
            for part in parts:
                np.testing.assert_allclose(own[f"w{part}"].inputs, wanted, rtol=0, atol=1e-4)
            x = x + product[f"w{after}"]
    wanted = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * tiny_file["norm"].array()
    np.testing.assert_allclose(tiny_llama.hidden(TOKENS), wanted, rtol=0, atol=1e-4)


def test_some_blocks_only(captured: dict[str, Linear], tiny_file: Checkpoint) -> None:
    few = layer_inputs(tiny_file, TOKENS, 1)
    assert [linear.name for linear in few] == list(captured)[:7]
    for linear in few:
        np.testing.assert_array_equal(linear.inputs, captured[linear.name].inputs)


def test_sample_tokens(tiny_file: Checkpoint) -> None:
    """Spread over a vocabulary that is not a known one, and no more than the shortest known text has."""
    assert sample_tokens(tiny_file, 3) == [0, 159, 319]
    with pytest.raises(ValueError, match=r"tokens 999 must be 1\.\.45"):
        sample_tokens(tiny_file, 999)
    with pytest.raises(ValueError, match="tokens 0 must be"):
        sample_tokens(tiny_file, 0)
