"""Continue a prompt on the simulated decode core, and compare it with the golden model.

    python -m sim.decode "Once upon a time" --model stories260K.bin --preset tiny [--tokens N]
    python -m sim.decode PROMPT --model MODEL --image DIR

The host writes a memory image, tells the core how far the commands go and reads a token; the circuit does
everything between a token's id and the next one. The likeliest token is taken each time.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from golden import optional
from golden.checkpoint import locate, open_checkpoint
from golden.command_line import Parser, count, positive, program, show
from golden.compile import compiled
from golden.core import geometry
from golden.core.commands import LINE_BYTES
from golden.core.image import Image
from golden.core.machine import Machine
from golden.evaluate import name_of, scheme_name
from golden.generate import prompt_ids, spoken
from golden.model import tokenizer
from golden.model.recipes import RECIPES
from hw.attention.engine import check_columns
from hw.config import preset
from sim.core import (
    CommandFailed,
    Session,
    Simulation,
    SimulationError,
    Step,
    Timing,
    build_core,
    memory_bytes,
)
from sim.design import BenchFailure

__all__ = ["main", "same"]

_NEEDED = (optional.COCOTB, optional.VERILATOR, optional.COMPILER, optional.MAKE)
_WIDTH = 100
_FINEST = 1000
"""Largest number of cycles that a number of words is said for."""


def same(
    memory: NDArray[np.uint8], image: Image, begin: NDArray[np.uint8], steps: int, progress: Progress
) -> tuple[bool, bool]:
    """Whether the golden model finds the same tokens, and leaves the same memory.

    Args:
        memory: uint8 [64 * lines], what the core has left.
        image: what says where things are.
        begin: what the core began with.
        steps: passes through the ring of commands.
        progress: shows how far the golden model is.

    Returns:
        The same tokens; the same bytes everywhere, but for the cycles in completions.
    """
    symbols = image.symbols
    memories = symbols.without_cycles(memory), _golden(image, begin.copy(), steps, progress)
    tokens = [each.view("<u4")[symbols.tokens * LINE_BYTES // 4 :][: symbols.limit] for each in memories]
    return np.array_equal(*tokens), np.array_equal(*memories)


def _golden(image: Image, memory: NDArray[np.uint8], steps: int, progress: Progress) -> NDArray[np.uint8]:
    """The memory, taken so many tokens further by the golden model."""
    machine = Machine(memory, image.symbols, geometry.get(image.symbols.preset))
    for _ in progress.track(range(steps), description="golden model"):
        machine.run_token()
    return memory


def _taken(session: Session, most: int, ends: set[int], steps: list[Step]) -> Iterator[int]:
    """Ids of new tokens as they come, without the one that ends the text; ``steps`` gets all."""
    for _ in range(most):
        steps.append(session.step())
        if steps[-1].stopped or steps[-1].token in ends:
            return
        yield steps[-1].token


def _prefilled(session: Session, prompt: int, progress: Progress) -> list[Step]:
    """So many tokens of the prompt; the last one, which gives the first new one, is not among them."""
    return [session.step() for _ in progress.track(range(prompt), description="prompt")]


def _table(steps: list[Step], first: int, prompt: int, word_bytes: int, clock: float) -> Table:
    """Cycles, words, and what they mean at a clock in Hz; of the ``first`` token and those behind it."""
    table = Table(title=f"each token at {clock / 1e6:g} MHz")
    for name in "token", "cycles", "words read", "written", "of peak", "GB/s", "tokens/s":
        table.add_column(name, justify="right")
    for place, step in enumerate(steps, first):
        passed = step.passed
        share = passed.share(word_bytes)
        table.add_row(
            f"{place}{' (prompt)' if place < prompt else ''}",
            f"{passed.cycles:,}",
            f"{passed.read_words:,}",
            f"{passed.write_words:,}",
            f"{share:.3f}",
            f"{share * word_bytes * clock / 1e9:.2f}",
            f"{clock / passed.cycles:,.1f}",
        )
    return table


def _timing(options: argparse.Namespace, word_bytes: int) -> Timing:
    share = Fraction(1)
    if options.bandwidth:
        share = Fraction(options.bandwidth * 1e3 / (word_bytes * options.clock)).limit_denominator(_FINEST)
    if not share:
        raise ValueError(
            f"argument --bandwidth: {options.bandwidth:g} GB/s must be a word in {_FINEST} cycles or more"
        )
    return Timing(options.latency, options.spread, share.numerator, share.denominator)


def _above_zero(text: str) -> float:
    """An argument that is a number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return number


