"""The KV packers against golden codings on every simulator."""

import pytest
from amaranth.lib import wiring

from hw.config import Config, KvConfig
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


@pytest.mark.slow
@pytest.mark.parametrize(("width", "words"), [(128, 10_000), (256, 1_000)])
def test_pages_and_throughput(width: int, words: int) -> None:
    """The figure of the README: a word a cycle over 10,000 words of every coding, and of all in turn."""
    run(Packer, KvConfig(word_bits=width), "verilator", 12, words)


@pytest.mark.parametrize(("width", "lanes"), [(128, 1), (256, 4)])
def test_lanes(width: int, lanes: int) -> None:
    run(LanePacker, KvConfig(word_bits=width, lanes=lanes), "verilator", 12, 400)


@pytest.mark.parametrize("kind", [Packer, LanePacker])
def test_every_simulator(kind: type[wiring.Component], simulator: str) -> None:
    kv = KvConfig(word_bits=64, lanes=4)
    chosen = None if simulator == "verilator" else "pages"
    run(kind, kv, simulator, 12 if simulator == "verilator" else 2, 1_000, chosen)


def test_lane_throughput() -> None:
    """A beat a cycle over 10,000 beats, for every coding and for all of them in turn."""
    run(LanePacker, KvConfig(lanes=2), "verilator", 2, 10_000, "full_throughput")
