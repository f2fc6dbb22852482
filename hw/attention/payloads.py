"""Stream payloads of the attention engine."""

from amaranth.hdl import ShapeLike, Value, signed
from amaranth.lib import data, enum
from amaranth.utils import bits_for, exact_log2

from golden.attention.widths import CONTEXT_BITS, SCORE_FRACTION, SUM_BITS, TOTAL_FRACTION
from golden.numbers.datatypes import LANE_BITS
from hw.attention.product_shape import most_parts
from hw.config import Config
from hw.kv.page_shape import entries
from hw.kv.payloads import (
    HALF_BITS,
    SELECTOR_BITS,
    SHORTEST_GROUP,
    TOP_BITS,
    Axis,
    Coding,
    Side,
    page_format,
)

__all__ = [
    "CENTRE_BITS",
    "MAXIMUM_BITS",
    "MOST_MOVED",
    "MOVED_BITS",
    "SCORE_BITS",
    "TERM_BITS",
    "TOP_BITS",
    "TOTAL_BITS",
    "Access",
    "column_state",
    "divisor",
    "folded_beat",
    "folding_beat",
    "maximum_move",
    "maximum_moves",
    "offset_term",
    "offset_terms",
    "operand_beat",
    "query_beat",
    "query_request",
    "quotient",
    "score_beat",
    "score_page",
    "scored_query",
    "softmax_state",
    "tf32",
    "turn_of",
    "turns",
    "value_read",
    "value_segment",
    "value_segments",
    "value_sum",
    "weight_beat",
    "weight_request",
]

CENTRE_BITS = 3
MAXIMUM_BITS = 20
MOST_MOVED = 62
"""Places by which a sum is shifted at most: nothing is left of it."""
MOVED_BITS = 6
SCORE_BITS = MAXIMUM_BITS + SCORE_FRACTION
TERM_BITS = 52
TOTAL_BITS = CONTEXT_BITS + TOTAL_FRACTION + 1


def turns(config: Config) -> int:
    """Most queries of a list in a token column; query n is number ``n // columns`` of column ``n % columns``.

    Those of the same number are one turn: they read a page together.
    """
    return config.kv.queries // config.columns


def turn_of(query: Value, config: Config) -> Value:
    """Number of a query of a list in its column."""
    return query[exact_log2(config.columns) :]


def _seen(config: Config, columns: int = 1) -> dict[str, ShapeLike]:
    """Queries of a page and the tokens that they see; those of the list are ``columns`` times as many."""
    queries, tokens = config.kv.queries, config.kv.page_tokens
    return {
        "last_query": range(queries),
        "first": range(tokens),
        "last": range(-queries * columns, tokens + columns - 1),
        "causal": bits_for(queries * columns - 1),
    }


def _continues(config: Config) -> dict[str, ShapeLike]:
    """Of keys that may come in several pages."""
    return {"continues": 1} if config.kv.split_keys else {}


def attention_page(config: Config) -> data.StructLayout:
    """Keys or values of a page, for queries 0 to ``last_query`` of a KV head.

    Query n sees the tokens ``first`` to ``last + (n & causal)``, none where ``first`` is larger: with
    ``causal`` 0 all see the same; with 2^k - 1 they are 2^k successive tokens of a prompt, head after head.
    ``top`` is the exponent field that no step or offset of this side of the head exceeds. ``opens``: the
    first page of these queries; ``closes``: their last one; ``scores``: its scores, and with the last page
    the queries' states, are wanted. ``continues``, of keys and with ``kv.split_keys`` only: the next page of
    keys has the channels behind these, of the same tokens. All but these, ``top`` and the format are the
    same for the keys and values of a page.
    """
    return data.StructLayout(
        {
            "form": page_format(config),
            **_seen(config),
            "top": TOP_BITS,
            "opens": 1,
            "closes": 1,
            "scores": 1,
            **_continues(config),
        }
    )


def code_page(config: Config) -> data.StructLayout:
    """What of a page's format says how its codes lie; they are wanted once for each turn of queries."""
    form = page_format(config)
    return data.StructLayout(
        {
            "coding": Coding,
            "side": Side,
            "channels": form["channels"].shape,
            "last_turn": range(turns(config)),
            **({"bitmod": 1} if config.kv.bitmod else {}),
        }
    )


def selector_page(config: Config) -> data.StructLayout:
    """What of a page's format says whose its selectors are; they are wanted once for each turn of queries."""
    form = page_format(config)
    return data.StructLayout(
        {
            "side": Side,
            "axis": Axis,
            **{name: form[name].shape for name in ("group", "channels")},
            "last_turn": range(turns(config)),
        }
    )


def selector_word(config: Config) -> data.StructLayout:
    """A word of the selectors of ``page``; ``last`` closes them."""
    return data.StructLayout({"data": config.memory_bits, "last": 1, "page": selector_page(config)})


