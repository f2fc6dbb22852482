"""Seeds of random runs: a fresh one each time, unless the environment says otherwise.

Environment:
    KVLOOM_SEED: the seed of every run, to repeat one.
    KVLOOM_SEEDS: any text; each run works its own seed out of it, so that a whole session repeats.
"""

import hashlib
import os
import random
from collections import Counter

__all__ = ["run_seed"]

_runs: Counter[tuple[str, ...]] = Counter()


def run_seed(*what: str) -> int:
    """A seed of 31 bits.

    Args:
        what: runs; with ``KVLOOM_SEEDS``, another one of the same test has another seed, and so has its next.
    """
    if own := os.environ.get("KVLOOM_SEED"):
        return int(own)
    if (seeds := os.environ.get("KVLOOM_SEEDS")) is None:
        return random.SystemRandom().getrandbits(31)
    key = (seeds, os.environ.get("PYTEST_CURRENT_TEST", ""), *what)
    _runs[key] += 1
    digest = hashlib.sha256("\0".join((*key, str(_runs[key]))).encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1
