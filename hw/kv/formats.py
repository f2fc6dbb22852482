"""What a page format says about codes: how they arise, and tables by coding."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, enum

from golden.kv.codings import CODINGS
from hw.config import Config
from hw.kv.payloads import Coding

__all__ = [
    "BITMOD_NAMES",
    "DENSE_BITS",
    "Kind",
    "by_bits",
    "by_coding",
    "half_range",
    "is_bitmod",
    "is_divided",
    "kind_of",
    "largest_code",
    "look_up",
]

DENSE_BITS = {Coding(number): coding.bits for number, coding in enumerate(CODINGS) if not coding.trits}
"""Codings but for trits, and their bits."""


BITMOD_NAMES = {Coding.BITS3: "bitmod3", Coding.BITS4: "bitmod4"}
"""BitMoD's data types by their codings."""


class Kind(enum.Enum, shape=2):
    """How codes arise."""

    AFFINE = 0
    SIGN = 1
    TERNARY = 2
    SYMMETRIC = 3


def kind_of(form: data.View) -> Value:
    """The kind of a page format."""
    by_magnitude = Mux(form.coding == Coding.BITS1, Kind.SIGN, Kind.SYMMETRIC)
    return Mux(form.coding == Coding.TRITS, Kind.TERNARY, Mux(form.magnitude, by_magnitude, Kind.AFFINE))


def is_bitmod(form: data.View, config: Config) -> Value:
    """Whether codes are of BitMoD's data types; their kind is ``SYMMETRIC``."""
    return form.bitmod if config.kv.bitmod else Const(0, 1)


def is_divided(kind: Value) -> Value:
    """Whether codes are quotients: affine or symmetric."""
    return (kind == Kind.AFFINE) | (kind == Kind.SYMMETRIC)


def by_coding(m: Module, coding: Value, table: dict[Coding, int], name: str) -> Signal:
    """A number for every coding in the table, 0 for the others."""
    chosen = Signal(range(max(table.values()) + 1), name=name)
    with m.Switch(coding):
        for case, number in table.items():
            with m.Case(case):
                m.d.comb += chosen.eq(number)
    return chosen


def look_up(m: Module, name: str, index: Value, table: Sequence[int], shape: ShapeLike) -> Signal:
    """An entry of a constant table; 0 beyond its end."""
    found = Signal(shape, name=name)
    with m.Switch(index):
        for entry in sorted({*table} - {0}):
            with m.Case(*(place for place, own in enumerate(table) if own == entry)):
                m.d.comb += found.eq(entry)
    return found


def by_bits(m: Module, coding: Value, number: Callable[[int], int], name: str) -> Signal:
    """A number that depends on the bits of a dense code, 0 for trits."""
    return by_coding(m, coding, {case: number(bits) for case, bits in DENSE_BITS.items()}, name)


def largest_code(bits: int) -> int:
    """The largest unsigned code."""
    return (1 << bits) - 1


def half_range(bits: int) -> int:
    """The unsigned code that stands for zero in a symmetric format."""
    return 1 << bits - 1
