"""Segments and reads of the value sums, list after list."""

import pytest

from hw.attention.segment_feed import SegmentFeed
from hw.config import preset
from sim import runner


@pytest.mark.parametrize(("queries", "columns"), [(2, 1), (4, 1), (8, 1), (4, 2), (8, 4)])
def test_segment_feed(queries: int, columns: int) -> None:
    tiny = preset("tiny")
    config = tiny.changed(columns=columns, kv=tiny.kv.model_copy(update={"queries": queries}))
    parameters = {"config": config.model_dump(), "lists": 40}
    runner.run(SegmentFeed(config), "sim.benches.attention.segment_feed", "verilator", parameters)
