"""What the array takes the codes of a page for, and what follows from it."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from golden.numbers import datatypes
from golden.numbers.datatypes import DataType
from hw.attention.product_shape import is_folded
from hw.config import TABLE_TYPE, Config, ConfigurationError
from hw.kv.formats import BITMOD_NAMES, Kind, by_coding, kind_of
from hw.kv.payloads import SHORTEST_GROUP, Coding

__all__ = ["BITMOD_TYPES", "DATATYPES", "check", "format_of", "reach_of", "zero_point_of"]

DATATYPES = {
    Coding.BITS1: datatypes.get("binary01"),
    Coding.TRITS: datatypes.get("ternary"),
    **{Coding[f"BITS{bits}"]: datatypes.get(f"int{bits}_asym") for bits in (2, 3, 4, 8)},
}
"""Data type of the array for a coding; codes that count without a zero point are of the one without it."""

BITMOD_TYPES = {coding: datatypes.get(name) for coding, name in BITMOD_NAMES.items()}
"""The same of BitMoD's pages."""


def check(config: Config) -> None:
    """See that the array has all types of pages.

    Raises:
        ConfigurationError: it does not, or rows of BitMoD's pages may be of several groups.
    """
    wanted = [*DATATYPES.values(), *(BITMOD_TYPES.values() if config.kv.bitmod else ())]
    missing = sorted(entry.name for entry in wanted if entry not in config.datatypes)
    if missing:
        raise ConfigurationError(f"types must include {', '.join(missing)} for keys and values")
    if config.kv.bitmod and config.rows > SHORTEST_GROUP:
        raise ConfigurationError(
            f"rows {config.rows} must be at most {SHORTEST_GROUP} for attention with kv.bitmod"
        )


def _by_datatype(
    m: Module, form: data.View, name: str, number: Callable[[DataType], int], config: Config
) -> Value:
    """A number that depends on the data type."""

    def found(types: dict[Coding, DataType], own: str) -> Signal:
        return by_coding(m, form.coding, {coding: number(entry) for coding, entry in types.items()}, own)

    plain: Value = found(DATATYPES, name)
    if config.kv.bitmod:
        plain = Mux(form.bitmod, found(BITMOD_TYPES, f"bitmod_{name}"), plain)
    return Mux(form.table, number(TABLE_TYPE), plain) if config.page_tables else plain


def format_of(m: Module, form: data.View, target: data.View, config: Config) -> None:
    """How codes become terms: drive a ``hw.payloads.matrix_format``."""
    fields: dict[str, tuple[Value, Callable[[DataType], int]]] = {
        "decoder": (target.decoder, lambda entry: config.decoders.index(entry.decoder)),
        "last_term": (target.last_term, lambda entry: entry.term_count - 1),
        "programming": (target.programming, lambda e: e.programming[0] + 2 * e.programming[1]),
    }
    for place in range(len(DATATYPES[Coding.BITS4].special_terms)):
        for name in ("negative", "select"):
            fields[f"special_{place}_{name}"] = (
                target.specials[place][name],
                lambda e, p=place, n=name: getattr(e.special_terms[p], n),
            )
    for name, (part, number) in fields.items():
        m.d.comb += part.eq(_by_datatype(m, form, name, number, config))


def reach_of(m: Module, form: data.View, config: Config) -> Value:
    """Bound of a contribution, as the rescaler counts it for short vectors.

    Folded steps count as powers of two and their codes have no zero point; others come with offsets.
    """

    def bound(name: str, scaled: bool, exact: bool) -> Value:
        def number(entry: DataType) -> int:
            centred = exact and entry.asymmetric
            own = datatypes.get(entry.name.removesuffix("_asym")) if centred else entry
            return config.attention_reach(own, scaled)

        return _by_datatype(m, form, f"reach_{name}", number, config)

    folded, symmetric, own = (
        bound("folded", False, True),
        bound("symmetric", True, True),
        bound("own", True, False),
    )
    return Mux(is_folded(form), folded, Mux(kind_of(form) == Kind.SYMMETRIC, symmetric, own))


def zero_point_of(m: Module, form: data.View) -> Value:
    """What is added to a code that is not folded; nothing to BitMoD's and a table's, which are symmetric."""
    number = by_coding(
        m,
        form.coding,
        {coding: (1 << entry.bits - 1) * entry.asymmetric for coding, entry in DATATYPES.items()},
        "zero_point",
    )
    return Mux(is_folded(form) | (kind_of(form) == Kind.SYMMETRIC), 0, number)
