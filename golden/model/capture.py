"""What really happens in a model that reads a text: inputs of its linear layers, its keys and values.

    checkpoint = open_checkpoint(locate("smollm2"))
    for linear in layer_inputs(checkpoint, sample_tokens(checkpoint, 16)): ...

    model = Llama(checkpoint)
    ids = tokenizer.of(checkpoint).encode(manual(4000))[:512]
    for keys, values in keys_and_values(model, ids): ...
    for queries, keys, values in attention_inputs(model, ids): ...

Keys are after the rotary embedding, as caches hold them. Whisper's cross-attention makes a large cache of one
sound: 1,500 frames.

    model = Whisper(ctranslate2.read(ctranslate2.locate("whisper-tiny.en")))
    for keys, values in heard(model, signal): ...
    for queries, keys, values in cross_attention_inputs(model, signal, ids): ...
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.checkpoint import Checkpoint
from golden.model import configuration, linear
from golden.model.attention import Plain
from golden.model.llama import Llama
from golden.model.mel import spectrogram
from golden.model.whisper import Whisper

__all__ = [
    "Linear",
    "attention_inputs",
    "cross_attention_inputs",
    "heard",
    "keys_and_values",
    "layer_inputs",
    "manual",
    "sample_tokens",
]

# Token ids by the size of the vocabulary: SmolLM2's of "The moon moves the water of the sea: where it
# stands high the water rises, and some six hours later it falls again. People who live near the coast have
# known this for a very long time, but only Newton could say why.", and those of the stories models of "Once
# upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a
# big, red ball." behind the mark of a text's begin.
# fmt: off
_TEXTS = {
    49152: (
        504, 6783, 7488, 260, 913, 282, 260, 3426, 42, 837, 357, 6443, 904, 260, 913, 13685, 28,
        284, 634, 2976, 2737, 1916, 357, 8227, 1163, 30, 4228, 617, 2330, 2141, 260, 4051, 457,
        1343, 451, 327, 253, 1035, 986, 655, 28, 564, 805, 15903, 856, 1643, 1701, 30,
    ),
    512: (
        1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396,
        267, 337, 410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394,
        261, 370, 432, 352, 266, 268, 388, 426,
    ),
}
# fmt: on
_MOST = min(map(len, _TEXTS.values()))


class Linear(NamedTuple):
    """A linear layer: its name in the file, its weights ``[K, C]`` and its inputs ``[tokens, C]``."""

    name: str
    weights: NDArray[np.float32]
    inputs: NDArray[np.float32]


def sample_tokens(checkpoint: Checkpoint, count: int) -> list[int]:
    """The first tokens of a real text where the vocabulary is a known one, else ids spread over all of it.

    Raises:
        ValueError: ``count`` is out of range.
    """
    if not 1 <= count <= _MOST:
        raise ValueError(f"tokens {count} must be 1..{_MOST}")
    vocabulary = checkpoint[configuration.read(checkpoint).names["embedding"]].shape[0]
    spread = np.linspace(0, vocabulary - 1, count).astype(int).tolist()
    return list(_TEXTS.get(vocabulary, spread)[:count])


def layer_inputs(checkpoint: Checkpoint, tokens: ArrayLike, layers: int | None = None) -> list[Linear]:
    """What every linear layer of a llama model multiplies by for a text.

    Args:
        checkpoint: a llama model.
        tokens: ids of the text, from the first position on.
        layers: only so many blocks; default: all.

    Returns:
        The layers in the order in which they run.

    Raises:
        ValueError: not a llama model, or incomplete.
    """
    seen: list[Linear] = []

    def watching(name: str, weights: NDArray[np.float32]) -> linear.Linear:
        product = linear.dense(name, weights)

        def watched(x: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(Linear(name, weights, x))
            return product(x)

        return watched

    Llama(checkpoint, watching, layers).hidden(tokens)
    return seen


def keys_and_values(model: Llama, tokens: ArrayLike) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Run a text through a model.

    Args:
        model: any of its layers may be quantised.
        tokens: ids of the text, from the first position on.

    Returns:
        Keys and values of every layer, float32 [KV heads, T, D].
    """
    memories = model.memories()
    model.hidden(tokens, memories)
    return [(memory.keys, memory.values) for memory in memories]


class _Watching(Plain):
    """Keys and values, and the queries that read them."""

    def __init__(self, heads: int, channels: int, causal: bool = True) -> None:
        super().__init__(heads, channels, causal)
        self.queries: list[NDArray[np.float32]] = []

    def read(self, query: NDArray[np.float32], first: int, window: int | None = None) -> NDArray[np.float32]:
        self.queries.append(query)
        return super().read(query, first, window)


def attention_inputs(model: Llama, tokens: ArrayLike) -> list[tuple[NDArray[np.float32], ...]]:
    """Run a text through a model.

    Args:
        model: any of its layers may be quantised.
        tokens: ids of the text, from the first position on.

    Returns:
        Queries float32 [KV heads, queries of each, T, D], keys and values float32 [KV heads, T, D] of every
        layer. Queries are after the rotary embedding too, and not scaled.
    """
    memories = model.memories(_Watching)
    model.hidden(tokens, memories)
    return [
        (np.concatenate(memory.queries, 2), memory.keys, memory.values)
        for memory in memories
        if isinstance(memory, _Watching)
    ]


def heard(model: Whisper, signal: ArrayLike) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Let Whisper hear a sound.

    Args:
        model: any of its layers may be quantised.
        signal: samples [n], 16,000 a second; at most 30 seconds count.

    Returns:
        Keys and values of every layer's cross-attention, float32 [heads, 1500, D].
    """
    return model.cross(model.encode(spectrogram(signal)))


def cross_attention_inputs(
    model: Whisper, signal: ArrayLike, tokens: ArrayLike
) -> list[tuple[NDArray[np.float32], ...]]:
    """Let Whisper hear a sound and run a text through its decoder.

    Args:
        model, signal: as of ``heard``.
        tokens: ids of the text, from the first position on.

    Returns:
        Queries float32 [heads, T, D], keys and values [heads, 1500, D] of every layer's cross-attention.
        Queries are not scaled.
    """
    memories = model.memories(model.encode(spectrogram(signal)), cross=partial(_Watching, causal=False))
    model.hidden(tokens, memories)
    return [
        (np.concatenate(memory.cross.queries, 2)[:, 0], memory.cross.keys, memory.cross.values)
        for memory in memories
        if isinstance(memory.cross, _Watching)
    ]


def manual(characters: int) -> str:
    """The first characters of Python's own manual: real English text that every Python carries."""
    from pydoc_data.topics import topics  # half a megabyte, only needed here

    return "\n".join(topics[name] for name in sorted(topics))[:characters]
