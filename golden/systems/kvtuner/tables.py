"""Tables of bits in files, and what they mean: a scheme of the cache for every layer."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.kv.formats import Format
from golden.kv.schemes import WINDOW, Scheme

__all__ = ["BASES", "WIDTHS", "Layered", "load", "save", "schemes"]

WIDTHS = (2, 4, 8, 16)
"""Bits of a key or value in a table; 16 is float16 as it is."""

BASES: dict[str, Callable[[int, int], Scheme]] = {
    "kivi": lambda key, value: Scheme(
        Format("kivi", key, "channel", 32), Format("kivi", value, "token", 32), "kivi", 32
    ),
    "per_token": lambda key, value: Scheme(
        Format("kvtuner", key, "token", None), Format("kvtuner", value, "token", None), "strict", 0
    ),
    "native": lambda key, value: Scheme(
        Format("native", key, "channel", 32), Format("native", value, "token", 32), "paged", 32, WINDOW
    ),
}
"""How a layer with so many bits is quantised: the paper's two ways, and that of the circuits."""

_PRESET_LINE = re.compile(r"(?P<layer>\d+):|\s+nbits_(?P<side>key|value):\s*(?P<bits>\d+)")


@dataclass(frozen=True)
class Layered:
    """A scheme for every layer.

    Attributes:
        layers: schemes, layer 0 first.
    """

    layers: tuple[Scheme, ...]

    def bits_per_element(self, channels: int) -> float:
        """Bits of a quantised element, metadata included, mean of the layers."""
        return sum(scheme.bits_per_element(channels) for scheme in self.layers) / len(self.layers)


def schemes(table: ArrayLike, base: str = "native") -> list[Scheme]:
    """The scheme of every layer.

    Args:
        table: integers ``[L, 2]``, bits of keys and values; 16 is no scheme.
        base: a name in ``BASES``.

    Raises:
        ValueError: no such base, or a width that it does not have.
    """
    if base not in BASES:
        raise ValueError(f"base {base!r} must be one of {', '.join(BASES)}")
    return [BASES[base](key, value) for key, value in np.asarray(table).tolist()]


def load(path: str | Path) -> NDArray[np.int64]:
    """Read a table: a published preset (YAML), or the TOML that ``save`` writes.

    A preset has, for every layer in any order, the lines ``0:``, ``  nbits_key: 8`` and
    ``  nbits_value: 4``; comments and empty lines are left out.

    Returns:
        int64 ``[L, 2]``, bits of keys and values.

    Raises:
        ValueError: a file that is none of these, a missing layer, or a width that is not one of ``WIDTHS``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        rows = tomllib.loads(text)["layers"] if path.suffix == ".toml" else _preset(text)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: no table of bits: {error}") from None
    return _checked(path, rows)


def save(path: str | Path, table: ArrayLike, about: str = "") -> None:
    """Write a table as TOML: ``layers``, a list of [bits of keys, bits of values].

    Args:
        path: of the file.
        table: integers ``[L, 2]``, each one of ``WIDTHS``.
        about: comment at its head, any number of lines.

    Raises:
        ValueError: no such table.
    """
    rows = _checked(Path(path), np.asarray(table).tolist())
    lines = [f"# {line}".rstrip() for line in about.splitlines()]
    lines += [f"bits = {rows.mean()}", "layers = [  # bits of keys and of values"]
    lines += [f"    [{key}, {value}]," for key, value in rows]
    Path(path).write_text("\n".join([*lines, "]", ""]), encoding="utf-8")


def _preset(text: str) -> list[list[int]]:
    """Rows of a published preset."""
    layers: dict[int, dict[str, int]] = {}
    layer = None
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#")[0].rstrip()
        if not content or content == "---":
            continue
        found = _PRESET_LINE.fullmatch(content)
        if found is None or (layer is None and found["layer"] is None):
            raise ValueError(f"line {number}, {content.strip()!r}")
        if found["layer"] is not None:
            layer = int(found["layer"])
            if layer in layers:
                raise ValueError(f"layer {layer} is there twice")
            layers[layer] = {}
        elif layer is not None:
            layers[layer][found["side"]] = int(found["bits"])
    for layer in range(max(layers, default=-1) + 1):
        if set(layers.get(layer, ())) != {"key", "value"}:
            raise ValueError(f"layer {layer} must have its bits of keys and of values")
    return [[layers[layer][side] for side in ("key", "value")] for layer in sorted(layers)]


def _checked(path: Path, rows: object) -> NDArray[np.int64]:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: a table must have at least one layer")
    for layer, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 2:
            raise ValueError(f"{path}: layer {layer}, {row}, must be [bits of keys, bits of values]")
        for bits in row:
            if type(bits) is not int or bits not in WIDTHS:
                raise ValueError(f"{path}: bits {bits} of layer {layer} must be one of {WIDTHS}")
    return np.array(rows, np.int64)
