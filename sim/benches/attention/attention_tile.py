"""Attention tile: outputs, scores and states of lists of pages equal golden ones, whatever the stalls.

Parameters: ``config``, the fields of the configuration; ``lists``, how many of them in a test; ``rates``,
channels, rule, bits, axes of both sides, queries, pages, how often the bound of memory and array a list may
take, and the order; ``split_rates``, the same with rule, bits and channels of each page of keys and rule,
bits and axis of values in place of the first four; ``behind``, lists behind those that count, without which
the last one ends sooner; ``given``, lists of bits, queries [N, D], keys and values [T, D], patterns of
float16; ``given_split``, lists of queries, of rule, bits and tokens for each page of keys, and of the same of
values.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import signed
from amaranth.utils import bits_for
from numpy.typing import NDArray

from golden.attention import engine, page
from golden.attention.scores import fold
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.kv.table import IQ4_NL
from golden.numbers.datatypes import LANE_BITS, TABLE_ROWS
from hw.attention.payloads import attention_page, query_beat, quotient, score_beat, softmax_state
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, word
from sim import context
from sim.benches.kv.bitmod_pages import TYPES, attended_layout
from sim.benches.kv.pages import FORMATS, KINDS, page_fields, random_elements, random_layout, words_of
from sim.benches.kv.table_pages import TABLES, Tables, random_tables, table_layout
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.scoreboard import Scoreboard
from sim.spacing import SPACINGS
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

AXES = ("token", "channel")
LAGS = (1, 2)
VALID = ("all", "all", "first ones", "last ones", "one", "none")
QUERIES = ("normal", "normal", "equal", "huge", "subnormal", "special")
CONFIG = Config.model_validate(context.parameters()["config"]).changed(attention=True)
LISTS: int = context.parameters()["lists"]
RATES: list = context.parameters().get("rates", [])
SPLIT_RATES: list = context.parameters().get("split_rates", [])
BEHIND: int = context.parameters().get("behind", 0)
GIVEN: list = context.parameters().get("given", [])
GIVEN_SPLIT: list = context.parameters().get("given_split", [])
MOST_PARTS = 3
"""Pages that keys of the same tokens come in."""
INPUTS = {
    "queries": query_beat(CONFIG),
    "pages": attention_page(CONFIG),
    "words": word(CONFIG.memory_bits),
    **({"tables": signed(LANE_BITS)} if CONFIG.kv.table else {}),
}
ERRORS = ErrorPlan("attention") if CONFIG.kv.engines == 1 else ErrorPlan("attention_engines")
OUTPUTS = {"outputs": quotient, "scores": score_beat, "found": softmax_state(CONFIG)}

coverage = Coverage(
    "attention",
    {"side": SIDES, "axis": AXES, "format": tuple(f"{rule}{bits}" for rule, bits in FORMATS)},
)
coverage_valid = Coverage("attention_valid", {"valid": tuple(dict.fromkeys(VALID))})
RATED = (1, 4)
"""Queries whose rate every whole run of the tests holds."""
coverage_rate = Coverage("attention_rate", {"count": RATED})
coverage_lag = Coverage("attention_lag", {"lag": LAGS})
coverage_causal = Coverage("attention_causal", {"causal": (False, True)})
coverage_bitmod = Coverage("attention_bitmod", {"type": TYPES, "side": SIDES, "axis": AXES})
coverage_table = Coverage("attention_table", {"side": SIDES, "axis": AXES})
coverage_tables = Coverage("attention_tables", {"side": SIDES, "table": TABLES})
coverage_parts = Coverage("attention_parts", {"parts": range(1, MOST_PARTS + 1)})
coverage_kinds = Coverage(
    "attention_kinds", {"queries": tuple(dict.fromkeys(QUERIES)), "elements": ("normal", "others")}
)


@dataclass(frozen=True)
class Pair:
    """Keys and values of some tokens: layouts and what is in them, and the valid tokens.

    Values are the last page; the pages before it are keys, each of the channels behind those of another.
    """

    layouts: tuple[PageLayout, ...]
    quantized: tuple[Quantized, ...]
    first: int
    last: int

    def places(self, side: int) -> range:
        """Which pages are a side's."""
        values = len(self.layouts) - 1
        return range(values, values + 1) if side else range(values)

    def top(self, side: int) -> int:
        """Largest exponent field of a side."""
        return max(
            int(self.layouts[place].format.largest_field(*self.quantized[place][1:]))
            for place in self.places(side)
        )

    def words(self, place: int) -> list[int]:
        """Words of memory of a page."""
        return words_of(self.layouts[place].pack(self.quantized[place]), CONFIG.memory_bits)

    def read(self) -> tuple[list[page.Page], page.Page]:
        """Keys and values as golden takes them."""
        *keys, values = (
            page.read(layout.format, quantized)
            for layout, quantized in zip(self.layouts, self.quantized, strict=True)
        )
        return keys, values


