"""Pages of tables of 16 values for the benches of ``hw.attention``, and tables of every kind."""

import itertools
import random
from collections.abc import Callable, Mapping

from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.kv.table import BITS, IQ4_NL, NF4
from golden.numbers.datatypes import TABLE_LARGEST, TABLE_ROWS
from hw.config import Config
from sim.benches.kv.pages import random_layout

__all__ = ["TABLES", "Table", "Tables", "random_tables", "table_layout"]

Table = tuple[int, ...]
Tables = Mapping[str, Table]
"""By side."""


def _any() -> Table:
    """In any order, some of them twice."""
    return tuple(random.choices(range(-TABLE_LARGEST, TABLE_LARGEST + 1), k=TABLE_ROWS))


TABLES: Mapping[str, Callable[[], Table]] = {
    "nf4": lambda: NF4,
    "iq4_nl": lambda: IQ4_NL,
    "any": _any,
    "zero": lambda: (0,) * TABLE_ROWS,
    "largest": lambda: (random.choice((-TABLE_LARGEST, TABLE_LARGEST)),) * TABLE_ROWS,
    "ends": lambda: tuple(random.choices((-TABLE_LARGEST, TABLE_LARGEST), k=TABLE_ROWS)),
    "positive": lambda: tuple(map(abs, _any())),
    "digits": lambda: tuple(random.choices((-120, -113, -8, -7, 7, 8, 9, 23, 24, 120, 127), k=TABLE_ROWS)),
}
"""Kinds of tables; of "digits" the low digit has its ends and the high one its carries."""


_kinds = {side: itertools.cycle(random.sample(list(TABLES), len(TABLES))) for side in SIDES}


def random_tables() -> tuple[Tables, Mapping[str, str]]:
    """A table of keys and one of values, and of which kinds they are: each in turn."""
    kinds = {side: next(own) for side, own in _kinds.items()}
    return {side: TABLES[kind]() for side, kind in kinds.items()}, kinds


def table_layout(config: Config, values: Table, place: tuple[str, str]) -> PageLayout:
    """A page of a table that fits the hardware; ``place`` is its side and axis."""
    layout = random_layout(config, "native_symmetric", BITS, place)
    form = Format("table", BITS, layout.format.axis, layout.format.group, table=values)
    return PageLayout(form, layout.side, layout.tokens, layout.channels, layout.rows, layout.lanes)
