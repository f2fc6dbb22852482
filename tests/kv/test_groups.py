"""What all quantisers of keys and values share: groups along an axis, errors of normal elements, refusals."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from golden.kv import affine, sign, ternary
from golden.kv.rules import RULES

pytestmark = pytest.mark.quick


class Quantiser(NamedTuple):
    """Functions of one way to quantise, both with axis and group as their last arguments."""

    quantize: Callable
    dequantize: Callable


def affine_of(rule: str, bits: int) -> Quantiser:
    return Quantiser(
        lambda x, axis, group: affine.quantize(x, bits, axis, group, rule),
        lambda *stored: affine.dequantize(*stored[:-2], bits, *stored[-2:], rule),
    )


QUANTISERS = {
    **{rule: affine_of(rule, 3) for rule in RULES},
    **{f"{rule}2": affine_of(rule, 2) for rule in ("kivi", "native")},
    "sign": Quantiser(sign.quantize, sign.dequantize),
    "sign_published": Quantiser(sign.quantize, partial(sign.dequantize, decode="published")),
    **{
        f"ternary_{decode}": Quantiser(partial(ternary.quantize, decode=decode), ternary.dequantize)
        for decode in ternary.DECODES
    },
}


@pytest.mark.parametrize("name", QUANTISERS)
@pytest.mark.parametrize("axis", affine.AXES)
@pytest.mark.parametrize("group", [16, 32, None])
def test_groups_lie_along_the_axis(rng: np.random.Generator, name: str, axis: str, group: int | None) -> None:
    """A group of a cache is quantised as it is alone: the first, the last and some between."""
    quantiser = QUANTISERS[name]
    x = (rng.standard_normal((2, 3, 32, 64)) * 2.0 ** rng.integers(-3, 4, (2, 3, 32, 64))).astype(np.float16)
    codes, *metadata = quantiser.quantize(x, axis, group)
    values = quantiser.dequantize(codes, *metadata, axis, group)
    assert codes.shape == values.shape == x.shape
    along = {"token": 3, "channel": 2}[axis]
    size = group or x.shape[along]
    shape = [2, 3, 32, 64]
    shape[along] //= size
    assert all(list(field.shape) == shape for field in metadata)
    places = [(0,) * 4, tuple(length - 1 for length in shape), *rng.integers(0, shape, (10, 4)).tolist()]
    for place in map(tuple, places):
        index: list = [*place]
        index[along] = slice(place[along] * size, (place[along] + 1) * size)
        own_codes, *own = quantiser.quantize(x[tuple(index)][None], "token", None)
        np.testing.assert_array_equal(codes[tuple(index)], own_codes[0])
        assert [field[place] for field in metadata] == [field[0, 0] for field in own]
        alone = quantiser.dequantize(own_codes, *own, "token", None)
        np.testing.assert_array_equal(values[tuple(index)], alone[0])


@pytest.mark.parametrize(
    ("name", "deviation", "least", "most"),
    [
        ("kivi2", 1.0, 0.145, 0.155),  # with the authors' code: 0.15
        ("native2", 1.0, 0.145, 0.155),
        # E[x^2] = 1 and E|x| = sqrt(2/pi), a little less where groups have means of their own
        ("sign", 1.0, 1 - 2 / np.pi - 0.02, 1 - 2 / np.pi),
        ("sign_published", 1.0, 1 - 1 / np.pi - 0.02, 1 - 1 / np.pi),
        # measured beforehand
        ("ternary_published", 1.0, 0.20, 0.24),
        ("ternary_published", 0.05, 170, 230),
        ("ternary_scaled", 1.0, 0.24, 0.28),
        ("ternary_scaled", 0.05, 0.24, 0.28),
        ("ternary_kept", 1.0, 0.17, 0.21),
        ("ternary_kept", 0.05, 0.17, 0.21),
    ],
)
def test_errors_on_normal_elements(name: str, deviation: float, least: float, most: float) -> None:
    """Relative squared error in groups of 32."""
    quantiser = QUANTISERS[name]
    x = (np.random.default_rng(3).standard_normal((512, 128)) * deviation).astype(np.float16)
    for axis in affine.AXES:
        values = quantiser.dequantize(*quantiser.quantize(x, axis, 32), axis, 32).astype(np.float64)
        assert least < np.square(values - x).sum() / np.square(x.astype(np.float64)).sum() < most


@pytest.mark.parametrize("name", ["native", "sign", "ternary_kept"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "head"}, r"axis 'head' must be one of token, channel"),
        ({"group": 8}, r"group 8 must be 16\.\.128, or None for the whole axis"),
        ({"group": 129}, r"group 129 must be 16\.\.128, or None for the whole axis"),
        ({"group": 48}, r"token axis of 64 elements must be a multiple of the group 48"),
        ({"x": np.zeros(64)}, r"shape \(64,\) must be \[\.\.\., tokens, channels\], without an empty axis"),
        ({"x": np.zeros((0, 64))}, r"shape \(0, 64\) must be \[\.\.\., tokens, channels\], without .*"),
        *(
            (
                {"x": np.full((16, 64), x)},
                r"elements must be finite in float16: no NaN, magnitudes up to 65504",
            )
            for x in (np.nan, 65520.0, -65520.0, np.inf, -np.inf)
        ),
    ],
)
def test_bad_input_is_refused(name: str, change: dict, message: str) -> None:
    arguments = {"x": np.zeros((16, 64)), "axis": "token", "group": 32} | change
    with pytest.raises(ValueError, match=f"^{message}$"):
        QUANTISERS[name].quantize(*arguments.values())


@pytest.mark.parametrize("name", ["sign", "ternary_kept"])
def test_groups_whose_sums_have_room(name: str) -> None:
    quantiser = QUANTISERS[name]
    _, scale, _ = quantiser.quantize(np.full((16384, 1), 65504.0), "channel", None)
    assert scale.tolist() == [[65504.0]]
    with pytest.raises(ValueError, match=r"^group of 16385 elements must have at most 16384$"):
        quantiser.quantize(np.zeros((16385, 1)), "channel", None)
