"""Quantise a checkpoint: a model in, a packed model out.

    python -m golden.quantize MODEL --dtype NAME --out FILE.safetensors

Every linear layer becomes one uint8 tensor of the output, the bytes of ``golden.weights.layout.pack``; one
with experts [E, K, C] becomes E packets of one length. ``--dtype stored`` keeps the codes that the file has,
where kvloom's numbers hold them exactly, and any other name quantises (or requantises). Every other tensor is
copied in its own type; BF16 becomes float32, and blocks of codes float16, or float32 beyond its range.

The output's metadata has one entry, ``kvloom``, a JSON object: the arguments by name, ``version``, ``rows``,
``lanes`` and ``word_bits`` of the packets, ``packed`` (from layer to shape), ``tensors`` (what became of
every tensor, and why), ``weights`` (their numbers by what became of them), ``source`` (name of the model) and
``source_metadata`` (its single values). A layer's weights are ``multiplier`` (default 1) times its matrix,
one number or one an expert; where it has a ``permutation``, its inputs are taken in that order (an int32
tensor).

The output appears only when it is complete. What the caller did wrong is one line on standard error that
names the argument or field, its value and what is allowed, and exit status 2.
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors import SafetensorError
from safetensors.numpy import save_file

from golden import optional
from golden.checkpoint import Checkpoint, locate, open_checkpoint, roles
from golden.checkpoint.packing import COPIED, STORED, Outcome, Rule, converted
from golden.command_line import Parser, count, positive, program, show
from golden.numbers import datatypes, scales
from golden.weights import search
from golden.weights.presets import PRESETS, Shape
from golden.weights.quantized import ZEROS

__all__ = ["main", "write"]

_VERSION = 2
_WIDTH = 200
_PLAIN = Shape(rows=8, lanes=16, group=128, word_bits=64)
_SEARCHED = {"group": None, "scale": "int8", "search": "published", "zero": "integer"}
"""Arguments that say how to quantise, and so mean nothing for what is stored; the group is the shape's."""


