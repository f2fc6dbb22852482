"""Every scheme by its name: those of plain formats (``golden.kv.schemes``) and those of the systems."""

from golden.kv import schemes
from golden.kv.schemes import Scheme

__all__ = ["get"]


def get(name: str) -> Scheme:
    """Look a scheme up.

    Raises:
        ValueError: no such scheme.
    """
    return schemes.get(name)
