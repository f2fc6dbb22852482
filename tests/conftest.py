"""Fixtures of every test: simulators, random numbers, models; and the coverage check at the end."""

import os
import shutil
import string
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by NumPy; workers side by side would only spin

import hypothesis
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from golden import optional
from golden.checkpoint import Checkpoint, ctranslate2, locate, open_checkpoint
from golden.model.llama import Llama
from golden.model.whisper import Whisper
from hw.config import Config, preset
from sim import coverage, toolchain
from sim.seeds import run_seed

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared")) / "data"
STORIES = SHARED / "stories260K/stories260K.bin"
TEXT = Path(os.environ.get("KVLOOM_TEXT", SHARED / "wikitext2/test.txt"))

PAIRS = "in he er re an on at nd st or en is it ar th ou ed es to ll al ha ve wa ng ca lo se om of me no le"

Refusal = Callable[[Callable[[list[str]], object], list[str]], tuple[str, str]]
"""Main function and arguments to standard output and standard error."""

Hide = Callable[..., None]
"""Any number of optional parts to nothing."""

PLANS = pytest.StashKey[list[coverage.Merged]]()

hypothesis.settings.register_profile("kvloom", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("kvloom")


@pytest.fixture(params=toolchain.SIMULATORS)
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; Icarus is skipped where it is missing, Verilator never."""
    problem = toolchain.available(request.param)
    if request.param == "icarus" and problem is not None:
        pytest.skip(f"icarus: {problem}")
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers of this run; a failing test shows the seed, ``KVLOOM_SEED`` repeats it."""
    seed = run_seed("rng")
    print(f"repeat with KVLOOM_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command line that must refuse: exit status 2 and one line; returns what it printed."""

    def run(main: Callable[[list[str]], object], arguments: list[str]) -> tuple[str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        printed = capsys.readouterr()
        assert stop.value.code == 2
        assert printed.err.count("\n") == 1
        return printed

    return run


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Hide:
    """Hide optional parts, whatever the machine has: modules that cannot be found, and a PATH without them.

    The programs of all other parts are there, but only fail.
    """

    def run(*parts: optional.Part) -> None:
        programs = tmp_path_factory.mktemp("programs")
        for part in optional.PARTS:
            for name in part.modules if part in parts else ():
                monkeypatch.setitem(sys.modules, name, None)
            for name in () if part in parts else part.programs:
                (programs / name).write_text("#!/bin/sh\nexit 1\n")
                (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))

    return run


@pytest.fixture
def two_columns() -> Config:
    """`tiny` with a second token column, two rescale units and half as wide a stream of activations."""
    changes = {"columns": 2, "rescale_units": 2, "activation_lanes": 2}
    return Config.model_validate(preset("tiny").model_dump() | changes)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Workers that have nothing left take tests from the others."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests come first, quick ones last: no worker begins a long one when the others are done."""

    def place(item: pytest.Item) -> int:
        return bool(item.get_closest_marker("quick")) - bool(item.get_closest_marker("slow"))

    items.sort(key=place)


def pytest_report_header() -> list[str]:
    """Parts that some tests skip without."""
    needs = [("the second simulator", optional.ICARUS), ("timing", optional.OPENSTA)]
    needs += [("place and route", optional.NEXTPNR), ("a cluster", optional.DASK)]
    needs += [
        ("every bench", part)
        for part in (optional.COCOTB, optional.VERILATOR, optional.COMPILER, optional.MAKE)
    ]
    needs += [(name, part) for name, part in optional.MODELS.items()]
    return optional.lacking(*((what, part, True) for what, part in needs))


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A llama of random weights in llama2.c's format, its tokenizer beside it: for whatever needs any model.

    The norms make some channels much louder than others, as in trained models, and it seldom writes bytes.
    """
    rng = np.random.default_rng(260)
    sizes = (64, 172, 2, 8, 4, 320, 512)
    dim, hidden, layers, heads, kv_heads, vocabulary, context = sizes
    half = dim // heads // 2
    angles = np.arange(context)[:, None] * 1e4 ** (-np.arange(half) / half)

    def matrices(rows: int, inputs: int) -> np.ndarray:
        return rng.normal(0, inputs**-0.5, (layers, rows, inputs))

    def norms(count: int) -> np.ndarray:
        return np.exp(rng.normal(0, 0.7, (count, dim)))

    embedding = rng.normal(0, 0.3, (vocabulary, dim))
    embedding[:259] /= 10
    attention = [matrices(rows, dim) for rows in (dim, 2 * half * kv_heads, 2 * half * kv_heads, dim)]
    swiglu = [matrices(hidden, dim), matrices(dim, hidden), matrices(hidden, dim)]
    parts = [embedding, norms(layers), *attention, norms(layers), *swiglu]
    parts += [norms(1), np.cos(angles), np.sin(angles)]
    path = tmp_path_factory.mktemp("tiny") / "tiny.bin"
    path.write_bytes(struct.pack("<7i", *sizes) + b"".join(part.astype("<f4").tobytes() for part in parts))
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [" ", ".", *string.ascii_lowercase, *PAIRS.split()]
    words = b"".join(struct.pack("<fi", -n, len(p)) + p.encode() for n, p in enumerate(pieces))
    path.with_name("tokenizer.bin").write_bytes(struct.pack("<i", max(map(len, pieces))) + words)
    return open_checkpoint(path)


@pytest.fixture(scope="session")
def tiny_llama(tiny_file: Checkpoint) -> Llama:
    return Llama(tiny_file)


@pytest.fixture(scope="session")
def stories_file() -> Checkpoint:
    """stories260K of llama2.c, tok512.bin beside it."""
    if not STORIES.is_file():
        pytest.skip("stories260K.bin is not in KVLOOM_SHARED or ../shared")
    return open_checkpoint(STORIES)


@pytest.fixture(scope="session")
def stories(stories_file: Checkpoint) -> Llama:
    return Llama(stories_file)


@pytest.fixture(scope="session")
def smollm2_file() -> Checkpoint:
    """SmolLM2-135M-Instruct of the optional package."""
    try:
        return open_checkpoint(locate("smollm2"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Checkpoint) -> Llama:
    return Llama(smollm2_file)


@pytest.fixture(scope="session")
def wikitext() -> str:
    """The begin of WikiText-2's test part, tokenised form."""
    if not TEXT.is_file():
        pytest.skip("WikiText-2 is neither at KVLOOM_TEXT nor in KVLOOM_SHARED")
    return TEXT.read_text(encoding="utf-8")[:40_000]


@pytest.fixture(scope="session")
def whisper_file() -> Checkpoint:
    """Whisper tiny.en of the optional package."""
    try:
        return ctranslate2.read(ctranslate2.locate("whisper-tiny.en"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def whisper(whisper_file: Checkpoint) -> Whisper:
    return Whisper(whisper_file)


def pytest_configure(config: pytest.Config) -> None:
    """Give this session, with all its workers, an empty folder for coverage, if anything can be built."""
    if (problem := toolchain.unfit_path()) is not None:
        raise pytest.UsageError(problem)
    if not _is_worker(config):
        _forget_old_runs()
        os.environ["KVLOOM_RESULTS"] = str(toolchain.cache_directory() / f"results-{os.getpid()}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a complete, passing session in which a planned coverage bin stayed empty."""
    if _is_worker(session.config):
        return
    recorded = toolchain.results_directory()
    plans = session.config.stash[PLANS] = coverage.merge(recorded)
    if (
        exitstatus == pytest.ExitCode.OK
        and _is_complete(session.config)
        and any(plan.empty for plan in plans)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    del os.environ["KVLOOM_RESULTS"]
    if recorded.exists():  # what `python -m sim.coverage` shows is always the last session
        shutil.rmtree(toolchain.results_directory(), ignore_errors=True)
        recorded.rename(toolchain.results_directory())


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Show the coverage of this session."""
    plans = config.stash.get(PLANS, [])
    if plans:
        coverage.print_table(plans)
    if any(plan.empty for plan in plans):
        verdict = "fails the session" if _is_complete(config) else "not required of a part of the tests"
        print(f"empty coverage bins: {verdict}")


def _forget_old_runs() -> None:
    """Delete what failing runs left behind more than a day ago."""
    for folder in (toolchain.cache_directory() / "runs").glob("*"):
        if folder.stat().st_mtime < time.time() - 24 * 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


_ALL = "not long"
"""Marks that pyproject.toml chooses where nobody asks for others."""


def _is_complete(config: pytest.Config) -> bool:
    """Whether the whole suite was asked for, nothing deselected."""
    option = config.option
    narrowed = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")
    asked_for = {name: getattr(option, name, None) for name in narrowed}
    if option.markexpr == _ALL:
        del asked_for["markexpr"]
    if any(asked_for.values()):
        return False
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    return asked <= {REPOSITORY, REPOSITORY / "tests"}