def write(path: Path, tensors: dict[str, NDArray], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is complete.

    Raises:
        OSError: it cannot be written, for lack of space for one.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(tensors, partial, metadata)
        partial.chmod(mode)  # the writer makes files that only their owner may read
        os.replace(partial, path)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _convert(
    checkpoint: Checkpoint, rule: Rule, progress: Progress
) -> tuple[dict[str, NDArray], list[Outcome]]:
    """The output's tensors, and what became of every tensor of the model."""
    tensors: dict[str, NDArray] = {}
    outcomes: list[Outcome] = []
    task = progress.add_task(rule.dtype, total=sum(tensor.size for tensor in checkpoint.tensors))
    for arrays, outcome in converted(checkpoint.tensors, rule):
        for name in arrays:
            if name in tensors:
                raise ValueError(f"tensor {name} must be the only one of its name")
        tensors |= arrays
        outcomes.append(outcome)
        progress.advance(task, outcome.weights)
    if all(outcome.what == COPIED for outcome in outcomes):
        found = ", ".join(sorted({outcome.why for outcome in outcomes})) or "no tensors"
        what = "a linear layer with codes to keep" if rule.dtype == STORED else "a linear layer"
        raise ValueError(f"model {str(checkpoint.path)!r} must have {what} (found: {found})")
    return tensors, outcomes


def _metadata(
    checkpoint: Checkpoint, rule: Rule, options: argparse.Namespace, outcomes: list[Outcome]
) -> dict[str, str]:
    """The output's metadata."""
    single = {key: value for key, value in checkpoint.metadata.items() if not isinstance(value, list | tuple)}
    searched = {name: None if rule.dtype == STORED else getattr(rule, name) for name in _SEARCHED}
    shape = {name: getattr(rule.shape, name) for name in ("rows", "lanes", "word_bits")}
    tensors = {
        one.name: {"from": one.kind, "became": one.what, "shape": one.shape}
        | ({"why": one.why} if one.why else one.packed)
        for one in outcomes
    }
    description = {"dtype": rule.dtype, **searched, **shape, "preset": options.preset} | {
        "version": _VERSION,
        "packed": {one.name: one.shape for one in outcomes if one.what != COPIED},
        "tensors": tensors,
        "weights": _totals(outcomes),
        "source": checkpoint.path.name,
        "source_metadata": single,
    }
    return {"kvloom": json.dumps(description)}  # one entry: the writer orders several at random


def _totals(outcomes: list[Outcome]) -> dict[str, int]:
    """Numbers of weights by what became of them."""
    totals: Counter[str] = Counter()
    for one in outcomes:
        totals[one.what] += one.weights
    return dict(totals)


def _table(outcomes: list[Outcome], title: str) -> Table:
    """One row a matrix and their total; what else was copied has a row for every reason."""
    packed = [one for one in outcomes if one.what != COPIED]
    total = sum(one.weights for one in packed)
    bits = sum(one.bits_per_weight * one.weights for one in packed) / total
    error, power = (sum(getattr(one, name) for one in packed) for name in ("error", "power"))
    table = Table(title=title, show_footer=True)
    table.add_column("tensor", count(len(packed), "layer"), overflow="fold")
    table.add_column("shape", f"{total:,}", justify="right")
    table.add_column("from", no_wrap=True)
    table.add_column("became", overflow="fold")
    table.add_column("bits/weight", f"{bits:.3f}", justify="right")
    table.add_column("vs 16 bit", f"{16 / bits:.2f}x", justify="right")
    table.add_column("relative MSE", f"{error / power if power else 0:.3e}", justify="right")
    for one in outcomes:
        shape = "x".join(map(str, one.shape))
        if one.what != COPIED:
            numbers = (f"{one.bits_per_weight:.3f}", f"{16 / one.bits_per_weight:.2f}x")
            table.add_row(one.name, shape, one.kind, one.what, *numbers, f"{one.relative_error:.3e}")
        elif len(one.shape) > 1:
            table.add_row(one.name, shape, one.kind, f"{COPIED}: {one.why}")
    return table


def _summary(outcomes: list[Outcome]) -> str:
    """Where all weights of the file went, in one line."""
    reasons: Counter[str] = Counter()
    for one in outcomes:
        if one.what == COPIED:
            reasons[one.why] += one.weights
    why = "; ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    totals = _totals(outcomes)
    parts = [f"{count:,} {what}" + (f" ({why})" if what == COPIED else "") for what, count in totals.items()]
    return f"{sum(totals.values()):,} weights: {', '.join(parts)}"


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".safetensors" or path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a .safetensors file in an existing folder")
    return path


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.quantize",
        description="Quantise the linear layers of a model and pack them for the hardware.",
    )
    add = parser.add_argument
    formats = [form.name for form in scales.FORMATS]
    names = (STORED, *datatypes.names())
    add("model", help="a .gguf, .safetensors or llama2.c .bin file, a Hugging Face folder, or smollm2")
    add(
        "--dtype",
        required=True,
        choices=names,
        metavar="NAME",
        help="data type; stored: the file's own codes",
    )
    add(
        "--group",
        type=positive,
        metavar="N",
        help="inputs that share a scale (default: 128, or the preset's)",
    )
    add("--scale", choices=formats, help="format of scales (default: int8)")
    add("--search", choices=search.SEARCHES, help="search of the scales (default: published)")
    add("--zero", choices=ZEROS, help="zero point of asymmetric types (default: integer)")
    add("--include", action="append", default=[], metavar="PATTERN", help="pack these tensors too")
    add("--skip", action="append", default=[], metavar="PATTERN", help="leave these tensors alone")
    add("--preset", choices=PRESETS, help="accelerator that the packets are for")
    add("--rows", type=int, choices=(4, 8, 16, 32), help="outputs of a row block (default: 8)")
    add("--lanes", type=int, choices=(4, 8, 16), help="inputs of a chunk (default: 16)")
    add(
        "--word-bits",
        type=int,
        choices=(64, 128, 256, 512, 1024),
        help="packets are whole words (default: 64)",
    )
    add("--out", type=_output, required=True, metavar="FILE.safetensors", help="output")
    return parser


def _rule(options: argparse.Namespace) -> Rule:
    """How to pack, from the arguments."""
    shape = PRESETS.get(options.preset, _PLAIN)
    given = {name: getattr(options, name) for name in ("rows", "lanes", "word_bits")}
    shape = shape._replace(**{name: value for name, value in given.items() if value is not None})
    searched = {name: getattr(options, name) for name in _SEARCHED if getattr(options, name) is not None}
    if options.dtype == STORED and searched:
        raise ValueError(f"argument --{next(iter(searched))}: must not be given with --dtype {STORED}")
    return Rule(options.dtype, shape, **({**_SEARCHED, "group": shape.group} | searched))


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        rule = _rule(options)
        optional.require(("model 'smollm2'", optional.GGUF, options.model == "smollm2"))
        checkpoint = roles.choose(open_checkpoint(locate(options.model)), options.include, options.skip)
        if options.out.exists() and any(
            options.out.samefile(file) for file in checkpoint.files or (checkpoint.path,)
        ):
            raise ValueError(f"argument --out: {str(options.out)!r} must not be the model itself")
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            tensors, outcomes = _convert(checkpoint, rule, progress)
        write(options.out, tensors, _metadata(checkpoint, rule, options, outcomes))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    show(_table(outcomes, f"{checkpoint.path.name} as {options.dtype}"), _WIDTH)
    print(_summary(outcomes))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
