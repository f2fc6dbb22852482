"""What a user passes by mistake is named, with what is wanted."""

import numpy as np
import pytest

from golden import kv
from golden.attention import decode
from golden.kv.attention import attend
from golden.matvec import matvec
from golden.model import tables
from golden.model.perplexity import compare
from golden.numbers.numerics import Numerics
from golden.weights import quantize
from hw.config import preset

pytestmark = pytest.mark.quick


def test_matvec() -> None:
    weights = quantize(np.ones((4, 32)), "int4", 32)
    with pytest.raises(TypeError, match="config 'edge' must have numerics"):
        matvec(weights, np.ones(32), "edge")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weights of type ndarray must be QuantizedWeights"):
        matvec(np.ones((4, 32)), np.ones(32), preset("edge"))  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [attend, lambda cache, q: decode.attend(cache, q, Numerics())])
def test_attend(step) -> None:
    with pytest.raises(TypeError, match="cache of type Scheme must be a PagedCache"):
        step(kv.get("native4_paged"), np.ones((1, 32)))


@pytest.mark.parametrize("shape", [(), (32,), (8, 32), (1, 1, 8, 32)])
def test_keys_without_heads(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"key of shape .* must be \[H, T, D\]"):
        kv.get("native4_paged").compress(np.ones(shape), np.ones(shape))


def test_the_error_of_one_window_is_left_out() -> None:
    assert tables._error(compare([8], [0.5])) == ""
    assert tables._difference(compare([8], [0.5])) == {"difference": 0.5, "error": None}
    assert tables._error(compare([8, 8], [0.25, 0.75])) == "0.2500"
