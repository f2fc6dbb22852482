"""Text from the simulated core is the golden model's, and so is all memory behind it."""

import argparse
import ctypes
import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from golden import generate
from golden.checkpoint import Checkpoint
from golden.compile import compiled
from golden.core import geometry, kv
from golden.core.commands import LINE_BYTES
from golden.core.image import Image
from golden.core.machine import Machine, continuation
from golden.core.state import SEQUENCE
from golden.model import tokenizer
from hw.config import preset
from sim import decode
from sim.core import Counters, Session, Simulation, Step, Timing, build_core, memory_bytes

PROMPT = "once upon a time there was"


def arguments(path: Path, *more: str) -> list[str]:
    return [PROMPT, "--model", str(path), "--preset", "tiny", *more]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("bandwidth", "clock", "share"),
    [(None, 1000, (1, 1)), (32, 1000, (1, 1)), (16, 1000, (1, 2)), (12.8, 800, (1, 2)), (64, 1000, (2, 1))],
)
def test_timing(bandwidth: float | None, clock: float, share: tuple[int, int]) -> None:
    options = argparse.Namespace(bandwidth=bandwidth, clock=clock, latency=50, spread=10)
    assert decode._timing(options, 32) == Timing(50, 10, *share)


@pytest.mark.quick
def test_figures() -> None:
    """2,000 cycles with 900 words of 8 bytes and 100 of 4 bytes, at 200 MHz."""
    passed = [Counters(1000, 10, 0, 0, 1, 0), Counters(2000, 900, 100, 400, 60, 100)]
    steps = [Step(1, own, False) for own in passed]
    columns = decode._table(steps, 1, 2, 8, 200e6).columns
    assert [list(column.cells)[1] for column in columns] == [
        *("2", "2,000", "900", "100", "0.475", "0.76", "100,000.0")
    ]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--bandwidth", "0.001"], "0.001 GB/s must be a word in 1000 cycles or more"),
        (["--clock", "0"], "'0' must be a number above 0"),
        (["--weights", "nothing"], "nothing"),
        (["--kv", "none"], "'none' must be one of"),
        (["--image", "nowhere"], "nowhere"),
        (["--behind", "-1"], "'-1' must be a whole number from 0 on"),
        (["--columns", "3"], "columns 3 must be a power of two and at most half of kv.queries 4"),
    ],
)
def test_refusals(refusal, tiny_file: Checkpoint, more: list[str], said: str) -> None:
    assert said in refusal(decode.main, arguments(tiny_file.path, *more))[1]


@pytest.fixture(scope="module")
def continued(tiny_file: Checkpoint):
    """What the golden model makes of the prompt: image, ids of the prompt, memory, and the new ids."""
    image = compiled(str(tiny_file.path), "bitmod4", "int8", "native4_paged", "tiny", 80)
    ids = tokenizer.of(tiny_file).encode(PROMPT)
    machine = Machine(image.with_prompt(ids), image.symbols, geometry.get("tiny"))
    said = [machine.run_token() for _ in range(len(ids) + 9)][len(ids) - 1 :]
    return image, ids, machine.memory, said


def test_golden_generate(continued, tiny_file: Checkpoint, capsys: pytest.CaptureFixture) -> None:
    """``golden.generate`` says the golden core's tokens, behind what the model says in full precision."""
    said = continued[3]
    more = ["--numerics", "core", "--tokens", str(len(said))]
    assert generate.main(arguments(tiny_file.path, *more)) == 0
    title, text, *rest = capsys.readouterr().out.splitlines()[3:]
    assert title == "[bitmod4 weights, int8 output layer, KV native4_paged, core tiny]"
    assert text == tokenizer.of(tiny_file).decode(said)
    assert rest[0].startswith(f"[{len(said)} tokens, ")


