"""Score converter: a score a cycle, equal to golden for any result and any offset term.

Parameters: ``pages``, how many of each kind; ``adds``, whether scores of pages before are added.
"""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.attention.scores import score
from golden.attention.widths import LOWEST, SCORE_FRACTION
from hw.attention.payloads import SCORE_BITS, TERM_BITS
from hw.attention.score_converter import EARLIER_DELAY, HALF_SCORE, LATENCY, TERM_DELAY
from hw.config import preset
from sim import context
from sim.benches.attention.score_pages import KINDS, random_page
from sim.coverage import Coverage
from sim.streams import reset

COUNT: int = context.parameters()["pages"]
ADDS: bool = context.parameters()["adds"]
FIELDS = range(256)
coverage = Coverage("score_converter", {"field": FIELDS, "negative": (False, True)})


def every_exponent() -> tuple[list[int], list[int]]:
    """Results of every exponent with the significands that round last, and terms around 0."""
    fractions = (0, 1, (1 << 22) - 1, 1 << 22, (1 << 22) + 1, (1 << 23) - 1)
    bits = [
        sign << 31 | field << 23 | (0 if field == 255 else fraction)
        for field in FIELDS
        for fraction in fractions
        for sign in (0, 1)
    ]
    return bits, [number % 67 - 33 for number in range(len(bits))]


def random_results() -> tuple[list[int], list[int]]:
    """Results of every kind of pages."""
    bits, terms = [], []
    for kind in KINDS:
        page = random_page(preset("tiny"), 2, kind, "all", 0)
        for own, term in page.vectors():
            bits += own
            terms += [term] * len(own)
    return bits, terms


def random_scores(count: int) -> NDArray[np.int64]:
    """Of pages before: none, small ones, and those around the largest and the lowest."""
    if not ADDS:
        return np.zeros(count, np.int64)
    rng, most = np.random.default_rng(random.getrandbits(32)), -(LOWEST + 1) << SCORE_FRACTION
    small, near = rng.integers(-1 << 16, 1 << 16, count), most - rng.integers(0, 1 << 13, count)
    return np.choose(rng.integers(0, 4, count), [0 * small, small, near, -near])


@cocotb.test()
async def any_result(dut: Any) -> None:
    """One after the other, without a gap."""
    domain = await reset(dut)
    read = domain.reader("score")
    bits, terms = every_exponent()
    for _ in range(COUNT):
        more = random_results()
        bits, terms = bits + more[0], terms + more[1]
    results = np.array(bits, np.uint32).view(np.float32).astype(np.float64)
    earlier = random_scores(len(bits))
    expected = score(results, np.array(terms), earlier) % (1 << SCORE_BITS)
    pipeline: deque[int | None] = deque([None] * LATENCY, LATENCY)
    offered = None
    for number in (*range(len(bits)), *[None] * (LATENCY + 1)):
        await domain.cycles(1)
        done = pipeline[0]
        if done is not None:
            assert read() == expected[done], (hex(bits[done]), terms[done], hex(read()), expected[done])
        pipeline.append(offered)
        offered = number
        dut.result.value = 0 if number is None else bits[number]
        late = pipeline[-TERM_DELAY]
        dut.term.value = 0 if late is None else terms[late] + HALF_SCORE & (1 << TERM_BITS) - 1
        if ADDS:
            late = pipeline[-EARLIER_DELAY]
            dut.earlier.value = 0 if late is None else int(earlier[late]) & (1 << SCORE_BITS) - 1
    for pattern in bits:
        coverage.hit(field=pattern >> 23 & 255, negative=pattern >> 31 == 1)
