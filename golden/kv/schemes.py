"""KV schemes: formats of keys and values that belong together, one table for command lines and reports.

A scheme is two formats, of keys and of values, and an order: which of a layer's tokens the query of token t
(the first is 0) finds quantised. It finds the others as they are, or in the scheme's window format: each
token quantised by itself when it is appended, its own included.

* ``kivi``: keys before t // R * R and values before t - R, the decode order of KIVI's code, which packs R
  keys at a time and values one by one;
* ``paged``: tokens before (t + 1 - R) // P * P, whole pages that left the window (``golden.kv.cache``);
* ``strict``: all, its own included. A group along tokens then also has up to P - 1 later tokens, and nothing
  is kept: the hardest test.

R is the scheme's residual and P its page, the tokens of a group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.cache import PagedCache
from golden.kv.formats import Format

__all__ = ["ORDERS", "SCHEMES", "WINDOW", "Scheme", "get"]

ORDERS = ("kivi", "paged", "strict")


@dataclass(frozen=True)
class Scheme:
    """How a layer's keys and values are quantised.

    Attributes:
        key, value: formats of the two sides.
        order: one of ``ORDERS``.
        residual: newest tokens R that stay as they are; none where the order is "strict".
        window_format: format of the tokens that are not quantised yet, axis "token"; None: as they are.

    Raises:
        ValueError: no such order, a negative residual, or a window format by channel.
    """

    key: Format
    value: Format
    order: str = "kivi"
    residual: int = 128
    window_format: Format | None = None

    def __post_init__(self) -> None:
        if self.window_format is not None and self.window_format.axis != "token":
            raise ValueError(f"axis {self.window_format.axis!r} of the window's format must be 'token'")
        if self.order not in ORDERS:
            raise ValueError(f"order {self.order!r} must be one of {', '.join(ORDERS)}")
        if self.residual < (self.order == "kivi"):
            raise ValueError(f"residual {self.residual} must be at least {int(self.order == 'kivi')}")

    @property
    def page(self) -> int:
        """Tokens P that are quantised together."""
        sides = (self.key, self.value)
        return lcm(*(form.group or 32 for form in sides if form.axis == "channel"), 1)

    def fits(self, channels: int) -> bool:
        """Whether heads of so many elements have whole groups."""
        sides = (self.key, self.value, *([self.window_format] if self.window_format else []))
        return all(form.axis == "channel" or channels % (form.group or channels) == 0 for form in sides)

    def quantized(self, times: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """How many of the oldest keys, and of the oldest values, the queries of tokens ``times`` find so."""
        if self.order == "strict":
            return times + 1, times + 1
        if self.order == "kivi":
            return times // self.residual * self.residual, np.maximum(times - self.residual, 0)
        leaving = np.maximum(times + 1 - self.residual, 0) // self.page * self.page
        return leaving, leaving

    def compress(
        self,
        keys: ArrayLike,
        values: ArrayLike,
        page_tokens: int = 32,
        rows: int = 8,
        lanes: int = 16,
        free: Iterable[int] | None = None,
    ) -> PagedCache:
        """Cache keys and values in pages, the newest tokens and what fills no page as they are.

        More can be appended.

        Args:
            keys, values: real [H, T, D], rounded to float16.
            page_tokens: tokens of a page, 32 or 64.
            rows, lanes: of the array that reads the pages (``golden.kv.pages``).
            free: numbers of the pages that may be taken; None: as many as are needed.

        Raises:
            ValueError: a shape that does not fit, or an element that is not finite in float16.
        """
        if np.ndim(keys) != 3:
            raise ValueError(f"key of shape {np.shape(keys)} must be [H, T, D]")
        heads, _, channels = np.shape(keys)
        cache = PagedCache(
            self.key,
            self.value,
            heads,
            channels,
            page_tokens,
            self.residual,
            free,
            rows,
            lanes,
            self.window_format,
        )
        cache.append(keys, values)
        return cache

    def bits_per_element(self, channels: int) -> float:
        """Bits of a quantised element, its share of scales and zeros included, mean of keys and values."""
        return sum(_bits(form, channels) for form in (self.key, self.value)) / 2


def _bits(form: Format, channels: int) -> float:
    size = form.group or (channels if form.axis == "token" else 32)
    numbers = sum(8 * kind.itemsize for _, kind in form.fields) + form.selector_bits
    return form.coding.packed_bits + numbers / size


def _pair(rule: str, bits: int, value_bits: int | None = None) -> tuple[Format, Format]:
    """KIVI's arrangement: keys in groups of 32 tokens of a channel, values of 32 channels of a token."""
    return Format(rule, bits, "channel", 32), Format(rule, value_bits or bits, "token", 32)


def _per_token(rule: str, bits: int) -> Scheme:
    """Keys and values of a token in one group a head, quantised at once."""
    return Scheme(Format(rule, bits, "token", None), Format(rule, bits, "token", None), "strict", 0)


def _per_channel(rule: str, bits: int) -> Scheme:
    """VidKV's arrangement: keys and values in groups of 32 tokens of a channel."""
    return Scheme(Format(rule, bits, "channel", 32), Format(rule, bits, "channel", 32), "paged", 128)


WINDOW = Format("native", 8, "token", 32)
"""Of the paged schemes that attention reads without any float16: one scale and minimum for 32 channels, as
values have them, since a token must be complete by itself."""


def _paged(bits: int, residual: int) -> Scheme:
    return Scheme(*_pair("native", bits), "paged", residual, WINDOW)


SCHEMES: dict[str, Scheme] = {
    **{f"kivi{bits}": Scheme(*_pair("kivi", bits)) for bits in (8, 4, 3, 2)},
    **{f"native{bits}": Scheme(*_pair("native", bits)) for bits in (8, 4, 3, 2, 1)},
    **{f"native{bits}_paged": _paged(bits, 32) for bits in (8, 4, 3, 2)},
    **{f"native{bits}_paged128": _paged(bits, 128) for bits in (8, 4, 3, 2)},
    **{f"native{bits}_strict": Scheme(*_pair("native", bits), "strict", 0) for bits in (8, 4, 3, 2)},
    "native_k4v2": Scheme(*_pair("native", 4, 2)),
    "native_k2v4": Scheme(*_pair("native", 2, 4)),
    "native2_r32": Scheme(*_pair("native", 2), "kivi", 32),
    **{f"kvtuner{bits}": _per_token("kvtuner", bits) for bits in (8, 4, 3, 2)},
    **{f"atom{bits}": _per_token("atom", bits) for bits in (8, 4, 3, 2)},
    "ternary": _per_channel("ternary", 2),
    "sign": _per_channel("sign", 1),
}
"""Every scheme by its name; the number is the bits of a code."""


def get(name: str) -> Scheme:
    """Look a scheme up.

    Raises:
        ValueError: no such scheme.
    """
    if name not in SCHEMES:
        raise ValueError(f"scheme {name!r} must be one of {', '.join(SCHEMES)}")
    return SCHEMES[name]
