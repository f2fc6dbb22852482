"""Generate text with a quantised model, and with the same model in full precision before it.

    python -m golden.generate "What is the capital of France?" [--weights NAME] [--activations A] [--kv NAME]
    python -m golden.generate PROMPT --numerics core [--weights NAME] [--head NAME] [--kv NAME] [--preset P]

The likeliest token is taken each time. With ``--numerics core`` it is the one that the decode core finds
(``golden.core``), from the image that ``golden.compile`` makes of the same names: the text of ``sim.decode``.

Models that know ChatML's marks (SmolLM2, Qwen) answer the prompt; other models, and all with ``--plain``,
continue it.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import islice, takewhile

from golden.checkpoint import Checkpoint, locate, open_checkpoint
from golden.command_line import Parser, count, positive, program
from golden.compile import compiled
from golden.core import geometry, machine
from golden.evaluate import ACTIVATIONS, name_of, scheme_name
from golden.model import configuration, tokenizer
from golden.model.attention import Memory
from golden.model.evaluation import Setting
from golden.model.llama import Llama
from golden.model.recipes import RECIPES
from golden.model.sampling import continuation
from golden.model.tokenizer import Tokenizer

__all__ = ["main", "prompt_ids", "spoken"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_DEFAULTS = {"float": ("none", "none"), "core": ("bitmod4", "native4_paged")}
"""Of each numerics the recipe of the weights and the KV scheme."""


def prompt_ids(words: Tokenizer, prompt: str, plain: bool = False) -> tuple[list[int], set[int]]:
    """Ids of a prompt, and control tokens that end the answer."""
    try:
        begin, end, stop = (words.control(name) for name in ("im_start", "im_end", "endoftext"))
    except ValueError:
        return words.encode(prompt), set()
    if plain:
        return words.encode(prompt), {begin, end, stop}
    asked = [begin, *words.encode(f"user\n{prompt}"), end, *words.encode("\n")]
    return [*asked, begin, *words.encode("assistant\n")], {begin, end, stop}


def _of_model(checkpoint: Checkpoint, setting: Setting, ids: list[int]) -> Iterator[int]:
    """What a model in some setting says."""
    model = Llama(checkpoint, setting.linear(tensors=checkpoint.__getitem__))
    count = model.architecture.layers
    places = iter(range(count))  # memories are made layer by layer

    def memory(heads: int, channels: int) -> Memory:
        return setting.memory(heads, channels, place=(next(places), count))

    yield from continuation(model, ids, model.memories(memory))


def _of_core(options: argparse.Namespace, weights: str, kv: str, ids: list[int]) -> Iterator[int]:
    """What the decode core says."""
    room = len(ids) + options.tokens + 1
    image = compiled(options.model, weights, options.head, kv, options.preset, room)
    yield from machine.continuation(image, ids, geometry.get(options.preset))


def _answers(options: argparse.Namespace, checkpoint: Checkpoint, ids: list[int]) -> dict[str, Iterator[int]]:
    """Ids of each answer by a title, full precision first."""
    own = zip((options.weights, options.kv), _DEFAULTS[options.numerics], strict=True)
    weights, kv = (given or default for given, default in own)
    settings = [Setting()]
    if options.numerics == "float":
        settings.append(Setting(weights, options.activations, kv))
    answers = {
        f"[{one.weights} weights, {one.activations} activations, KV {one.kv}]": _of_model(
            checkpoint, one, ids
        )
        for one in settings
    }
    if options.numerics == "core":
        title = f"[{weights} weights, {options.head} output layer, KV {kv}, core {options.preset}]"
        answers[title] = _of_core(options, weights, kv, ids)
    return answers


def _until(answer: Iterator[int], ends: set[int], most: int) -> Iterator[int]:
    """Ids of an answer, at most so many, up to one that ends it."""
    return takewhile(lambda token: token not in ends, islice(answer, most))


def spoken(words: Tokenizer, answer: Iterator[int]) -> list[int]:
    """Print ids as they come, whole characters only."""
    said, shown = [], ""
    for token in answer:
        said.append(token)
        text = words.decode(said)
        if not text.endswith(_UNFINISHED):
            print(text[len(shown) :], end="", flush=True)
            shown = text
    print()
    return said


def _parser() -> Parser:
    parser = Parser(
        prog="python -m golden.generate",
        description="Generate text with a quantised model, after the same model in full precision.",
    )
    parser.add_argument("prompt", help="what to answer or to continue")
    parser.add_argument(
        "--model", default="smollm2", help="smollm2, a .gguf, a folder of Hugging Face or a llama2.c .bin"
    )
    parser.add_argument("--weights", type=name_of(RECIPES), metavar="NAME", help="recipe")
    parser.add_argument(
        "--activations", choices=ACTIVATIONS, default="fp32", metavar="A", help="fp32, fp16, 8..16"
    )
    parser.add_argument("--kv", type=scheme_name, metavar="NAME", help="KV scheme")
    parser.add_argument("--numerics", choices=_DEFAULTS, default="float", help="whose numbers")
    parser.add_argument(
        "--head", type=name_of(RECIPES), default="int8", metavar="NAME", help="of a core: its output layer"
    )
    parser.add_argument("--preset", choices=geometry.PRESETS, default="edge", help="of a core: which one")
    parser.add_argument("--tokens", type=positive, default=56, metavar="N", help="most tokens of an answer")
    parser.add_argument("--plain", action="store_true", help="continue the prompt instead of answering it")
    return parser


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.numerics == "core" and options.activations != "fp32":
        parser.error("argument --activations: must not be given with --numerics core")
    answers: list[list[int]] = []
    try:
        checkpoint = open_checkpoint(locate(options.model))
        configuration.read(checkpoint)  # a model that does not run is refused at once
        words = tokenizer.of(checkpoint)
        ids, ends = prompt_ids(words, options.prompt, options.plain)
        ends |= tokenizer.ends(checkpoint)
        for title, answer in _answers(options, checkpoint, ids).items():
            print(title)
            begin = time.monotonic()
            answers.append(spoken(words, _until(answer, ends, options.tokens)))
            print(f"[{count(len(answers[-1]), 'token')}, {time.monotonic() - begin:.1f} s with loading]")
    except BrokenPipeError:  # the reader has gone, which is no error
        raise
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if len(answers) == 2:
        pairs = zip(*answers, strict=False)
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), min(map(len, answers)))
        print(f"[the first {same} tokens are the same]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
