"""Quantise a checkpoint: a model file in, a packed model out.

    python -m golden.quantize MODEL --dtype NAME --out FILE.safetensors

Every linear layer becomes one uint8 tensor of the output, the bytes of ``golden.weights.layout.pack``. Every
other tensor (embeddings, norms) stays in its own type; BF16 becomes float32, and GGUF's block types float16.
The output's metadata has one entry, ``kvloom``, a JSON object: the arguments by name, ``version``, ``packed``
(from layer to shape), ``source`` (name of the model's file) and ``source_metadata`` (its single values).

The output appears only when it is complete. What the caller did wrong is one line on standard error that
names the argument or field, its value and what is allowed, and exit status 2.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors.numpy import save_file

from golden.command_line import Parser, positive
from golden.model.checkpoint import Checkpoint, Tensor, locate, open_checkpoint
from golden.numbers import datatypes, scales
from golden.weights import layout, search
from golden.weights.quantized import ZEROS, QuantizedWeights, quantize

__all__ = ["Layer", "from_q4_1", "main", "measure", "write"]

_VERSION = 1
_WIDTH = 100


@dataclass(frozen=True)
class Layer:
    """What quantising did to a layer: its bits per weight, and the power of its error and of its weights."""

    name: str
    shape: tuple[int, int]
    bits_per_weight: float
    error: float
    power: float

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def relative_error(self) -> float:
        """Mean squared error relative to the mean square of the weights."""
        return self.error / self.power if self.power else 0.0


def measure(name: str, w: NDArray[np.float32], q: QuantizedWeights) -> Layer:
    """Compare weights ``[K, C]`` with their quantised form."""
    difference = q.dequantize() - w
    power = np.square(w, dtype=np.float64).sum()
    return Layer(name, q.shape, q.bits_per_weight, float(np.square(difference).sum()), float(power))


def from_q4_1(tensor: Tensor) -> QuantizedWeights:
    """Take over a GGUF Q4_1 matrix exactly: 4-bit codes with an fp16 scale and minimum for every 32 inputs.

    The minimum is the offset and the zero point is 8, because the offset at v = 0 may need more than 11 bits.

    Raises:
        ValueError: not a Q4_1 matrix; a scale is negative, or a scale or minimum is not finite.
    """
    if tensor.kind != "Q4_1" or len(tensor.shape) != 2:
        raise ValueError(f"tensor {tensor.name} is {tensor.kind} {tensor.shape}, must be a Q4_1 matrix")
    scale, minimum, codes = (part.astype(np.float64) for part in tensor.q4_1())
    if not (np.isfinite(scale) & np.isfinite(minimum) & (scale >= 0)).all():
        raise ValueError(f"tensor {tensor.name} must have finite scales >= 0 and finite minimums")
    form, dtype = scales.get("fp16"), datatypes.get("int4_asym")
    return QuantizedWeights(
        dtype=dtype,
        group=32,
        scale_format=form,
        codes=dtype.code_of[codes.astype(np.uint8).reshape(tensor.shape) ^ 8],
        selector=np.zeros(scale.shape, np.uint8),
        zero_point=np.full(scale.shape, 8, np.int16),
        **search.encode(scale, minimum, search.channel_for(scale.max(1), form), form),
    )


def write(path: Path, tensors: dict[str, NDArray], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(tensors, partial, metadata)
        partial.chmod(mode)  # the writer makes files that only their owner may read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _convert(
    checkpoint: Checkpoint, options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, NDArray], list[Layer]]:
    """The output's tensors, and what became of every linear layer."""
    tensors, layers = {}, []
    task = progress.add_task(options.dtype, total=sum(tensor.linear for tensor in checkpoint.tensors))
    for tensor in checkpoint.tensors:
        if not tensor.linear:
            tensors[tensor.name] = tensor.stored()
            continue
        weights = tensor.array()
        try:
            q = quantize(weights, options.dtype, options.group, options.scale, options.search, options.zero)
            packet = layout.pack(q, rows=options.rows, lanes=options.lanes)
        except ValueError as error:
            raise ValueError(f"tensor {tensor.name}: {error}") from None
        tensors[tensor.name] = np.frombuffer(packet, np.uint8)
        layers.append(measure(tensor.name, weights, q))
        progress.advance(task)
    if not layers:
        raise ValueError(f"model {str(checkpoint.path)!r} must have a linear layer (a matrix named *weight)")
    return tensors, layers


