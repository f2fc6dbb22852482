"""Attention tile: lists with every fault at every place between intact ones, which they never harm.

Parameters: as of ``attention_tile``; ``lists`` is how often every fault follows every other, 0 for each
fault once.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cocotb

from golden.kv.pages import SIDES, PageLayout
from golden.kv.table import IQ4_NL, NF4
from hw.attention.payloads import SCORE_BITS, TOTAL_BITS
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Axis, Coding, Side
from sim.benches.attention.attention_tile import (
    CONFIG,
    LISTS,
    Attention,
    Bench,
    array_order,
    random_attention,
)
from sim.benches.attention.query_lists import QueryList, random_patterns
from sim.benches.kv import bad_pages
from sim.benches.kv.bad_pages import SentPage, bad_page, impossible_forms, intact_page
from sim.benches.kv.bitmod_pages import are_attended
from sim.benches.kv.pages import form_fields, page_fields, random_layout, words_of
from sim.benches.kv.table_pages import Tables
from sim.coverage import Coverage
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import reset

FAULTS = (*bad_pages.FAULTS, "error_query")
PLACES = {
    f"{name} {side}s": (length, number, place)
    for name, length, number in (("only", 1, 0), ("first", 3, 0), ("middle", 3, 1), ("last", 3, 2))
    for place, side in enumerate(SIDES)
}
"""Pages by length of their list, number and side."""
UNIT = max(SHORTEST_GROUP, CONFIG.rows) // SHORTEST_GROUP
MOST = CONFIG.kv.channels // SHORTEST_GROUP // UNIT * UNIT
OTHERS = range(UNIT, MOST + 1, UNIT)
LIMIT = 100_000 * (1 + LISTS)
LOADED: Tables | None = {"key": IQ4_NL, "value": NF4} if CONFIG.kv.table else None
QUERY_FAULTS = ("channels", "short", "long", "many")

coverage = Coverage(
    "attention_tile_faults",
    {"fault": FAULTS, "place": PLACES, "spacing": SPACINGS},
)
coverage_queries = Coverage("attention_tile_query_faults", {"fault": QUERY_FAULTS})


class Admitted(NamedTuple):
    """Channels of a list.

    Attributes:
        channels: a 16th of those that it has in the end.
        misfits: pages that do not fit them.
        crowded: keys leave no channels to the page behind them.
    """

    channels: int
    misfits: set[tuple[int, int]]
    crowded: bool


@dataclass(frozen=True)
class SentList:
    """A list on its way to the engine, with at most one fault.

    Attributes:
        attention: what it would be without it.
        queries: the queries that are sent.
        pages: the pages that are sent, by number and place in their pair, the order in which they are read.
    """

    attention: Attention
    queries: QueryList
    pages: Mapping[tuple[int, int], SentPage]

    @property
    def length(self) -> int:
        """Pages of keys."""
        return len(self.attention.pairs)

    @property
    def channels(self) -> int:
        """A 16th of the channels that the list has in the end."""
        return self.admitted.channels

    @property
    def admitted(self) -> Admitted:
        """What becomes of the pages' channels."""
        channels, misfits, any_crowded = MOST, set(), False
        for number, pair in enumerate(self.attention.pairs):
            keys, start = len(pair.places(0)), 0
            for place in range(keys + 1):
                coming = self.pages[number, place].form["channels"]
                left = channels - start if place < keys else channels
                possible = coming in OTHERS and coming <= left
                if place < keys - 1:
                    own = coming if possible and coming < left else UNIT
                elif number == 0 and place < keys:
                    own = coming if possible else left
                    channels = start + own
                else:
                    own = left
                crowded = place < keys - 1 and own == left
                if own != coming or crowded:
                    misfits.add((number, place))
                any_crowded |= crowded
                start += own * (not crowded)
        return Admitted(channels, misfits, any_crowded)

    @property
    def errors(self) -> Counter[str]:
        """How often each error output rises."""
        counts: Counter[str] = Counter()
        admitted = self.admitted
        for where, page in self.pages.items():
            if page.kept is None or where in admitted.misfits:
                counts["error_format"] += 1
            elif page.fault:
                counts[page.fault] += 1
        differs = admitted.crowded or self.queries.length != SHORTEST_GROUP * admitted.channels
        counts["error_query"] = self.queries.errors + differs
        return counts

    def expect(self, bench: Bench) -> None:
        """What must come of it: of a damaged list, as much as always."""
        if not self.errors.total():
            bench.expect_list(self.attention)
            return
        count, wanted = len(self.attention.queries), self.attention.scores
        score = {"score": (1 << SCORE_BITS) - 1, "last": 0}
        output = {"half": (1 << HALF_BITS) - 1, "empty": 1, "error": 0, "last": 0}
        state = {"query": 0, "maximum": -1, "total": (1 << TOTAL_BITS) - 1}
        for last in _lasts(self.length * count * wanted, CONFIG.kv.page_tokens):
            bench.expect("scores", {"score": 0, "last": last}, score | {"score": -1})
        for query in range(count * wanted):
            bench.expect("found", {"query": query, "maximum": 0, "total": 0}, state)
        for last in _lasts(count, SHORTEST_GROUP * self.channels):
            bench.expect("outputs", {"half": 0, "empty": 0, "error": 1, "last": last}, output)

    def send(self, bench: Bench, number: int, side: int) -> None:
        """A page, or the keys of some tokens; with the first one the queries."""
        if (number, side) == (0, 0):
            bench.sources["queries"].send_all(self.queries.beats())
            self.expect(bench)
        for place in self.attention.pairs[number].places(side):
            page = self.pages[number, place]
            form = page_fields(CONFIG, page.layout) | page.form
            bench.sources["pages"].send(self.attention.records(number, place) | {"form": form})
            bench.sources["words"].send_all(page.word_beats())


