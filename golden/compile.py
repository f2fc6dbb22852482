"""Make a memory image for the decode core: a model, its weights and its cache in the core's terms.

    python -m golden.compile MODEL --weights NAME --kv SCHEME --preset NAME --out DIR

A table of ``golden.tune`` gives each layer's cache formats of its own (``--kv table.toml``). Recipes that are
calibrated run the model over 1,024 tokens first: of the files of ``--calibration``, else the end of Python's
own manual.

The folder gets ``image.bin`` (the memory), ``image.json`` (where everything is) and ``program.txt`` (the
commands of a token). The same arguments give the same bytes. What is changed of a model so that it fits is
said in ``golden.model.core_image``.
"""

import sys
from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from golden.checkpoint import locate, open_checkpoint
from golden.command_line import Parser, count, positive, program
from golden.core import geometry
from golden.core.image import Image
from golden.evaluate import calibration_windows, name_of, scheme_name
from golden.kv.schemes import Scheme
from golden.model import core_image
from golden.model.recipes import RECIPES
from golden.model.subjects import importance
from golden.systems import registry
from golden.systems.kvtuner.tables import Layered

__all__ = ["compiled", "main"]


def compiled(
    model: str,
    weights: str,
    head: str,
    kv: str,
    preset: str,
    tokens: int,
    sequences: int = 1,
    calibration: Sequence[str] = (),
    logits: bool = True,
) -> Image:
    """The image of a model by the names of everything, with progress on standard error.

    Raises:
        ValueError: something does not fit.
        OSError: the model, or a text to calibrate with, cannot be read.
    """
    scheme = registry.get(kv)
    if not isinstance(scheme, Scheme | Layered):
        raise ValueError(f"scheme {kv!r} must be one of whole pages, such as native4_paged")
    if "none" in (weights, head):
        raise ValueError("recipe 'none' must be one that packets hold")
    checkpoint, recipe = open_checkpoint(locate(model)), RECIPES[weights]
    counts = None
    if recipe.calibrated:
        counts = importance(checkpoint, calibration_windows(checkpoint, calibration))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        return core_image.image(
            checkpoint,
            recipe,
            scheme,
            geometry.get(preset),
            preset,
            tokens,
            RECIPES[head],
            progress,
            sequences,
            counts,
            logits,
        )


def _parser() -> Parser:
    parser = Parser(prog="python -m golden.compile", description="Make a memory image for the decode core.")
    parser.add_argument("model", help="smollm2, a .gguf, a folder of Hugging Face or a llama2.c .bin")
    parser.add_argument(
        "--weights", type=name_of(RECIPES), default="bitmod4", metavar="NAME", help="recipe of the weights"
    )
    parser.add_argument(
        "--head", type=name_of(RECIPES), default="int8", metavar="NAME", help="recipe of the output layer"
    )
    parser.add_argument(
        "--kv",
        type=scheme_name,
        default="native4_paged",
        metavar="NAME",
        help="KV scheme, or a table of golden.tune: FILE",
    )
    parser.add_argument("--calibration", nargs="+", default=[], metavar="FILE", help="for calibrated recipes")
    parser.add_argument("--preset", choices=geometry.PRESETS, default="edge", help="the core")
    parser.add_argument("--tokens", type=positive, default=512, metavar="N", help="room for so many tokens")
    parser.add_argument(
        "--sequences", type=positive, default=1, metavar="N", help="that take turns, each with such room"
    )
    parser.add_argument(
        "--logits",
        action=BooleanOptionalAction,
        default=True,
        help="keep the logits in memory, so that a host can sample; without them there is the arg-max alone",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the image")
    parser.add_argument("--listing", action="store_true", help="print the commands of a token")
    return parser


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        recipes = options.weights, options.head, options.kv
        more = options.preset, options.tokens, options.sequences, options.calibration, options.logits
        image = compiled(options.model, *recipes, *more)
        image.save(options.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if options.listing:
        print("\n".join(image.listing))
    symbols = image.symbols
    room = f"{count(symbols.sequences, 'sequence')} of {symbols.limit} tokens"
    print(
        f"{options.out}: {len(image.memory):,} bytes, {symbols.token_commands} commands a token,"
        f" room for {room}, identity {symbols.identity:016x}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
