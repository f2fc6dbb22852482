"""Real keys and values: what a model writes to its KV cache for a text.

    checkpoint = open_checkpoint(locate("smollm2"))
    model = Llama(checkpoint)
    ids = tokenizer.of(checkpoint).encode(manual(4000))[:512]
    for keys, values in keys_and_values(model, ids): ...

Keys are after the rotary embedding, as caches hold them. Whisper's cross-attention makes a large cache of one
sound: 1,500 frames.

    model = Whisper(ctranslate2.read(ctranslate2.locate("whisper-tiny.en")))
    for keys, values in heard(model, signal): ...
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.model.llama import Llama
from golden.model.mel import spectrogram
from golden.model.whisper import Whisper

__all__ = ["heard", "keys_and_values", "manual"]


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


def heard(model: Whisper, signal: ArrayLike) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Let Whisper hear a sound.

    Args:
        model: any of its layers may be quantised.
        signal: samples [n], 16,000 a second; at most 30 seconds count.

    Returns:
        Keys and values of every layer's cross-attention, float32 [heads, 1500, D].
    """
    return model.cross(model.encode(spectrogram(signal)))


def manual(characters: int) -> str:
    """The first characters of Python's own manual: real English text that every Python carries."""
    from pydoc_data.topics import topics  # half a megabyte, only needed here

    return "\n".join(topics[name] for name in sorted(topics))[:characters]