@dataclass(frozen=True)
class Attention:
    """A list of pages and the queries [N, D] that see them, ``n & causal`` tokens more the query n."""

    queries: NDArray[np.float16]
    pairs: Sequence[Pair]
    scores: bool
    causal: int = 0

    def last(self, pair: Pair) -> NDArray[np.int64]:
        """Last valid token of a page for each query."""
        return pair.last + (np.arange(len(self.queries)) & self.causal)

    @property
    def tops(self) -> tuple[int, ...]:
        """Of keys and of values."""
        return tuple(max(pair.top(side) for pair in self.pairs) for side in range(len(SIDES)))

    def query_beats(self) -> list[dict[str, Any]]:
        """Payloads of the queries."""
        lanes, count = CONFIG.activation_lanes, len(self.queries)
        beats = self.queries.view(np.uint16).reshape(count, -1, lanes).tolist()
        channels = self.queries.shape[1] // SHORTEST_GROUP
        return [
            {
                "elements": elements,
                "channels": channels,
                "last": number == len(own) - 1,
                "ends": number == len(own) - 1 and query == count - 1,
            }
            for query, own in enumerate(beats)
            for number, elements in enumerate(own)
        ]

    def records(self, number: int, place: int) -> dict[str, Any]:
        """The record of a page."""
        pair = self.pairs[number]
        keys = len(pair.places(0))
        return {
            "form": page_fields(CONFIG, pair.layouts[place]),
            "last_query": len(self.queries) - 1,
            "first": pair.first,
            "last": pair.last,
            "causal": self.causal,
            "top": self.tops[place >= keys],
            "opens": number == 0,
            "closes": number == len(self.pairs) - 1,
            "scores": self.scores,
            **({"continues": place < keys - 1} if CONFIG.kv.split_keys else {}),
        }


def array_order(pages: Sequence[Any], lag: int, run: int = 1) -> Iterator[tuple[Any, int]]:
    """Pages and sides, in the order in which the array works on them.

    Values come ``lag`` pages late, and ``run`` pages of a side at a time.
    """
    keys, values = iter(pages), iter(pages)
    yield from ((one, 0) for one in islice(keys, lag))
    for _ in range(0, len(pages), run):
        yield from ((one, 0) for one in islice(keys, run))
        yield from ((one, 1) for one in islice(values, run))


