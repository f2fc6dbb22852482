"""Agreement of KV rules: the counts themselves, and the limits on a real model's keys and values."""

from collections.abc import Callable

import numpy as np
import pytest

from golden import agreement
from golden.checkpoint import Checkpoint
from golden.kv import affine
from golden.kv.rules import RULES
from golden.model import tokenizer
from golden.model.capture import keys_and_values, manual
from golden.model.llama import Llama

MINIMUM_TO_MAXIMUM = ("kivi", "zipcache", "quanto", "mikv", "qserve", "hqq", "kvquant")


@pytest.mark.quick
def test_counts(rng: np.random.Generator) -> None:
    """Two layers, counted one by one."""
    layers = [tuple(rng.standard_normal((2, 2, 64, 32)).astype(np.float32)) for _ in range(2)]
    found = {(one.side, one.rule): one for one in agreement.measure(layers, [3])}
    for number, (side, axis) in enumerate(agreement.AXES.items()):
        differing, error, power = 0, 0.0, 0.0
        for layer in layers:
            x = layer[number].astype(np.float16)
            codes, scale, zero = affine.quantize(x, 3, axis, 32, "kvtuner")
            differing += (codes != affine.quantize(x, 3, axis, 32, "native").codes).sum()
            back = affine.dequantize(codes, scale, zero, 3, axis, 32, "kvtuner").astype(np.float64)
            error += ((back - x) ** 2).sum()
            power += (x.astype(np.float64) ** 2).sum()
        one = found[side, "kvtuner"]
        assert (one.differing, one.codes) == (differing, 2 * 2 * 64 * 32)
        assert one.share == differing / 8192 > 0.1
        assert (one.error, one.power) == pytest.approx((error, power))
        assert found[side, "kivi"].native_error == one.native_error < one.error


@pytest.mark.llm
def test_smollm2(smollm2: Llama, smollm2_file: Checkpoint) -> None:
    """Rules that only round otherwise: less than 0.5 % of the codes differ, and native errs no more.

    Rules that keep wider numbers than float16 may be better, by as little as their rounding.
    """
    ids = tokenizer.of(smollm2_file).encode(manual(4000))[:512]
    layers = keys_and_values(smollm2, ids)
    assert [part.shape for part in layers[0]] == [(3, 512, 64)] * 2
    for one in agreement.measure(layers[::6], [2, 4]):
        if one.rule in MINIMUM_TO_MAXIMUM:
            assert one.share < 0.005, one
            allowed = 1 if RULES[one.rule].works is np.float16 else 1.0005
            assert one.native_error < allowed * one.error, one


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "nowhere.gguf"], "'nowhere.gguf' must be an existing file"),
        (["--tokens", "33"], "'33' must be a multiple of 32"),
        (["--bits", "5"], "invalid choice: 5"),
    ],
)
def test_errors(arguments: list[str], part: str, refusal: Callable) -> None:
    _, message = refusal(agreement.main, arguments)
    assert part in message
