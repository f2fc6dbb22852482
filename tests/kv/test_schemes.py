"""KV schemes: the table by its names, the orders token by token, bits an element against pages."""

import re

import numpy as np
import pytest

import golden.kv
from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from golden.kv.schemes import SCHEMES, Scheme

pytestmark = pytest.mark.quick

KEYS, VALUES = Format("kivi", 2, "channel", 32), Format("kivi", 2, "token", 32)


NAME = re.compile(r"(kivi|native|kvtuner|atom|sign|ternary)_?k?(\d?)v?(\d?)(_\w+)?")
"""Rule, bits of keys and of values, and what differs from KIVI's order with 128 tokens."""
ORDERS = {
    "_paged": ("paged", 32, Format("native", 8, "token", 32)),
    "_paged128": ("paged", 128, Format("native", 8, "token", 32)),
    "_strict": ("strict", 0),
    "_r32": ("kivi", 32),
    None: ("kivi", 128),
}


def described(name: str) -> Scheme:
    """What a name stands for: KIVI's arrangement, but for VidKV's codes and systems that work by token."""
    rule, key, value, rest = NAME.fullmatch(name).groups()
    key = int(key or {"sign": 1, "ternary": 2}[rule])
    value = int(value or key)
    if rule in ("sign", "ternary"):
        return Scheme(Format(rule, key, "channel", 32), Format(rule, value, "channel", 32), "paged", 128)
    if rule in ("kvtuner", "atom"):
        return Scheme(Format(rule, key, "token", None), Format(rule, value, "token", None), "strict", 0)
    return Scheme(Format(rule, key, "channel", 32), Format(rule, value, "token", 32), *ORDERS[rest])


def test_every_scheme_is_what_its_name_says() -> None:
    assert {name: described(name) for name in SCHEMES} == SCHEMES
    four = "8432"
    families = {"kivi": four, "kvtuner": four, "atom": four, "native": "84321"}
    names = {rule + bits for rule, every in families.items() for bits in every} | {"sign", "ternary"}
    names |= {f"native{bits}{order}" for bits in four for order in ("_paged", "_paged128", "_strict")}
    assert set(SCHEMES) == names | {"native_k4v2", "native_k2v4", "native2_r32"}


@pytest.mark.parametrize("residual", [1, 7, 32, 128])
@pytest.mark.parametrize("order", ["kivi", "paged", "strict"])
def test_orders(order: str, residual: int) -> None:
    """Counted as the tokens come: keys leave R at a time or by pages, values of KIVI one by one."""
    scheme = Scheme(KEYS, VALUES, order, residual)
    keys, values = scheme.quantized(np.arange(300))
    packed_keys = packed_values = 0
    for token in range(300):
        seen = token + 1  # the token's own key and value are there when its query comes
        if order == "strict":
            packed_keys = packed_values = seen
        elif order == "paged":
            while seen - packed_keys - 32 >= residual:
                packed_keys += 32
            packed_values = packed_keys
        else:
            packed_keys += residual * (token - packed_keys == residual)
            packed_values += token - packed_values > residual
        assert (keys[token], values[token]) == (packed_keys, packed_values)


@pytest.mark.parametrize(
    ("key", "value", "page"),
    [
        (KEYS, VALUES, 32),
        (VALUES, VALUES, 1),
        (Format("native", 2, "channel", 64), Format("native", 2, "channel", 48), 192),
        (VALUES, Format("sign", 1, "channel", 16), 16),
        (Format("native", 2, "channel", None), VALUES, 32),
    ],
)
def test_tokens_that_are_quantised_together(key: Format, value: Format, page: int) -> None:
    assert Scheme(key, value, "paged", 32).page == page


@pytest.mark.parametrize(
    ("key", "value", "channels", "fits"),
    [
        (KEYS, VALUES, 64, True),
        (KEYS, VALUES, 48, False),
        (VALUES, KEYS, 48, False),
        (KEYS, KEYS, 48, True),
        (KEYS, Format("native", 4, "token", None), 48, True),
    ],
)
def test_heads_of_whole_groups(key: Format, value: Format, channels: int, fits: bool) -> None:
    assert Scheme(key, value).fits(channels) == fits


@pytest.mark.parametrize("name", SCHEMES)
def test_bits_are_those_of_pages(name: str) -> None:
    """Codes with their share of scales and zeros; trits fill the last byte of a page."""
    scheme = golden.kv.get(name)
    pages = [
        PageLayout(form, side, 32, 64).bits_per_element
        for form, side in ((scheme.key, "key"), (scheme.value, "value"))
    ]
    assert sum(pages) / 2 - 0.004 <= scheme.bits_per_element(64) <= sum(pages) / 2


def test_bits() -> None:
    """A float16 scale and zero for 32 elements; a head's 64 share theirs."""
    bits = {name: scheme.bits_per_element(64) for name, scheme in SCHEMES.items()}
    assert (bits["kivi2"], bits["native4"], bits["native_k4v2"]) == (3, 5, 4)
    assert (bits["atom4"], bits["sign"]) == (4.5, 1.5)
    assert bits["ternary"] == pytest.approx(1.6 + 0.5)


def test_bad_schemes() -> None:
    pair = (Format(), Format())
    with pytest.raises(ValueError, match=r"^order 'late' must be one of kivi, paged, strict$"):
        Scheme(*pair, "late")
    with pytest.raises(ValueError, match=r"^residual 0 must be at least 1$"):
        Scheme(*pair, "kivi", 0)
    for order in "paged", "strict":
        with pytest.raises(ValueError, match=r"^residual -1 must be at least 0$"):
            Scheme(*pair, order, -1)
        assert Scheme(*pair, order, 0).residual == 0
    assert (Scheme(*pair).order, Scheme(*pair).residual) == ("kivi", 128)
    with pytest.raises(ValueError, match=r"^scheme 'kivi5' must be one of kivi8, .*, sign$"):
        golden.kv.get("kivi5")
