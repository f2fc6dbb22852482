"""Windows of memory for the movers: places in the address space, requests, and slaves that refuse."""

import random

__all__ = ["DECERR", "LINE", "SLVERR", "Target", "random_base", "refusals"]

LINE = 64
SLVERR, DECERR = 2, 3


def random_base(lines: int) -> int:
    """The address of a window of so many lines within 2**40 bytes."""
    pages = -(-lines * LINE // 4096)
    return 4096 * random.choice([0, random.randrange((1 << 28) - pages), (1 << 28) - pages])


def refusals(base: int, size: int, share: float) -> dict[int, int]:
    """Responses of lines that are refused, by line."""
    lines = range(size // LINE)
    return {line: random.choice([SLVERR, DECERR]) for line in lines if random.random() < share}


class Target:
    """Bytes behind a slave of cocotbext-axi; lines that are refused raise, which is answered by SLVERR."""

    def __init__(self, base: int, content: bytearray, refused: dict[int, int]) -> None:
        self.base, self.content, self.refused = base, content, refused

    def _place(self, address: int, length: int) -> int:
        place = address - self.base
        assert 0 <= place <= len(self.content) - length, f"{address:#x} is outside"
        if place // LINE in self.refused:
            raise PermissionError
        return place

    async def read(self, address: int, length: int) -> bytes:
        """Bytes at an address."""
        place = self._place(address, length)
        return bytes(self.content[place : place + length])

    async def write(self, address: int, data: bytes) -> None:
        """Change bytes at an address."""
        place = self._place(address, len(data))
        self.content[place : place + len(data)] = data
