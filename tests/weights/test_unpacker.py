"""The unpacker against golden numbers on every simulator, and the wiring that is derived from the tables."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Const

from golden.numbers import datatypes
from hw.config import Config, preset
from hw.numbers.one_hot import choose
from hw.weights.lane_mapper import lane_map, lane_maps, lane_wires
from hw.weights.unpacker import Unpacker
from sim import runner

BENCHES = "sim.benches.weights.unpacker,sim.benches.weights.unpacker_faults"
NARROW = Config(
    rows=4,
    lanes=16,
    group=64,
    maximum_inputs=1024,
    memory_bits=64,
    types=("ternary", "int3", "int4", "int4_asym", "int5_asym", "int6_asym", "int8", "int8_asym", "bitmod4"),
)
LONG_CHUNKS = Config(
    rows=4,
    lanes=16,
    group=64,
    maximum_inputs=1024,
    memory_bits=128,
    types=("ternary", "int3", "bitmod3", "int4", "bitmod4", "int4_asym", "int6_asym", "int8", "int8_asym"),
)


def run(config: Config, simulator: str, thorough: bool = True) -> None:
    """Run the benches; where not thorough, with fewer packets and stalls, and without what asserts rates."""
    parameters = {"config": config.model_dump(), "thorough": thorough}
    chosen = None if thorough else "every_type|stalls_on_every_port|stalls=0"
    runner.run(Unpacker(config), BENCHES, simulator, parameters, chosen)


def test_tiny(simulator: str) -> None:
    run(preset("tiny"), simulator, thorough=simulator == "verilator")  # Icarus is forty times slower


@pytest.mark.slow
@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.long)])
def test_edge(thorough: bool) -> None:
    run(preset("edge"), "verilator", thorough)


@pytest.mark.long
def test_a_chunk_a_word() -> None:
    """Words that hold a whole chunk of 4 bits."""
    run(preset("edge").changed(memory_bits=512), "verilator", thorough=False)


@pytest.mark.long
def test_chunks_of_many_windows() -> None:
    """A word that is much shorter than a chunk: up to eight windows a chunk, three a group's scales."""
    run(NARROW, "verilator")


def test_chunks_read_undivided() -> None:
    """Codes of 3 bits a word and a half a chunk: read at once wherever the words at hand hold it."""
    assert any(entry.undivided for entry in lane_maps(LONG_CHUNKS))
    run(LONG_CHUNKS, "verilator")


@pytest.mark.quick
@pytest.mark.parametrize("config", [preset("tiny"), preset("edge"), preset("paper"), NARROW, LONG_CHUNKS])
def test_takes(config: Config) -> None:
    """The windows of a chunk hold all of it, and nothing is read twice."""
    window = config.memory_bits // config.rows
    for dtype in config.datatypes:
        packing = lane_map(dtype, config)
        assert 1 <= packing.granules <= window
        total = (packing.takes - 1) * window + packing.granules
        assert packing.undivided in (0, total)
        if dtype.name != "ternary":
            assert total == config.lanes * dtype.bits


@pytest.mark.quick
def test_lane_wiring() -> None:
    """Every code of every type comes out of the derived wiring as the golden table says."""
    config = preset("edge")
    for dtype in config.datatypes:
        wires = lane_map(dtype, config).wires
        for code in range(len(dtype.integers)):
            lane = sum(
                any(source < 0 or code >> source & 1 for source in wire) << bit
                for bit, wire in enumerate(wires)
            )
            assert lane == dtype.lane(code), (dtype.name, code)
    assert len(lane_maps(config)) < len(datatypes.names())


@pytest.mark.quick
def test_unknown_wiring(monkeypatch: pytest.MonkeyPatch) -> None:
    lane_wires.cache_clear()
    monkeypatch.setattr(datatypes.DataType, "lane", lambda self, code: 128 * (code in (1, 2)))
    with pytest.raises(ValueError, match=r"^bit 7 of the lanes of int2 is not an OR of code bits$"):
        lane_map(datatypes.get("int2"), preset("edge"))


@pytest.mark.quick
def test_symmetric_types_only() -> None:
    """No group has a zero, so there is nothing to choose among."""
    assert rtlil.convert(Unpacker(preset("tiny").changed(types=("int4", "bitmod4"))))
    assert isinstance(choose([], []), Const)
