"""The cache's own work, token by token: a slow count of the same, and that no token pays for all."""

import numpy as np
import pytest

import golden.kv
from golden.kv.cache import PagedCache
from golden.kv.schemes import WINDOW
from hw.config import preset
from hw.kv.token_writer import token_cycles
from synth.model import networks
from synth.model.window_timeline import closings, window_cycles


@pytest.mark.parametrize(("heads", "phases"), [(3, 32), (3, 1), (70, 32), (40, 7)])
def test_closings_of_caches(heads: int, phases: int) -> None:
    """A cache that keeps n tokens longer closes its pages at phase n."""
    scheme = golden.kv.get("native4_paged")
    counts = np.zeros(170, np.int64)
    x = np.ones((1, 1, 32))
    for head in range(heads):
        cache = PagedCache(scheme.key, scheme.value, 1, 32, 32, head % phases, window_format=WINDOW)
        for token in range(len(counts)):
            before = cache.table.shape[2]
            cache.append(x, x)
            counts[token] += cache.table.shape[2] - before
    np.testing.assert_array_equal(closings(heads, 32, phases, len(counts)), counts)


def test_no_token_pays_for_all() -> None:
    """Llama-3-8B, 2,048 tokens: the worst token is at most 3 % longer than the mean."""
    network, config = networks.get("llama-3-8b"), preset("edge")
    for name in ("native4_paged", "native2_paged"):
        scheme = golden.kv.get(name)
        cycles = window_cycles(config, network, scheme, 2048)
        assert cycles.min() == 32 * 8 * 2 * token_cycles(config, 128)
        assert cycles.max() <= 1.03 * cycles.mean()
        together = window_cycles(config, network, scheme, 2048, phases=1)
        assert together.max() > 10 * together.mean()
        assert abs(together.sum() / cycles.sum() - 1) < 0.03
