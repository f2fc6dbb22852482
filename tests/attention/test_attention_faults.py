"""The attention tile among bad pages and bad queries."""

import pytest

from hw.attention.attention_tile import AttentionTile
from hw.config import Config, preset
from sim import runner

TINY = preset("tiny").changed(attention=True)
SPLIT = TINY.changed(kv=TINY.kv.model_copy(update={"channels": 64, "split_keys": True}))

BITMOD = TINY.changed(kv=TINY.kv.model_copy(update={"channels": 80, "bitmod": True}))
TABLE = TINY.changed(kv=TINY.kv.model_copy(update={"table": True}))


@pytest.mark.parametrize(
    ("config", "simulator", "lists", "chosen"),
    [
        pytest.param(TINY, "verilator", 2, None, id="tiny-verilator"),
        pytest.param(SPLIT, "verilator", 2, None, id="split-verilator"),
        pytest.param(BITMOD, "verilator", 1, None, id="bitmod-verilator"),
        pytest.param(TABLE, "verilator", 1, None, id="table-verilator", marks=pytest.mark.long),
        pytest.param(TINY, "icarus", 0, "(?=.*together)(?=.*stalls=1)", id="tiny-icarus"),
    ],
    indirect=["simulator"],
)
def test_faults(config: Config, simulator: str, lists: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "lists": lists}
    runner.run(
        runner.Design.of_type(AttentionTile, config),
        "sim.benches.attention.attention_faults",
        simulator,
        parameters,
        chosen,
    )
