"""The KV packers against golden codings."""

import pytest
from amaranth.lib import wiring

from hw.config import Config, KvConfig, preset
from hw.kv.lane_packer import LanePacker
from hw.kv.packer import Packer
from sim import runner

SHORT = Config(rows=4, memory_bits=64, kv=KvConfig(lanes=4))
EDGE = preset("edge")
TWO_LANES = Config(kv=KvConfig(lanes=2))
LONG = Config(memory_bits=512, kv=KvConfig(lanes=4))


@pytest.mark.parametrize(
    ("kind", "config", "simulator", "pages", "flowing_words", "chosen"),
    [
        # The figure of the README: a word a cycle over 10,000 words of every coding, and of all in turn.
        pytest.param(Packer, EDGE, "verilator", 12, 10_000, None, id="throughput", marks=pytest.mark.slow),
        pytest.param(Packer, LONG, "verilator", 3, 300, None, id="wide", marks=pytest.mark.long),
        pytest.param(Packer, SHORT, "verilator", 12, 1_000, None, id="short-verilator"),
        pytest.param(Packer, SHORT, "icarus", 2, 1_000, "pages", id="short-icarus"),
        pytest.param(LanePacker, SHORT, "verilator", 12, 1_000, None, id="lanes-short-verilator"),
        pytest.param(LanePacker, SHORT, "icarus", 2, 1_000, "pages", id="lanes-short-icarus"),
        pytest.param(LanePacker, EDGE, "verilator", 12, 400, None, id="lanes"),
        pytest.param(LanePacker, LONG, "verilator", 12, 400, None, id="lanes-wide"),
        # A beat a cycle over 10,000 beats, for every coding and for all of them in turn.
        pytest.param(LanePacker, TWO_LANES, "verilator", 2, 10_000, "full_throughput", id="lanes-throughput"),
    ],
    indirect=["simulator"],
)
def test_pages(
    kind: type[wiring.Component],
    config: Config,
    simulator: str,
    pages: int,
    flowing_words: int,
    chosen: str | None,
) -> None:
    parameters = {
        "config": config.model_dump(),
        "lanes": config.memory_bits if kind is Packer else config.kv.lanes,
        "pages": pages,
        "flowing_words": flowing_words,
    }
    runner.run(kind(config), "sim.benches.kv.packer", simulator, parameters, chosen)