def _lasts(rows: int, length: int) -> Iterator[bool]:
    """Flags of the last elements of so many rows."""
    return (place == length - 1 for _ in range(rows) for place in range(length))


def intact_list(length: int, count: int | None = None) -> SentList:
    """A list of so many pages and queries."""
    attention = random_attention(count or random.randint(1, CONFIG.kv.queries), length, tables=LOADED)
    rows = [row.view("uint16") for row in attention.queries]
    queries = QueryList(CONFIG, rows, attention.queries.shape[1] // SHORTEST_GROUP)
    pages = {}
    for number, pair in enumerate(attention.pairs):
        for place, layout in enumerate(pair.layouts):
            page = layout.pack(pair.quantized[place])
            words = words_of(page, CONFIG.memory_bits)
            pages[number, place] = SentPage(layout, form_fields(layout), words, page)
    return SentList(attention, queries, pages)


def full_list() -> SentList:
    """An intact list of the most queries and channels."""
    while True:
        one = intact_list(1, CONFIG.kv.queries)
        if one.channels == MOST:
            return one


def damaged_list(fault: str, where: str, variant: int) -> SentList:
    """A list with a fault; ``variant`` numbers the ways in which it can be wrong."""
    length, number, side = PLACES[where]
    if fault == "error_query":
        return _with_bad_queries(length, QUERY_FAULTS[variant % len(QUERY_FAULTS)])
    intact = intact_list(length)
    place = random.choice(intact.attention.pairs[number].places(side))
    layout = intact.pages[number, place].layout
    if fault == "error_trits":
        layout = _layout(SIDES[side], "ternary_scaled", [layout.channels])
    page = _misfit(layout, variant) if fault == "error_format" else bad_page(CONFIG, layout, fault, variant)
    return SentList(intact.attention, intact.queries, {**intact.pages, (number, place): page})


def _layout(side: str, rule: str | None, channels: Sequence[int]) -> PageLayout:
    """A page that the array can take, of a rule and as many channels as one of these."""
    while True:
        layout = random_layout(CONFIG, rule, place=(side, random.choice(("token", "channel"))))
        if layout.channels in channels and (layout.format.group or 0) <= CONFIG.group:
            return layout


def _misfit(layout: PageLayout, variant: int) -> SentPage:
    """A page that cannot be read, or one of other channels."""
    page = intact_page(layout, CONFIG.memory_bits)
    form = page.form
    forms = [other for other in impossible_forms(CONFIG, form) if other["side"] == form["side"]]
    groups = range(SHORTEST_GROUP.bit_length() - 1, CONFIG.kv.channels.bit_length())
    too_long = [group - 4 for group in groups if CONFIG.group < 1 << group <= 128]
    if form["side"] == Side.KEY:
        forms += (form | {"axis": Axis.TOKEN, "group": group, "channels": 1 << group} for group in too_long)
    forms += _bitmod_misfits(form)
    forms += _table_misfits(form)
    others = [SHORTEST_GROUP * other for other in OTHERS if SHORTEST_GROUP * other != layout.channels]
    if variant % (len(forms) + 1) == len(forms):
        return intact_page(_layout(layout.side, None, others), CONFIG.memory_bits)
    whole = len(page.words)
    # What stands in has two numbers and 16 codes of one bit for every 16 elements.
    stand_in = layout.elements // SHORTEST_GROUP * (2 * HALF_BITS + SHORTEST_GROUP) // CONFIG.memory_bits
    count = (stand_in, 4 * whole, random.randint(1, whole), 1)[variant % 4]
    form = forms[variant % (len(forms) + 1)]
    return page._replace(form=form, words=(4 * page.words)[:count], kept=None, fault="error_format")


def _bitmod_misfits(form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Formats like this one but of BitMoD's types, where these do not exist or selectors are not in order."""
    if not CONFIG.kv.bitmod:
        return
    own = form | {"bitmod": True, "magnitude": True, "coding": Coding.BITS3}
    yield own | {"magnitude": False}
    yield own | {"coding": Coding.BITS2}
    for channels in OTHERS:
        if not are_attended(CONFIG, channels):
            yield own | {"axis": Axis.TOKEN, "group": 0, "channels": channels}


def _table_misfits(form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Formats like this one but of a table, with codes that no table has."""
    if not CONFIG.kv.table:
        return
    own = form | {"table": True, "magnitude": True, "coding": Coding.BITS4}
    yield own | {"magnitude": False}
    yield own | {"coding": Coding.BITS3}
    if CONFIG.kv.bitmod:
        yield own | {"bitmod": True}


def _with_bad_queries(length: int, fault: str) -> SentList:
    """Intact pages, and queries with a fault."""
    room, lanes = CONFIG.kv.queries, CONFIG.activation_lanes
    intact = intact_list(length, room if fault == "many" else None)
    rows, channels = list(intact.queries.queries), intact.queries.channels
    own = random.randrange(len(rows))
    if fault == "channels":
        channels = random.choice([other for other in OTHERS if other != channels])
        rows = [random_patterns("special", SHORTEST_GROUP * channels) for _ in rows]
    elif fault == "short":
        rows[own] = rows[own][: random.randrange(lanes, len(rows[own]), lanes)]
    elif fault == "long":
        rows[own] = random_patterns("any", len(rows[own]) + lanes * random.randint(1, 9))
    else:
        rows += [random_patterns("any", len(rows[0])) for _ in range(random.randint(1, 3))]
    coverage_queries.hit(fault=fault)
    return SentList(intact.attention, QueryList(CONFIG, rows, channels), intact.pages)


def crowded_list(number: int) -> SentList:
    """Of three pages of keys of the same tokens the first two have all channels, so that none are left."""
    while True:
        intact = intact_list(2)
        *keys, values = intact.attention.pairs[number].layouts
        if len(keys) == 3 and keys[1].channels == UNIT * SHORTEST_GROUP:
            break
    whole = values.channels if number else MOST * SHORTEST_GROUP  # the first ones say how many there are
    page = intact_page(_layout(SIDES[0], None, [whole - keys[1].channels]), CONFIG.memory_bits)
    return SentList(intact.attention, intact.queries, {**intact.pages, (number, 0): page})


def lists_of_every_fault(spacing: str) -> Iterator[SentList]:
    """Every fault and an intact list follow each other in every order; the last one is intact.

    The first two fill the memory of queries. What a damaged list leaves out is whatever lies there, but a
    simulator that knows X would let a word that nobody has written yet stop the circuit.
    """
    yield from (full_list(), full_list())
    names = list(PLACES)
    start = random.randrange(60)
    variants = {fault: itertools.count(start) for fault in FAULTS}
    places = {fault: itertools.cycle(random.sample(names, len(names))) for fault in FAULTS}
    for fault in every_pair((None, *FAULTS)) * LISTS or FAULTS:
        if fault is None:
            yield intact_list(random.randint(1, 3))
        else:
            place = next(places[fault])
            coverage.hit(fault=fault, place=place, spacing=spacing)
            yield damaged_list(fault, place, next(variants[fault]))
    yield intact_list(1)


def array_acts(bench: Bench, lists: Sequence[SentList], most: int) -> Iterator[Callable[[], None]]:
    """Pages in the array's order, those of up to ``most`` lists as if they were one list's."""
    start = 0
    while start < len(lists):
        count, lag = random.randint(1, most), random.randint(1, 2)
        pages = [(one, number) for one in lists[start : start + count] for number in range(one.length)]
        for (one, number), side in array_order(pages, lag):
            yield lambda one=one, number=number, side=side: one.send(bench, number, side)
        start += count


async def new_bench(dut: Any, stalls: str) -> Bench:
    """A bench whose design has its tables."""
    bench = Bench(await reset(dut, cycle_limit=LIMIT), stalls)
    if LOADED:
        await bench.load(LOADED)
    return bench


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"), spacing=SPACINGS)
async def faults(dut: Any, stalls: str, spacing: str) -> None:
    """Damaged lists give as many outputs as they should, marked; intact ones golden's, unmarked."""
    bench = await new_bench(dut, stalls)
    lists = list(lists_of_every_fault(spacing))
    await send_spaced(bench.domain, bench.sources.values(), array_acts(bench, lists, 12), spacing)
    for source in bench.sources.values():
        await source.drained()
    counts: Counter[str] = sum((one.errors for one in lists), Counter())
    await bench.finish(spacing, **counts)


@cocotb.test(skip=not CONFIG.kv.split_keys)
async def crowded(dut: Any) -> None:
    """Keys that leave no channels to those behind them, between intact lists."""
    bench = await new_bench(dut, "both_random")
    lists = [one for number in (0, 1) for _ in range(4) for one in (crowded_list(number), intact_list(2))]
    for act in array_acts(bench, lists, 4):
        act()
    counts: Counter[str] = sum((one.errors for one in lists), Counter())
    assert counts["error_format"] >= len(lists) / 2
    await bench.finish(SPACINGS[0], **counts)


@cocotb.test(skip=not CONFIG.kv.table)
async def tables_come_late(dut: Any) -> None:
    """Before any table only its pages are refused; then the same lists are intact."""
    bench = Bench(await reset(dut, cycle_limit=LIMIT), "both_random")
    lists = [intact_list(2) for _ in range(6)]
    early = []
    for one in lists:
        pages = {
            where: page._replace(kept=None) if page.layout.format.kind == "table" else page
            for where, page in one.pages.items()
        }
        early.append(SentList(one.attention, one.queries, pages))
    for act in array_acts(bench, early, 4):
        act()
    await bench.load(LOADED)
    for act in array_acts(bench, lists, 4):
        act()
    counts: Counter[str] = sum((one.errors for one in early), Counter())
    assert counts["error_format"] > len(lists)
    await bench.finish(SPACINGS[0], **counts)


@cocotb.test()
async def single_pages(dut: Any) -> None:
    """Intact lists of a page and the most queries; keys of each come before values of the one before."""
    bench = await new_bench(dut, "free_running")
    lists = [intact_list(1, CONFIG.kv.queries) for _ in range(6)]
    for act in array_acts(bench, lists, 6):
        act()
    await bench.finish()