class Bench:
    """The attention tile with its streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.sources = {
            name: StreamSource(domain, name, shape, where.source) for name, shape in INPUTS.items()
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.sinks = {
            name: StreamSink(domain, name, shape, where.sink, where.sink_waits, self._observer(name))
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)
        self.first_page = self.last_page = 0
        """Pages up to the first one of what was sent last, and up to its last one."""
        if CONFIG.kv.table:
            self.tables_offered = domain.reader("tables_valid")
        self.errors = ErrorCounter(domain, ERRORS)

    def _observer(self, name: str) -> Callable[[int], None]:
        return lambda bits: self.boards[name].observe(bits)

    def expect(self, name: str, value: Any, unknown: Any = 0) -> None:
        """One more beat of an output, of which bits set in ``unknown`` do not count."""
        self.boards[name].expect(value, unknown)
        self.wanted[name] += 1

    async def load(self, tables: Tables, waits: bool = True) -> None:
        """Tables for the pages that are sent from now on.

        These may be offered before the last value is taken. Those sent before have no keys without values;
        ``waits`` until all of them have been taken, not only the first page of what ``send`` sent last.
        """
        pages, source = self.sources["pages"], self.sources["tables"]
        if waits:
            await pages.drained()
        while pages.sent < self.first_page:
            await self.domain.cycles(1)
        before = source.sent
        source.send_all(value for side in SIDES for value in tables[side])
        wanted = before + random.choice((0, 1, len(SIDES) * TABLE_ROWS))
        while source.sent < wanted or not (self.tables_offered() or source.sent > before):
            await self.domain.cycles(1)

    def send(self, attentions: Sequence[Attention], lag: int = 1, run: int = 1) -> None:
        """Lists whose pages follow each other without a pause, and what must come of them."""
        pages = [(one, number) for one in attentions for number in range(len(one.pairs))]
        self.first_page = self.last_page + 1
        for (one, number), side in array_order(pages, lag, run):
            for place in one.pairs[number].places(side):
                self.last_page += 1
                self.sources["pages"].send(one.records(number, place))
                words = one.pairs[number].words(place)
                self.sources["words"].send_all(
                    {"data": data, "last": at == len(words) - 1} for at, data in enumerate(words)
                )
        for one in attentions:
            self.sources["queries"].send_all(one.query_beats())
            self.expect_list(one)

    def expect_list(self, attention: Attention) -> None:
        """What must come of an intact list."""
        query = fold(attention.queries)
        key_top, value_top = attention.tops
        count, channels = attention.queries.shape
        state = engine.start(count, channels, value_top)
        for pair in attention.pairs:
            state, found = engine.step(
                state, query, *pair.read(), CONFIG.numerics, key_top, pair.first, attention.last(pair)
            )
            if attention.scores:
                for own in found.tolist():
                    for token, value in enumerate(own):
                        self.expect("scores", {"score": value, "last": token == len(own) - 1})
        outputs = engine.finish(state, query)
        for number, own in enumerate(outputs.values.view(np.uint16).tolist()):
            if attention.scores:
                self.expect(
                    "found",
                    {
                        "query": number,
                        "maximum": int(state.maximum[number]),
                        "total": int(state.total[number]),
                    },
                )
            for channel, half in enumerate(own):
                empty, last = bool(outputs.empty[number]), channel == channels - 1
                self.expect("outputs", {"half": half, "empty": empty, "error": False, "last": last})

    async def reset(self) -> None:
        """Reset the design and forget what was expected of it."""
        await self.domain.reset()
        self.boards = {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}
        self.wanted = {name: sink.count for name, sink in self.sinks.items()}
        self.first_page = self.last_page = self.sources["pages"].sent

    async def finish(self, spacing: str = SPACINGS[0], **errors: int) -> None:
        """Wait for everything expected, see that nothing else comes, and compare the errors."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.domain.cycles(50)
        for board in self.boards.values():
            board.finish()
        self.errors.expect(errors, spacing)


