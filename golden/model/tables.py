"""Reports of evaluations: Markdown, JSON and pictures of many results."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from golden import optional
from golden.model.evaluation import Result
from golden.model.perplexity import Difference

__all__ = ["COLUMNS", "cells", "markdown", "write"]

COLUMNS = (
    "weights",
    "bits/weight",
    "activations",
    "KV cache",
    "bits/element",
    "perplexity",
    "dNLL",
    "+-",
    "KL",
    "seconds",
)

_NOTES = """\
Perplexity over all windows, first tokens of windows not counted. dNLL: paired difference of the loss from
that of the row where it is 0, nats a token; +-: its standard error over windows, which covers the choice of
text and nothing else. KL: divergence from full precision, nats a token, less that of the same row. Seconds:
to quantise and to read. Bits include scales, zeros and selectors; those of a cache do not include its window.
Those of a cache system count maps, page tables, scores and factors too, at the end of the windows, for each
element of a cache of all tokens.
"engine A": read with the attention engine's numerics, activations of A bits.
"""


def _error(difference: Difference) -> str:
    """The standard error; nothing where one window has none."""
    return "" if math.isnan(difference.error) else f"{difference.error:.4f}"


def cells(result: Result, base: Result) -> tuple[str, ...]:
    """One row, compared with ``base``."""
    setting, difference, diverging = result.setting, result.against(base), result.diverging(base)
    divergence = f"{diverging.mean:.4f} +- {_error(diverging)}".removesuffix(" +- ") if diverging else ""
    extra = [f"{name} {value}" for name, value in setting.changes.items()]
    extra += [f"{name} {getattr(setting, name)}" for name in ("head", "numerics") if getattr(setting, name)]
    return (
        " ".join([setting.weights, *extra]),
        "" if result.bits_per_weight is None else f"{result.bits_per_weight:.3f}",
        setting.activations,
        setting.kv if setting.attention is None else f"{setting.kv}, engine {setting.attention}",
        "" if result.kv_bits is None else f"{result.kv_bits:.2f}",
        f"{result.perplexity:.4g}" if result.perplexity >= 1000 else f"{result.perplexity:.3f}",
        f"{difference.mean:+.4f}",
        _error(difference),
        divergence,
        f"{result.prepared:.0f} + {result.seconds:.0f}",
    )


def _difference(found: Difference) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {"difference": found.mean, "error": None if math.isnan(found.error) else found.error}


def markdown(results: Sequence[Result], base: Result, title: str) -> str:
    """A table of all results, and what must be known to read it."""
    lines = [f"# {title}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(cells(result, base))} |" for result in results]
    return "\n".join([*lines, "", _NOTES])


def write(folder: Path, results: Sequence[Result], base: Result, title: str) -> None:
    """Write evaluation.md, evaluation.json and, where Matplotlib is installed, weights.svg and kv.svg.

    Args:
        folder: is made where it does not exist.
        results: of one model and text, the first with everything as stored.
        base: what differences are taken from.
        title: of the model and text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.md").write_text(markdown(results, base, title))
    rows = [
        result.as_json()
        | {
            "tokens": result.tokens,
            "perplexity": result.perplexity,
            "divergence": result.divergence,
            **_difference(result.against(base)),
            "against": base.setting.name,
        }
        for result in results
    ]
    (folder / "evaluation.json").write_text(json.dumps({"title": title, "results": rows}, indent=1) + "\n")
    if not optional.MATPLOTLIB.found():
        return
    from golden.model import pictures

    for name, other in ("weights", "kv"), ("kv", "weights"):
        own = [result for result in results if getattr(result.setting, other) == "none"]
        pictures.draw(own, results[0], name, title, folder / f"{name}.svg")
