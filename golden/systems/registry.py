"""Every scheme by its name: those of plain formats (``golden.kv.schemes``) and those of the systems.

Beside every system that chooses tokens stands one that draws as many at random and spends the same bits.
"""

from dataclasses import replace
from pathlib import Path

from golden.kv import schemes
from golden.kv.formats import Format
from golden.kv.schemes import SCHEMES, WINDOW, Scheme
from golden.kv.table import TABLES
from golden.systems import kvtuner
from golden.systems.kvtuner.tables import Layered
from golden.systems.layers.kvcrush import KVCrush
from golden.systems.layers.mikv import MiKV
from golden.systems.layers.vidkv import VidKV
from golden.systems.layers.zipvl import ZipVL

__all__ = ["SYSTEMS", "System", "get", "is_table", "names"]


System = MiKV | ZipVL | KVCrush | VidKV
"""How a layer's tokens are kept, each as it deserves: ``fits(channels)``, ``layer(heads, channels)``."""

_RELEASED = KVCrush(by="block", ranking="mean", anchor="random")
"""As the released code: scores by lifetime, its default anchor."""


def _typed(key: str, key_axis: str, value: str, bits: int) -> Scheme:
    """Keys and values of data types at equal bits.

    ``native`` in groups of 64 has 4.5, BitMoD in groups of 32 4.56, a table 4.5.
    """
    sides = (_format(key, bits, key_axis), _format(value, bits, "token"))
    return Scheme(*sides, "paged", 32, WINDOW)


def _format(name: str, bits: int, axis: str) -> Format:
    if name in TABLES:
        return Format("table", bits, axis, 32, table=TABLES[name])
    return Format(name, bits, axis, 64) if name == "native" else Format(f"{name}{bits}", bits, axis, 32)


_TYPES: dict[str, Scheme] = {
    name.format(bits): _typed(key, axis, value, bits)
    for bits in (4, 3)
    for name, key, axis, value in (
        ("native{}_g64", "native", "channel", "native"),
        ("bitmod{}", "bitmod", "channel", "bitmod"),
        ("native{0}_bitmod{0}", "native", "channel", "bitmod"),
        ("native{}_g64_token", "native", "token", "native"),
        ("bitmod{}_token", "bitmod", "token", "bitmod"),
    )
}
"""BitMoD's types beside ``native``; "_token": keys too in groups of a token's channels."""

_TABLES: dict[str, Scheme] = {
    form.format(name): _typed(key.format(name), axis, name, 4)
    for name in TABLES
    for form, key, axis in (
        ("{}", "{}", "channel"),
        ("native4_{}", "native", "channel"),
        ("{}_token", "{}", "token"),
    )
}
"""Tables of 16 values, by the same names."""

_VIDKV: dict[str, System] = {
    "vidkv": VidKV(),
    "vidkv_plain": VidKV(transform=False),
    "vidkv_quarter": VidKV(fraction=0.25),
    "vidkv_kept": VidKV(decode="kept"),
    "vidkv_kept_plain": VidKV(transform=False, decode="kept"),
    "vidkv_published": VidKV(decode="published"),
    "vidkv_published_plain": VidKV(transform=False, decode="published"),
    **{
        f"vidkv{name}_protect{share}{chance}": VidKV(decode=decode, protect=share, ranking=ranking)
        for name, decode in (("", "scaled"), ("_kept", "kept"), ("_published", "published"))
        for share in (20, 40)
        for chance, ranking in (("", "mean"), ("_random", "random"))
    },
}
"""Codes of 1.5 bits of keys and 1.58 of values, 1.66 where a token in five is protected."""

SYSTEMS: dict[str, Scheme | System] = {
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
    "kvcrush_refresh": KVCrush(refresh=1),
    "h2o_block": replace(_RELEASED, representatives=0),
    "kvcrush_block": _RELEASED,
    "evict_block_random": replace(_RELEASED, representatives=0, ranking="random"),
    "kvcrush4_block": replace(_RELEASED, bits=4),
    **_VIDKV,
    **_TYPES,
    **_TABLES,
}
"""The systems' schemes by name; a number is the bits of the important tokens, or of all that are kept."""


def names() -> dict[str, Scheme | System]:
    """Every scheme by its name."""
    return SCHEMES | SYSTEMS


def is_table(name: str) -> bool:
    """Whether a name is that of a file with a KVTuner table."""
    return Path(name).suffix in (".toml", ".yaml")


def get(name: str) -> Scheme | System | Layered:
    """Look a scheme up.

    Args:
        name: in ``names()``, or a file with a KVTuner table, TOML or YAML, as ``[BASE:]FILE``; the base is
            "native" or another of ``golden.systems.kvtuner.BASES``.

    Raises:
        ValueError: no such scheme, or no table in the file.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    if not is_table(name):
        return schemes.get(name)
    base, colon, path = name.partition(":")
    known = colon and base in kvtuner.BASES
    table = kvtuner.load(path if known else name)
    return Layered(tuple(kvtuner.schemes(table, base if known else "native")))
