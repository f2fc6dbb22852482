"""A front of measured tables: KVTuner's last stage, with Optuna's genetic search over groups of layers.

A trial is one pair of widths for each group of layers; its objectives are the mean width and the mean loss
of a text read with all caches quantised, so that errors meet each other as they do in use. The tables of the
exact front, where they give all layers of a group the same pair, are the first trials.
"""

import importlib
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import optional
from golden.kv.schemes import Scheme
from golden.model.attention import Memory
from golden.model.kv_schemes import QuantizedMemory
from golden.model.llama import Llama
from golden.model.perplexity import losses

__all__ = ["loss", "measured"]


def loss(model: Llama, parts: Sequence[NDArray[np.int64]], schemes: Sequence[Scheme]) -> float:
    """Mean loss in nats a token of a text, every layer's cache quantised by its own scheme."""
    layers = cycle(schemes)  # memories are made layer by layer, once for each part

    def memory(heads: int, channels: int) -> Memory:
        return QuantizedMemory(heads, channels, next(layers))

    return float(np.concatenate(list(losses(model, parts, memory))).mean())


def measured(
    groups: NDArray[np.intp],
    choices: Sequence[NDArray[np.int64]],
    measure: Callable[[NDArray[np.int64]], float],
    count: int,
    first: Sequence[NDArray[np.int64]] = (),
    seed: int = 0,
    step: Callable[[], object] | None = None,
) -> list[tuple[float, float, NDArray[np.int64]]]:
    """Tables that no other trial beats in mean width and loss.

    Args:
        groups: [L], the group of each layer.
        choices: for each group its pairs, int [n, 2].
        measure: the loss of a table int64 [L, 2].
        count: number of trials.
        first: tables to begin with; those that the groups cannot express are left out.
        seed: of the search.
        step: is called after each trial.

    Returns:
        Mean width, loss and table of each, ascending in width.

    Raises:
        ValueError: Optuna is not installed.
    """
    optuna: Any = importlib.import_module(optional.OPTUNA.need("a front of trials"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize"] * 2, sampler=optuna.samplers.NSGAIISampler(population_size=20, seed=seed)
    )
    known = [{place.tobytes(): number for number, place in enumerate(own)} for own in choices]
    for table in first:
        places = [
            [own.get(row.tobytes()) for row in np.unique(table[groups == group], axis=0)]
            for group, own in enumerate(known)
        ]
        if all(len(own) == 1 and own[0] is not None for own in places):
            study.enqueue_trial({str(group): own[0] for group, own in enumerate(places)})

    def table_of(numbers: dict[str, int]) -> NDArray[np.int64]:
        return np.array([choices[group][numbers[str(group)]] for group in groups.tolist()])

    def objective(trial: Any) -> tuple[float, float]:
        numbers = {
            str(group): trial.suggest_int(str(group), 0, len(own) - 1) for group, own in enumerate(choices)
        }
        table = table_of(numbers)
        return float(table.mean()), measure(table)

    study.optimize(objective, n_trials=count, callbacks=[lambda *_: step and step()])
    best = {tuple(trial.values): table_of(trial.params) for trial in study.best_trials}
    return [(*values, table) for values, table in sorted(best.items())]