def chunk_selectors(config: Config) -> data.StructLayout:
    """Selectors of a chunk of the array: ``by_lane`` those of its lanes, otherwise those of its rows."""
    return data.StructLayout(
        {
            "rows": data.ArrayLayout(SELECTOR_BITS, config.rows),
            "lanes": data.ArrayLayout(SELECTOR_BITS, config.lanes),
            "by_lane": 1,
        }
    )


def dense_words(config: Config) -> data.StructLayout:
    """A word of dense codes, or ``both`` of two; ``last`` closes the page."""
    return data.StructLayout({"words": data.ArrayLayout(config.memory_bits, 2), "both": 1, "last": 1})


def chunk_codes(config: Config) -> data.ArrayLayout:
    """Codes of a chunk of the array, ``[row][lane]``, left-aligned in a byte each."""
    return data.ArrayLayout(data.ArrayLayout(LANE_BITS, config.lanes), config.rows)


def product(config: Config) -> data.StructLayout:
    """Vectors of a turn of queries and the part of a page that they are multiplied by.

    The last one of a page ends it.
    """
    return data.StructLayout(
        {
            "page": attention_page(config),
            "turn": range(turns(config)),
            "part": range(most_parts(config)),
            "last_part": 1,
            "last": 1,
        }
    )


def value_product(config: Config) -> data.StructLayout:
    """A product of values, and how many places the maximum of each column's query has moved with its page."""
    return data.StructLayout({"product": product(config), "moved": maximum_moves(config)})


