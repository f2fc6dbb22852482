"""Numbers of matrices as the payloads of the streams, for the benches; nothing of the packed layout."""

from typing import Any

from golden.datatypes import DataType
from hw.config import Config

__all__ = ["format_value"]


def format_value(config: Config, dtype: DataType) -> dict[str, Any]:
    """``payloads.matrix_format`` of a data type."""
    first, second = dtype.programming
    return {
        "decoder": config.decoders.index(dtype.decoder),
        "last_term": dtype.term_count - 1,
        "programming": first + 2 * second,
        "specials": [{"negative": one.negative, "select": one.select} for one in dtype.special_terms],
    }
