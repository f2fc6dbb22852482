"""The KV packers against golden codings on every simulator."""

import pytest
from amaranth.lib import wiring

from hw.config import Config
from hw.kv.config import KvConfig
from hw.kv.lane_packer import LanePacker
from hw.kv.packer import Packer
from sim import runner

BENCH = "sim.benches.kv.packer"


def run(
    kind: type[wiring.Component],
    kv: KvConfig,
    simulator: str,
    pages: int,
    flowing_words: int,
    test_filter: str | None = None,
) -> None:
    config = Config(rows=8, kv=kv)
    parameters = {
        "config": config.model_dump(),
        "lanes": kv.word_bits if kind is Packer else kv.lanes,
        "pages": pages,
        "flowing_words": flowing_words,
    }
    runner.run(kind(config), BENCH, simulator, parameters, test_filter)


@pytest.mark.parametrize("width", [128, 256])
def test_pages(width: int) -> None:
    run(Packer, KvConfig(word_bits=width), "verilator", 12, 100)


@pytest.mark.parametrize(("width", "lanes"), [(64, 8), (128, 1), (128, 2), (256, 4)])
def test_lanes(width: int, lanes: int) -> None:
    run(LanePacker, KvConfig(word_bits=width, lanes=lanes), "verilator", 12, 400)


@pytest.mark.parametrize("kind", [Packer, LanePacker])
def test_every_simulator(kind: type[wiring.Component], simulator: str) -> None:
    kv = KvConfig(word_bits=64, lanes=4)
    chosen = None if simulator == "verilator" else "pages"
    run(kind, kv, simulator, 12 if simulator == "verilator" else 2, 100, chosen)


@pytest.mark.parametrize("width", [64, 128, 256])
def test_throughput(width: int) -> None:
    """A word a cycle over 10,000 words, for every coding and for all of them in turn."""
    run(Packer, KvConfig(word_bits=width), "verilator", 2, 10_000, "full_throughput")


def test_lane_throughput() -> None:
    """A beat a cycle over 10,000 beats, for every coding and for all of them in turn."""
    run(LanePacker, KvConfig(lanes=2), "verilator", 2, 10_000, "full_throughput")
