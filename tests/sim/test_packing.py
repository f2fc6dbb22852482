"""Payload packing against Amaranth's own constants, which are the reference."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum
from hypothesis import given
from hypothesis import strategies as st

from sim.example import Beat, Kind
from sim.packing import codec, pack, unpack


class Level(enum.Enum, shape=signed(3)):
    LOW = -4
    HIGH = 3


NESTED = data.StructLayout(
    {
        "beats": data.ArrayLayout(Beat, 2),
        "level": Level,
        "flag": 1,
        "raw": unsigned(70),
        "grid": data.ArrayLayout(data.ArrayLayout(signed(7), 2), 3),
    }
)

BEATS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(list(Kind)),
        "offset": st.integers(-512, 511),
        "lanes": st.lists(st.integers(-32, 31), min_size=4, max_size=4),
    }
)
PAIRS = st.lists(st.integers(-64, 63), min_size=2, max_size=2)
NESTED_VALUES = st.fixed_dictionaries(
    {
        "beats": st.lists(BEATS, min_size=2, max_size=2),
        "level": st.sampled_from(list(Level)),
        "flag": st.integers(0, 1),
        "raw": st.integers(0, 2**70 - 1),
        "grid": st.lists(PAIRS, min_size=3, max_size=3),
    }
)


@given(NESTED_VALUES)
def test_nested_matches_amaranth(value: dict[str, Any]) -> None:
    bits = pack(NESTED, value)
    assert bits == NESTED.const(value).as_bits()
    assert unpack(NESTED, bits) == value


@given(st.integers(0, 2**36 - 1))
def test_every_bit_pattern_survives(bits: int) -> None:
    value = unpack(Beat, bits)
    assert pack(Beat, value) == bits
    assert pack(Beat, bits) == bits


def test_numpy_values() -> None:
    layout = data.ArrayLayout(signed(5), 300)
    values = np.arange(300) % 32 - 16
    assert unpack(layout, pack(layout, values)) == values.tolist()


def test_union() -> None:
    union = data.UnionLayout({"wide": 16, "narrow": signed(4)})
    assert pack(union, {"narrow": -1}) == 15
    assert unpack(union, 0x801F) == {"wide": 0x801F, "narrow": -1}


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        (unsigned(4), 16, r"16 is not in 0\.\.15"),
        (unsigned(4), -1, r"-1 is not in 0\.\.15"),
        (signed(4), 8, r"8 is not in -8\.\.7"),
        (Beat, {"kind": Kind.IDLE, "offset": 0}, r"fields missing or unknown: lanes"),
        (Beat, {"kind": 0, "offset": 512, "lanes": [0] * 4}, r"field offset: 512 is not in -512\.\.511"),
        (Beat, {"kind": 0, "offset": 0, "lanes": [0] * 3}, r"field lanes: 3 elements where 4 belong"),
        (Beat, 1 << 36, r"0x1000000000 does not fit 36 bits"),
    ],
)
def test_rejects(shape: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        pack(shape, value)


def test_unused_code_stays_a_number() -> None:
    assert codec(Kind).unpack(3) == 3
    assert codec(Kind).unpack(2) is Kind.LAST
