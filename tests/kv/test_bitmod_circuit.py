"""BitMoD's data types in circuits against golden pages."""

import pytest

from hw.attention.code_feed import CodeFeed
from hw.config import Config, ConfigurationError, KvConfig, preset
from hw.kv.half_reader import HalfReader
from hw.kv.page_writer import PageWriter
from sim import runner

TINY = preset("tiny").model_copy(update={"kv": KvConfig(channels=32, queries=4, bitmod=True)})
FOUR_LANES = TINY.model_copy(update={"kv": TINY.kv.model_copy(update={"lanes": 4})})
WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64, bitmod=True))
WRITER = "sim.benches.kv.bitmod_writer"
SOME = "every_place|impossible|cycles"
READER = "sim.benches.kv.bitmod_reader"


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(FOUR_LANES, "verilator", 1, None, id="four_lanes"),
        pytest.param(TINY, "verilator", 2, None, id="tiny-verilator", marks=pytest.mark.long),
        pytest.param(TINY, "icarus", 1, SOME, id="tiny-icarus", marks=pytest.mark.long),
        pytest.param(WIDE, "verilator", 1, None, id="wide", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_written_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(PageWriter(config), WRITER, simulator, parameters, chosen)


@pytest.mark.parametrize(
    ("config", "simulator", "chosen"),
    [
        pytest.param(FOUR_LANES, "verilator", "stalls=(0|3)", id="four_lanes"),
        pytest.param(TINY, "verilator", None, id="tiny-verilator", marks=pytest.mark.long),
        pytest.param(TINY, "icarus", "stalls=0", id="tiny-icarus", marks=pytest.mark.long),
        pytest.param(WIDE, "verilator", "stalls=3", id="wide", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_read_pages(config: Config, simulator: str, chosen: str | None) -> None:
    runner.run(HalfReader(config), READER, simulator, {"config": config.model_dump()}, chosen)


def test_attention_refuses_them() -> None:
    with pytest.raises(ConfigurationError, match=r"^kv.bitmod must be false for attention$"):
        CodeFeed(TINY)
