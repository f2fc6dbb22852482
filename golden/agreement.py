"""Agreement of the published KV rules with ``native``, on the keys and values of a real model.

    python -m golden.agreement [--model smollm2] [--tokens 512] [--bits 2 3 4]

A text runs through the model, and every layer's keys (groups of 32 tokens of a channel, as KIVI has them)
and values (groups of 32 channels of a token) are quantised by every rule. For each rule the table shows the
share of codes that differ from those of ``native``, and its relative mean squared error beside that of
``native``: the sum of squared differences from the float16 elements over that of their squares, all layers
together.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from golden.checkpoint import locate, open_checkpoint
from golden.command_line import Parser, count, positive, program, show
from golden.kv import affine
from golden.kv.rules import RULES
from golden.model import tokenizer
from golden.model.capture import keys_and_values, manual
from golden.model.llama import Llama

__all__ = ["AXES", "Agreement", "main", "measure"]

AXES = {"keys": "channel", "values": "token"}
"""Which axis a group lies along."""

_GROUP = 32
_WIDTH = 100


@dataclass
class Agreement:
    """One rule on one side at one width.

    Attributes:
        differing: codes that differ from those of ``native``, of ``codes``.
        error, native_error: squared error of the rule and of ``native``; ``power`` is that of the elements.
    """

    side: str
    bits: int
    rule: str
    differing: int = 0
    codes: int = 0
    error: float = 0.0
    native_error: float = 0.0
    power: float = 0.0

    @property
    def share(self) -> float:
        """Share of codes that differ."""
        return self.differing / self.codes


def measure(
    layers: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]], bits: Iterable[int]
) -> list[Agreement]:
    """Compare every rule with ``native`` on keys and values [H, T, D], T a multiple of 32."""
    layers = list(layers)
    found = []
    for width in bits:
        rules = [name for name, rule in RULES.items() if width >= rule.least_bits and name != "native"]
        for number, (side, axis) in enumerate(AXES.items()):
            own = {name: Agreement(side, width, name) for name in rules}
            for layer in layers:
                x = layer[number].astype(np.float16)
                codes, native_error = _quantised(x, width, axis, "native")
                for name, one in own.items():
                    others, error = _quantised(x, width, axis, name)
                    one.differing += int(np.count_nonzero(others != codes))
                    one.codes += codes.size
                    one.error += error
                    one.native_error += native_error
                    one.power += float(np.square(x, dtype=np.float64).sum())
            found += own.values()
    return found


def _quantised(x: NDArray[np.float16], bits: int, axis: str, rule: str) -> tuple[NDArray[np.uint8], float]:
    """Codes and squared error."""
    codes, scale, zero = affine.quantize(x, bits, axis, _GROUP, rule)
    back = affine.dequantize(codes, scale, zero, bits, axis, _GROUP, rule)
    return codes, float(np.square(back.astype(np.float64) - x).sum())


def _table(found: Iterable[Agreement], title: str) -> Table:
    table = Table("side", "bits", "rule", title=title)
    for name in ("codes unlike native", "relative MSE", "of native", "ratio"):
        table.add_column(name, justify="right")
    for one in found:
        errors = (f"{error / one.power:.4e}" for error in (one.error, one.native_error))
        cells = (one.side, str(one.bits), one.rule, f"{one.share:.3%}")
        table.add_row(*cells, *errors, f"{one.native_error / one.error:.5f}")
    return table


def _tokens(text: str) -> int:
    count = positive(text)
    if count % _GROUP:
        raise argparse.ArgumentTypeError(f"{text!r} must be a multiple of {_GROUP}")
    return count


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.agreement",
        description="Compare the published KV rules with `native` on a real model's keys and values.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", default="smollm2", help="a llama .gguf, a llama2.c .bin, or smollm2")
    parser.add_argument("--tokens", type=_tokens, default=512, metavar="N", help="tokens of Python's manual")
    parser.add_argument("--bits", type=int, nargs="+", choices=affine.BITS, default=[2, 3, 4], help="widths")
    return parser


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    quiet = not console.is_terminal
    try:
        checkpoint = open_checkpoint(locate(options.model))
        ids = tokenizer.of(checkpoint).encode(manual(8 * options.tokens))[: options.tokens]
        layers = keys_and_values(Llama(checkpoint), ids)
        widths = track(options.bits, "bits", console=console, transient=True, disable=quiet)
        found = measure(layers, widths)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    name = checkpoint.path.name
    title = f"Rules on {name}, {count(len(layers), 'layer')}, {options.tokens} tokens, groups of {_GROUP}"
    show(_table(found, title), _WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
