"""Stream payloads of the attention engine."""

from amaranth.hdl import ShapeLike, signed
from amaranth.lib import data, enum
from amaranth.utils import bits_for

from golden.attention.widths import CONTEXT_BITS, SCORE_FRACTION, SUM_BITS, TOTAL_FRACTION
from golden.numbers.datatypes import LANE_BITS
from hw.attention.product_shape import most_parts
from hw.config import Config
from hw.kv.page_shape import entries
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, TOP_BITS, Coding, Side, page_format

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
    "divisor",
    "folded_beat",
    "folding_beat",
    "maximum_move",
    "offset_term",
    "operand_beat",
    "query_beat",
    "query_request",
    "quotient",
    "score_beat",
    "score_page",
    "scored_query",
    "softmax_state",
    "tf32",
    "value_read",
    "value_segment",
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


def _seen(config: Config) -> dict[str, ShapeLike]:
    """Queries of a page and the tokens that they see."""
    queries, tokens = config.kv.queries, config.kv.page_tokens
    return {
        "last_query": range(queries),
        "first": range(tokens),
        "last": range(-queries, tokens),
        "causal": bits_for(queries - 1),
    }


def attention_page(config: Config) -> data.StructLayout:
    """Keys or values of a page, for queries 0 to ``last_query`` of a KV head.

    Query n sees the tokens ``first`` to ``last + (n & causal)``, none where ``first`` is larger: with
    ``causal`` 0 all see the same; with 2^k - 1 they are 2^k successive tokens of a prompt, head after head.
    ``top`` is the exponent field that no step or offset of this side of the head exceeds. ``opens``: the
    first page of these queries; ``closes``: their last one; ``scores``: its scores, and with the last page
    the queries' states, are wanted. All but ``top`` and the format are the same for the keys and values of
    a page.
    """
    return data.StructLayout(
        {
            "form": page_format(config),
            **_seen(config),
            "top": TOP_BITS,
            "opens": 1,
            "closes": 1,
            "scores": 1,
        }
    )


def code_page(config: Config) -> data.StructLayout:
    """What of a page's format says how its codes lie; they are wanted once for each query."""
    form = page_format(config)
    return data.StructLayout(
        {
            "coding": Coding,
            "side": Side,
            "channels": form["channels"].shape,
            "last_query": range(config.kv.queries),
        }
    )


def dense_words(config: Config) -> data.StructLayout:
    """A word of dense codes, or ``both`` of two; ``last`` closes the page."""
    return data.StructLayout({"words": data.ArrayLayout(config.memory_bits, 2), "both": 1, "last": 1})


def chunk_codes(config: Config) -> data.ArrayLayout:
    """Codes of a chunk of the array, ``[row][lane]``, left-aligned in a byte each."""
    return data.ArrayLayout(data.ArrayLayout(LANE_BITS, config.lanes), config.rows)


def product(config: Config) -> data.StructLayout:
    """A vector of a query and the part of a page that it is multiplied by; the last one of a page ends it."""
    return data.StructLayout(
        {
            "page": attention_page(config),
            "query": range(config.kv.queries),
            "part": range(most_parts(config)),
            "last_part": 1,
            "last": 1,
        }
    )


def value_product(config: Config) -> data.StructLayout:
    """A product of values, and how many places the query's maximum has moved with its page."""
    return data.StructLayout({"product": product(config), "moved": MOVED_BITS})


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
    """The first ``16 * channels`` elements of a query are wanted; ``last``: nothing else of its list is."""
    channels = query_beat(config)["channels"].shape  # at least 1, at most the configuration's
    return data.StructLayout({"query": range(config.kv.queries), "channels": channels, "last": 1})


def operand_beat(config: Config) -> data.StructLayout:
    """Consecutive elements of a query in the base-2 domain; ``last`` closes those of a request."""
    return data.StructLayout({"elements": data.ArrayLayout(tf32, config.activation_lanes), "last": 1})


def folding_beat(config: Config) -> data.StructLayout:
    """Consecutive elements of a vector, each with its step and offset; ``last`` closes the vector.

    ``operand`` is an element of a query or a weight: 0, or 2^-32 to 2^16 in magnitude. ``step`` and
    ``offset`` are finite float16. The others are constant within a vector: ``top``, of values, is the
    exponent field that no step or offset of the head exceeds; codes are less ``2**centre``, or less nothing
    where ``centre`` is 0.
    """
    element = data.StructLayout({"operand": tf32, "step": HALF_BITS, "offset": HALF_BITS})
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
    """Consecutive activations of a vector; ``last`` closes it."""
    return data.StructLayout({"elements": data.ArrayLayout(tf32, config.activation_lanes), "last": 1})


offset_term = signed(TERM_BITS)
"""A vector's offset term: of keys in units of 2^-18, of values in units of 2^(top - 50)."""


def score_page(config: Config) -> data.StructLayout:
    """A page whose scores come.

    Queries and the tokens that they see are those of ``attention_page``. ``opens``: the first page of these
    queries; ``closes``: their last one, their states are wanted; all pages between have the same
    ``last_query``. ``scores``: its scores are wanted.
    """
    return data.StructLayout(
        {
            **_seen(config),
            "opens": 1,
            "closes": 1,
            "scores": 1,
        }
    )


def maximum_move(config: Config) -> data.StructLayout:
    """By how much a query's maximum has moved with a page; 62 stands for all larger distances as well."""
    return data.StructLayout({"query": range(config.kv.queries), "places": MOVED_BITS})


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
    """The weights of a query are wanted; ``last``: nothing else of this page will be."""
    return data.StructLayout({"query": range(config.kv.queries), "last": 1})


def weight_beat(config: Config) -> data.StructLayout:
    """Weights of consecutive tokens; ``last`` closes those of a request."""
    return data.StructLayout({"weights": data.ArrayLayout(tf32, config.activation_lanes), "last": 1})


score_beat = data.StructLayout({"score": signed(SCORE_BITS), "last": 1})
"""A score in units of 2^-12; ``last`` closes a query's of a page."""


def softmax_state(config: Config) -> data.StructLayout:
    """``maximum`` and ``total`` of a query, as of ``golden.attention.engine.State``."""
    return data.StructLayout(
        {"query": range(config.kv.queries), "maximum": signed(MAXIMUM_BITS), "total": TOTAL_BITS}
    )


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
    blocks = config.kv.channels // config.rows
    return data.StructLayout(
        {
            "access": Access,
            "query": range(config.kv.queries),
            "block": range(blocks),
            "blocks": bits_for(blocks),
            "moved": MOVED_BITS,
            "fresh": 1,
            "top": TOP_BITS,
        }
    )


def value_read(config: Config) -> data.StructLayout:
    """The first ``blocks`` row blocks of a query's sums are wanted."""
    return data.StructLayout(
        {"query": range(config.kv.queries), "blocks": bits_for(config.kv.channels // config.rows)}
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
