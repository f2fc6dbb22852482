"""Operations on vectors with the decode core's numerics: its commands' bits, and what they cost a model."""

from typing import Any

import numpy as np
import pytest

from golden import vector
from golden.checkpoint import Checkpoint
from golden.core.commands import Function
from golden.model.evaluation import Setting, evaluate
from golden.model.llama import Llama
from golden.model.operations import CORE
from golden.model.perplexity import windows
from golden.model.rope import frequencies, rotate
from golden.model.sampling import samples
from golden.model.subjects import Text
from golden.model.tokenizer import of

EPSILON = 1e-5
WORST = 1e-3
"""Largest change of a perplexity: 0.1 %."""


def bits(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


def commanded(function: Function, own: int, *vectors: np.ndarray) -> np.ndarray:
    """What a command of the vector unit makes of a vector of 48 elements and another one.

    Args:
        function: which one.
        own: elements of a segment that are not filled up.
        vectors: source and operand, float32.
    """
    scratch = np.full(512, np.nan, np.float32)
    for place, elements in zip((16, 128), vectors, strict=True):
        scratch[place : place + len(elements)] = elements
    fields = {"function": function, "source": 16, "operand": 128, "destination": 256}
    fields |= {"elements": len(vectors[0]), "segment": 48}
    fields |= {"epsilon": bits(EPSILON), "reciprocal": bits(1 / own)}
    assert vector.fits(fields, len(scratch))
    vector.apply(scratch, fields)
    return scratch[256 : 256 + len(vectors[0])]


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    """Two arrays of vectors, loud and quiet, some of whose elements are subnormal: [2, 5, 48]."""
    found = rng.standard_normal((2, 5, 48)) * np.exp(rng.uniform(-20, 10, (2, 5, 1)))
    found[:, :, 7] = 1e-39
    return found.astype(np.float32)


@pytest.mark.quick
@pytest.mark.parametrize("own", [48, 40])
def test_norms(rows: np.ndarray, own: int) -> None:
    """Also of heads that the core fills up."""
    x, weights = rows[0], rows[1, 0]
    x[:, own:] = weights[own:] = 0
    found = CORE.norm(x[:, :own], weights[:own], EPSILON)
    for one, row in zip(found, x, strict=True):
        assert one.tolist() == commanded(Function.NORM, own, row, weights)[:own].tolist()


@pytest.mark.quick
@pytest.mark.parametrize("paired", [False, True])
def test_turns(rows: np.ndarray, paired: bool) -> None:
    """Of neighbours and of halves, from position 3 on."""
    angles = frequencies(48, 1e4)
    place = np.arange(48).reshape(24, 2).T.ravel() if paired else np.arange(48)
    found = rotate(rows[0][:, None], 3, angles, paired, CORE.turn)[:, 0, place]
    for number, one in enumerate(found):
        turns = np.concatenate([np.cos((3 + number) * angles), np.sin((3 + number) * angles)])
        wanted = commanded(Function.ROTARY, 48, rows[0, number, place], turns.astype(np.float32))
        assert one.tolist() == wanted.tolist()


@pytest.mark.quick
@pytest.mark.parametrize("name", ["add", "silu_multiply"])
def test_pairs(rows: np.ndarray, name: str) -> None:
    found = getattr(CORE, name)(*rows)
    for one, a, b in zip(found, *rows, strict=True):
        assert one.tolist() == commanded(Function[name.upper()], 48, a, b).tolist()


def change(subject: Text, setting: dict[str, Any]) -> float:
    """Perplexity with the core's operations over that with operations in float32, less one."""
    exact, found = (evaluate(subject, Setting(**setting, numerics=name)) for name in (None, "core"))
    print(f"perplexity {exact.perplexity:.5f}, {found.perplexity:.5f} with the core's operations")
    assert found.windows != exact.windows
    return found.perplexity / exact.perplexity - 1


def test_a_small_model(tiny_file: Checkpoint, tiny_llama: Llama) -> None:
    """A quantised llama of random weights, on 256 tokens that it would say."""
    subject = Text(tiny_file, samples(tiny_llama, 1, 2, 128), 8)
    assert abs(change(subject, {"weights": "bitmod4", "activations": "12", "head": "int8"})) < WORST


@pytest.mark.llm
@pytest.mark.long
def test_smollm2(smollm2_file: Checkpoint, wikitext: str) -> None:
    """2,048 tokens, with quantised matrices that multiply in float32.

    Where activations are aligned and the cache is quantised too, any change of the last bit turns some
    roundings over, so that operations of equal precision differ as much as these.
    """
    parts = windows(of(smollm2_file).encode(wikitext)[:2048], 512)
    assert abs(change(Text(smollm2_file, parts, 64), {"weights": "bitmod4", "head": "int8"})) < WORST
