"""The callable core's memory: what it answers and when, and that each broken rule of AXI is found.

The circuit is ``stand_in.v``, which copies words.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sim.build import BenchFailure, Design
from sim.core import Response, Simulation, SimulationError, Timing, build

SOURCE, DESTINATION, WORDS, BURST, FAULT, START, ERRORS, MISPLACED = range(0, 32, 4)
SIZE = 1 << 20
WORD = 32  # bytes
TO = SIZE // 2
LIMIT = 100_000


@pytest.fixture(scope="module")
def library() -> Path:
    text = Path(__file__).with_name("stand_in.v").read_text()
    return build(Design(text, {}, True), waves=True)


@pytest.fixture
def made(library: Path, rng: np.random.Generator) -> Iterator:
    """Makes simulations, their memory full of random bytes."""
    simulations: list[Simulation] = []

    def make(**timing: int) -> Simulation:
        simulation = Simulation(library, SIZE, timing=Timing(**timing))
        simulation.memory[:] = rng.integers(0, 256, SIZE)
        simulations.append(simulation)
        return simulation

    yield make
    for simulation in simulations:
        simulation.close()


def start(simulation: Simulation, words: int, burst: int = 16, fault: int = 0, **places: int) -> None:
    base = simulation.base
    values = {SOURCE: base + places.get("source", 0), DESTINATION: base + places.get("destination", TO)}
    for register, value in (values | {WORDS: words, BURST: burst, FAULT: fault, START: 1}).items():
        assert simulation.write(register, value) == 0


def copy(simulation: Simulation, **arguments: int) -> None:
    start(simulation, **arguments)
    simulation.run(LIMIT)


def cycles_of(simulation: Simulation, words: int, burst: int = 16, **places: int) -> int:
    """Copy and check everything; returns the cycles from the start to the interrupt."""
    before = simulation.memory.copy()
    first, last = places.get("source", 0), places.get("destination", TO)
    begin = simulation.counters
    start(simulation, words, burst, **places)
    assert simulation.run(LIMIT)
    passed = simulation.counters - begin
    expected = before.copy()
    expected[last : last + WORD * words] = before[first : first + WORD * words]
    assert np.array_equal(simulation.memory, expected)
    assert (passed.read_words, passed.write_words, passed.write_bursts) == (words, words, words)
    assert passed.write_bytes == WORD * words
    assert passed.share(WORD) == 2 * words / passed.cycles
    assert passed.read_bursts == -(-words // burst)
    assert simulation.read(ERRORS) == simulation.read(MISPLACED) == 0
    assert not simulation.problem
    return passed.cycles


@pytest.mark.parametrize(
    "timing",
    [
        {"latency": 1},
        {"latency": 30, "spread": 29},
        {"latency": 5, "outstanding": 1},
        {"latency": 10, "spread": 5, "stalls": 100, "words": 1, "cycles": 2},
        {"latency": 3, "words": 5, "cycles": 7, "stalls": 200},
    ],
)
def test_copies(made, rng: np.random.Generator, timing: dict[str, int]) -> None:
    simulation = made(**timing, seed=int(rng.integers(1 << 32)))
    for words, burst in (1, 1), (7, 16), (300, 8), (1000, 16):
        cycles_of(simulation, words, burst)


def test_latency(made) -> None:
    """Of a word read and then written, it counts twice."""
    cycles = {latency: cycles_of(made(latency=latency), 1, 1) for latency in (1, 10, 110)}
    assert cycles[10] - cycles[1] == 18
    assert cycles[110] - cycles[1] == 218


@pytest.mark.parametrize(("words", "cycles"), [(2, 1), (1, 1), (3, 4), (1, 8)])
def test_bandwidth(made, words: int, cycles: int) -> None:
    """A copy of n words moves 2 n."""
    taken = cycles_of(made(latency=1, words=words, cycles=cycles), 4000)
    assert abs(taken - 2 * 4000 * cycles / words) < 40


def test_repeats_with_the_seed(made) -> None:
    timing = {"latency": 20, "spread": 19, "stalls": 60}
    one, same, other = (cycles_of(made(**timing, seed=seed), 1000) for seed in (1, 1, 2))
    assert one == same != other


def test_reads_are_early_and_writes_late(made) -> None:
    """Data that were taken are not seen before the response, nor by reads that were asked for before."""
    simulation = made(latency=1000)
    before = simulation.memory.copy()
    start(simulation, 16, source=0, destination=WORD)
    assert not simulation.run(1500)
    assert simulation.counters.write_words == 16
    assert np.array_equal(simulation.memory, before)
    assert simulation.run(LIMIT)
    assert np.array_equal(simulation.memory[WORD : 17 * WORD], before[: 16 * WORD])


@pytest.mark.parametrize("response", list(Response))
@pytest.mark.parametrize("place", [0, TO])
def test_failing_addresses(made, place: int, response: Response) -> None:
    """Two words of 32, in part or whole."""
    simulation = made(latency=7)
    before = simulation.memory.copy()
    simulation.fail(place + 5 * WORD + 31, place + 6 * WORD, response)
    start(simulation, 32)
    assert simulation.run(LIMIT)
    assert simulation.read(ERRORS) == 2
    copied = simulation.memory[TO:].reshape(-1, WORD) == before[: SIZE - TO].reshape(-1, WORD)
    assert copied[:32].all(1).sum() == 30
    kept = before[TO:].reshape(-1, WORD)[5:7]
    assert np.array_equal(simulation.memory[TO:].reshape(-1, WORD)[5:7], kept) == (place == TO)


def test_a_pause_delays_and_nothing_else(made) -> None:
    usual = cycles_of(made(latency=5), 100)
    simulation = made(latency=5)
    simulation.pause(10_000)
    assert abs(cycles_of(simulation, 100) - usual - 10_000) < 40


def test_reset_at_any_cycle(made) -> None:
    simulation = made(latency=20, spread=10)
    for cycle in range(0, 120, 7):
        start(simulation, 50)
        simulation.run(cycle)
        simulation.reset()
        cycles_of(simulation, 60)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("a read address changed while stalled", {"fault": 1}),
        ("a write address changed while stalled", {"fault": 2}),
        ("written data changed while stalled", {"fault": 3}),
        ("an assertion failed in line 95 of the circuit", {"fault": 4}),
        ("ends early or late", {"fault": 5}),
        ("a read at 0x80000fe0 crosses a border of 4 KiB", {"source": 4096 - WORD}),
        ("is no burst of whole words", {"source": 8}),
        ("is no burst of whole words", {"destination": TO + 1}),
        ("a read at 0x80100000 leaves the memory", {"source": SIZE - WORD, "burst": 1}),
        ("a write at 0x80100000 leaves the memory", {"destination": SIZE}),
    ],
)
def test_broken_rules(made, fault: str, words: dict[str, int]) -> None:
    simulation = made(latency=10, stalls=128)
    with pytest.raises(SimulationError, match=fault):
        copy(simulation, **({"words": 500} | words))


def test_confined(made) -> None:
    simulation = made()
    simulation.confine(0, TO + 40 * WORD - 1)
    cycles_of(simulation, 40)
    start(simulation, 41)
    with pytest.raises(SimulationError, match=r"a write at 0x80080500 leaves"):
        simulation.run(LIMIT)


def test_waveforms_of_some_cycles(made, tmp_path: Path) -> None:
    simulation = made(latency=5)
    first = simulation.counters.cycles + 40
    simulation.record(tmp_path / "waves.vcd", first, first + 9)
    cycles_of(simulation, 500)
    text = (tmp_path / "waves.vcd").read_text()
    clock = re.search(r"\$var wire\s+1 (\S+) clk", text)
    assert clock is not None
    rising = re.findall(rf"^1{re.escape(clock[1])}$", text, re.M)
    assert len(rising) in (9, 10)
    assert "memory_araddr" in text


def test_what_does_not_build_is_told() -> None:
    with pytest.raises(BenchFailure, match=r"(?s)verilator_bin failed.*syntax error"):
        build(Design("module top(input clk);\nassign = 1;\nendmodule\n", {}, True))


def test_wrong_sizes(library: Path) -> None:
    for size, base in (100, 0), (0, 0), (4096, 64):
        with pytest.raises(ValueError, match="whole pages of 4096 bytes"):
            Simulation(library, size, base)