def _from_zero(text: str) -> int:
    """An argument that is a whole number, not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 on")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sim.decode",
        description="Continue a prompt on the simulated decode core, and compare it with the golden model.",
    )
    parser.add_argument("prompt", help="what to answer or to continue")
    parser.add_argument(
        "--model", default="smollm2", help="smollm2, a .gguf, a folder of Hugging Face or a llama2.c .bin"
    )
    parser.add_argument(
        "--image", type=Path, metavar="DIR", help="what golden.compile has made of the model; else it is made"
    )
    parser.add_argument(
        "--weights", type=name_of(RECIPES), default="bitmod4", metavar="NAME", help="recipe of the weights"
    )
    parser.add_argument(
        "--head", type=name_of(RECIPES), default="int8", metavar="NAME", help="recipe of the output layer"
    )
    parser.add_argument("--kv", type=scheme_name, default="native4_paged", metavar="NAME", help="KV scheme")
    parser.add_argument("--preset", choices=geometry.PRESETS, default="edge", help="the core")
    parser.add_argument(
        "--columns",
        type=positive,
        default=1,
        metavar="N",
        help="token columns of the array: queries of a KV head that read a page together (default 1)",
    )
    parser.add_argument("--tokens", type=positive, default=56, metavar="N", help="most tokens of an answer")
    parser.add_argument(
        "--behind",
        type=_from_zero,
        default=0,
        metavar="N",
        help="tokens that the golden model works out before the core goes on (default 0)",
    )
    parser.add_argument("--plain", action="store_true", help="continue the prompt instead of answering it")
    parser.add_argument("--clock", type=_above_zero, default=1000, metavar="MHZ", help="of the core")
    parser.add_argument(
        "--latency", type=positive, default=100, metavar="N", help="cycles until memory answers"
    )
    parser.add_argument(
        "--spread",
        type=positive,
        default=0,
        metavar="N",
        help="cycles that it is faster or slower by, randomly",
    )
    parser.add_argument(
        "--bandwidth", type=_above_zero, metavar="GB/S", help="of the memory; default: a word in each cycle"
    )
    parser.add_argument(
        "--waves", nargs=3, metavar=("FILE", "FIRST", "LAST"), help="record cycles FIRST to LAST as VCD"
    )
    return parser


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _run(options: argparse.Namespace) -> int:
    checkpoint = open_checkpoint(locate(options.model))
    words = tokenizer.of(checkpoint)
    ids, ends = prompt_ids(words, options.prompt, options.plain)
    image = Image.load(options.image) if options.image else None
    config = preset(image.symbols.preset if image else options.preset).changed(columns=options.columns)
    check_columns(config)
    timing = _timing(options, config.memory_bits // 8)
    if not image:
        room = max(len(ids), options.behind) + options.tokens + 1
        recipes = options.weights, options.head, options.kv
        image = compiled(options.model, *recipes, options.preset, room)
    behind = options.behind
    if behind + options.tokens >= image.symbols.limit:
        raise ValueError(f"argument --behind: the image has room for {image.symbols.limit} tokens")
    with _progress() as progress:
        begin = _golden(image, image.with_prompt(ids), behind, progress)
        library = build_core(config, options.waves is not None, progress)
    with Simulation(library, memory_bytes(image), timing=timing) as simulation:
        if options.waves:
            path, first, last = options.waves
            simulation.record(Path(path), int(first), int(last))
        session = Session(simulation, image, begin)
        with _progress() as progress:
            steps = _prefilled(session, max(0, len(ids) - 1 - behind), progress)
        most = min(options.tokens, image.symbols.limit - max(len(ids), behind + 1))
        said = spoken(words, _taken(session, most, ends, steps))
        table = _table(steps, behind + 1, len(ids), simulation.word_bytes, options.clock * 1e6)
        show(table, _WIDTH)
        with _progress() as progress:
            tokens, memory = same(session.memory, image, begin, len(steps), progress)
    verdicts = {True: "as", False: "unlike"}
    print(
        f"[{count(len(said), 'token')}: text {verdicts[tokens]} golden's, memory {verdicts[memory]} golden's]"
    )
    return 0 if tokens and memory else 1


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 where the golden model says something else."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        optional.require(*(("the simulated core", part, True) for part in _NEEDED))
    except optional.MissingPart as missing:
        parser.error(str(missing))
    try:
        return _run(options)
    except BrokenPipeError:  # the reader has gone, which is no error
        raise
    except (ValueError, OSError, BenchFailure, CommandFailed, SimulationError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
