"""KV caches of a model that reads a text, read as the attention engine reads them (``golden.attention``).

Every query finds what it would while decoding: pages that are closed, then its window in pages of the
scheme's window format, each token quantised by itself, and the ``top`` of that time.
"""

import numpy as np
from numpy.typing import NDArray

from golden.attention import engine, page
from golden.attention.engine import State
from golden.attention.page import Page
from golden.attention.scores import Query, fold
from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.kv.pages import PAGE_TOKENS
from golden.kv.schemes import Scheme
from golden.model.attention import Plain
from golden.numbers.numerics import Numerics

__all__ = ["EngineMemory"]

Array = NDArray[np.float32]
Block = list[tuple[Page, Page]]
"""Keys and values of a block of tokens, head by head."""


class EngineMemory(Plain):
    """Keys and values of one layer, rounded to float16, in the pages of a scheme.

    Args:
        heads, channels: of the cache.
        scheme: of whole pages and with a window format.
        numerics: widths.

    Raises:
        ValueError: another scheme.
    """

    def __init__(self, heads: int, channels: int, scheme: Scheme, numerics: Numerics) -> None:
        super().__init__(heads, channels)
        if scheme.order != "paged" or scheme.window_format is None or scheme.page not in PAGE_TOKENS:
            raise ValueError("a scheme for the attention engine must have whole pages and a window format")
        self.scheme, self.numerics, self.window_format = scheme, numerics, scheme.window_format
        self._closed: list[Block] = []
        self._open: list[Block] = []
        self._fields = np.ones((2, heads, 0), np.int64)  # that the step of each token brings in, by side
        self._top = self._fields

    def append(self, keys: Array, values: Array) -> None:
        """Add tokens: float32 [H, n, D]."""
        size = self.scheme.page
        first = self.tokens // size
        super().append(keys, values)
        ahead = self.tokens + size + self.scheme.residual - self._fields.shape[2]
        self._fields = np.pad(self._fields, ((0, 0), (0, 0), (0, ahead)), constant_values=1)
        del self._open[first:]
        for block in range(first, -(-self.tokens // size)):
            tokens = slice(block * size, min((block + 1) * size, self.tokens))
            quantized = [self.window_format.quantize(x[:, tokens]) for x in (self.keys, self.values)]
            for side, (_, scale, zero) in enumerate(quantized):
                rows = self.window_format.largest_field(scale[..., None, :], zero[..., None, :])
                self._fields[side, :, tokens] = np.maximum(self._fields[side, :, tokens], rows)
            filled = [Quantized(*(_filled(part, size) for part in side)) for side in quantized]
            self._open.append(_block([self.window_format] * 2, filled))
            if tokens.stop == (block + 1) * size:
                self._close(tokens)
        self._top = np.maximum.accumulate(self._fields, -1)

    def read(self, query: Array, first: int, window: int | None = None) -> Array:
        """Outputs [H, R, n, D] of queries, as of ``Plain``."""
        heads, repeats, count, channels = query.shape
        times = np.tile(np.arange(first, first + count), repeats)
        starts = np.zeros_like(times) if window is None else np.maximum(times - window + 1, 0)

        rows = query.reshape(heads, -1, channels)
        outputs = [self._read(head, own, times, starts) for head, own in enumerate(rows)]
        return np.stack(outputs).reshape(query.shape)

    def _close(self, tokens: slice) -> None:
        formats, closing = [self.scheme.key, self.scheme.value], tokens.stop + self.scheme.residual - 1
        own = [x[:, tokens] for x in (self.keys, self.values)]
        quantized = [form.quantize(x) for form, x in zip(formats, own, strict=True)]
        for side, (form, (_, scale, zero)) in enumerate(zip(formats, quantized, strict=True)):
            fields = self._fields[side, :, closing]
            self._fields[side, :, closing] = np.maximum(fields, form.largest_field(scale, zero))
        self._closed.append(_block(formats, quantized))

    def _read(self, head: int, q: Array, times: NDArray[np.intp], starts: NDArray[np.intp]) -> Array:
        """Outputs [n, D] of queries of one head, each with its own time and first token."""
        query, size = fold(q), self.scheme.page
        key_top, value_top = self._top[:, head, times]
        state = engine.start(len(q), q.shape[1], value_top)
        closed, _ = self.scheme.quantized(times)
        for block, begin in enumerate(range(0, int(times.max()) + 1, size)):
            seen = (begin <= times) & (starts < begin + size)
            for stored, rows in (
                (self._closed, np.flatnonzero(seen & (begin < closed))),
                (self._open, np.flatnonzero(seen & (begin >= closed))),
            ):
                if not len(rows):
                    continue
                part = State(*(x[rows] for x in state))
                own = Query(query.values[rows], query.special[rows])
                found, _ = engine.step(
                    part,
                    own,
                    *stored[block][head],
                    self.numerics,
                    key_top[rows],
                    np.maximum(starts[rows] - begin, 0),
                    np.minimum(times[rows] - begin, size - 1),
                )
                for old, new in zip(state, found, strict=True):
                    old[rows] = new
        return engine.finish(state, query).values.astype(np.float32)


def _filled(x: NDArray, size: int) -> NDArray:
    """[H, n, ..] with the newest token repeated up to a whole page."""
    return np.pad(x, ((0, 0), (0, size - x.shape[1]), (0, 0)), "edge")


def _block(formats: list[Format], quantized: list[Quantized]) -> Block:
    """Pages of keys and values [H, P, D], head by head."""
    keys, values = (
        [page.read(form, Quantized(*(part[head] for part in side))) for head in range(len(side.codes))]
        for form, side in zip(formats, quantized, strict=True)
    )
    return list(zip(keys, values, strict=True))
