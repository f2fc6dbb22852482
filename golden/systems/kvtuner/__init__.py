"""KVTuner (arXiv 2502.04420, ICML 2025): how many bits the keys and the values of every layer get.

A *table* is int64 [L, 2], the bits of a layer's keys and values, found offline in three stages:

* within a layer, pairs of widths that are worse and not smaller than another are dropped (``pareto``);
* layers whose errors are alike may share their choice (``cluster``);
* the table of least error under a cap on the mean width (``search``), or of every cap (``front``).

The paper has a genetic search of 100 to 200 trials in the third stage, because it measures the accuracy of
whole tables (``golden.model.trials``). Errors that add up over layers have an exact optimum instead: a
dynamic program over the widths spent so far, which needs no clustering either.
"""

from golden.systems.kvtuner.clusters import cluster
from golden.systems.kvtuner.search import PAIRS, front, pareto, search
from golden.systems.kvtuner.tables import BASES, WIDTHS, load, save, schemes

__all__ = ["BASES", "PAIRS", "WIDTHS", "cluster", "front", "load", "pareto", "save", "schemes", "search"]
