"""Ranges as scores, and the circuits that choose and split channels by them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.systems import vidkv
from golden.systems.vidkv import ranges
from hw.config import Config, preset
from sim import runner
from sim.benches.systems.channel_plan import ChannelPlan

SHAPES = [(1, 1, 16), (1, 2, 64), (2, 3, 64), (3, 20, 128)]


def any_half(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    bits = rng.integers(0, 0x7C00, shape) | rng.integers(0, 2, shape) << 15
    return bits.astype(np.uint16).view(np.float16)


@pytest.mark.quick
@given(st.integers(0, 2**32 - 1), st.sampled_from(SHAPES))
@settings(max_examples=60, deadline=None)
def test_scores_are_in_the_order_of_ranges(seed: int, shape: tuple[int, int, int]) -> None:
    """Of any two that exact ranges tell apart by 2^-28 of themselves, and equal ranges have equal scores."""
    rng = np.random.default_rng(seed)
    k = any_half(rng, shape)
    k[..., ::5] = rng.choice(np.float16([0, 1, 65504]), k[..., ::5].shape)
    columns = k.astype(float).reshape(-1, shape[2]).T.tolist()
    exact = [(Fraction(max(column)) - Fraction(min(column))) * 2**24 for column in columns]
    found = ranges.scores(k).tolist()
    for extent, score in zip(exact, found, strict=True):
        assert score == extent or extent >= 2**29
    for one, own in zip(exact, found, strict=True):
        for other, its in zip(exact, found, strict=True):
            assert (own < its) <= (one < other)
            if other - one > other / 2**28:
                assert own < its


@pytest.mark.quick
@given(st.integers(0, 2**32 - 1), st.sampled_from(SHAPES), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_mask_is_the_exact_one(seed: int, shape: tuple[int, int, int], eighths: int) -> None:
    """Of keys whose elements are a factor of 2^17 apart at most."""
    rng = np.random.default_rng(seed)
    k = (rng.standard_normal(shape) * 2.0 ** rng.integers(-4, 4, shape[2])).astype(np.float16)
    k[np.abs(k) < 2.0**-10] = 0
    count = round(eighths / 8 * shape[2])
    np.testing.assert_array_equal(ranges.hardware_mask(k, count), vidkv.channel_mask(k, eighths / 8))


@pytest.mark.quick
def test_ranges_that_scores_do_not_tell_apart() -> None:
    """The one difference from the exact mask: the lowest of both channels is chosen."""
    k = np.zeros((1, 2, 64), np.float16)
    k[0, 0] = 65504
    k[0, 1, 63] = -(2.0**-24)
    assert np.flatnonzero(ranges.hardware_mask(k, 1)).tolist() == [0]
    assert np.flatnonzero(vidkv.channel_mask(k, 1 / 64)).tolist() == [63]


@pytest.mark.quick
def test_refused_keys() -> None:
    for k in (np.zeros((1, 64)), np.zeros((1, 0, 64)), np.full((1, 1, 64), np.inf)):
        with pytest.raises(ValueError, match="must"):
            ranges.scores(k)


EDGE = preset("edge")
FOUR_LANES = EDGE.changed(kv={**EDGE.kv.model_dump(), "lanes": 4})


@pytest.mark.parametrize(
    ("config", "simulator", "masks", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 1, None, id="tiny-verilator"),
        pytest.param(
            preset("tiny"), "icarus", 1, "throughput|stalls=[03]|kind=(equal|apart)", id="tiny-icarus"
        ),
        pytest.param(FOUR_LANES, "verilator", 1, "throughput|kind=(loud|outlier)|bad", id="four-lanes"),
        pytest.param(EDGE, "verilator", 1, "throughput|kind=(loud|equal|largest|apart)", id="edge"),
    ],
    indirect=["simulator"],
)
def test_masks(config: Config, simulator: str, masks: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "masks": masks}
    runner.run(ChannelPlan(config), "sim.benches.systems.channel_ranges", simulator, parameters, chosen)
