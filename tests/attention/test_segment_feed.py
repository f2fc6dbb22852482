"""Segments and reads of the value sums, list after list."""

import pytest

from hw.attention.segment_feed import SegmentFeed
from hw.config import preset
from sim import runner


@pytest.mark.parametrize("queries", [2, 4, 8])
def test_segment_feed(queries: int) -> None:
    tiny = preset("tiny")
    config = tiny.changed(kv=tiny.kv.model_copy(update={"queries": queries}))
    parameters = {"config": config.model_dump(), "lists": 40}
    runner.run(SegmentFeed(config), "sim.benches.attention.segment_feed", "verilator", parameters)
