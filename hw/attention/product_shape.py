"""Sizes of a page's products: what a query's vectors and the outputs that each of them meets are.

Where a group consists of outputs of the array (keys by channel, values by token), its step and offset are
folded into the vector, and each group is a product by itself, a part of the page. Elsewhere a query has one
product with the page, in groups of its inputs that have steps and offsets of their own.
"""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import bits_for, exact_log2

from hw.config import Config
from hw.kv.formats import Kind, by_bits, kind_of
from hw.kv.page_shape import channels, group_length, in_groups
from hw.kv.payloads import SHORTEST_GROUP, Axis, Side

__all__ = [
    "blocks_of",
    "centre_of",
    "halvings_of",
    "inputs_of",
    "is_folded",
    "last_part_of",
    "most_outputs",
    "most_parts",
    "of_columns",
    "outputs_of",
]


def most_outputs(config: Config) -> int:
    """Most outputs of a page, and its most inputs."""
    return max(config.kv.channels, config.kv.page_tokens)


def most_parts(config: Config) -> int:
    """Most products of a query with a page."""
    return most_outputs(config) // SHORTEST_GROUP


def of_columns(name: str, config: Config) -> list[str]:
    """Names of what there is of every token column."""
    return [f"{name}_{column}" for column in range(config.columns)] if config.columns > 1 else [name]


def is_folded(form: data.View) -> Value:
    """Whether steps and offsets belong to inputs."""
    return (form.side == Side.KEY) ^ (form.axis == Axis.TOKEN)


def inputs_of(form: data.View, config: Config) -> Value:
    """Length of a vector."""
    return Mux(form.side == Side.KEY, channels(form), config.kv.page_tokens)


def outputs_of(form: data.View, config: Config) -> Value:
    """Outputs of all products of a query."""
    return Mux(form.side == Side.KEY, config.kv.page_tokens, channels(form))


def last_part_of(form: data.View, config: Config) -> Value:
    """Number of the last product of a query."""
    return Mux(is_folded(form), in_groups(form, outputs_of(form, config)) - 1, 0)[
        : bits_for(most_parts(config) - 1)
    ]


def blocks_of(form: data.View, config: Config) -> Value:
    """Row blocks of a product."""
    outputs = Mux(is_folded(form), group_length(form), outputs_of(form, config))
    return outputs[exact_log2(config.rows) : bits_for(most_outputs(config))]


def halvings_of(form: data.View, config: Config) -> Value:
    """How often the array's longest group is halved for those that a vector is aligned in."""
    longest = exact_log2(config.group // SHORTEST_GROUP)
    return Mux(is_folded(form), 0, longest - form.group)


def centre_of(m: Module, form: data.View, name: str) -> Signal:
    """Codes are less 2 to this, or less nothing where it is 0."""
    centre = by_bits(m, form.coding, lambda bits: bits - 1, f"{name}_of_bits")
    found = Signal.like(centre, name=name)
    m.d.comb += found.eq(Mux(kind_of(form) == Kind.AFFINE, centre, Const(0)))
    return found
