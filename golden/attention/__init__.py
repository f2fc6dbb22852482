"""Attention on packed pages, as the engine computes it: ``attend``, one decode step on a paged cache."""

from golden.attention.decode import attend

__all__ = ["attend"]