@pytest.mark.parametrize("ended", [False, True])
def test_golden_text_ends(continued, ended: bool) -> None:
    """Before a token that ends it, or where there is no more room."""
    image, ids, _, said = continued
    new = said.index(said[4]) if ended else len(said)
    limit = len(ids) + len(said)
    memory = image.memory.copy()
    words = memory.view("<u4")[16 * image.symbols.sequence :]
    words[3:5] = limit, said[4] if ended else 0xFFFFFFFF
    other = replace(image, memory=memory, symbols=replace(image.symbols, limit=limit))
    assert list(continuation(other, ids, geometry.get("tiny"))) == said[:new]


def test_differences_are_found(continued) -> None:
    """Every byte counts but for the cycles in completions."""
    image, ids, memory, said = continued
    symbols, steps = image.symbols, len(ids) + 9

    def compared(place: int) -> tuple[bool, bool]:
        changed = memory.copy()
        changed[place] ^= 1
        with Progress(disable=True) as progress:
            return decode.same(changed, image, image.with_prompt(ids), steps, progress)

    assert compared(64 * symbols.completions + 12) == (True, True)
    assert compared(64 * symbols.completions + 11) == (True, False)
    assert compared(len(memory) - 1) == (True, False)
    assert compared(64 * symbols.tokens + 4 * (len(ids) + len(said) - 1)) == (False, False)


class ExampleImage(ctypes.Structure):
    """``struct kvloom_image``."""

    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        *(
            (name, ctypes.c_uint32)
            for name in ("ring", "commands", "completions", "sequence", "tokens", "limit")
        ),
        ("identity", ctypes.c_uint64),
    ]


@pytest.mark.slow
def test_example_of_the_driver(continued) -> None:
    """The C function that a board would run finds the same tokens; of the end it says nothing."""
    image, ids, memory, said = continued
    symbols = image.symbols
    places = (getattr(symbols, name) for name, _ in ExampleImage._fields_[2:])
    known = ExampleImage(image.memory.ctypes.data, len(image.memory), *places)
    prompt = (ctypes.c_uint32 * len(ids))(*ids)
    found: list[int] = []
    callback = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(found.append)
    with Simulation(build_core(preset("tiny")), memory_bytes(image)) as simulation:
        context = ctypes.c_void_p(simulation.handle)
        function = simulation.library.kvloom_continue
        assert function(context, ctypes.byref(known), prompt, len(ids), len(said), callback) == 0
        assert found == said
        left = simulation.memory[: len(memory)].copy()
    records = slice(64 * symbols.completions, 64 * symbols.completions + 16 * symbols.commands)
    left[records] = memory[records]
    assert np.array_equal(left, memory)


