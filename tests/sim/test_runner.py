"""The simulation package: good designs pass, each kind of fault is caught, runs can be repeated."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hw.config import preset
from hw.pe.rescaler import Rescaler
from sim import build, runner, toolchain
from sim.example import Fault, PassThrough, SkidBuffer

BENCH = "sim.benches.skid_buffer"


def test_good_design_passes(simulator: str) -> None:
    outcome = runner.run(SkidBuffer(), BENCH, simulator, parameters={"beats": np.int64(300)})
    assert outcome.tests == 10


def test_combinational_design_passes(simulator: str) -> None:
    assert runner.run(PassThrough(), BENCH, simulator).tests == 10


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.DROPS, r"first mismatch\n +expected 0x[0-9a-f]{9}\n +got +0x"),
        (Fault.CHANGES, r"o: payload changed while stalled in cycle \d+: .*Kind"),
        (
            Fault.WAITS,
            r"cycle limit 10000 reached\n +source i: .* waits for ready\n +sink o: 0 beats received",
        ),
        (Fault.ASSERTS, r"assertion of the design fired: .*top\.v:\d+"),
        (Fault.ASSERTS_ALWAYS, r"assertion of the design fired: .*top\.v:\d+"),
    ],
    ids=lambda value: value.value if isinstance(value, Fault) else "",
)
def test_fault_is_caught(simulator: str, fault: Fault, message: str) -> None:
    with pytest.raises(runner.BenchFailure, match=message):
        runner.run(SkidBuffer(fault), BENCH, simulator, test_filter="keeps_order")


def test_failure_names_its_seed(simulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVLOOM_SEED", "4711")
    with pytest.raises(runner.BenchFailure, match=r"seed 4711 \(repeat with KVLOOM_SEED=4711\)"):
        runner.run(SkidBuffer(Fault.CHANGES), BENCH, simulator, test_filter="keeps_order")


def test_seed_repeats_run(simulator: str) -> None:
    def end_times(seed: int) -> list[str]:
        log = runner.run(SkidBuffer(), BENCH, simulator, test_filter="keeps_order", seed=seed).log
        return re.findall(r"([\d.]+)ns .* passed$", log, flags=re.MULTILINE)

    first = end_times(1)
    assert len(first) == 7
    assert end_times(1) == first
    assert end_times(2) != first


def test_callers_variables_choose_nothing(simulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCOTB_TEST_FILTER", "keeps_order")
    monkeypatch.setenv("COCOTB_TESTCASE", "no_such_test")
    monkeypatch.setenv("COCOTB_RANDOM_SEED", "1")
    assert runner.run(SkidBuffer(), BENCH, simulator).tests == 10
    assert runner.run(SkidBuffer(), BENCH, simulator, test_filter="full_throughput").tests == 1


@pytest.mark.quick
def test_paths_that_make_cannot_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below a path with a space the cache lies elsewhere; a folder that was asked for is refused."""
    assert toolchain.unfit_path() is None
    monkeypatch.setenv("KVLOOM_BUILD", str(tmp_path / "two words"))
    problem = f"KVLOOM_BUILD is in '{tmp_path}/two words': make cannot build with ' ' in a path"
    assert toolchain.unfit_path() == problem
    monkeypatch.delenv("KVLOOM_BUILD")
    monkeypatch.setattr(toolchain, "__file__", str(tmp_path / "two words" / "sim" / "toolchain.py"))
    assert " " not in str(toolchain.cache_directory())
    monkeypatch.setattr("sys.prefix", "/opt/my tools")
    assert toolchain.unfit_path() == (
        "the Python environment is in '/opt/my tools': make cannot build with ' ' in a path"
    )


def test_broken_verilog_is_a_failure(simulator: str) -> None:
    design = build.Design("module top(i); input i; assign = i; endmodule\n", {}, clocked=False)
    with pytest.raises(runner.BenchFailure, match=r"the design does not build: .*\n(.*\n)*.*syntax error"):
        build.build(design, simulator)


def test_no_test_is_a_failure(simulator: str) -> None:
    with pytest.raises(runner.BenchFailure, match="no test ran"):
        runner.run(SkidBuffer(), BENCH, simulator, test_filter="no_such_test")


def test_missing_bench_is_a_failure(simulator: str) -> None:
    with pytest.raises(runner.BenchFailure, match=r"No module named 'sim\.benches\.no_such_bench'"):
        runner.run(SkidBuffer(), "sim.benches.no_such_bench", simulator)


def test_unknown_simulator() -> None:
    with pytest.raises(ValueError, match=r"^simulator 'spice' is not one of verilator, icarus$"):
        toolchain.available("spice")


def test_icarus_absence_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain.available.cache_clear()
    try:
        assert toolchain.available("icarus") == (
            "icarus needs Icarus Verilog, which is not installed: apt-get install iverilog"
        )
        problem = toolchain.available("verilator")
        assert problem is not None
        assert "g++, which is not installed: apt-get install g++;" in problem
        assert problem.endswith("apt-get install make")
    finally:
        toolchain.available.cache_clear()


def test_parallel_builds_compile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []

    def compile_slowly(_: object, folder: Path, __: object) -> None:
        time.sleep(0.1)
        compiled.append(folder)

    monkeypatch.setenv("KVLOOM_BUILD", str(tmp_path))
    monkeypatch.setattr(toolchain, "versions", lambda _: "")
    monkeypatch.setattr(build, "cocotb_runner_for", lambda *_: None)
    monkeypatch.setattr(build, "_compile", compile_slowly)
    designs = [build.Design(text, {}, clocked=True) for text in ("one", "two", "one", "two", "one")]
    with ThreadPoolExecutor(5) as pool:
        folders = list(pool.map(lambda design: build.build(design, "icarus"), designs))
    assert sorted(compiled) == sorted(set(folders))
    assert len(compiled) == 2


def test_lock_excludes(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def increment(_: int) -> None:
        with toolchain.locked(tmp_path / "lock"):
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(200)))
    assert counter.read_text() == "200"


def test_a_netlist_is_worked_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVLOOM_BUILD", str(tmp_path))
    config = preset("tiny")
    first = build.Design.of_type(Rescaler, config)
    assert first == build.Design.of(Rescaler(config))
    monkeypatch.setattr(build.Design, "of", None)
    assert build.Design.of_type(Rescaler, config) == first
