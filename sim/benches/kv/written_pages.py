"""Pages as a quantiser is sent them, intact ones and ones with every fault, and what it is to quantise."""

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv.pages import PageLayout
from hw.config import Config
from sim.benches.kv.bad_pages import impossible_forms
from sim.benches.kv.pages import elements_of, form_fields, random_elements, random_layout
from sim.spacing import every_pair

__all__ = ["WrittenPage", "sent_elements", "written_pages_of_every_fault"]

_FAULTS = ("clamped", "error_format", "error_short", "error_long")
_SPECIAL = (np.inf, -np.inf, np.nan)
_EXPONENT = 0x7C00


class WrittenPage(NamedTuple):
    """A page on its way to a quantiser.

    Attributes:
        layout: what it is.
        form: payload ``page_format`` that comes with it.
        beats: payloads ``element_beat``.
        kept: finite elements [P, D] that are quantised, None of a page that is left out.
        counts: errors by name that it raises.
        before: ``top`` that comes with it.
    """

    layout: PageLayout
    form: dict[str, Any]
    beats: list[dict[str, Any]]
    kept: NDArray[np.float16] | None
    counts: dict[str, int]
    before: int

    @property
    def record(self) -> dict[str, Any]:
        """Payload ``page_record`` ahead of it."""
        return {"form": self.form, "top": self.before}

    @property
    def top(self) -> int:
        """``top`` that leaves with it, if it is kept."""
        quantized = self.layout.format.quantize(self.kept)
        return max(self.before, int(self.layout.format.largest_field(quantized.scale, quantized.zero)))


def sent_elements(layout: PageLayout, x: NDArray[np.float16], lanes: int) -> WrittenPage:
    """An intact page; numbers that are not finite are clamped to the largest ones."""
    special = x.view(np.uint16) & _EXPONENT == _EXPONENT
    kept = np.where(special, np.copysign(np.float16(65504), x), x)
    clamped = special.reshape(-1, lanes).any(axis=1).sum()
    counts = {"clamped": int(clamped)}
    before = random.choice((1, random.randint(1, 31)))
    return WrittenPage(layout, form_fields(layout), elements_of(x, lanes), kept, counts, before)


def _bad_page(config: Config, fault: str, variant: int) -> WrittenPage:
    """A page with a fault; ``variant`` numbers the ways in which it can be wrong."""
    layout = random_layout(config, short=True)
    x = random_elements(layout, "normal")
    if fault == "clamped":
        for value in _SPECIAL:
            x[random.randrange(layout.tokens), random.randrange(layout.channels)] = value
        return sent_elements(layout, x, config.kv.lanes)
    page = sent_elements(layout, x, config.kv.lanes)
    count, form = len(page.beats), page.form
    if fault == "error_format":
        forms = list(impossible_forms(config, form))
        form, count = forms[variant % len(forms)], (1, count)[variant // len(forms) % 2]
    elif fault == "error_short":
        count = (1, count - 1, 7)[variant % 3]
    else:
        count += (1, 5, count)[variant % 3]
    beats = [beat | {"last": False} for beat in (page.beats * 2)[:count]]
    beats[-1]["last"] = True
    return page._replace(form=form, beats=beats, kept=None, counts={fault: 1})


def written_pages_of_every_fault(config: Config, variant: int = 0) -> Iterator[WrittenPage]:
    """Pages in which every fault and an intact page follow each other in every order; the last one is intact.

    Args:
        config: the quantiser's.
        variant: where to begin with the ways in which a page can be wrong.
    """
    variants = {fault: itertools.count(variant) for fault in _FAULTS}
    for fault in every_pair((None, *_FAULTS)):
        layout = random_layout(config, short=True)
        if fault is None:
            yield sent_elements(layout, random_elements(layout, "normal"), config.kv.lanes)
        else:
            yield _bad_page(config, fault, next(variants[fault]))
