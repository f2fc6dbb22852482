"""In-order comparison of a stream with its golden values: bits only, never a tolerance."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from amaranth.hdl import ShapeLike

from sim.packing import codec

__all__ = ["Scoreboard"]

_SHOWN = 12  # differing fields printed at most


class Scoreboard:
    """Expected beats of one stream; give ``observe`` to a sink or monitor.

    Args:
        name: the stream's name, for messages.
        shape: payload shape.

    Attributes:
        matched: beats equal so far.
    """

    def __init__(self, name: str, shape: ShapeLike) -> None:
        self.name = name
        self.matched = 0
        self._codec = codec(shape)
        self._expected: deque[tuple[int, int]] = deque()

    def expect(self, value: Any, unknown: Any = 0) -> None:
        """Append one expected beat, of which the bits do not count that are set in ``unknown``."""
        self._expected.append((self._codec.pack(value), ~self._codec.pack(unknown)))

    def expect_all(self, values: Iterable[Any]) -> None:
        """Append expected beats in order."""
        self._expected.extend((bits, -1) for bits in map(self._codec.pack, values))

    def observe(self, bits: int) -> None:
        """Compare one beat with the next expected one.

        Raises:
            AssertionError: they differ, or no beat was expected.
        """
        if not self._expected:
            raise AssertionError(f"{self.name}[{self.matched}]: unexpected beat {self._codec.unpack(bits)}")
        expected, known = self._expected.popleft()
        if (bits ^ expected) & known:
            raise AssertionError(self._difference(expected, bits))
        self.matched += 1

    def finish(self) -> None:
        """Require that every expected beat came."""
        if self._expected:
            following = self._codec.unpack(self._expected[0][0])
            raise AssertionError(
                f"{self.name}: {len(self._expected)} beats missing after {self.matched}; next is {following}"
            )

    def _difference(self, expected: int, got: int) -> str:
        digits = (self._codec.width + 3) // 4
        lines = [
            f"{self.name}[{self.matched}]: first mismatch",
            f"  expected 0x{expected:0{digits}x}",
            f"  got      0x{got:0{digits}x}",
        ]
        wanted, found = _leaves(self._codec.unpack(expected)), _leaves(self._codec.unpack(got))
        differing = [
            f"  {(a or b)[0] or 'value'}: expected {a and a[1]}, got {b and b[1]}"
            for a, b in zip_longest(wanted, found)
            if a != b
        ]
        hidden = len(differing) - _SHOWN
        more = [f"  and {hidden} more fields"] if hidden > 0 else []
        return "\n".join(lines + differing[:_SHOWN] + more)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of a nested value with the path to it, such as ``lanes[3].mantissa``."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _leaves(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _leaves(member, f"{path}[{index}]")
    else:
        yield path, value
