"""KV pages: the worked example, a bit-by-bit reader, published bits per element, the paged cache."""

import re

import numpy as np
import pytest

from golden.kv import pages
from golden.kv.affine import Quantized
from golden.kv.formats import DECODES, Format
from golden.kv.pages import PageLayout
from golden.kv.rules import RULES
from golden.numbers import datatypes, trits

pytestmark = pytest.mark.quick

FORMATS = [
    *(
        Format(rule, bits, axis, 32)
        for rule in ("native", "kivi")
        for bits in (1, 2, 3, 4, 8)
        for axis in ("token", "channel")
    ),
    *(Format(rule, 4, "token", 64) for rule in RULES),
    *(
        Format(rule, 1 if "sign" in rule else 2, axis, 32)
        for rule in DECODES
        for axis in ("token", "channel")
    ),
    Format("native", 3, "channel", 16),
    Format("native", 4, "token", None),
    Format("native", 2, "channel", None),
]


def random_pages(layout: PageLayout, rng: np.random.Generator, count: int = 2) -> Quantized:
    shape = (count, layout.tokens, layout.channels)
    return layout.format.quantize((rng.standard_normal(shape) * 3).astype(np.float16))


def stored(code: int, form: Format) -> int:
    """The code of the data type with the value ``code - 2^(bits - 1)``."""
    if form.kind != "affine" or form.bits == 1:
        return code
    return datatypes.get(f"int{form.bits}_asym").values().tolist().index(code - (1 << form.bits - 1))


