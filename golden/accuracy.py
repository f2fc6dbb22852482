"""Accuracy of the datapath: the error that its roundings add to products of quantised weights.

    python -m golden.accuracy [--model smollm2] [--tokens 16] [--out DIR]

The real activations of every linear layer, rounded to FP16, are multiplied twice by the layer's quantised
weights: by ``golden.matvec``, with FP32 results, and in float64. The relative RMS error is the root of the
squared differences over that of the squared float64 results, over all rows and tokens of a layer. What
quantising the weights itself costs is not in it.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from golden import optional
from golden.checkpoint import locate, open_checkpoint
from golden.command_line import Parser, positive, program, show
from golden.matvec import matvec
from golden.model.capture import Linear, layer_inputs, sample_tokens
from golden.numbers.numerics import Numerics
from golden.weights.quantized import QuantizedWeights, quantize

__all__ = ["ACTIVATION_BITS", "DTYPES", "TARGET", "Measurement", "Summary", "main", "measure", "summarise"]

ACTIVATION_BITS = (8, 10, 12, 14, 16)
DTYPES = ("bitmod4", "bitmod3", "int4_asym")
TARGET = 1.5e-3
"""What the worst layer's error should be at most where ``activation_bits`` is 12."""

_GROUP = 128
_MEASURED_TOKENS = 4
_WIDTH = 100


@dataclass(frozen=True)
class Measurement:
    """Relative RMS error of one layer with one data type and one width of the activations."""

    layer: str
    dtype: str
    activation_bits: int
    error: float


@dataclass(frozen=True)
class Summary:
    """Median and worst layer of one data type and one width."""

    dtype: str
    activation_bits: int
    layers: int
    median: float
    worst: float
    worst_layer: str


@dataclass(frozen=True)
class _Widths:
    """The hardware's widths, as ``golden.matvec`` asks for them."""

    numerics: Numerics


def relative_error(q: QuantizedWeights, x: np.ndarray, numerics: Numerics) -> float:
    """Relative RMS error of products with activations ``x`` ``[tokens, C]``, which are rounded to FP16."""
    exact = x.astype(np.float16).astype(np.float64) @ q.dequantize().T
    got = matvec(q, x, _Widths(numerics), output="fp32").astype(np.float64)
    power = np.square(exact).sum()
    return float(np.sqrt(np.square(got - exact).sum() / power)) if power else 0.0


def measure(
    linear: Linear,
    rows: int,
    dtypes: Iterable[str] = DTYPES,
    widths: Iterable[int] = ACTIVATION_BITS,
    accumulator_bits: int = Numerics.accumulator_bits,
) -> list[Measurement]:
    """Errors of one layer on ``rows`` of its rows and a few tokens, both spread evenly."""
    places = np.linspace(0, len(linear.weights) - 1, min(rows, len(linear.weights))).astype(int)
    tokens = np.linspace(0, len(linear.inputs) - 1, min(_MEASURED_TOKENS, len(linear.inputs))).astype(int)
    found = []
    for dtype in dtypes:
        q = quantize(linear.weights[places], dtype, _GROUP)
        for width in widths:
            numerics = Numerics(width, _GROUP, accumulator_bits)
            error = relative_error(q, linear.inputs[tokens], numerics)
            found.append(Measurement(linear.name, dtype, width, error))
    return found


def summarise(measurements: Sequence[Measurement]) -> list[Summary]:
    """One summary for each data type and width, in the order in which they first come."""
    by_case: dict[tuple[str, int], list[Measurement]] = {}
    for one in measurements:
        by_case.setdefault((one.dtype, one.activation_bits), []).append(one)
    summaries = []
    for (dtype, width), cases in by_case.items():
        worst = max(cases, key=lambda one: one.error)
        median = float(np.median([one.error for one in cases]))
        summaries.append(Summary(dtype, width, len(cases), median, worst.error, worst.layer))
    return summaries


_COLUMNS = ("type", "A", "layers", "median", "worst", "worst layer")


