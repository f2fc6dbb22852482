"""The numeric parameters that golden model and circuit share."""

from dataclasses import dataclass

__all__ = ["SHORTEST_GROUP", "Numerics"]

SHORTEST_GROUP = 16
"""Elements of the shortest group that a vector can be aligned in."""


@dataclass(frozen=True)
class Numerics:
    """Widths that decide about results.

    Attributes:
        activation_bits: width A of an aligned activation, sign included.
        group: longest group G the hardware is built for, in elements; ``group_lengths`` has all of them.
        accumulator_bits: width of an output's accumulator, sign included.
        maximum_inputs: longest activation vector, in elements.
    """

    activation_bits: int = 12
    group: int = 128
    accumulator_bits: int = 36
    maximum_inputs: int = 16384

    @property
    def group_lengths(self) -> tuple[int, ...]:
        """Lengths of group that a vector can be aligned in: the longest one, its half and so on down to 16.

        A group half as long has half the bound (``golden.numbers.reach``) and may come twice as often, so
        that shifts and exponents of the accumulator are the same for all of them.
        """
        halves = range(max(self.group // SHORTEST_GROUP, 1).bit_length())
        return tuple(self.group >> half for half in halves)

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
