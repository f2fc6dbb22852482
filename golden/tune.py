"""Tune a KV cache: how many bits the keys and values of every layer get, at a mean width.

    python -m golden.tune [MODEL] --out table.toml [--cap 3.25] [--base native] [--picture front.png]

The model reads a text (the end of Python's own manual without ``--text``), and every layer's attention is
tried with each pair of widths 8, 4 and 2 of keys and values (KVTuner, arXiv 2502.04420). The table of least
total error under the cap is exact, and so is the front of all tables that ``--picture`` draws: a dynamic
program, no genetic search.

With ``--trials N`` Optuna looks for tables with the least loss of the text itself, N times, over groups of
layers that are alike, from the exact front's tables on; the best within the cap is written. That is the
paper's last stage. It takes as long as reading the text N times.

``golden.systems.kvtuner.load`` reads the table, and published presets too.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from golden import optional
from golden.checkpoint import Checkpoint, locate, open_checkpoint
from golden.command_line import Parser, count, positive, program, show
from golden.model import sensitivity, tokenizer, trials
from golden.model.capture import attention_inputs, manual
from golden.model.llama import Llama
from golden.model.perplexity import windows
from golden.systems import kvtuner

__all__ = ["main"]

Front = list[tuple[float, float, NDArray[np.int64]]]
"""Mean width, total error and table."""

_DISTANCE = 0.5
"""Layers of a group differ by less than this factor's logarithm: about 1.6."""


def _ids(checkpoint: Checkpoint, options: argparse.Namespace) -> list[int]:
    """What the model reads."""
    known = "".join(Path(name).read_text(encoding="utf-8") for name in options.text)
    known = known[: 12 * options.tokens] or manual(500_000)[-12 * options.tokens :]
    return tokenizer.of(checkpoint).encode(known)[: options.tokens]


def _errors(
    model: Llama, parts: list[NDArray[np.int64]], base: str, progress: Progress
) -> NDArray[np.float64]:
    """Errors [L, P] of every layer with every pair, the mean of the windows."""
    pairs = [(key, value) for key, value in kvtuner.PAIRS.tolist()]
    found = []
    task = progress.add_task("layers", total=len(parts) * len(model.architecture.windows))
    for part in parts:
        rows = []
        for inputs, window in zip(attention_inputs(model, part), model.architecture.windows, strict=True):
            query, keys, values = inputs
            rows.append(sensitivity.errors(query, keys, values, pairs, kvtuner.BASES[base], window))
            progress.advance(task)
        found.append(rows)
    return np.mean(found, 0)


def _pruned(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors, infinite where another pair of the layer beats one."""
    kept = np.full_like(errors, np.inf)
    for own, row in zip(kept, errors, strict=True):
        front = kvtuner.pareto(kvtuner.PAIRS.sum(1), row)
        own[front] = row[front]
    return kept


def _total(errors: NDArray[np.float64], table: NDArray[np.int64]) -> float:
    """Sum of the errors that a table has."""
    same = (table[:, None] == kvtuner.PAIRS).all(-1)
    return float(errors[same].sum())


def _trials(
    model: Llama,
    parts: list[NDArray[np.int64]],
    options: argparse.Namespace,
    errors: NDArray[np.float64],
    front: Front,
    progress: Progress,
) -> Front:
    """The front of measured tables."""
    groups = kvtuner.cluster(errors, _DISTANCE)
    firsts = [int(np.argmax(groups == group)) for group in range(groups.max() + 1)]
    choices = [kvtuner.PAIRS[np.isfinite(errors[layer])] for layer in firsts]
    task = progress.add_task(f"trials, {len(choices)} groups of layers", total=options.trials)

    def measure(table: NDArray[np.int64]) -> float:
        return trials.loss(model, parts, kvtuner.schemes(table, options.base))

    first = [table for _, _, table in front]
    return trials.measured(
        groups, choices, measure, options.trials, first, step=partial(progress.advance, task)
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.tune", description="Find how many bits every layer's keys and values get."
    )
    parser.add_argument(
        "model",
        nargs="?",
        default="smollm2",
        help="smollm2, a .gguf, a folder of Hugging Face or a llama2.c .bin",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.toml", help="the table")
    parser.add_argument(
        "--cap", type=float, default=3.25, metavar="BITS", help="mean of all widths, at most (3.25)"
    )
    parser.add_argument("--base", choices=kvtuner.BASES, default="native", help="how caches are quantised")
    parser.add_argument("--text", nargs="+", default=[], metavar="FILE", help="text files")
    parser.add_argument("--tokens", type=positive, default=1024, metavar="N", help="first tokens of the text")
    parser.add_argument("--context", type=positive, default=512, metavar="N", help="tokens of a window")
    parser.add_argument("--trials", type=positive, metavar="N", help="measured tables; needs Optuna")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the front; needs Matplotlib")
    return parser


def _shown(
    front: Front, uniform: list[tuple[float, float, str]], table: NDArray[np.int64], error: float
) -> Table:
    shown = Table("table", "mean bits", "error", title=f"{len(front)} tables on the exact front")
    for bits, own, name in uniform:
        shown.add_row(name, f"{bits:.2f}", f"{own:.3e}")
    shown.add_row("chosen", f"{table.mean():.2f}", f"{error:.3e}")
    return shown


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        optional.require(("--picture", optional.MATPLOTLIB, options.picture))
        optional.require(("--trials", optional.OPTUNA, options.trials))
        checkpoint = open_checkpoint(locate(options.model))
        model = Llama(checkpoint)
        if not kvtuner.BASES[options.base](8, 8).fits(model.channels):
            raise ValueError(
                f"argument --base: {options.base!r} does not fit heads of {model.channels} elements"
            )
        parts = windows(_ids(checkpoint, options), options.context)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            errors = _errors(model, parts, options.base, progress)
            kept = _pruned(errors)
            tables = kvtuner.front(kept, kvtuner.PAIRS)
            front = [(float(one.mean()), _total(errors, one), one) for one in tables]
            table = kvtuner.search(kept, kvtuner.PAIRS, options.cap)
            if options.trials:
                measured = _trials(model, parts, options, kept, front, progress)
                within = [one for bits, _, one in measured if bits <= options.cap]
                if not within:
                    raise ValueError(f"argument --trials: {options.trials} found no table within the cap")
                table = within[-1]
        uniform = [
            (float(np.mean(pair)), float(errors[:, place].sum()), "K{}V{}".format(*pair))
            for place, pair in enumerate(kvtuner.PAIRS.tolist())
        ]
        title = f"{checkpoint.path.name}, {count(sum(map(len, parts)), 'token')}, {options.base}"
        kvtuner.save(options.out, table, f"python -m golden.tune: {title}, cap {options.cap}")
        if options.picture:
            from golden.model import front_picture

            points = [(bits, error) for bits, error, _ in front]
            front_picture.draw(points, uniform, table, title, options.picture)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    show(_shown(front, uniform, table, _total(errors, table)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
