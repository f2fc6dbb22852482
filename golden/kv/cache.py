"""Paged KV cache of one layer: pages that lie anywhere, a page table, and a window of recent float16 tokens.

Tokens enter the window of their side. As soon as it holds P tokens more than ``residual``, its oldest P are
quantised and written to a free page, and never touched again: nothing is quantised twice. A page belongs to
one KV head and one side, so that keys and values can have different formats:

    table[side, head, n] = number of the page with tokens n * P .. n * P + P - 1 of that head

Pages are taken as they are needed, so that a cache grows with its tokens; a list of free pages limits it.

With a window format, attention reads the tokens of the window quantised too, each by itself as it is
appended, in pages of that format. The float16 copies are read only when a page closes.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from golden.kv import magnitudes
from golden.kv.affine import Quantized, is_integer
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from golden.kv.pool import PagePool

__all__ = ["PagedCache"]


class PagedCache:
    """Keys and values of H heads.

    Args:
        key, value: formats of the two sides.
        heads: H, number of KV heads.
        channels: D, elements of a head.
        page_tokens: P, 32 or 64.
        residual: newest tokens that always stay float16, 0 or more.
        free: numbers of the free pages of a side, in the order in which they are taken; None: as many as are
            needed, from 0 up.
        rows, lanes: of the array that reads the pages (``golden.kv.pages``).
        window_format: format in which attention reads the window, axis "token"; None: as it is.

    Attributes:
        layouts: how the pages of "key" and "value" are laid out.
        top: int64 [2 sides, H], the largest exponent field of any step and offset of any token so far, in
            pages or in the window's format: 1..31. It never falls.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        key: Format,
        value: Format,
        heads: int,
        channels: int = 128,
        page_tokens: int = 32,
        residual: int = 0,
        free: Iterable[int] | None = None,
        rows: int = 8,
        lanes: int = 16,
        window_format: Format | None = None,
    ) -> None:
        if heads < 1 or residual < 0:
            raise ValueError(f"heads {heads} must be at least 1 and residual {residual} at least 0")
        self.heads, self.channels, self.residual = heads, channels, residual
        formats = dict(zip(SIDES, (key, value), strict=True))
        self.layouts = {
            side: PageLayout(formats[side], side, page_tokens, channels, rows, lanes) for side in SIDES
        }
        if window_format is not None and window_format.axis != "token":
            raise ValueError(f"axis {window_format.axis!r} of the window's format must be 'token'")
        self.window_format = window_format
        self._window_layouts = [
            PageLayout(form, side, page_tokens, channels, rows, lanes)
            for form, side in product([window_format] if window_format else [], SIDES)
        ]
        self.top = np.ones((len(SIDES), heads), np.int64)
        numbers = None if free is None else list(free)
        self._pools = {side: PagePool(layout.bytes, numbers) for side, layout in self.layouts.items()}
        self._table: dict[str, list[list[int]]] = {side: [] for side in SIDES}
        self._window = {side: np.zeros((heads, 0, channels), np.float16) for side in SIDES}

    @property
    def page_tokens(self) -> int:
        """Tokens P of a page."""
        return self.layouts["key"].tokens

    @property
    def tokens(self) -> int:
        """Tokens in pages and window."""
        return len(self._table["key"]) * self.page_tokens + self._window["key"].shape[1]

    @property
    def table(self) -> NDArray[np.int32]:
        """Page numbers, int32 [2 sides, H, pages of a head]."""
        blocks = [np.array(self._table[side], np.int32).reshape(-1, self.heads) for side in SIDES]
        return np.stack(blocks).swapaxes(1, 2)

    @property
    def bits_per_element(self) -> float:
        """Bits in memory for each cached element: pages with their metadata, and the float16 window.

        With a window format its pages count too, the unfilled places of the last one included.
        """
        paged = sum(len(self._table[side]) * self.heads * self.layouts[side].bytes for side in SIDES)
        window = sum(self._window[side].nbytes for side in SIDES)
        blocks = -(-self._window["key"].shape[1] // self.page_tokens)
        window += sum(blocks * self.heads * layout.bytes for layout in self._window_layouts)
        return 8 * (paged + window) / max(2 * self.heads * self.tokens * self.channels, 1)

    def append(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Add tokens to every head, and quantise what leaves the window.

        Args:
            keys, values: real [H, n, D], rounded to float16.

        Raises:
            ValueError: a shape that does not fit, an element that is not finite in float16, or no free page;
                nothing is added then.
        """
        new = {side: magnitudes.finite_half(x) for side, x in zip(SIDES, (keys, values), strict=True)}
        for side, x in new.items():
            if x.ndim != 3 or x.shape != (self.heads, new["key"].shape[1], self.channels):
                raise ValueError(f"{side} of shape {x.shape} must be [{self.heads}, n, {self.channels}]")
        window = {side: np.concatenate([self._window[side], x], 1) for side, x in new.items()}
        blocks = max(window["key"].shape[1] - self.residual, 0) // self.page_tokens
        self._pools["key"].check(blocks * self.heads)
        leaving = blocks * self.page_tokens
        shape = (self.heads, blocks, self.page_tokens, self.channels)
        quantized = {
            side: layout.format.quantize(window[side][:, :leaving].reshape(shape))
            for side, layout in self.layouts.items()
            if blocks
        }
        packed = {side: self.layouts[side].pack(own) for side, own in quantized.items()}
        for number, side in enumerate(SIDES):
            if side in packed:
                self._write(side, packed[side])
                self._raise_top(number, self.layouts[side].format, quantized[side])
            if self.window_format is not None and new[side].size:
                self._raise_top(number, self.window_format, self.window_format.quantize(new[side]))
        self._window = {side: x[:, leaving:] for side, x in window.items()}

    def pages(self, side: str) -> Quantized:
        """Read all pages of a side: codes [H, pages, P, D] and their metadata [H, pages, ..]."""
        numbers = self.table[SIDES.index(side)]
        return self.layouts[side].unpack(self._pools[side].read(numbers))

    def window(self, side: str) -> NDArray[np.float16]:
        """Tokens that are in no page yet, float16 [H, n, D]."""
        return self._window[side]

    def window_pages(self, side: str) -> Quantized:
        """The window in pages of its format: codes [H, ceil(n / P), P, D] and their metadata.

        The last page is filled up with the newest token.

        Raises:
            ValueError: there is no window format.
        """
        if self.window_format is None:
            raise ValueError("cache must have a window format")
        window = self._window[side]
        padded = np.pad(window, ((0, 0), (0, -window.shape[1] % self.page_tokens), (0, 0)), "edge")
        return self.window_format.quantize(padded.reshape(self.heads, -1, self.page_tokens, self.channels))

    def seen_window(self, side: str) -> NDArray[np.float32]:
        """The window as attention reads it, float32 [H, n, D]."""
        window = self._window[side]
        if self.window_format is None or not window.size:
            return window.astype(np.float32)
        return self.window_format.decode(self.window_format.quantize(window))

    def decompress(self, decode: str = "scaled") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keys and values, float32 [H, T, D], as attention reads them: steps times codes plus offsets.

        Without a window format the window is as it is.

        Args:
            decode: of the pages: "scaled", or "published" as the system's own code does (``Format.decode``).

        Raises:
            ValueError: another decoding.
        """
        keys, values = (
            np.concatenate(
                [_joined(self.layouts[side].format.decode(self.pages(side), decode)), self.seen_window(side)],
                1,
            )
            for side in SIDES
        )
        return keys, values

    def to_bytes(self) -> bytes:
        """A safetensors file: pages of both sides in the order of the table, the table, and the windows.

        The metadata ``kvloom`` is a JSON object with the formats and sizes that ``from_bytes`` needs.
        """
        table = self.table
        arrays: dict[str, NDArray] = {"table": table, "top": self.top}
        for number, side in enumerate(SIDES):
            arrays[f"{side}_pages"] = self._pools[side].read(table[number])
            arrays[f"{side}_window"] = self._window[side]
        layout = self.layouts["key"]
        about = {
            "formats": {side: asdict(self.layouts[side].format) for side in SIDES},
            "window_format": None if self.window_format is None else asdict(self.window_format),
            "residual": self.residual,
            **{name: getattr(layout, name) for name in ("tokens", "channels", "rows", "lanes")},
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return save(contiguous, {"kvloom": json.dumps(about)})

    @classmethod
    def from_bytes(cls, buf: bytes, free: Iterable[int] | None = None) -> "PagedCache":
        """Read ``to_bytes`` back; every page keeps its number, and tokens can be appended.

        Args:
            buf: the file.
            free: as of a new cache; the numbers of pages that are there are not free.

        Raises:
            ValueError: not such a file, or one whose parts do not fit together.
        """
        try:
            length = int.from_bytes(buf[:8], "little")
            about = json.loads(json.loads(buf[8 : 8 + length])["__metadata__"]["kvloom"])
            arrays = load(buf)
            key, value = (Format(**about["formats"][side]) for side in SIDES)
            window_format = about["window_format"] and Format(**about["window_format"])
            sizes = {name: about[name] for name in ("channels", "tokens", "residual", "rows", "lanes")}
            for name, size in sizes.items():
                if not is_integer(size) or size < 0:
                    raise ValueError(f"{name} {size} must be an integer of at least 0")
            channels, tokens, residual, rows, lanes = sizes.values()
            heads = arrays["table"].shape[1]
            cache = cls(
                key, value, heads, channels, tokens, residual, free, rows, lanes, window_format or None
            )
            cache._restore(arrays)
        except (SafetensorError, LookupError, TypeError, ArithmeticError, ValueError) as error:
            raise ValueError(f"not a stored KV cache: {error}") from None
        return cache

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        """Take over what a file has.

        Raises:
            ValueError: an array of another shape or type, or with numbers that no cache has.
            KeyError: an array is missing.
        """
        table, top, window = arrays["table"], arrays["top"], arrays["key_window"]
        blocks, recent = table.shape[2], (self.heads, window.shape[1], self.channels)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "table": ("int32", (len(SIDES), self.heads, blocks)),
            "top": ("int64", (len(SIDES), self.heads)),
        }
        for side, layout in self.layouts.items():
            shapes[f"{side}_pages"] = "uint8", (self.heads, blocks, layout.bytes)
            shapes[f"{side}_window"] = "float16", recent
        for name, (kind, shape) in shapes.items():
            if (arrays[name].dtype.name, arrays[name].shape) != (kind, shape):
                raise ValueError(
                    f"{name}, {arrays[name].dtype.name} {arrays[name].shape}, must be {kind} {shape}"
                )
        if any(len(np.unique(own)) < own.size for own in table) or table.min(initial=0) < 0:
            raise ValueError("table must have different numbers from 0 up")
        if top.min() < 1 or top.max() > 31:
            raise ValueError("top must be 1..31")
        for number, side in enumerate(SIDES):
            self._window[side] = magnitudes.finite_half(arrays[f"{side}_window"])
            pages = arrays[f"{side}_pages"].reshape(-1, self.layouts[side].bytes)
            self._pools[side].write(table[number].ravel().tolist(), pages)
            self._table[side] = table[number].T.tolist()
        self.top = top

    def _raise_top(self, number: int, form: Format, quantized: Quantized) -> None:
        fields = form.largest_field(quantized.scale, quantized.zero).reshape(self.heads, -1)
        self.top[number] = np.maximum(self.top[number], fields.max(1))

    def _write(self, side: str, pages: NDArray[np.uint8]) -> None:
        pool = self._pools[side]
        for block in range(pages.shape[1]):
            numbers = pool.take(self.heads)
            pool.write(numbers, pages[:, block])
            self._table[side].append(numbers)


def _joined(blocks: NDArray) -> NDArray:
    """[H, pages, P, D] to [H, T, D]."""
    heads, pages, tokens, channels = blocks.shape
    return blocks.reshape(heads, pages * tokens, channels)
