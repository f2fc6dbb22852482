"""Evaluate a model: perplexity with quantised weights, activations and KV cache.

    python -m golden.evaluate [--model smollm2] [--weights NAME] [--activations A] [--kv NAME] [--text FILE]
    python -m golden.evaluate --table --out DIR

Without ``--text`` a llama model reads Python's own manual, or with ``--text self`` what it would write itself
(samples of 255 tokens at temperature 1, at most 64). Whisper hears the sounds of ``--text FILE.wav ..`` (16
bits, mono, 16,000 samples a second): the tokens that it would say in full precision are scored, and ``--kv``
is the scheme of the 1,500 frames of its cross-attention, all there before the first token (plain formats and
VidKV); its own tokens stay as they are.

With ``--attention A`` caches are read with the attention engine's exact numerics, bit for bit those of
``golden.attention``; without it in float32. On a busy machine OPENBLAS_NUM_THREADS=1 makes that faster.

With ``--numerics core`` norms, rotary embedding, SiLU and sums are those of the decode core, bit for bit
``golden.vector``; ``--activations``, ``--attention`` and ``--head`` choose those of matrices and caches.

Recipes that are calibrated run the model over 1,024 tokens first: of the files of ``--calibration``, else the
manual's end or other samples. Whisper has no such text and needs the files.

``--needles N`` puts a fact early into each of N windows of ``--context`` tokens, asks for it at the end, and
scores the answer's tokens only (``golden.model.needles``).

``--table`` measures every recipe of weights with the full cache, every KV scheme with the weights as stored,
and a few pairs of the two; or all pairs of the names given. It writes Markdown, JSON and pictures. Every
result is a file in DIR/cells, so that an interrupted table goes on where it was. A single setting with
``--out`` reads and adds to the same files. A file counts only for the same bytes of the model, tokens of the
text and of the calibration, definitions of recipe and scheme, and versions; one that is damaged is named on
standard error and measured again. Differences are taken from the model as stored, or with ``--against NAME``
from that recipe or scheme, window by window.

``--scheduler ADDRESS`` measures on the workers of a Dask scheduler, which must have the same files at the
same paths; a model or text that differs there is an error.

In the table of everything ``--group``, ``--scale`` and ``--search`` replace only what a recipe does not fix
itself, and what does not fit the model is left out with a line on standard error.
"""

import argparse
import importlib
import sys
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from golden import optional
from golden.checkpoint import Checkpoint, ctranslate2, locate, open_checkpoint
from golden.command_line import Parser, positive, program, show
from golden.model import configuration, mel, tables, tokenizer
from golden.model.capture import manual
from golden.model.evaluation import Result, Setting, Subject, evaluate
from golden.model.llama import Llama
from golden.model.needles import needles
from golden.model.perplexity import windows
from golden.model.recipes import RECIPES, Recipe
from golden.model.results import Damaged, Results
from golden.model.sampling import samples
from golden.model.subjects import Sounds, Text
from golden.numbers import scales
from golden.systems import registry
from golden.weights import search

__all__ = ["ACTIVATIONS", "calibration_windows", "main", "name_of", "scheme_name", "settings"]

ACTIVATIONS = ("fp32", "fp16", *map(str, range(8, 17)))
"""Names of what becomes of activations."""

_CHANGES = ("group", "scale", "search")
_WIDTH = 130
_SAMPLES, _SAMPLE_TOKENS = 64, 255
_MANUAL = 500_000
_CALIBRATION = 1024
_SUBJECTS: dict[str, Subject] = {}
"""What a worker has read, by the options; one at most."""
_PAIRS = [(weights, kv) for weights in ("bitmod4", "bitmod3_calibrated") for kv in ("native4", "native2")]


@dataclass(frozen=True)
class _Reading:
    """A model with what it reads, and a title for people."""

    subject: Subject
    title: str


def _sound(path: Path) -> np.ndarray:
    """Samples within -1..1."""
    try:
        with wave.open(str(path)) as file:
            form = (file.getframerate(), file.getsampwidth(), file.getnchannels())
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not a WAV file ({error})") from None
    if form != (mel.RATE, 2, 1):
        raise ValueError(f"{path}: rate, bytes and channels {form} must be {(mel.RATE, 2, 1)}")
    return np.frombuffer(data, "<i2") / 32768


