"""Generate text with a quantised model, and with the same model in full precision before it.

    python -m golden.generate "What is the capital of France?" [--weights NAME] [--activations A] [--kv NAME]

The likeliest token is taken each time. Models that know ChatML's marks (SmolLM2, Qwen) answer the prompt;
other models, and all with ``--plain``, continue it.
"""

import sys
import time
from collections.abc import Iterator

from golden.checkpoint import Checkpoint, locate, open_checkpoint
from golden.command_line import Parser, count, positive, program
from golden.evaluate import ACTIVATIONS, name_of
from golden.model import configuration, tokenizer
from golden.model.evaluation import Setting
from golden.model.llama import Llama
from golden.model.recipes import RECIPES
from golden.model.sampling import continuation
from golden.model.tokenizer import Tokenizer
from golden.systems import registry

__all__ = ["main", "prompt_ids", "spoken"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


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


def _answer(
    checkpoint: Checkpoint, setting: Setting, ids: list[int], ends: set[int], most: int
) -> Iterator[int]:
    """Ids of the answer."""
    model = Llama(checkpoint, setting.linear(tensors=checkpoint.__getitem__))
    for place, token in enumerate(continuation(model, ids, model.memories(setting.memory))):
        if place == most or token in ends:
            return
        yield token


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
    parser.add_argument("--weights", type=name_of(RECIPES), default="none", metavar="NAME", help="recipe")
    parser.add_argument(
        "--activations", choices=ACTIVATIONS, default="fp32", metavar="A", help="fp32, fp16, 8..16"
    )
    parser.add_argument(
        "--kv", type=name_of(registry.names()), default="none", metavar="NAME", help="KV scheme"
    )
    parser.add_argument("--tokens", type=positive, default=56, metavar="N", help="most tokens of an answer")
    parser.add_argument("--plain", action="store_true", help="continue the prompt instead of answering it")
    return parser


@program
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    asked = Setting(options.weights, options.activations, options.kv)
    answers: list[list[int]] = []
    try:
        checkpoint = open_checkpoint(locate(options.model))
        configuration.read(checkpoint)  # a model that does not run is refused at once
        words = tokenizer.of(checkpoint)
        ids, ends = prompt_ids(words, options.prompt, options.plain)
        ends |= tokenizer.ends(checkpoint)
        for setting in dict.fromkeys([Setting(), asked]):
            print(f"[{setting.weights} weights, {setting.activations} activations, KV {setting.kv}]")
            begin = time.monotonic()
            answers.append(spoken(words, _answer(checkpoint, setting, ids, ends, options.tokens)))
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
