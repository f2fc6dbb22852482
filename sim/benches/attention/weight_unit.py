"""Weight unit: weights of every fraction and every distance from the maximum, and their shares of the sum."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np

from golden.attention import widths
from golden.attention.rounding import nearest
from golden.attention.softmax import weights
from golden.numbers import floats
from hw.attention.payloads import MAXIMUM_BITS, SCORE_BITS
from hw.attention.weight_unit import LATENCY
from sim import context
from sim.coverage import Coverage
from sim.streams import reset

STRIDE: int = context.parameters()["stride"]
UNIT = 1 << widths.SCORE_FRACTION
coverage = Coverage("weight_unit", {"below": range(35), "valid": (False, True)})


def distances() -> list[int]:
    """How far below the maximum: everything to its weights' end, by strides, and far more."""
    near = range(random.randrange(STRIDE), 34 * UNIT, STRIDE)
    ends = [below * UNIT + off for below in range(36) for off in (-1, 0, 1)]
    return [*near, *ends[1:], *[0] * 200, *(random.randrange(1 << 31) for _ in range(50))]


@cocotb.test()
async def every_distance(dut: Any) -> None:
    """Scores of valid and invalid tokens, with gaps."""
    domain = await reset(dut)
    found = np.array(distances())
    np.random.default_rng(random.getrandbits(32)).shuffle(found)
    lowest = np.maximum(-(-found // UNIT) + widths.LOWEST, widths.LOWEST + 1)
    maximum = np.array([random.randint(least, -widths.LOWEST - 1) for least in lowest.tolist()])
    scores = (maximum << widths.SCORE_FRACTION) - found
    valid = np.array([random.random() < 0.9 for _ in found])
    own = weights(scores[:, None], maximum, valid[:, None])[:, 0]
    patterns = floats.encode(own.astype(np.float32), "tf32").tolist()
    shares = nearest(own, -widths.TOTAL_FRACTION).tolist()
    written, weight = domain.reader("written"), domain.reader("weight")
    share, carry = domain.reader("share"), domain.reader("carry")

    pipeline: deque[int | None] = deque([None] * (LATENCY + 1), LATENCY + 1)
    offered, waiting = None, deque(range(len(found)))
    while waiting or offered is not None or any(number is not None for number in pipeline):
        await domain.cycles(1)
        late, done = pipeline[0], pipeline[1]
        assert written() == (done is not None)
        if done is not None:
            assert weight() == patterns[done], (scores[done], maximum[done], weight(), patterns[done])
        assert share() + carry() == (0 if late is None else shares[late])
        pipeline.append(offered)
        offered = waiting.popleft() if waiting and random.random() < 0.9 else None
        shown = random.randrange(len(found)) if offered is None else offered
        dut.present.value = offered is not None
        dut.valid.value = int(valid[shown])
        dut.score.value = int(scores[shown]) % (1 << SCORE_BITS)
        dut.maximum.value = int(maximum[shown]) % (1 << MAXIMUM_BITS)
    for distance, is_valid in zip(found.tolist(), valid.tolist(), strict=True):
        coverage.hit(below=min(-(-distance // UNIT), 34), valid=is_valid)
