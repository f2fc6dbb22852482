"""llama2.c's ``.bin``, version 0 of its export script: seven integers, then float32 in a fixed order."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint.tensor import LINEAR, Checkpoint, Tensor

__all__ = ["read"]

_FIELDS = ("dim", "hidden_dim", "layers", "heads", "kv_heads", "vocab", "context")
_HEADER = 4 * len(_FIELDS)

Plan = list[tuple[str, tuple[int, ...], str]]
"""Name, shape and role of every tensor, in the order of the file."""


def read(path: Path) -> Checkpoint:
    """Read a model.

    Raises:
        ValueError: the header is illegal, or the size of the file is another than it says.
    """
    size = path.stat().st_size
    if size < _HEADER:
        raise ValueError(f"{path}: size {size} bytes must be at least {_HEADER}")
    numbers = np.fromfile(path, "<i4", len(_FIELDS)).tolist()
    sizes: dict[str, Any] = dict(zip(_FIELDS, numbers, strict=True))
    shared, sizes["vocab"] = sizes["vocab"] > 0, abs(sizes["vocab"])
    if min(sizes.values()) < 1 or sizes["dim"] % sizes["heads"] or sizes["heads"] % sizes["kv_heads"]:
        raise ValueError(
            f"{path}: header {sizes} must be positive, dim a multiple of heads, heads of kv_heads"
        )
    plan = _plan(shared, **sizes)
    expected = _HEADER + 4 * sum(math.prod(shape) for _, shape, _ in plan)
    if size != expected:
        raise ValueError(f"{path}: size {size} bytes must be {expected} for header {sizes}")
    tensors, place = [], _HEADER
    for name, shape, role in plan:
        tensors.append(_tensor(path, name, shape, role, place))
        place += 4 * math.prod(shape)
    return Checkpoint(path, "llama2.c", sizes, tuple(tensors))


def _plan(
    shared: bool, dim: int, hidden_dim: int, layers: int, heads: int, kv_heads: int, vocab: int, context: int
) -> Plan:
    kv = dim // heads * kv_heads
    stacks: Plan = [("attention_norm", (dim,), "norm"), ("wq", (dim, dim), LINEAR), ("wk", (kv, dim), LINEAR)]
    stacks += [("wv", (kv, dim), LINEAR), ("wo", (dim, dim), LINEAR), ("ffn_norm", (dim,), "norm")]
    stacks += [(name, (hidden_dim, dim), LINEAR) for name in ("w1", "w3")]
    stacks.insert(-1, ("w2", (dim, hidden_dim), LINEAR))
    plan: Plan = [("tok_embeddings", (vocab, dim), "embedding")]
    plan += [(f"layers.{n}.{name}", shape, role) for name, shape, role in stacks for n in range(layers)]
    plan += [("norm", (dim,), "norm"), ("rotary", (2, context, dim // heads // 2), "rotary table")]
    return plan + ([] if shared else [("output", (vocab, dim), LINEAR)])


def _tensor(path: Path, name: str, shape: tuple[int, ...], role: str, place: int) -> Tensor:
    def values() -> NDArray[np.float32]:
        return np.fromfile(path, "<f4", math.prod(shape), offset=place)

    return Tensor(name, shape, "F32", role, values, parts=(name,))
