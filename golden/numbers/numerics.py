"""The numeric parameters that golden model and circuit share."""

from dataclasses import dataclass

__all__ = ["Numerics"]


@dataclass(frozen=True)
class Numerics:
    """Widths that decide about results.

    Attributes:
        activation_bits: width A of an aligned activation, sign included.
        group: longest group G the hardware is built for, in elements.
        accumulator_bits: width of an output's accumulator, sign included.
        maximum_inputs: longest activation vector, in elements.
    """

    activation_bits: int = 12
    group: int = 128
    accumulator_bits: int = 36
    maximum_inputs: int = 16384

    @property
    def maximum_groups(self) -> int:
        """Full groups in the longest vector; shorter groups are more but smaller in proportion."""
        return -(-self.maximum_inputs // self.group)

    @property
    def alignment(self) -> int:
        """Place of a contribution's bound in the accumulator: a group's |contribution| is below 2**alignment.

        The bits above hold the sum of ``maximum_groups`` of them and the sign, so no sum overflows: the bound
        of a group is never reached to within one unit for each group, which is what rounding down can add.
        """
        return self.accumulator_bits - 1 - (self.maximum_groups - 1).bit_length()
