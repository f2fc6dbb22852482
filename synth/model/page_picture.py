"""Attention on a list of pages, unit by unit, as ``synth.model.attention_timeline`` plays it, and a picture.

``python docs/images/draw_page.py`` draws it: pages of 4 bits, four queries of 128 channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config
from synth.model.attention_timeline import OVERHEADS, Timeline
from synth.model.page_work import PageWork

__all__ = ["UNITS", "Recorder", "Span", "draw", "played"]

UNITS = ("memory", "folding", "array", "softmax")
_COLOURS = ("#2171b5", "#c0504d")
_OTHERS = 0.3
"""Opacity of the pages beside the one that is shown."""
_QUERIES, _CHANNELS, _PAGES, _SHOWN = 4, 128, 12, 7


class Span(NamedTuple):
    """From when to when a unit works on the keys (side 0) or values (1) of a page, in cycles."""

    unit: str
    page: int
    side: int
    begins: int
    ends: int


class Recorder(Timeline):
    """A timeline that remembers what it plays, in ``spans``."""

    def __init__(self, config: Config, queries: int) -> None:
        super().__init__(config, queries, OVERHEADS)
        self.spans: list[Span] = []
        self.counts, self.side = [0, 0], 0

    def _note(self, unit: str, begins: int, ends: int) -> None:
        self.spans.append(Span(unit, self.counts[self.side], self.side, begins, ends))

    def _keys(self, page: PageWork) -> None:
        self.side = 0
        super()._keys(page)
        self.counts[0] += 1

    def _values(self, page: PageWork, opens: bool, moves: bool) -> None:
        self.side = 1
        super()._values(page, opens, moves)
        self.counts[1] += 1

    def _load(self, page: PageWork) -> tuple[int, list[int]]:
        begins = max(self.word + self.times.page, self.ends[0])
        found = super()._load(page)
        self._note("memory", begins, self.word)
        return found

    def _weigh(self, scores: list[int], moves: bool) -> int:
        begins = max(self.softmax, self.weights[0], scores[0])
        ready = super()._weigh(scores, moves)
        self._note("softmax", begins, self.softmax)
        return ready

    def _products(self, page: PageWork, turn: int, ready: int, there: list[int], moves: bool = False) -> None:
        begins = max(self.folding, ready, self.places[0] + self.times.place)
        busy = max(self.array, begins + page.beats[0] + self.times.fold)
        super()._products(page, turn, ready, there, moves)
        self._note("folding", begins, self.folding)
        self._note("array", busy, self.array)


def played(config: Config) -> list[Span]:
    """The spans of a list on the tile of ``config``, which has ``attention``."""
    forms = Format("native", 4, "channel", 32), Format("native", 4, "token", 32)
    key, value = (
        PageLayout(form, side, config.kv.page_tokens, _CHANNELS, config.rows, config.lanes)
        for form, side in zip(forms, SIDES, strict=True)
    )
    recorder = Recorder(config, _QUERIES)
    recorder.play([(key, value)] * _PAGES, 1)
    return recorder.spans


def draw(spans: Sequence[Span], path: Path) -> None:
    """One page from its first word to the end of its values, the others pale beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own = [span for span in spans if span.page == _SHOWN]
    left, right = min(span.begins for span in own), max(span.ends for span in own)
    figure = Figure(figsize=(11, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for span in spans:
        axes.barh(
            UNITS.index(span.unit), span.ends - span.begins, left=span.begins - left, height=0.6,
            color=_COLOURS[span.side], alpha=1 if span.page == _SHOWN else _OTHERS,
            edgecolor="white", linewidth=0.6,
        )  # fmt: skip
    for side, name in enumerate(("keys", "values")):
        axes.barh(0, 0, color=_COLOURS[side], label=f"{name} of one page")
        axes.barh(0, 0, color=_COLOURS[side], alpha=_OTHERS, label=f"{name} of other pages")
    axes.set_yticks(range(len(UNITS)), UNITS)
    axes.invert_yaxis()
    axes.set_xlim(-20, right - left + 20)
    axes.set_xlabel("cycles from the page's first word")
    axes.set_title(f"A page of 4 bits, {_QUERIES} queries of {_CHANNELS} channels", loc="left")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    figure.savefig(path, metadata={"Software": None})
