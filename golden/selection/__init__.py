"""Which tokens deserve bits: exact selections that the cache systems share."""

from golden.selection.selector import top_k, top_p

__all__ = ["top_k", "top_p"]