def _reading(options: argparse.Namespace) -> _Reading:
    """Open the model and what it reads."""
    if options.model.startswith("whisper"):
        checkpoint = ctranslate2.read(ctranslate2.locate(options.model))
        if not options.text:
            raise ValueError("argument --text: Whisper needs at least one FILE.wav")
        signals, others = (
            [_sound(Path(name)) for name in names] for names in (options.text, options.calibration)
        )
        subject = Sounds(checkpoint, signals, calibration=others)
        count = sum(map(len, subject.transcripts))
        name, what = options.model, f"{len(signals)} sounds"
    else:
        checkpoint = open_checkpoint(locate(options.model))
        channels = configuration.read(checkpoint).channels  # a model that does not run is refused at once
        parts, what = _parts(checkpoint, options)
        scored = None
        if options.needles:
            text = np.concatenate(parts).tolist()
            made = needles(tokenizer.of(checkpoint), text, options.needles, options.context)
            parts, scored = map(list, zip(*made, strict=True))
            what = f"{options.needles} needles in {what}"
        calibration = cache(partial(_calibration, checkpoint, options))
        subject = Text(checkpoint, parts, channels, calibration, scored)
        count = sum(map(len, parts))
        name = f"{checkpoint.path.parent.name}/{checkpoint.path.name}"
    return _Reading(subject, f"{name}, {what}, {count} tokens")


