"""How large a group's contribution can get: the exponent that bounds it, known from the formats alone.

A group adds ``scale * (P + zero_point * S)`` and, with an offset, ``offset * S`` to its output. In groups of
at most G elements, activations of at most ``2**(A-1) - 1`` and codes of a known largest magnitude both are
bounded before the first code arrives, so an accumulator can be aligned to the bound instead of the value.
"""

from golden.numbers.datatypes import DataType
from golden.numbers.scales import OFFSET_MANTISSA_BITS, ScaleFormat

__all__ = ["reach"]


def reach(group: int, activation_bits: int, dtype: DataType, scale: ScaleFormat, has_offset: bool) -> int:
    """Bound a group's contribution: ``|scale * (P + zero_point * S) + offset * S| < 2**reach``.

    Args:
        group: longest group G the hardware is built for, in elements.
        activation_bits: width A of an aligned activation, sign included.
        dtype: data type of the codes; an asymmetric one may have an integer zero point, also with an offset.
        scale: format of the group's scale.
        has_offset: the groups carry an offset.

    Returns:
        The smallest such number that the widths alone guarantee.
    """
    largest_sum = group * ((1 << activation_bits - 1) - 1)
    zero_point = 1 << dtype.bits - 1 if dtype.asymmetric else 0
    product = (largest_sum * (dtype.largest + zero_point)).bit_length() + scale.significand_bits
    if not has_offset:
        return product
    return max(product, largest_sum.bit_length() + OFFSET_MANTISSA_BITS) + 1
