"""KV heads in an image of memory: header, records, window and room for pages."""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from golden.core.commands import LINE_BYTES, Field
from golden.core.kv_shape import KvShape
from golden.core.state import HEAD, RECORD, RECORD_BYTES, format_bits
from golden.kv import codings
from golden.kv.formats import Format
from golden.kv.schemes import WINDOW
from golden.kv.window import copy_bytes
from hw.config import Config
from sim.benches.kv.pages import FORMATS, fitting_groups

__all__ = ["Head", "any_formats", "bits_of", "shape_of", "store"]

Formats = Callable[[int], tuple[Format, Format]]
"""Of keys and values of each page."""


def shape_of(config: Config) -> KvShape:
    """What golden must know of a configuration."""
    kv = config.kv
    return KvShape(
        config.rows,
        config.lanes,
        kv.page_tokens,
        kv.channels,
        kv.queries,
        config.memory_bits,
        config.numerics,
    )


class Head:
    """A KV head in memory.

    Attributes:
        line, end: of its header, and behind everything that it has.
        channels, residual: as of its header.
        fields: of its header, as they were in the beginning.
    """

    def __init__(
        self,
        memory: NDArray[np.uint8],
        shape: KvShape,
        formats: Formats,
        channels: int,
        residual: int,
        tokens: int,
        line: int = 3,
    ) -> None:
        self.line, self.channels, self.residual = line, channels, residual
        page = shape.page_tokens
        pages = max(tokens - residual, 0) // page
        layout = shape.layout(WINDOW, 0, channels)
        coded, copy = (-(-size // LINE_BYTES) for size in (layout.bytes, copy_bytes(layout)))
        window = line + 1 + -(-pages * RECORD_BYTES // LINE_BYTES)
        slots = 1 << (-(-residual // page)).bit_length()
        pitch = 2 * (coded + copy) + 1
        self.fields = {
            "window": window,
            "pitch": pitch,
            "slots": slots,
            "channels": channels // 16,
            "residual": residual,
            "coded_values": coded,
            "key_copy": 2 * coded,
            "value_copy": 2 * coded + copy,
            "pages": pages,
            "key_top": 1,
            "value_top": 1,
        }
        store(memory, line * LINE_BYTES, HEAD, self.fields)
        first = window + slots * pitch
        self.records = (line + 1) * LINE_BYTES
        for number in range(pages):
            keys, values = formats(number)
            own = {
                "keys": first,
                "values": first + copy,
                "key_format": bits_of(keys),
                "value_format": bits_of(values),
                "first": 0,
                "last": page - 1,
            }
            store(memory, self.records + number * RECORD_BYTES, RECORD, own)
            first += 2 * copy
        self.end = first
        assert self.end * LINE_BYTES <= len(memory)


def store(memory: NDArray[np.uint8], first: int, fields: tuple[Field, ...], values: dict[str, int]) -> None:
    """Fields to memory, zeros between them."""
    words = np.zeros(max(field.word for field in fields) + 1, "<u4")
    for field in fields:
        words[field.word] |= np.uint32(values[field.name] << field.low)
    memory[first : first + 4 * len(words)] = words.view(np.uint8)


def any_formats(config: Config, channels: int) -> Formats:
    """Random ones that the array can reduce."""
    shape = shape_of(config)

    def one(side: int) -> Format:
        while True:
            axis = random.choice(("token", "channel"))
            rule, bits = random.choice(FORMATS)
            form = Format(rule, bits, axis, random.choice(fitting_groups(config, axis, channels)), 0.75)
            if shape.readable(form, side, channels):
                return form

    return lambda number: (one(0), one(1))


def bits_of(form: Format) -> int:
    """A format as in a record."""
    coding = codings.CODINGS.index(form.coding)
    magnitude = form.kind == "sign" or form.signed
    group = ((form.group or 0) // 16).bit_length() - 1
    return format_bits(coding, magnitude, form.axis == "channel", group, round(form.gamma * 256))
