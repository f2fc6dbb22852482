"""Stall patterns and the scoreboard, without a simulator."""

from itertools import islice
from random import Random

import pytest

from sim.example import Beat, Kind
from sim.scoreboard import Scoreboard
from sim.stalls import SITUATIONS, Pattern, alternate, bursts, never, probability, situation

BEAT = {"kind": Kind.DATA, "offset": -3, "lanes": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("pattern", "low", "high"),
    [(never, 0, 0), (alternate, 500, 500), (probability(0.7), 640, 760), (bursts(8), 400, 600)],
)
def test_share_of_stalled_cycles(pattern: Pattern, low: int, high: int) -> None:
    assert low <= sum(islice(pattern(Random(1)), 1000)) <= high


def test_situations_by_name() -> None:
    assert [situation(name).name for name in SITUATIONS] == list(SITUATIONS)
    with pytest.raises(ValueError, match=r"^situation 'calm' is not one of free_running, "):
        situation("calm")


def test_mismatch_is_readable() -> None:
    scoreboard = Scoreboard("o", Beat)
    scoreboard.expect_all([BEAT, BEAT])
    bits = scoreboard._codec.pack(BEAT)
    scoreboard.observe(bits)
    with pytest.raises(AssertionError) as failure:
        scoreboard.observe(bits ^ (1 << 2) ^ (1 << 18))
    assert str(failure.value).splitlines() == [
        "o[1]: first mismatch",
        "  expected 0x103081ff5",
        "  got      0x1030c1ff1",
        "  offset: expected -3, got -4",
        "  lanes[1]: expected 2, got 3",
    ]


def test_missing_and_unexpected_beats() -> None:
    scoreboard = Scoreboard("o", Beat)
    scoreboard.expect(BEAT)
    with pytest.raises(AssertionError, match=r"^o: 1 beats missing after 0; next is \{'kind'"):
        scoreboard.finish()
    scoreboard.observe(scoreboard._codec.pack(BEAT))
    scoreboard.finish()
    with pytest.raises(AssertionError, match=r"^o\[1\]: unexpected beat"):
        scoreboard.observe(0)