def slow_pack(layout: PageLayout, quantized: Quantized) -> bytes:
    """One page written field by field into one large integer, from the table in the docstring."""
    total, place = 0, 0

    def put(value: int, bits: int) -> None:
        nonlocal total, place
        total |= value << place
        place += bits

    wide = layout.format.rule in ("hqq", "kvquant")
    fields = ["scale", "zero"]
    if layout.format.rule in ("kvtuner_symmetric", "native_symmetric", *DECODES):
        fields = [] if layout.format.rule == "ternary_published" else ["scale"]
    for name in fields:
        for value in getattr(quantized, name).ravel():
            pattern = np.float32(value).view(np.uint32) if wide else np.float16(value).view(np.uint16)
            put(int(pattern), 32 if wide else 16)
    places = [(token, channel) for token in range(layout.tokens) for channel in range(layout.channels)]
    if layout.side == "key":
        places.sort(key=lambda at: (at[0] // 8, at[1] // 16, at[0], at[1]))
    else:
        places.sort(key=lambda at: (at[1] // 8, at[0] // 16, at[0], at[1]))
    codes = [stored(int(quantized.codes[at]), layout.format) for at in places]
    if layout.format.kind == "ternary":
        for first in range(0, len(codes), 5):
            put(trits.byte_of(tuple(codes[first : first + 5] + [0] * 5)[:5]), 8)
    else:
        for code in codes:
            put(code, layout.format.bits)
    return total.to_bytes((place + 7) // 8, "little")


@pytest.mark.parametrize("side", pages.SIDES)
@pytest.mark.parametrize(
    "form", FORMATS, ids=lambda form: f"{form.rule}-{form.bits}-{form.axis}-{form.group}"
)
def test_bytes_are_those_of_the_table(rng: np.random.Generator, form: Format, side: str) -> None:
    for tokens, channels in (32, 64), (64, 64):
        layout = PageLayout(form, side, tokens, channels)
        quantized = random_pages(layout, rng)
        packed = layout.pack(quantized)
        for page in range(2):
            expected = slow_pack(layout, Quantized(*(field[page] for field in quantized)))
            assert packed[page].tobytes() == expected
            assert len(expected) == layout.bytes
        restored = layout.unpack(packed)
        names = {name for name, _ in form.fields} | {"codes"}
        for name in names:
            np.testing.assert_array_equal(getattr(restored, name), getattr(quantized, name))
            assert getattr(restored, name).dtype == getattr(quantized, name).dtype


def test_worked_example() -> None:
    documented = pages.__doc__ or ""
    bytes_of_example = bytes.fromhex(
        "".join(re.findall(r"^    ((?:[0-9a-f]{2} )+(?=   ))", documented, re.M))
    )
    x = np.stack([np.tile(np.arange(4), 8), np.full(32, 0.5)], 1)
    layout = PageLayout(Format("native", 2, "channel", 32), "key", 32, 2, lanes=2)
    packed = layout.pack(layout.format.quantize(x))
    assert len(bytes_of_example) == layout.bytes == 24
    assert packed.tobytes() == bytes_of_example
    np.testing.assert_array_equal(layout.format.decode(layout.unpack(packed)), x)


@pytest.mark.parametrize(
    ("rule", "bits", "group", "expected"),
    [
        ("kivi", 2, 32, 3.0),
        ("kivi", 2, 64, 2.5),
        ("kivi", 2, 128, 2.25),
        ("kivi", 4, 32, 5.0),
        ("atom", 4, 128, 4.25),
        ("qserve", 4, 128, 4.25),
        ("kvtuner", 4, None, 4.25),
        ("kvtuner", 2, None, 2.25),
        ("mikv", 2, 64, 2.5),
        ("sign", 1, 32, 1.5),
        ("ternary", 2, 32, 2.1),
        ("ternary_published", 2, 32, 1.6),
        ("kvtuner_symmetric", 4, 128, 4.125),
        ("native", 3, 32, 4.0),
    ],
)
def test_bits_per_element(rule: str, bits: int, group: int | None, expected: float) -> None:
    """Published figures, and those of VidKV with dense codes; the last byte of trits adds below 0.002."""
    layout = PageLayout(Format(rule, bits, "token", group), "value", 32, 128)
    assert expected <= layout.bits_per_element < expected + 0.002


def test_bits_of_mixed_precision() -> None:
    """MiKV's Table 3 at 20 % important tokens, and VidKV at 1.5 bits for keys."""
    low = PageLayout(Format("mikv", 2, "token", 64), "key").bits_per_element
    shares = [
        0.2 * high + 0.8 * low
        for high in (
            16,
            *(PageLayout(Format("mikv", bits, "token", 64), "key").bits_per_element for bits in (8, 4)),
        )
    ]
    assert [*shares, low] == pytest.approx([5.2, 3.7, 2.9, 2.5])
    assert [round(100 * share / 16) for share in (*shares, low)] == [32, 23, 18, 16]
    signs = PageLayout(Format("sign", 1, "channel", 32), "key", 32, 64).bits_per_element
    pairs = PageLayout(Format("kivi", 2, "channel", 32), "key", 32, 64).bits_per_element
    assert (signs, pairs, (signs + pairs) / 2) == (1.5, 3.0, 2.25)


def test_unreadable_pages() -> None:
    layout = PageLayout(Format("ternary", 2, "channel", 32), "value", 32, 16)
    page = np.zeros(layout.bytes, np.uint8)
    page[-1] = 255
    with pytest.raises(ValueError, match=r"^byte 0xff does not stand for five trits$"):
        layout.unpack(page)
    with pytest.raises(ValueError, match=r"^page length 134 bytes must be 135$"):
        layout.unpack(page[:-1])
    quantized = random_pages(layout, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^codes reach 3, must be 0\.\.2$"):
        layout.pack(quantized._replace(codes=np.full_like(quantized.codes, 3)))
    with pytest.raises(ValueError, match=r"^codes of shape \(2, 16, 32\) must be \[\.\.\., 32, 16\]$"):
        layout.pack(quantized._replace(codes=quantized.codes.swapaxes(1, 2)))
    with pytest.raises(ValueError, match=r"^scale has shape \(2, 16\), must be \(2, 1, 16\)$"):
        layout.pack(quantized._replace(scale=quantized.scale[:, 0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "fp4"}, r"rule 'fp4' must be one of kivi, .*, bitmod4, table"),
        ({"rule": "sign", "bits": 2}, r"bits 2 of rule 'sign' must be one of 1"),
        ({"rule": "bitmod4", "bits": 3}, r"bits 3 of rule 'bitmod4' must be one of 4"),
        ({"rule": "native_symmetric", "bits": 1}, r"bits 1 of rule .* must be one of 2, 3, 4, 8"),
        ({"bits": True}, r"bits True of rule 'native' must be one of 1, 2, 3, 4, 8"),
        ({"bits": 4.0}, r"bits 4.0 of rule 'native' must be one of 1, 2, 3, 4, 8"),
        ({"group": 5}, r"group 5 must be 16..128, or None for the whole axis"),
        ({"group": 32.0}, r"group 32.0 must be 16..128, or None for the whole axis"),
        ({"group": True}, r"group True must be 16..128, or None for the whole axis"),
        ({"gamma": 7}, r"gamma 7 must be 0..255/256"),
        ({"bits": 6}, r"bits 6 of rule 'native' must be one of 1, 2, 3, 4, 8"),
        ({"axis": "head"}, r"axis 'head' must be one of token, channel"),
    ],
)
def test_illegal_formats(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Format(**arguments)


def test_illegal_layouts() -> None:
    with pytest.raises(ValueError, match=r"^page tokens 48 must be 32 or 64$"):
        PageLayout(Format(), "key", 48)
    with pytest.raises(ValueError, match=r"^side 'query' must be one of key, value$"):
        PageLayout(Format(), "query")
    with pytest.raises(ValueError, match=r"^channels 24 of a key page must be a multiple of 16$"):
        PageLayout(Format(group=None), "key", 32, 24)
    with pytest.raises(ValueError, match=r"^channel axis of 32 elements must be a multiple of the group 64$"):
        PageLayout(Format(axis="channel", group=64), "key")
