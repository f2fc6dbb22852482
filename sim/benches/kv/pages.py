"""Pages of keys and values for the benches of ``hw.kv``: float16 elements of every kind, and golden pages."""

import itertools
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.kv import codings
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config
from hw.kv.payloads import HALF_BITS, SHORTEST_GROUP, Axis, Coding, Side

__all__ = [
    "FORMATS",
    "KINDS",
    "PLACES",
    "RULES",
    "beats_of",
    "elements_of",
    "fitting_groups",
    "form_fields",
    "page_fields",
    "parts_of",
    "random_elements",
    "random_layout",
    "tied_elements",
    "words_of",
]

RULES = ("native", "native_symmetric", "sign", "ternary_scaled")
"""Rules that the hardware has."""

FORMATS = (
    *(("native", bits) for bits in (1, 2, 3, 4, 8)),
    *(("native_symmetric", bits) for bits in (2, 3, 4, 8)),
    ("sign", 1),
    ("ternary_scaled", 2),
)
"""Rules with the bits of their codes."""

_HALF_SPECIALS = (0.0, -0.0, 2.0**-24, -(2.0**-24), 2.0**-14, 1.0, -1.0, 65504.0, -65504.0)


PLACES = tuple(itertools.product(SIDES, ("token", "channel")))
"""Sides and axes."""


def form_fields(layout: PageLayout) -> dict[str, Any]:
    """A page's format as the payload ``page_format``."""
    form = layout.format
    return {
        "coding": Coding(codings.CODINGS.index(form.coding)),
        "magnitude": form.kind in ("sign", "bitmod", "table") or form.signed,
        "side": Side[layout.side.upper()],
        "axis": Axis[form.axis.upper()],
        "group": (form.group or 0).bit_length() - SHORTEST_GROUP.bit_length(),
        "channels": layout.channels // SHORTEST_GROUP,
        "gamma": round(form.gamma * 256),
    }


def page_fields(config: Config, layout: PageLayout) -> dict[str, Any]:
    """A page's format, of any rule, as the payload ``page_format`` of a configuration."""
    kind = layout.format.kind
    return (
        form_fields(layout)
        | ({"bitmod": kind == "bitmod"} if config.kv.bitmod else {})
        | ({"table": kind == "table"} if config.page_tables else {})
    )