@pytest.mark.long
@pytest.mark.parametrize("spread", ["1", "99"])
def test_text(
    continued, tiny_file: Checkpoint, capsys: pytest.CaptureFixture, tmp_path: Path, spread: str
) -> None:
    """Of an image on disk, on memories of different speed."""
    image, _, _, said = continued
    image.save(tmp_path)
    more = ["--image", str(tmp_path), "--tokens", "10", "--latency", "100", "--spread", spread]
    assert decode.main(arguments(tiny_file.path, *more)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(tokenizer.of(tiny_file).decode(said))
    assert printed.endswith("[10 tokens: text as golden's, memory as golden's]\n")
    assert np.sum([line.count("(prompt)") for line in printed.splitlines()]) > 3


def test_text_behind_that_of_golden(continued, tiny_file: Checkpoint, capsys: pytest.CaptureFixture) -> None:
    """The golden model works out all but the last two tokens."""
    _, ids, _, said = continued
    behind = len(ids) - 1 + len(said) - 2
    more = ["--behind", str(behind), "--tokens", "2", "--spread", "50"]
    assert decode.main(arguments(tiny_file.path, *more)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(tokenizer.of(tiny_file).decode(said[-2:]))
    assert printed.endswith("[2 tokens: text as golden's, memory as golden's]\n")


def same_on_the_core(image: Image, machine: Machine, core: str, tokens: int, spread: int) -> list[Counters]:
    """What memory sees of each token behind golden's; text and all memory are golden's."""
    timing = Timing(latency=100, spread=spread)
    with Simulation(build_core(preset(core)), memory_bytes(image), timing=timing) as simulation:
        session = Session(simulation, image, machine.memory)
        steps = [session.step() for _ in range(tokens)]
        assert [step.token for step in steps] == [machine.run_token() for _ in range(tokens)]
        assert np.array_equal(image.symbols.without_cycles(session.memory), machine.memory)
    return [step.passed for step in steps]


def continued_on_the_core(
    checkpoint: Checkpoint, core: str, prompt: str, plain: bool, behind: int, tokens: int, spread: int
) -> list[Counters]:
    """The same of a prompt and what follows it, behind so many tokens."""
    ids = generate.prompt_ids(tokenizer.of(checkpoint), prompt, plain)[0]
    image = compiled(str(checkpoint.path), "bitmod4", "int8", "native4_paged", core, behind + tokens + 1)
    machine = Machine(image.with_prompt(ids), image.symbols, geometry.get(core))
    for _ in range(behind):
        machine.run_token()
    return same_on_the_core(image, machine, core, tokens, spread)


def with_any_cache(image: Image, core: str, position: int, rng: np.random.Generator) -> Machine:
    """At a position behind keys and values that are random, with all pages closed that are due."""
    own = geometry.get(core)
    memory = image.with_prompt([1, 2])
    scratch = np.zeros(own.scratch, np.float32)
    heads = [
        line for name, line in image.symbols.lines_of.items() if re.fullmatch(r"layer\d+\.head\d+", name)
    ]
    for head, place in itertools.product(heads, range(position)):
        scratch[: 2 * own.channels] = rng.standard_normal(2 * own.channels)
        for side in (0, 1):
            fields = {"head": head, "source": side * own.channels, "side": side, "ahead": 0}
            assert not kv.append(memory, scratch, fields, place, own)[0]
            assert not kv.close(memory, fields, place, own)[0].is_error
    line = LINE_BYTES // 4 * image.symbols.sequence
    memory.view("<u4")[line + next(field.word for field in SEQUENCE if field.name == "position")] = position
    return Machine(memory, image.symbols, own)


@pytest.mark.parametrize(
    ("behind", "tokens", "most"), [pytest.param(0, 204, 121_200, marks=pytest.mark.long), (60, 4, 98_000)]
)
def test_stories(stories_file: Checkpoint, behind: int, tokens: int, most: int) -> None:
    """stories260K behind so many tokens of golden's; no token takes longer than that.

    In the short text pages close with each of them.
    """
    passed = continued_on_the_core(stories_file, "tiny", "Once upon a time", False, behind, tokens, 0)
    print([own.cycles for own in passed])
    assert max(own.cycles for own in passed) <= most


@pytest.mark.llm
@pytest.mark.long
def test_smollm2_takes_memory_s_words(smollm2_file: Checkpoint) -> None:
    """Behind 64 tokens, on memory that answers after 50 to 150 cycles."""
    prompt = "The capital of France is Paris. The capital of Italy is"
    (passed,) = continued_on_the_core(smollm2_file, "edge", prompt, True, 64, 1, 50)
    print(passed)
    assert passed.share(32) > 0.932


@pytest.mark.llm
@pytest.mark.long
def test_smollm2_behind_a_long_text(smollm2_file: Checkpoint, rng: np.random.Generator) -> None:
    """The same with 1,022 tokens in the cache, whose maxima move more often than those of a text."""
    image = compiled(str(smollm2_file.path), "bitmod4", "int8", "native4_paged", "edge", 1024)
    machine = with_any_cache(image, "edge", 1022, rng)
    (passed,) = same_on_the_core(image, machine, "edge", 1, 50)
    print(passed)
    assert passed.share(32) > 0.892