def _parts(checkpoint: Checkpoint, options: argparse.Namespace) -> tuple[list[np.ndarray], str]:
    """Windows of ids, and their name."""
    if options.text == ["self"]:
        begin = tokenizer.begin(checkpoint)
        count = min(-(-options.tokens // _SAMPLE_TOKENS), _SAMPLES)
        return samples(Llama(checkpoint), begin, count, _SAMPLE_TOKENS), "its own samples"
    text = "".join(Path(name).read_text(encoding="utf-8") for name in options.text) if options.text else None
    what = ", ".join(Path(name).name for name in options.text or ["Python's manual"])
    known = manual(_MANUAL) if text is None else text
    ids = tokenizer.of(checkpoint).encode(known[: 12 * options.tokens])[: options.tokens]
    return windows(ids, options.context), f"{what}, windows of {options.context}"


def _calibration(checkpoint: Checkpoint, options: argparse.Namespace) -> list[np.ndarray]:
    """Windows to calibrate with: of other text than is measured, unless the whole manual is."""
    if options.text == ["self"] and not options.calibration:
        begin = tokenizer.begin(checkpoint)
        return samples(Llama(checkpoint), begin, _CALIBRATION // _SAMPLE_TOKENS, _SAMPLE_TOKENS, seed=1)
    return calibration_windows(checkpoint, options.calibration, options.context)


def calibration_windows(
    checkpoint: Checkpoint, files: Sequence[str], context: int = _CALIBRATION
) -> list[np.ndarray]:
    """Windows of at most ``context`` ids of a text to calibrate with: of files, or of the manual's end."""
    known = "".join(Path(name).read_text(encoding="utf-8") for name in files)
    ids = tokenizer.of(checkpoint).encode(known[: 12 * _CALIBRATION] or manual(_MANUAL)[-12 * _CALIBRATION :])
    return windows(ids[:_CALIBRATION], context)


def settings(options: argparse.Namespace, channels: int) -> list[Setting]:
    """What to measure, full precision first where there is a folder to keep it in.

    Args:
        options: of the command line.
        channels: elements of a head; a whole table leaves out the schemes that do not fit them, and
            calibrated recipes where there is nothing to calibrate with.
    """
    changes = {name: getattr(options, name) for name in _CHANGES}
    if not _whole(options):
        pairs = product(options.weights or ["none"], options.kv or ["none"])
        if any(changes.values()) and "stored" in (options.weights or ()):
            raise ValueError("argument --weights: 'stored' must be without --group, --scale and --search")
        own = dict.fromkeys(RECIPES, changes)
    else:
        able = options.calibration or not options.model.startswith("whisper")
        names = [name for name, recipe in RECIPES.items() if able or not recipe.calibrated]
        schemes = [name for name, scheme in registry.names().items() if scheme.fits(channels)]
        pairs = [(name, "none") for name in names] + [("none", name) for name in schemes]
        pairs += [pair for pair in _PAIRS if pair[0] in names and pair[1] in schemes]
        own = {name: _free(RECIPES[name], changes) for name in names}
    found = [
        Setting(
            weights,
            options.activations,
            kv,
            attention=None if kv == "none" else options.attention,
            head=None if options.head == "none" else options.head,
            numerics=None if options.numerics == "float" else options.numerics,
            **own.get(weights, {}),
        )
        for weights, kv in pairs
    ]
    return list(dict.fromkeys([Setting(), *found] if options.out else found))


def _whole(options: argparse.Namespace) -> bool:
    """Whether everything is asked for."""
    return options.table and not (options.weights or options.kv)


def _free(recipe: Recipe, changes: dict[str, Any]) -> dict[str, Any]:
    """Those changes that replace a default, not what the recipe is about."""
    if recipe.stored:
        return {}
    plain = {field.name: field.default for field in fields(Recipe)}
    return {name: value for name, value in changes.items() if getattr(recipe, name) == plain[name]}


def _measured(
    subject: Subject, asked: list[Setting], options: argparse.Namespace, progress: Progress
) -> Iterator[Result]:
    """Results in the order asked for, from their files where these exist."""
    kept = Results(options.out / "cells", subject) if options.out else None
    found = {setting: _found(kept, setting) if kept else None for setting in asked}
    read: Callable[[Setting], Result] = partial(_read, subject, progress=progress)
    if options.scheduler:
        missing = [setting for setting, result in found.items() if result is None]
        read = _on_cluster(subject, missing, options, kept, progress)
    for setting in progress.track(asked, description="settings"):
        try:
            result = found[setting]
            if result is None:
                result = read(setting)
                if kept:
                    kept.write(result)
        except ValueError as error:
            if not _whole(options):
                raise
            print(f"left out {setting.name}: {error}", file=sys.stderr)
            continue
        yield result


def measured(options: argparse.Namespace, setting: Setting) -> tuple[dict[str, Any], Result]:
    """Measure one setting on a worker; returns also what it was measured on."""
    key = repr(options)
    if key not in _SUBJECTS:
        _SUBJECTS.clear()
        _SUBJECTS[key] = _reading(options).subject
    return _SUBJECTS[key].identity(setting), evaluate(_SUBJECTS[key], setting)


def _on_cluster(
    subject: Subject,
    missing: list[Setting],
    options: argparse.Namespace,
    kept: Results | None,
    progress: Progress,
) -> Callable[[Setting], Result]:
    """Measure settings on a Dask scheduler's workers; each result is kept as soon as it is there."""
    distributed = importlib.import_module(optional.DASK.need("--scheduler"))
    task = importlib.import_module("golden.evaluate").measured  # by its name, also where this is __main__
    results: dict[Setting, Result | BaseException] = {}
    with distributed.Client(options.scheduler, timeout="10s") as client:
        futures = {client.submit(task, options, setting, pure=False): setting for setting in missing}
        ended = distributed.as_completed(futures)
        for future in progress.track(ended, total=len(futures), description="workers"):
            setting, error = futures[future], future.exception()
            if error is None:
                identity, result = future.result()
                if identity != subject.identity(setting):
                    raise ValueError(
                        f"argument --scheduler: {options.scheduler!r} must have the same model and text"
                    )
                if kept:
                    kept.write(result)
                results[setting] = result
            else:
                results[setting] = error

    def read(setting: Setting) -> Result:
        result = results[setting]
        if isinstance(result, BaseException):
            raise result
        return result

    return read


def _found(kept: Results, setting: Setting) -> Result | None:
    """The result of an earlier run; a damaged one is announced and counts as none."""
    try:
        return kept.read(setting)
    except Damaged as error:
        print(f"measured again, as its file is damaged: {error}", file=sys.stderr)
        return None


def _read(subject: Subject, setting: Setting, progress: Progress) -> Result:
    """Measure one setting."""
    task = progress.add_task(setting.name, total=len(subject))

    def step(found: list) -> None:
        counts, means = np.array([one[:2] for one in found]).T
        now = float(np.exp(counts @ means / counts.sum()))
        progress.update(task, completed=len(found), description=f"{setting.name}: {now:.3f}")

    try:
        return evaluate(subject, setting, step)
    finally:
        progress.remove_task(task)


def name_of(table: Mapping[str, object]) -> Callable[[str], str]:
    """An argument that is "none" or a name in a table."""

    def checked(text: str) -> str:
        if text != "none" and text not in table:
            raise argparse.ArgumentTypeError(f"{text!r} must be none or one of {', '.join(table)}")
        return text

    return checked


def scheme_name(text: str) -> str:
    """An argument that is "none", a scheme's name or a file with a table."""
    if not registry.is_table(text):
        return name_of(registry.names())(text)
    try:
        registry.get(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.evaluate",
        description="Measure how well a model predicts a text when it is quantised.",
    )
    parser.add_argument(
        "--model",
        default="smollm2",
        help="smollm2, whisper-tiny.en, a .gguf, a folder of Hugging Face or a llama2.c .bin",
    )
    parser.add_argument("--weights", type=name_of(RECIPES), nargs="+", metavar="NAME", help="recipes")
    parser.add_argument(
        "--head", type=name_of(RECIPES), metavar="NAME", help="recipe of the output layer, as stored without"
    )
    parser.add_argument(
        "--activations", choices=ACTIVATIONS, default="fp32", metavar="A", help="fp32, fp16, 8..16"
    )
    parser.add_argument(
        "--kv",
        type=scheme_name,
        nargs="+",
        metavar="NAME",
        help="schemes, or tables of golden.tune: [BASE:]FILE",
    )
    parser.add_argument(
        "--attention",
        choices=ACTIVATIONS[2:],
        metavar="A",
        help="the attention engine's numerics, activations of 8..16 bits; needs paged schemes",
    )
    parser.add_argument(
        "--numerics", choices=("float", "core"), default="float", help="of operations between the layers"
    )
    parser.add_argument("--text", nargs="+", metavar="FILE", help="text files, or `self`, or sounds")
    parser.add_argument("--calibration", nargs="+", default=[], metavar="FILE", help="for calibrated recipes")
    parser.add_argument("--tokens", type=positive, default=2048, metavar="N", help="first tokens of the text")
    parser.add_argument("--context", type=positive, default=1024, metavar="N", help="tokens of a window")
    parser.add_argument(
        "--needles", type=positive, metavar="N", help="score N facts asked for at the end of a window, only"
    )
    parser.add_argument("--group", type=positive, metavar="N", help="instead of the recipe's group")
    parser.add_argument("--scale", choices=[form.name for form in scales.FORMATS], help="likewise")
    parser.add_argument("--search", choices=search.SEARCHES, help="likewise")
    parser.add_argument("--table", action="store_true", help="every recipe and scheme, or those given")
    parser.add_argument("--against", metavar="NAME", help="recipe or scheme that dNLL is taken from")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of results; needed by --table")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers measure")
    return parser


def _base(asked: list[Setting], name: str | None) -> Setting:
    """What differences are taken from: a recipe or scheme by itself, else the first setting."""
    own = [one for one in asked if {one.weights, one.kv} == {name, "none"}] if name else asked
    if not own:
        raise ValueError(
            f"argument --against: {name!r} must be a recipe or scheme that is measured by itself"
        )
    return own[0]


def _shown(results: list[Result], base: Result, title: str) -> Table:
    table = Table(title=title)
    for name in tables.COLUMNS:
        table.add_column(name, justify="left" if name in ("weights", "KV cache") else "right")
    for result in results:
        table.add_row(*tables.cells(result, base))
    return table


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.table and options.out is None:
        parser.error("argument --table: needs --out DIR")
    console = Console(stderr=True)
    results: list[Result] = []
    optional.say_lacking(("a picture", optional.MATPLOTLIB, options.table))
    try:
        optional.require(("--scheduler", optional.DASK, options.scheduler))
        reading = _reading(options)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            asked = settings(options, reading.subject.channels)
            wanted = _base(asked, options.against)
            results += _measured(reading.subject, asked, options, progress)
        base = next((result for result in results if result.setting == wanted), results[0])
        if options.table:
            tables.write(options.out, results, base, reading.title)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    show(_shown(results, base, reading.title), _WIDTH)
    print(f"peak memory {max(result.memory for result in results) / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
