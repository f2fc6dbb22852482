"""What the vector unit's numbers cost a whole model: perplexity beside that of exact vector operations."""

import numpy as np
import pytest
from numpy.typing import NDArray

from golden.checkpoint import Checkpoint
from golden.model import llama, tokenizer
from golden.model.llama import Llama
from golden.model.perplexity import losses, perplexity, windows
from golden.model.rope import Angles
from golden.vector import norm, silu_multiply
from golden.vector.arithmetic import add, multiply

Array = NDArray[np.float32]


class VectorLlama(Llama):
    """Norms, rotary embedding, SiLU and sums as the vector unit works them out."""

    def hidden(self, tokens, memories=None):
        x = self.embedding[np.asarray(tokens)]
        for block, memory in zip(self._blocks, memories or self.memories(), strict=True):
            x = add(x, self._attention(block, self._normal(x, block.norms["attention_norm"]), memory))
            normal = self._normal(x, block.norms["ffn_norm"])
            wide = silu_multiply(block.linear["gate"](normal), block.linear["up"](normal))
            x = add(x, block.linear["down"](wide))
        return self._normal(x, self._norm)

    def _normal(self, x: Array, weights: Array) -> Array:
        segment = x.shape[-1]
        epsilon, reciprocal = np.float32(self.architecture.epsilon), np.float32(1 / segment)
        return norm(x.reshape(-1), weights, segment, epsilon, reciprocal).reshape(x.shape)


def rotate(x: Array, first: int, angles: Angles, paired: bool) -> Array:
    """``golden.model.rope.rotate`` of heads that turn whole."""
    half = len(angles)
    steps = np.arange(first, first + len(x))[:, None, None] * angles
    cosine, sine = np.cos(steps).astype(np.float32), np.sin(steps).astype(np.float32)
    a, b = (x[..., 0::2], x[..., 1::2]) if paired else (x[..., :half], x[..., half:])
    turned = add(multiply(a, cosine), -multiply(b, sine)), add(multiply(b, cosine), multiply(a, sine))
    return np.stack(turned, -1).reshape(x.shape) if paired else np.concatenate(turned, -1)


@pytest.mark.slow
def test_stories(
    stories_file: Checkpoint, stories: Llama, wikitext: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 0.1 % of perplexity; 2,048 tokens."""
    tokens = tokenizer.of(stories_file).encode(wikitext)[:2048]
    parts = windows(tokens, 512)
    exact = perplexity(list(losses(stories, parts)))
    monkeypatch.setattr(llama, "rotate", rotate)
    found = perplexity(list(losses(VectorLlama(stories_file), parts)))
    print(f"perplexity {exact:.5f} exact, {found:.5f} of the vector unit, {found / exact - 1:+.2e}")
    assert abs(found / exact - 1) < 1e-3
    assert found != exact