def number_request(config: Config) -> data.StructLayout:
    """``activation_lanes`` groups of a page, ``stride`` apart from ``index`` on.

    ``word`` is where the page's numbers begin in their memory.
    """
    words = 2 * entries(config) // (config.memory_bits // HALF_BITS)
    return data.StructLayout(
        {
            "word": range(words),
            "index": range(entries(config)),
            "stride": bits_for(max(config.kv.channels // SHORTEST_GROUP, 1)),
        }
    )


def numbers(config: Config) -> data.StructLayout:
    """Scales and minima of ``activation_lanes`` groups."""
    halves = data.ArrayLayout(HALF_BITS, config.activation_lanes)
    return data.StructLayout({"scales": halves, "minima": halves})


tf32 = data.StructLayout({"fraction": 10, "exponent": 8, "negative": 1})
"""A number of ``golden.numbers.floats``."""


def query_beat(config: Config) -> data.StructLayout:
    """Consecutive float16 elements of a query; ``last`` closes it, ``ends`` with ``last`` its list as well.

    A query has ``16 * channels`` elements; ``channels`` is constant within a list.
    """
    return data.StructLayout(
        {
            "elements": data.ArrayLayout(HALF_BITS, config.activation_lanes),
            "channels": bits_for(config.kv.channels // SHORTEST_GROUP),
            "last": 1,
            "ends": 1,
        }
    )


def query_request(config: Config) -> data.StructLayout:
    """The first ``16 * channels`` elements of a turn of queries; ``last``: nothing else of their list is.

    With ``kv.split_keys`` they are those from ``16 * start`` on, and others follow them if it ``continues``.
    """
    channels = query_beat(config)["channels"].shape  # at least 1, at most the configuration's
    start = {"start": channels} if config.kv.split_keys else {}
    return data.StructLayout(
        {"turn": range(turns(config)), "channels": channels, "last": 1, **start, **_continues(config)}
    )


def operand_beat(config: Config) -> data.StructLayout:
    """Consecutive elements of vectors, ``[column][lane]``; ``last`` closes them.

    They are queries in the base-2 domain, or weights.
    """
    lanes = data.ArrayLayout(tf32, config.activation_lanes)
    return data.StructLayout({"elements": data.ArrayLayout(lanes, config.columns), "last": 1})


def folding_beat(config: Config) -> data.StructLayout:
    """Consecutive elements of every column's vector, with steps and offsets; ``last`` closes the vectors.

    ``operands``, one a column, are elements of queries or weights: 0, or 2^-32 to 2^16 in magnitude. ``step``
    and ``offset`` are finite float16. The others are constant within a vector: ``top``, of values, is the
    exponent field that no step or offset of the head exceeds; codes are less ``2**centre``, or less nothing
    where ``centre`` is 0.
    """
    operands = data.ArrayLayout(tf32, config.columns)
    element = data.StructLayout({"operands": operands, "step": HALF_BITS, "offset": HALF_BITS})
    return data.StructLayout(
        {
            "elements": data.ArrayLayout(element, config.activation_lanes),
            "side": Side,
            "top": TOP_BITS,
            "centre": CENTRE_BITS,
            "last": 1,
        }
    )


def folded_beat(config: Config) -> data.StructLayout:
    """Consecutive activations of every column's vector, ``[column][lane]``; ``last`` closes the vectors."""
    lanes = data.ArrayLayout(tf32, config.activation_lanes)
    return data.StructLayout({"elements": data.ArrayLayout(lanes, config.columns), "last": 1})


offset_term = signed(TERM_BITS)
"""A vector's offset term: of keys in units of 2^-18, of values in units of 2^(top - 50)."""


def offset_terms(config: Config) -> data.ArrayLayout:
    """Of every column's vector."""
    return data.ArrayLayout(offset_term, config.columns)


def score_page(config: Config, columns: int = 1) -> data.StructLayout:
    """A page whose scores come, of all queries or of those of a column of several.

    Queries and the tokens that they see are those of ``attention_page``; query n of the first of several
    columns sees the tokens up to ``last + (n * columns & causal)``. ``opens``: the first page of these
    queries; ``closes``: their last one, their states are wanted; all pages between have the same
    ``last_query``. ``scores``: its scores are wanted. ``lacks``, of several columns: the last query is none,
    it sees no token and its scores are not wanted. ``continues``, with ``kv.split_keys`` only: scores of the
    next page are added to these, which nobody else sees; ``scores`` is 0.
    """
    return data.StructLayout(
        {
            **_seen(config, columns),
            "opens": 1,
            "closes": 1,
            "scores": 1,
            **({"lacks": 1} if columns > 1 else {}),
            **_continues(config),
        }
    )


def maximum_move(config: Config) -> data.StructLayout:
    """By how much a query's maximum has moved with a page; 62 stands for all larger distances as well."""
    return data.StructLayout({"query": range(config.kv.queries), "places": MOVED_BITS})


def maximum_moves(config: Config) -> data.ArrayLayout:
    """By how much the maximum of each column's query has moved."""
    return data.ArrayLayout(MOVED_BITS, config.columns)


def scored_query(config: Config) -> data.StructLayout:
    """A query whose scores of a page are known, with its new maximum and the places by which that moves.

    ``last``: the page's last query; ``opens``, ``closes`` and ``scores`` as of ``score_page``.
    """
    return data.StructLayout(
        {
            "query": range(config.kv.queries),
            "maximum": signed(MAXIMUM_BITS),
            "places": MOVED_BITS,
            "last": 1,
            "opens": 1,
            "closes": 1,
            "scores": 1,
        }
    )


def weight_request(config: Config) -> data.StructLayout:
    """The weights of a column's query are wanted; ``last``: nothing else of this page will be."""
    return data.StructLayout({"query": range(turns(config)), "last": 1})


def weight_beat(config: Config) -> data.StructLayout:
    """Weights of consecutive tokens; ``last`` closes those of a request."""
    return data.StructLayout({"weights": data.ArrayLayout(tf32, config.activation_lanes), "last": 1})


score_beat = data.StructLayout({"score": signed(SCORE_BITS), "last": 1})
"""A score in units of 2^-12; ``last`` closes a query's of a page."""


def softmax_state(config: Config) -> data.StructLayout:
    """``maximum`` and ``total`` of a query, as of ``golden.attention.engine.State``."""
    return _state(config.kv.queries)


def column_state(config: Config) -> data.StructLayout:
    """The same of a column's query."""
    return _state(turns(config))


def _state(queries: int) -> data.StructLayout:
    return data.StructLayout({"query": range(queries), "maximum": signed(MAXIMUM_BITS), "total": TOTAL_BITS})


class Access(enum.Enum, shape=1):
    """What is added to a segment of value sums."""

    DOTS = 0
    RESULTS = 1


def value_segment(config: Config) -> data.StructLayout:
    """Sums of one query that share an offset term, ``blocks`` row blocks from ``block`` on.

    What comes first is a shift by ``moved`` places, those of 63 and more being 63; sums that are ``fresh``
    count as zero. Then dot products or results of the array are added, of values whose steps and offsets
    have exponent fields of at most ``top``.
    """
    return _segment(config, MOVED_BITS)


def value_segments(config: Config) -> data.StructLayout:
    """The same of a turn of queries, each of which has its own ``moved``."""
    return _segment(config, maximum_moves(config))


def _segment(config: Config, moved: ShapeLike) -> data.StructLayout:
    blocks = config.kv.channels // config.rows
    return data.StructLayout(
        {
            "access": Access,
            "query": range(turns(config)),
            "block": range(blocks),
            "blocks": bits_for(blocks),
            "moved": moved,
            "fresh": 1,
            "top": TOP_BITS,
        }
    )


def value_read(config: Config) -> data.StructLayout:
    """The first ``blocks`` row blocks of the sums of a column's query are wanted."""
    return data.StructLayout(
        {"query": range(turns(config)), "blocks": bits_for(config.kv.channels // config.rows)}
    )


divisor = data.StructLayout(
    {"maximum": signed(MAXIMUM_BITS), "total": TOTAL_BITS, "top": TOP_BITS, "special": 1, "error": 1}
)
"""What a query has found beside its value sums, whose exponent field is ``top``.

``special``: it had NaN or infinity; ``error``: a page or the queries of its list were damaged.
"""

value_sum = data.StructLayout({"sum": signed(SUM_BITS), "last": 1})
"""In units of 2^(top - 38), 0 where there are no weights; ``last`` closes the query's."""

quotient = data.StructLayout({"half": HALF_BITS, "empty": 1, "error": 1, "last": 1})
"""A float16; ``last`` closes the query's.

``empty``: the query saw no valid token; ``error``: a page or the queries of its list were damaged, which
makes the quotient anything.
"""
