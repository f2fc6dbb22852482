"""Run the cocotb benches of a component: Verilog, build, simulation, verdict.

A run that fails leaves its log and the seed to repeat it.

Environment:
    KVLOOM_BUILD: cache folder, ``build/sim`` in the repository by default.
    KVLOOM_RESULTS: folder of coverage, ``results`` in the cache by default.
    KVLOOM_SEED, KVLOOM_SEEDS: the seed of every run, or what each one's comes from (``sim.seeds``).
    WAVES: 1 to record waveforms (VCD on Verilator, FST on Icarus) in the run folder, which is then kept.
"""

import json
import re
import shutil
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from sim import context, toolchain
from sim.build import LIMIT_SECONDS, TOP, BenchFailure, Design, build, cocotb_runner_for, waves
from sim.context import parameters
from sim.seeds import run_seed
from sim.toolchain import available

__all__ = ["BenchFailure", "Design", "Outcome", "available", "parameters", "run"]

_SHOWN_LINES = 60  # of a failing log

#: An assertion of the design: Verilator stops with an error, Icarus prints a line and goes on.
_ASSERTION = re.compile(r"^(?:\[\d+\] )?%Error: .*Assertion failed.*$|^ERROR: \S+:\d+.*$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """A run that passed.

    Attributes:
        tests: cocotb tests that ran.
        seed: random seed.
        seconds: wall-clock time of the simulation, without the build.
        log: everything that the simulator printed.
    """

    tests: int
    seed: int
    seconds: float
    log: str


def run(
    component: wiring.Component | Design,
    bench: str,
    simulator: str,
    parameters: Mapping[str, Any] | None = None,
    test_filter: str | None = None,
    seed: int | None = None,
) -> Outcome:
    """Build ``component`` if needed and run the cocotb tests of ``bench`` on it.

    Args:
        component: becomes the top module; its ports are all that a bench can see. ``Design.of_type`` serves
            runs that share a large one.
        bench: Python module with cocotb tests, such as ``sim.benches.skid_buffer``; or some, with commas.
        simulator: ``verilator`` or ``icarus``.
        parameters: read in the bench by ``sim.context.parameters()``; anything JSON or NumPy.
        test_filter: regular expression; only cocotb tests whose name it matches run.
        seed: random seed; that of ``sim.seeds`` by default.

    Raises:
        BenchFailure: a test failed, an ``Assert`` of the design fired, the build or the simulator broke.
    """
    problem = available(simulator)
    if problem is not None:
        raise BenchFailure(f"{simulator} cannot run: {problem}")
    if seed is None:
        seed = run_seed(bench, simulator, test_filter or "")
    design = component if isinstance(component, Design) else Design.of(component)
    directory = build(design, simulator)

    runs = toolchain.cache_directory() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{bench.rpartition('.')[2]}-{simulator}-", dir=runs))
    _write_context(folder, design, parameters or {})
    started = time.perf_counter()
    tests, problems = _simulate(directory, folder, bench, simulator, test_filter, seed)
    seconds = time.perf_counter() - started
    log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
    if problems:
        raise BenchFailure(_report(bench, simulator, seed, folder, problems, log))
    _keep_results(folder / "results")
    if waves():
        print(f"waveforms in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(tests, seed, seconds, log)


def _write_context(folder: Path, design: Design, values: Mapping[str, Any]) -> None:
    content = {
        "parameters": dict(values),
        "ports": design.ports,
        "clocked": design.clocked,
        "results": str(folder / "results"),
    }
    (folder / "bench.json").write_text(json.dumps(content, default=lambda array: array.tolist()))


def _keep_results(folder: Path) -> None:
    """Move a passing run's coverage to where all runs are merged; failing runs do not count."""
    target = toolchain.results_directory()
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.rename(target / path.name)


def _simulate(
    directory: Path, folder: Path, bench: str, simulator: str, test_filter: str | None, seed: int
) -> tuple[int, list[str]]:
    """Run the simulator; count its tests and list what went wrong."""
    environment = {
        context.VARIABLE: str(folder / "bench.json"),
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_REWRITE_ASSERTION_FILES": "sim/*.py",  # where benches assert
        "PYTHONPYCACHEPREFIX": str(toolchain.cache_directory() / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",  # each run would compile everything anew
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # cocotb loads pytest for its assertions; plugins cost 0.1 s
    }
    runner = cocotb_runner_for(simulator, environment)
    results = folder / "results.xml"
    problems: list[str] = []
    ended = ""
    try:
        runner.test(
            test_module=bench,
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            seed=seed,
            build_dir=directory,
            test_dir=folder,
            results_xml=str(results),
            log_file=folder / "log",
            test_filter=test_filter,
            waves=waves(),
            plusargs=[f"+dumpfile_path={folder / TOP}.fst"] if simulator == "icarus" else [],
        )
    except subprocess.TimeoutExpired:
        problems.append(f"no end after {LIMIT_SECONDS} s")
    except (subprocess.SubprocessError, SystemExit, RuntimeError) as error:
        ended = f"the simulator ended with {error}"
    log = (folder / "log").read_text(errors="replace")
    tests, failures = _verdict(results)
    problems += _fired_assertions(log) + failures
    return tests, problems or ([ended] if ended else [])


def _fired_assertions(log: str) -> list[str]:
    """Assertions of the design: Verilator says ``%Error``, Icarus prints a line and goes on."""
    lines = _ASSERTION.findall(log)
    return [f"assertion of the design fired: {line}" for line in dict.fromkeys(lines)]


def _verdict(results: Path) -> tuple[int, list[str]]:
    """Number of tests that ran and the names of those that failed, from cocotb's results file."""
    if not results.exists():
        return 0, ["the simulator ended before its tests"]
    cases = [
        case for case in ElementTree.parse(results).getroot().iter("testcase") if case.find("skipped") is None
    ]
    failed = []
    for case in cases:
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        if failure is not None:
            failed.append(f"test failed: {case.get('name')}: {failure.get('message')}")
    return len(cases), failed if cases else ["no test ran"]


def _report(bench: str, simulator: str, seed: int, folder: Path, problems: Sequence[str], log: str) -> str:
    tail = log.splitlines()[-_SHOWN_LINES:]
    return "\n".join(
        [
            f"{bench} on {simulator}, seed {seed} (repeat with KVLOOM_SEED={seed})",
            *problems,
            f"--- end of {folder / 'log'}",
            *tail,
        ]
    )
