"""Token writer against golden: `tiny` on every simulator, larger ones on one."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.token_writer import TokenWriter, token_cycles
from sim import runner

LONG = Config(kv=KvConfig(lanes=2, channels=256, page_tokens=64))
WIDE = Config(kv=KvConfig(lanes=4, channels=96), memory_bits=512)
WIDEST = Config(kv=KvConfig(lanes=8, channels=32), rows=16, memory_bits=256)


@pytest.mark.parametrize(
    ("config", "simulator", "tokens", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 40, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 6, None, id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 12, None, id="edge"),
        pytest.param(preset("edge"), "icarus", 4, "stalls=3|exact", id="edge-icarus", marks=pytest.mark.slow),
        pytest.param(LONG, "verilator", 8, None, id="long", marks=pytest.mark.slow),
        pytest.param(WIDE, "verilator", 12, None, id="four_lanes"),
        pytest.param(WIDEST, "verilator", 12, None, id="eight_lanes"),
    ],
    indirect=["simulator"],
)
def test_tokens(config: Config, simulator: str, tokens: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "tokens": tokens}
    runner.run(TokenWriter(config), "sim.benches.kv.token_writer", simulator, parameters, chosen)


@pytest.mark.quick
def test_a_token_takes_three_cycles_an_element() -> None:
    """And less than 40 beside, while the scales of a group take no longer than its codes."""
    for lanes in (1, 2):
        assert token_cycles(preset("edge").changed(kv={"lanes": lanes}), 128) <= 128 // lanes * 3 + 40
