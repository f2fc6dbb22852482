"""A stream for several takers."""

import pytest

from hw.attention.fork import Fork
from sim import runner


@pytest.mark.quick
@pytest.mark.parametrize("takers", [1, 3])
def test_fork(takers: int) -> None:
    parameters = {"bits": 16, "takers": takers}
    runner.run(Fork(16, takers), "sim.benches.attention.fork", "verilator", parameters)