def random_parts(channels: int) -> list[int]:
    """Channels of each page of keys."""
    unit = max(SHORTEST_GROUP, CONFIG.lanes, CONFIG.rows)
    most = min(channels // unit, MOST_PARTS) if CONFIG.kv.split_keys else 1
    cuts = sorted(random.sample(range(unit, channels, unit), random.randint(1, most) - 1))
    return [end - start for start, end in itertools.pairwise((0, *cuts, channels))]


def random_form(side: str, axis: str, tables: Tables | None = None) -> PageLayout:
    """A page of any format, of a table if there are any."""
    if tables and random.random() < 0.6:
        return table_layout(CONFIG, tables[side], (side, axis))
    if CONFIG.kv.bitmod and random.random() < 0.6:
        return attended_layout(CONFIG, random.choice(TYPES), (side, axis))
    return random_layout(CONFIG, place=(side, axis))


def random_pair(
    channels: int, kind: str, places: Sequence[str] | None = None, tables: Tables | None = None
) -> Pair:
    """A page of any formats; ``kind`` is that of its elements, ``places`` are the axes of keys and values."""
    layouts, quantized = [], []
    parts = random_parts(channels)
    for number, count in (*((0, count) for count in parts), (1, channels)):
        side, axis = SIDES[number], places[number] if places else random.choice(AXES)
        while True:
            layout = random_form(side, axis, tables)
            if layout.channels != count or (layout.format.group or 0) > CONFIG.group:
                continue
            own = layout.format.quantize(random_elements(layout, kind))
            try:
                page.read(layout.format, own)
            except ValueError:  # steps beyond float16, which nothing writes
                continue
            break
        layouts.append(layout)
        quantized.append(own)
        if layout.format.kind == "bitmod":
            coverage_bitmod.hit(type=layout.format.rule, side=side, axis=axis)
        elif layout.format.kind == "table":
            coverage_table.hit(side=side, axis=axis)
        else:
            coverage.hit(side=side, axis=axis, format=f"{layout.format.rule}{layout.format.bits}")
    coverage_parts.hit(parts=len(parts))
    tokens = CONFIG.kv.page_tokens
    valid = random.choice(VALID)
    first, last = {
        "all": (0, tokens - 1),
        "first ones": (0, random.randrange(tokens)),
        "last ones": (random.randrange(tokens), tokens - 1),
        "one": (random.randrange(tokens),) * 2,
        "none": (1, 0),
    }[valid]
    coverage_valid.hit(valid=valid)
    return Pair(tuple(layouts), tuple(quantized), first, last)


def random_queries(count: int, channels: int, kind: str) -> NDArray[np.float16]:
    """Queries [N, D] of a kind."""
    rng = np.random.default_rng(random.getrandbits(32))
    x = rng.standard_normal((count, channels)) * 2.0 ** rng.integers(-3, 3)
    if kind == "equal":
        x[:] = 0
    elif kind == "huge":
        x = np.where(rng.random(x.shape) < 0.2, np.sign(x) * 65504, x)
    elif kind == "subnormal":
        x = x * 2.0**-22
    elif kind == "special":
        x[rng.integers(count), rng.integers(channels)] = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(over="ignore"):
        return x.astype(np.float16)


def random_attention(
    count: int, length: int, places: Sequence[str] | None = None, tables: Tables | None = None
) -> Attention:
    """A list of so many queries and pages."""
    unit = max(SHORTEST_GROUP, CONFIG.lanes, CONFIG.rows)
    channels = unit * random.randint(1, CONFIG.kv.channels // unit)
    queries, elements = random.choice(QUERIES), random.choice(("normal", "normal", *KINDS))
    coverage_kinds.hit(queries=queries, elements="normal" if elements == "normal" else "others")
    pairs = [random_pair(channels, elements, places, tables) for _ in range(length)]
    causal = 0
    if random.random() < 0.3:
        # Successive tokens of a prompt: some see nothing of the last page.
        causal = (1 << random.randint(1, bits_for(count - 1))) - 1
        pairs[-1] = replace(pairs[-1], first=0, last=random.randint(-causal, CONFIG.kv.page_tokens - 1))
    coverage_causal.hit(causal=causal > 0)
    return Attention(random_queries(count, channels, queries), pairs, random.random() < 0.5, causal)


def native_attention(count: int, channels: int, bits: int, length: int) -> Attention:
    """Pages of the native rule, whose scales are folded: keys by channel and values by token."""
    return regular_attention(count, channels, "native", bits, ("channel", "token"), length)


def regular_attention(
    count: int, channels: int, rule: str, bits: int, axes: Sequence[str], length: int, group: int = 32
) -> Attention:
    """Pages of one rule, all of the same normal elements; ``axes`` of keys and of values."""
    own = IQ4_NL if rule == "table" else None
    key, value = (Format(rule, bits, axis, group, table=own) for axis in axes)
    return equal_pages(count, [(key, channels)], value, length)


def split_attention(count: int, keys: Sequence[Any], value: Sequence[Any], length: int) -> Attention:
    """The same of keys by channel in pages of a rule, bits and channels each, and values of a rule."""
    own = [(Format(rule, bits, "channel", 32), channels) for rule, bits, channels in keys]
    return equal_pages(count, own, Format(*value, 32), length)


def equal_pages(count: int, keys: Sequence[tuple[Format, int]], value: Format, length: int) -> Attention:
    """Pages of the same normal elements, of keys with their channels."""
    channels = sum(own for _, own in keys)
    layouts = tuple(
        PageLayout(form, side, CONFIG.kv.page_tokens, own, CONFIG.rows, CONFIG.lanes)
        for side, form, own in (*((SIDES[0], *key) for key in keys), (SIDES[1], value, channels))
    )
    quantized = tuple(own.format.quantize(random_elements(own, "normal")) for own in layouts)
    pair = Pair(layouts, quantized, 0, CONFIG.kv.page_tokens - 1)
    return Attention(random_queries(count, channels, "normal"), [pair] * length, False)


def given_attention(bits: int, queries: Any, keys: Any, values: Any) -> Attention:
    """Pages of the native rule, of given tokens."""
    return given_pages(queries, [("native", bits, keys)], ("native", bits, values))


def given_pages(queries: Any, keys: Sequence[Any], values: Any) -> Attention:
    """Pages of given tokens with their rule and bits, scales along the product; the last ones may have fewer.

    Of keys there are several where pages have some of the channels each.
    """
    rules, widths, given = zip(*keys, values, strict=True)
    halves = [np.array(part, np.uint16).view(np.float16) for part in given]
    count, tokens, values_place = len(halves[0]), CONFIG.kv.page_tokens, len(keys)
    layouts = tuple(
        PageLayout(
            Format(rule, bits, "token" if place == values_place else "channel", 32),
            SIDES[place == values_place],
            tokens,
            half.shape[1],
            CONFIG.rows,
            CONFIG.lanes,
        )
        for place, (rule, bits, half) in enumerate(zip(rules, widths, halves, strict=True))
    )
    pairs = []
    for start in range(0, count, tokens):
        parts = (part[start : start + tokens] for part in halves)
        filled = (np.pad(part, ((0, tokens - len(part)), (0, 0))) for part in parts)
        quantized = [layout.format.quantize(part) for layout, part in zip(layouts, filled, strict=True)]
        pairs.append(Pair(layouts, tuple(quantized), 0, min(count - start, tokens) - 1))
    return Attention(np.array(queries, np.uint16).view(np.float16), pairs, True)


def bound(attention: Attention) -> int:
    """Cycles that memory or the array needs for a list, whichever needs more."""
    words = macs = 0
    turns = -(-len(attention.queries) // CONFIG.columns)
    for pair in attention.pairs:
        for place, layout in enumerate(pair.layouts):
            words += len(pair.words(place))
            chunks = layout.elements // (CONFIG.rows * CONFIG.lanes)
            macs += turns * chunks * layout.format.dtype.term_count
    return max(words, macs)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_pages(dut: Any, stalls: str) -> None:
    """Lists of pages of any formats, those that are all folded and those that are not, between new tables."""
    bench = Bench(await reset(dut, cycle_limit=200_000), stalls)
    left, tables = LISTS, None
    while left > 0:
        if CONFIG.kv.table and (tables is None or random.random() < 0.7):
            tables, kinds = random_tables()
            await bench.load(tables, random.random() < 0.5)
            for side, kind in kinds.items():
                coverage_tables.hit(side=side, table=kind)
        lists = []
        for number in range(min(random.randint(1, 8), left)):
            places = ("channel", "token") if number % 2 else None
            count = random.randint(1, CONFIG.kv.queries)
            lists.append(random_attention(count, random.randint(1, 5), places, tables))
        lag = random.choice(LAGS)
        coverage_lag.hit(lag=lag)
        bench.send(lists, lag)
        left -= len(lists)
    await bench.finish()


@cocotb.test()
async def rising_maximum(dut: Any) -> None:
    """Pages whose keys grow, so that each of them moves the maximum, by one place and by many."""
    bench = Bench(await reset(dut, cycle_limit=200_000), "free_running")
    for growth in (1.25, 2, 16):
        attention = native_attention(CONFIG.kv.queries, CONFIG.kv.channels, 4, 6)
        pairs = []
        for number, pair in enumerate(attention.pairs):
            keys = pair.layouts[0].format.quantize(
                random_elements(pair.layouts[0], "normal") * np.float16(growth ** (number - 2))
            )
            pairs.append(replace(pair, quantized=(keys, pair.quantized[1])))
        bench.send([replace(attention, pairs=pairs)])
    await bench.finish()


@cocotb.test()
async def most_terms_wait(dut: Any) -> None:
    """The most queries, two vectors of keys each: their terms wait until values behind them are worked on."""
    bench = Bench(await reset(dut, cycle_limit=200_000), "free_running")
    channels = max(CONFIG.kv.channels // 2, SHORTEST_GROUP)
    attention = regular_attention(
        CONFIG.kv.queries, channels, "native", 2, ("channel", "token"), 6, SHORTEST_GROUP
    )
    lists = [attention]
    if CONFIG.kv.split_keys:
        key, value = (Format("native", 2, axis, SHORTEST_GROUP) for axis in ("channel", "token"))
        part = max(SHORTEST_GROUP, CONFIG.lanes, CONFIG.rows)
        parts = min(MOST_PARTS, CONFIG.kv.channels // part)
        lists.append(equal_pages(CONFIG.kv.queries, [(key, part)] * parts, value, 6))
    bench.send(lists, max(LAGS))
    await bench.finish()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere nothing of the lists before is left."""
    bench = Bench(await reset(dut, cycle_limit=200_000), "both_random")
    for _ in range(3):
        for count, length in (2, 3), (random.randint(1, CONFIG.kv.queries), 2):
            tables = None
            if CONFIG.kv.table and random.random() < 0.7:
                tables, _ = random_tables()
                await bench.load(tables)
            bench.send([random_attention(count, length, tables=tables)])
            if length == 3:
                await bench.domain.cycles(random.randint(50, 900))
                await bench.reset()
        await bench.finish()


@cocotb.test(skip=not GIVEN + GIVEN_SPLIT)
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def given_tokens(dut: Any, stalls: str) -> None:
    """Lists of tokens that a model cached, back to back."""
    bench = Bench(await reset(dut, cycle_limit=400_000), stalls)
    lists = [*(given_attention(*one) for one in GIVEN), *(given_pages(*one) for one in GIVEN_SPLIT)]
    bench.send(lists, max(LAGS))
    await bench.finish()


@cocotb.test(skip=not RATES + SPLIT_RATES)
async def full_throughput(dut: Any) -> None:
    """List after list in so many times the cycles that memory or the array needs."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    domain = bench.domain
    asked = [
        (f"{channels=} {rule=} {bits=} {axes=}", regular_attention(count, channels, rule, bits, axes, length))
        for channels, rule, bits, axes, count, length, *_ in RATES
    ]
    asked += [
        (f"{keys=} {value=}", split_attention(count, keys, value, length))
        for keys, value, count, length, *_ in SPLIT_RATES
    ]
    limits = [one[-5:] for one in RATES + SPLIT_RATES]
    if CONFIG.kv.table:
        await bench.load(dict.fromkeys(SIDES, IQ4_NL))
    for (formats, attention), (count, length, most, lag, run) in zip(asked, limits, strict=True):
        bench.send([attention] * (4 + BEHIND), lag, run)
        own = attention.queries.size
        ends = [bench.wanted["outputs"] - own * left for left in (3 + BEHIND, BEHIND)]
        cycles = []
        for end in ends:
            await bench.sinks["outputs"].wait_for(end)
            cycles.append(domain.cycle)
        taken, least = (cycles[1] - cycles[0]) / 3, bound(attention)
        shape = f"{formats} {count=} {length=}"
        print(f"{shape} {taken=} {least=} ratio={taken / least:.3f}")
        assert taken <= most * least, (shape, taken, least)
        if count in RATED:
            coverage_rate.hit(count=count)
    await bench.finish()
