"""BitMoD's data types in circuits against golden pages."""

import pytest

from hw.config import Config, KvConfig, preset
from hw.kv.page_writer import PageWriter
from sim import runner

TINY = preset("tiny").model_copy(update={"kv": KvConfig(channels=32, queries=4, bitmod=True)})
WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64, bitmod=True))
WRITER = "sim.benches.kv.bitmod_writer"


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(TINY, "verilator", 2, None, id="tiny-verilator"),
        pytest.param(TINY, "icarus", 1, "every_place|impossible|cycles", id="tiny-icarus"),
        pytest.param(WIDE, "verilator", 1, None, id="four_lanes"),
    ],
    indirect=["simulator"],
)
def test_written_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(PageWriter(config), WRITER, simulator, parameters, chosen)
