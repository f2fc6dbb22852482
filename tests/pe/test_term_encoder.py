"""The term encoder against the golden table."""

import pytest

from hw.config import Config, preset
from hw.pe.term_encoder import TermEncoder
from sim import runner

BENCH = "sim.benches.pe.term_encoder"
ONE_TERM = Config(rows=4, lanes=4, group=32, maximum_inputs=512, memory_bits=64, types=("int4", "bitmod3"))
ONLY_TABLES = Config(rows=4, lanes=4, group=32, maximum_inputs=512, memory_bits=64, types=("flint4", "e3m2"))


@pytest.mark.quick
def test_term_encoder(simulator: str) -> None:
    config = preset("tiny")
    runner.run(TermEncoder(config), BENCH, simulator, {"config": config.model_dump()})


WITH_TABLE = ONE_TERM.changed(table=True)


@pytest.mark.parametrize(
    "config", [ONE_TERM, ONLY_TABLES, WITH_TABLE], ids=["one_term", "only_tables", "with_table"]
)
@pytest.mark.parametrize("simulator", ["icarus"], indirect=True)
def test_few_types(config: Config, simulator: str) -> None:
    """Without second digits, and without any digit of sign and magnitude."""
    runner.run(TermEncoder(config), BENCH, simulator, {"config": config.model_dump()})
