"""How fast language models run: ``python -m synth.model``."""

import argparse
from pathlib import Path

from rich.console import Console

from golden import optional
from golden.command_line import Parser, positive, program
from synth import command
from synth.model import areas, kvloom, networks, plots, tables
from synth.model.evaluation import Question, evaluate
from synth.model.system import Machine

_DESCRIPTION = """\
Reproduce BitMoD's published performance model, show what mending each of its faults does, and compare its
designs with kvloom in the same area: tokens/s by KV format and context, prompts, bytes and energy of memory.

A layer takes as long as its array or its memory, whichever is slower. kvloom's cycles are those of the
simulated circuits, its bytes those of the packed weights and pages, metadata included. Beside the designs of
equal area stands kvloom as it is generated: one tile of `edge`, or some.
"""
_EPILOG = """\
examples:
  python -m synth.model
  python -m synth.model --model llama-3-8b --context 32768 --weights bitmod4 --kv native2_paged --tiles 2
  python -m synth.model --model llama-3-8b --context 32768 --batch 8 --kv native4_paged --out model/
"""
_KV = (
    "native8_paged",
    "native4_paged",
    "native3_paged",
    "native2_paged",
    "native2_token",
    "ternary_folded",
)


def parser() -> Parser:
    """The command line."""
    found = Parser(
        prog="python -m synth.model",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--model", type=_model, default="llama-2-7b", metavar="NAME", help="language model (llama-2-7b)")
    add("--context", type=positive, default=8192, metavar="N", help="tokens in the cache (8192)")
    add("--batch", type=positive, default=1, metavar="N", help="sequences (1)")
    add("--weights", action="append", type=_weights, metavar="TYPE",
        help="data type of kvloom's weights; may be repeated (bitmod3)")  # fmt: skip
    add("--head", type=_weights, default="bitmod4", metavar="TYPE",
        help="data type of kvloom's output layer (bitmod4)")  # fmt: skip
    add("--tiles", type=positive, default=1, metavar="N",
        help="tiles of `edge` that share the memory, beside the designs of equal area (1)")  # fmt: skip
    add("--columns", type=_columns, default=1, metavar="N",
        help="columns of their arrays, which a head's queries are spread over (1)")  # fmt: skip
    add("--kv", action="append", type=_kv, metavar="SCHEME",
        help=f"KV scheme of kvloom; may be repeated (those that fit of {' '.join(_KV)})")  # fmt: skip
    add("--bandwidth", type=_positive, default=32.0, metavar="GB/s", help="of memory (32)")
    add("--clock", type=_positive, default=1.0, metavar="GHz", help="of the arrays (1)")
    add("--areas", type=Path, default=areas.DEFAULT, metavar="FILE.json",
        help="measured areas (those that come with kvloom)")  # fmt: skip
    add("--out", type=command.folder, metavar="DIR", help="write model.json, model.md and pictures here")
    return found


def _choice(text: str, names: tuple[str, ...]) -> str:
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} must be one of {', '.join(names)}")
    return text


def _model(text: str) -> str:
    return _choice(text, tuple(networks.NETWORKS))


def _weights(text: str) -> str:
    return _choice(text, kvloom.WEIGHTS)


def _kv(text: str) -> str:
    return _choice(text, tuple(kvloom.KV))


def _columns(text: str) -> int:
    return int(_choice(text, tuple(map(str, kvloom.COLUMNS))))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and at most 100000")
    return value


def _run(arguments: argparse.Namespace) -> None:
    optional.require(("a picture", optional.MATPLOTLIB, arguments.out))
    network = networks.get(arguments.model)
    usual = tuple(name for name in _KV if kvloom.fits(name, network)) or _KV
    question = Question(
        network=network,
        context=arguments.context,
        batch=arguments.batch,
        weights=tuple(arguments.weights or ("bitmod3",)),
        kv=tuple(arguments.kv or usual),
        head=arguments.head,
        tiles=arguments.tiles,
        columns=arguments.columns,
        machine=Machine(arguments.bandwidth, arguments.clock),
        areas=areas.load(arguments.areas),
    )
    console = Console()
    with console.status("counting cycles"):
        found = evaluate(question)
    shown = tables.tables(found)
    tables.show(console, shown)
    if arguments.out:

        def write(folder: Path) -> None:
            (folder / "model.json").write_text(command.as_json(found))
            (folder / "model.md").write_text(tables.markdown(shown, found["corrections"]))
            plots.draw(found, folder)

        command.publish(arguments.out, write)
        console.print(f"written to {arguments.out}: model.json, model.md and four pictures")


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return command.run(parser(), _run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