def _cells(one: Summary) -> tuple[str, ...]:
    counts = (one.dtype, str(one.activation_bits), str(one.layers))
    return (*counts, f"{one.median:.2e}", f"{one.worst:.2e}", one.worst_layer)


def _table(summaries: Iterable[Summary], title: str) -> Table:
    table = Table(*_COLUMNS, title=title)
    for one in summaries:
        table.add_row(*_cells(one), style="bold" if one.activation_bits == 12 else None)
    return table


def _markdown(summaries: Iterable[Summary], title: str) -> str:
    lines = [f"# {title}", "", f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
    lines += [f"| {' | '.join(_cells(one))} |" for one in summaries]
    text = (
        "Relative RMS error of a layer's products (FP32 results) against float64 on the same quantised\n"
        f"weights and FP16 activations; groups of {_GROUP}, int8 scales; A: bits of an aligned activation."
    )
    return "\n".join([*lines, "", text, ""])


def _plot(measurements: Sequence[Measurement], path: Path) -> None:
    """Every layer's error over the width of the activations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, dtype in enumerate(dict.fromkeys(one.dtype for one in measurements)):
        own = [one for one in measurements if one.dtype == dtype]
        shifted = [one.activation_bits + 0.3 * (number - 1) for one in own]
        axes.scatter(shifted, [one.error for one in own], s=6, alpha=0.4, label=dtype)
    axes.axhline(TARGET, color="grey", linewidth=1, linestyle="dashed", label=f"target at A = 12: {TARGET}")
    axes.set(yscale="log", xlabel="bits A of an aligned activation", ylabel="relative RMS error of a layer")
    axes.set_xticks(sorted({one.activation_bits for one in measurements}))
    axes.legend()
    figure.savefig(path)


def _write(folder: Path, measurements: Sequence[Measurement], title: str) -> None:
    """Write accuracy.md, accuracy.json and, where Matplotlib is installed, accuracy.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    summaries = summarise(measurements)
    (folder / "accuracy.md").write_text(_markdown(summaries, title))
    content = {"title": title, "summary": summaries, "layers": measurements}
    (folder / "accuracy.json").write_text(json.dumps(content, default=asdict, indent=1) + "\n")
    if optional.MATPLOTLIB.found():
        _plot(measurements, folder / "accuracy.svg")


def _accumulator(text: str) -> int:
    if not text.isdecimal() or not 24 <= int(text) <= 48:
        raise argparse.ArgumentTypeError(f"{text!r} must be 24..48")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.accuracy",
        description="Measure the error that the hardware's roundings add to real layers' products.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", default="smollm2", help="a llama .gguf, a llama2.c .bin, or smollm2")
    parser.add_argument("--tokens", type=positive, default=16, metavar="N", help="tokens of the text")
    parser.add_argument(
        "--rows", type=positive, default=64, metavar="N", help="rows of each layer to measure"
    )
    parser.add_argument("--layers", type=positive, metavar="N", help="first blocks of the model only")
    parser.add_argument(
        "--accumulator", type=_accumulator, default=Numerics.accumulator_bits, metavar="N", help="its bits"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for Markdown, JSON and a picture")
    return parser


def _run(options: argparse.Namespace) -> tuple[list[Measurement], str]:
    """All measurements and their title."""
    checkpoint = open_checkpoint(locate(options.model))
    layers = layer_inputs(checkpoint, sample_tokens(checkpoint, options.tokens), options.layers)
    console = Console(stderr=True)
    quiet = not console.is_terminal
    measurements: list[Measurement] = []
    for linear in track(layers, "layers", console=console, transient=True, disable=quiet):
        measurements += measure(linear, options.rows, accumulator_bits=options.accumulator)
    what = f"Accuracy of the datapath on {checkpoint.path.name}, accumulator of {options.accumulator} bits"
    return measurements, what


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    optional.say_lacking(("a picture", optional.MATPLOTLIB, options.out))
    try:
        measurements, title = _run(options)
        if options.out is not None:
            _write(options.out, measurements, title)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    show(_table(summarise(measurements), title), _WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
