"""KVCrush: evicted tokens are represented by a few of them, spread by binary signatures.

A base policy (H2O, SnapKV) keeps the best tokens; part of the budget goes to representatives of the others:

1. every token has a signature, bit h set where head h would keep it;
2. its distance is the number of bits that differ from one anchor, shared by all;
3. in the order of distances, equal ones by index, every (n // budget)-th is kept.

The released code (OpenVINO GenAI, ``kvcrush.cpp``) does this to blocks of a page: a token has one bit, set in
the upper half of the scores of the evictable area, and a block has the bits of its tokens. Its sort leaves
the order of equal distances open; here it is by index.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.selection import top_k

__all__ = ["ANCHORS", "anchor", "blocks", "distances", "indicators", "representatives", "signatures"]

ANCHORS = ("random", "zeros", "ones", "mean", "alternating")
_WIDEST = 64


def signatures(scores: ArrayLike, budget: int) -> NDArray[np.unsignedinteger]:
    """Signature of every token: bit h says whether it is among head h's ``budget`` largest scores.

    Args:
        scores: ``[H, T]``, at least 0; H at most 64.
        budget: tokens that a head would keep, at least 0.

    Returns:
        uint32 ``[T]``, uint64 above 32 heads.

    Raises:
        ValueError: more heads, another number of dimensions, or what ``golden.selection.top_k`` refuses.
    """
    values = np.asarray(scores)
    if values.ndim != 2 or not 1 <= len(values) <= _WIDEST:
        raise ValueError(f"scores of shape {values.shape} must be [1..{_WIDEST} heads, T]")
    kind = np.uint32 if len(values) <= 32 else np.uint64
    result = np.zeros(values.shape[1], kind)
    for head, own in enumerate(values):
        result |= top_k(own, budget).astype(kind) << kind(head)
    return result


def anchor(kind: str, bits: int, seed: int = 0, signatures: ArrayLike | None = None) -> NDArray[np.uint8]:
    """The point that distances are taken from.

    Args:
        kind: one of ``ANCHORS``. "random": the top bit of successive outputs of MT19937, what libstdc++'s
            ``uniform_int_distribution(0, 1)`` makes of ``std::mt19937``; "mean": the bits that are set in
            more than half of the signatures; "alternating": 0, 1, 0, 1 and so on.
        bits: of a signature, at least 1; at most 64 for "mean".
        seed: of "random", 0..2^32 - 1.
        signatures: unsigned ``[n]``, of "mean".

    Returns:
        uint8 ``[bits]``, 0 or 1.

    Raises:
        ValueError: another kind, no signatures for "mean", bits or a seed out of range.
    """
    if bits < 1:
        raise ValueError(f"bits {bits} must be at least 1")
    if kind == "mean" and signatures is None:
        raise ValueError("anchor 'mean' must have signatures")
    rows = _unpacked(signatures, bits) if kind == "mean" else np.zeros((0, bits), np.uint8)
    return _anchor(kind, bits, seed, rows)


def distances(signatures: ArrayLike, anchor: ArrayLike) -> NDArray[np.intp]:
    """Hamming distances of signatures, unsigned ``[n]``, from an anchor, 0 or 1 ``[bits]``."""
    point = np.asarray(anchor, bool)
    return (_unpacked(signatures, len(point)) != point).sum(-1)


def representatives(distance: ArrayLike, budget: int) -> NDArray[np.intp]:
    """Places that are kept: of the ascending order, equal ones by index, every (n // budget)-th.

    Args:
        distance: ``[n]``.
        budget: how many, at least 0.

    Returns:
        intp ``[budget]`` in ascending order of distance; none where n < budget.

    Raises:
        ValueError: a negative budget.
    """
    if budget < 0:
        raise ValueError(f"budget {budget} must be at least 0")
    order = np.argsort(np.asarray(distance), kind="stable")
    if budget == 0 or len(order) < budget:
        return order[:0]
    return order[:: len(order) // budget][:budget]


def indicators(scores: ArrayLike) -> NDArray[np.uint8]:
    """Bits of tokens: 1 for the n // 2 largest of ``scores[n]``, 0 for the others."""
    return top_k(scores, len(np.asarray(scores)) // 2).astype(np.uint8)


def blocks(
    scores: ArrayLike, evicted: ArrayLike, block: int, budget: int, kind: str, seed: int = 0
) -> NDArray[np.intp]:
    """Blocks that are kept after all, as the released code selects them.

    Args:
        scores: ``[n]`` of the tokens of the evictable area, at least 0; tokens after its last whole block
            take part in the indicators only.
        evicted: ``[m]`` numbers of the blocks that the base policy evicts; others than those of the area
            count for nothing.
        block: tokens of a block, at least 1.
        budget: blocks to keep, at least 0.
        kind, seed: of the anchor.

    Returns:
        Block numbers in ascending order of distance, ``budget`` of them; none where fewer are evicted.

    Raises:
        ValueError: an argument out of range.
    """
    if block < 1:
        raise ValueError(f"block {block} must be at least 1 token")
    bits = indicators(scores)
    own = bits[: len(bits) // block * block].reshape(-1, block)
    distance = (own != _anchor(kind, block, seed, own)).sum(-1)
    candidates = np.flatnonzero(np.isin(np.arange(len(own)), evicted))
    return candidates[representatives(distance[candidates], budget)]


def _anchor(kind: str, bits: int, seed: int, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An anchor of any width; ``rows[n, bits]`` are the signatures bit by bit."""
    if kind == "random":
        # A full range of 32 bits hands the generator's outputs on as they are.
        outputs = np.random.RandomState(seed).randint(0, 1 << 32, bits, np.uint32)
        return (outputs >> 31).astype(np.uint8)
    found = {
        "zeros": np.zeros(bits, bool),
        "ones": np.ones(bits, bool),
        "mean": 2 * rows.sum(0, dtype=np.intp) > len(rows),
        "alternating": np.arange(bits) % 2,
    }
    if kind not in found:
        raise ValueError(f"anchor {kind!r} must be one of {', '.join(ANCHORS)}")
    return found[kind].astype(np.uint8)


def _unpacked(signatures: ArrayLike | None, bits: int) -> NDArray[np.uint8]:
    """Bits ``[n, bits]`` of unsigned ``[n]``, the lowest first."""
    if bits > _WIDEST:
        raise ValueError(f"bits {bits} of a signature must be at most {_WIDEST}")
    words = np.asarray(signatures).astype(np.uint64)
    return (words[:, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)
