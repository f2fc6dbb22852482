"""Needles: a fact early in a long text that is asked for at its end, to see what an evicting cache forgets.

    .. text .. The secret number of Oslo is 48305. .. text .. The secret number of Oslo is 48305
                                                                                           ^^^^^ scored

Every window has a city and a number of its own. Only the tokens of the answer are scored; without the fact
they are worth ln 10 nats a digit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden.model.tokenizer import Tokenizer

__all__ = ["needles"]

_CITIES = ("Oslo", "Lima", "Rome", "Cairo", "Delhi", "Paris", "Tokyo", "Madrid", "Boston", "Vienna")
_DIGITS = 5


def needles(
    words: Tokenizer, text: Sequence[int], count: int, context: int, depth: float = 0.15, seed: int = 0
) -> list[tuple[NDArray[np.int64], int]]:
    """Windows with a fact and a question.

    Args:
        words: makes ids of the facts.
        text: ids, of which each window takes the next so many.
        count: windows, at least 1.
        context: tokens of a window.
        depth: where the fact is, as a share of the text before the question.
        seed: of the numbers.

    Returns:
        Ids of every window, and how many of its last ones are the answer.

    Raises:
        ValueError: too little text, or a context that does not hold fact and question.
    """
    random, result, first = np.random.default_rng(seed), [], 0
    for number in range(count):
        city = _CITIES[number % len(_CITIES)]
        digits = "".join(map(str, random.integers(0, 10, _DIGITS)))
        question = words.encode(f" The secret number of {city} is")
        whole = words.encode(f" The secret number of {city} is {digits}")
        fact = words.encode(f" The secret number of {city} is {digits}.")
        filling = context - len(fact) - len(whole)
        own = list(text[first : first + filling])
        if filling < 1 or len(own) < filling:
            raise ValueError(
                f"context {context} must hold a fact and its question, and the text {count} such windows"
            )
        place = int(filling * depth)
        ids = [*own[:place], *fact, *own[place:], *whole]
        same = next(
            i for i, pair in enumerate(zip([*question, -1], whole, strict=False)) if len(set(pair)) > 1
        )
        result.append((np.array(ids, np.int64), len(whole) - same))
        first += filling
    return result
