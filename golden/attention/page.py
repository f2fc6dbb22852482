"""A page as the engine reads it: centred codes, and a step and an offset for every group.

Codes of the asymmetric types are read less 2^(bits - 1), so that an element is

    integer * step + offset + centre * step,     centre = 2^(bits - 1), else 0
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.kv.affine import Quantized
from golden.kv.formats import Format
from golden.numbers import datatypes
from golden.numbers.datatypes import DataType

__all__ = ["Page", "read"]


class Page(NamedTuple):
    """Keys or values of P tokens of one head.

    Attributes:
        axis: "token", groups of channels of one token, or "channel", groups of tokens of one channel.
        dtype: data type of the codes, with its zero point.
        integers: int16 [P, D], centred.
        step, offset: float16 [P, D / group] (axis token) or [P / group, D].
    """

    axis: str
    dtype: DataType
    integers: NDArray[np.int16]
    step: NDArray[np.float16]
    offset: NDArray[np.float16]

    @property
    def centre(self) -> int:
        """What was taken off every code."""
        return 1 << self.dtype.bits - 1 if self.dtype.asymmetric else 0

    @property
    def centred(self) -> DataType:
        """Data type of the integers, without a zero point."""
        return datatypes.get(f"int{self.dtype.bits}") if self.dtype.asymmetric else self.dtype


def read(form: Format, quantized: Quantized) -> Page:
    """A page of codes [P, D].

    Raises:
        ValueError: steps or offsets that are not finite float16 numbers.
    """
    exact = form.line(quantized.scale, quantized.zero)
    with np.errstate(over="ignore"):
        step, offset = (part.astype(np.float16) for part in exact)
    if not all(np.array_equal(part, rounded) for part, rounded in zip(exact, (step, offset), strict=True)):
        raise ValueError(f"format {form.rule!r} has steps or offsets that are not float16 numbers")
    page = Page(form.axis, form.dtype, form.integers(quantized.codes, quantized.zero), step, offset)
    return page._replace(integers=page.integers - np.int16(page.centre))
