"""Value sums against golden's, page after page."""

import pytest

from hw.attention.value_sums import ValueSums
from hw.config import Config, KvConfig, preset
from sim import runner

BENCH = "sim.benches.attention.value_sums"
SHORT = KvConfig(lanes=4, channels=32, queries=4)


def run(config: Config, simulator: str, pages: int) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(ValueSums(config), BENCH, simulator, parameters)


def test_value_sums(simulator: str) -> None:
    config = preset("edge").changed(kv=SHORT)
    run(config, simulator, 40 if simulator == "verilator" else 8)


@pytest.mark.parametrize(
    "fields", [{"rescale_units": 1}, {"rescale_units": 8}, {"types": ("int4", "ternary")}]
)
def test_other_shapes(fields: dict[str, object]) -> None:
    """Results one by one, a row block at once, and dot products shorter than results."""
    config = preset("edge").changed(kv=SHORT, offset_passes=2, waiting_groups=0, **fields)
    run(config, "verilator", 20)


def test_rejects() -> None:
    with pytest.raises(ValueError, match=r"^group 16 must be at least 32, a page's tokens$"):
        ValueSums(preset("edge").changed(group=16))
    with pytest.raises(ValueError, match=r"^activation_bits 16 must be fewer$"):
        ValueSums(preset("edge").changed(activation_bits=16))
