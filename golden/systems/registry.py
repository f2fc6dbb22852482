"""Every scheme by its name: those of plain formats (``golden.kv.schemes``) and those of the systems.

Beside every system that chooses tokens stands one that draws as many at random and spends the same bits.
"""

from dataclasses import replace

from golden.kv import schemes
from golden.kv.schemes import SCHEMES, Scheme
from golden.systems.layers.kvcrush import KVCrush
from golden.systems.layers.mikv import MiKV
from golden.systems.layers.zipvl import ZipVL

__all__ = ["SYSTEMS", "System", "get", "names"]


System = MiKV | ZipVL | KVCrush
"""How a layer's tokens are kept, each as it deserves: ``fits(channels)``, ``layer(heads, channels)``."""

_RELEASED = KVCrush(by="block", ranking="mean", anchor="random")
"""As the released code: scores by lifetime, its default anchor."""

SYSTEMS: dict[str, System] = {
    "mikv": MiKV(),
    "mikv_random": MiKV(ranking="random"),
    "mikv8": MiKV(high=8),
    "mikv4": MiKV(high=4),
    "mikv4_random": MiKV(high=4, ranking="random"),
    "mikv8_paged": MiKV(high=8, paged=True),
    "mikv4_paged": MiKV(high=4, paged=True),
    "mikv4_paged_random": MiKV(high=4, paged=True, ranking="random"),
    "zipvl": ZipVL(),
    "zipvl_random": ZipVL(ranking="random"),
    "zipvl_paged": ZipVL(period=128, paged=True),
    "zipcache": ZipVL(tau=None, share=60),
    "zipcache_random": ZipVL(tau=None, share=60, ranking="random"),
    "zipcache_paged": ZipVL(tau=None, share=60, period=128, paged=True),
    "h2o": KVCrush(representatives=0),
    "snapkv": KVCrush(representatives=0, ranking="window"),
    "evict_random": KVCrush(representatives=0, ranking="random"),
    "kvcrush": KVCrush(),
    "kvcrush_snapkv": KVCrush(ranking="window"),
    "h2o_block": replace(_RELEASED, representatives=0),
    "kvcrush_block": _RELEASED,
    "evict_block_random": replace(_RELEASED, representatives=0, ranking="random"),
    "kvcrush4_block": replace(_RELEASED, bits=4),
}
"""The systems' schemes by name; a number is the bits of the important tokens, or of all that are kept."""


def names() -> dict[str, Scheme | System]:
    """Every scheme by its name."""
    return SCHEMES | SYSTEMS


def get(name: str) -> Scheme | System:
    """Look a scheme up.

    Raises:
        ValueError: no such scheme.
    """
    return SYSTEMS[name] if name in SYSTEMS else schemes.get(name)