def random_layout(
    config: Config,
    rule: str | None = None,
    bits: int | None = None,
    place: tuple[str, str] | None = None,
    short: bool = False,
) -> PageLayout:
    """A page of any format that fits the hardware; ``place`` is its side and axis."""
    rule = rule or random.choice(RULES)
    bits = bits or random.choice([bits for name, bits in FORMATS if name == rule])
    side, axis = place or random.choice(PLACES)
    unit = max(SHORTEST_GROUP, config.lanes if side == "key" else config.rows)
    channels = unit * (1 if short else random.randint(1, config.kv.channels // unit))
    group = random.choice(fitting_groups(config, axis, channels))
    form = Format(rule, bits, axis, group, random.choice((0.5, 0.7, random.randrange(256) / 256)))
    return PageLayout(form, side, config.kv.page_tokens, channels, config.rows, config.lanes)


def fitting_groups(config: Config, axis: str, channels: int) -> list[int]:
    """Lengths of groups that divide their axis, and whose scales fill words of the memory."""
    tokens, numbers = config.kv.page_tokens, config.memory_bits // HALF_BITS
    length = channels if axis == "token" else tokens
    groups = (16, 32, 64, 128)
    return [group for group in groups if length % group == 0 and tokens * channels // group % numbers == 0]


def _normal(shape: tuple[int, int]) -> NDArray:
    return np.random.default_rng(random.getrandbits(32)).standard_normal(shape)


def _outlier(shape: tuple[int, int]) -> NDArray:
    x = _normal(shape)
    x[random.randrange(shape[0]), random.randrange(shape[1])] = random.choice((1000.0, -3e4))
    return x * 2.0 ** random.randint(-12, 1)


def _constant(shape: tuple[int, int]) -> NDArray:
    """Constant along a random axis, sometimes everywhere."""
    x = _normal(shape) * 2.0 ** random.randint(-20, 10)
    return np.broadcast_to(random.choice((x[:1], x[:, :1], x[:1, :1])), shape)


def _alternating(shape: tuple[int, int]) -> NDArray:
    """Largest and smallest in turn."""
    signs = 1 - 2 * (np.indices(shape).sum(0) & 1)
    return signs * random.choice((65504.0, 1.0, 2.0**-24, 2.0**-14))


def _bits(shape: tuple[int, int]) -> NDArray:
    """Any finite float16."""
    patterns = np.random.default_rng(random.getrandbits(32)).integers(0, 1 << 16, shape, np.uint16)
    x = patterns.view(np.float16)
    return np.where(np.isfinite(x), x, np.float16(0))


def _subnormal(shape: tuple[int, int]) -> NDArray:
    return np.rint(_normal(shape) * random.choice((1, 5, 300))) * 2.0**-24


def _specials(shape: tuple[int, int]) -> NDArray:
    generator = np.random.default_rng(random.getrandbits(32))
    return generator.choice(np.array(_HALF_SPECIALS[: random.randint(1, len(_HALF_SPECIALS))]), shape)


def _offset(shape: tuple[int, int]) -> NDArray:
    """A narrow range far from zero."""
    return random.choice((-1, 1)) * 2.0 ** random.randint(0, 14) * (1 + _normal(shape) / 256)


def _ties(shape: tuple[int, int]) -> NDArray:
    """Halfway between two codes of some width, but for a minimum one unit off zero."""
    top = random.choice((1, 3, 7, 15, 255))
    generator = np.random.default_rng(random.getrandbits(32))
    x = generator.integers(0, top, shape) + 0.5
    place = np.indices(shape).sum(0) % SHORTEST_GROUP  # every group has both extremes
    x[place == 0], x[place == 1] = random.choice((-1, 0, 1)) * 2.0**-24, top
    return x


KINDS = {
    "normal": _normal,
    "outlier": _outlier,
    "constant": _constant,
    "alternating": _alternating,
    "any bits": _bits,
    "subnormal": _subnormal,
    "specials": _specials,
    "offset": _offset,
    "ties": _ties,
}
"""Elements [P, D] by what is hard about them."""


def random_elements(layout: PageLayout, kind: str) -> NDArray[np.float16]:
    """Elements [P, D] of a kind."""
    return KINDS[kind]((layout.tokens, layout.channels)).astype(np.float16)


def tied_elements(layout: PageLayout, sign: int, off: int = 0) -> NDArray[np.float16]:
    """Elements [P, D] that lie halfway between two codes, all such places of an affine or symmetric format.

    Every group has both its extremes, which leave the scale a power of two. Affine groups lie on one side of
    zero, which ``sign`` says; symmetric ones on both. Minima of 0 are ``off`` by so many times 2**-24, which
    leaves nothing quite halfway.
    """
    form = layout.format
    top = (1 << form.bits - 1) - 1 if form.signed else (1 << form.bits) - 1
    halves = np.arange(top) + 0.5
    low = -top if form.signed or sign < 0 else 0
    ties = np.concatenate([-halves, halves]) if form.signed else low + halves
    x = np.resize(ties, (layout.tokens, layout.channels))
    place = np.indices(x.shape).sum(0) % SHORTEST_GROUP
    x[place == 0], x[place == 1] = low, low + (2 * top if form.signed else top)
    x *= 2.0 ** random.randint(-6, 6)
    x[place == 0] += off * 2.0**-24
    return x.astype(np.float16)


def elements_of(x: NDArray[np.float16], lanes: int) -> list[dict[str, Any]]:
    """Beats of a page's elements."""
    rows = np.ascontiguousarray(x).view(np.uint16).reshape(-1, lanes).tolist()
    return [{"elements": row, "last": number == len(rows) - 1} for number, row in enumerate(rows)]


def beats_of(layout: PageLayout, x: NDArray[np.float16], lanes: int) -> list[dict[str, Any]]:
    """Beats of codes that a page becomes, its metadata first."""
    page = layout.pack(layout.format.quantize(x))
    metadata, packed = np.split(page, [layout.metadata_bytes])
    codes = codings.unpack(packed, layout.format.coding, layout.elements)
    coding = form_fields(layout)["coding"]
    result = [
        {"codes": row, "coding": number_format, "last": False}
        for values, number_format in ((metadata, Coding.BITS8), (codes, coding))
        for row in values.reshape(-1, lanes).tolist()
    ]
    result[-1]["last"] = True
    return result


def words_of(page: NDArray[np.uint8], width: int) -> list[int]:
    """Words of ``width`` bits of a page's bytes, the last one filled up with zeros."""
    size = width // 8
    padded = np.pad(page, (0, -len(page) % size)).tobytes()
    return [int.from_bytes(padded[start : start + size], "little") for start in range(0, len(padded), size)]


def parts_of(layout: PageLayout, page: NDArray[np.uint8], width: int) -> tuple[list[int], list[list[int]]]:
    """Words of a page's metadata, and its codes as they are stored, ``width`` a beat."""
    metadata, packed = np.split(page, [layout.metadata_bytes])
    codes = codings.unpack(packed, layout.format.coding, layout.elements)
    return words_of(metadata, width), codes.reshape(-1, width).tolist()