def _metadata(checkpoint: Checkpoint, options: argparse.Namespace, layers: list[Layer]) -> dict[str, str]:
    """The output's metadata."""
    single = {key: value for key, value in checkpoint.metadata.items() if not isinstance(value, list | tuple)}
    names = ("dtype", "group", "scale", "search", "zero", "rows", "lanes")
    description = {name: getattr(options, name) for name in names} | {
        "version": _VERSION,
        "packed": {layer.name: layer.shape for layer in layers},
        "source": checkpoint.path.name,
        "source_metadata": single,
    }
    return {"kvloom": json.dumps(description)}  # one entry: the writer orders several at random


def _table(layers: Iterable[Layer], title: str) -> Table:
    """One row a layer, and their total."""
    layers = list(layers)
    total = sum(layer.weights for layer in layers)
    bits = sum(layer.bits_per_weight * layer.weights for layer in layers) / total
    error, power = (sum(getattr(layer, name) for layer in layers) for name in ("error", "power"))
    table = Table("layer", title=title, show_footer=True)
    table.columns[0].footer = f"{len(layers)} layers"
    table.add_column("shape", f"{total:,}", justify="right")
    table.add_column("bits/weight", f"{bits:.3f}", justify="right")
    table.add_column("vs 16 bit", f"{16 / bits:.2f}x", justify="right")
    table.add_column("relative MSE", f"{error / power if power else 0:.3e}", justify="right")
    for layer in layers:
        shape = "x".join(map(str, layer.shape))
        ratio = f"{16 / layer.bits_per_weight:.2f}x"
        table.add_row(layer.name, shape, f"{layer.bits_per_weight:.3f}", ratio, f"{layer.relative_error:.3e}")
    return table


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".safetensors" or path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a .safetensors file in an existing folder")
    return path


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.quantize",
        description="Quantise the linear layers of a model and pack them for the hardware.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", help="a .gguf, llama2.c .bin or .safetensors file, or smollm2")
    parser.add_argument("--dtype", required=True, choices=datatypes.names(), metavar="NAME", help="data type")
    parser.add_argument("--group", type=positive, default=128, metavar="N", help="inputs that share a scale")
    parser.add_argument(
        "--scale", choices=[form.name for form in scales.FORMATS], default="int8", help="format"
    )
    parser.add_argument("--search", choices=search.SEARCHES, default="published", help="search of the scales")
    parser.add_argument("--zero", choices=ZEROS, default="integer", help="zero point of asymmetric types")
    parser.add_argument("--rows", type=int, choices=(4, 8, 16, 32), default=8, help="outputs of a row block")
    parser.add_argument("--lanes", type=int, choices=(4, 8, 16), default=16, help="inputs of a chunk")
    parser.add_argument("--out", type=_output, required=True, metavar="FILE.safetensors", help="output")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    width = None if sys.stdout.isatty() else _WIDTH
    try:
        checkpoint = open_checkpoint(locate(options.model))
        if options.out.exists() and options.out.samefile(checkpoint.path):
            raise ValueError(f"argument --out: {str(options.out)!r} must not be the model itself")
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            tensors, layers = _convert(checkpoint, options, progress)
        write(options.out, tensors, _metadata(checkpoint, options, layers))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    Console(width=width).print(_table(layers, f"{checkpoint.path.name} as {options.dtype}"))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
