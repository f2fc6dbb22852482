"""The table of data types by its short name: see ``golden.numbers.datatypes``."""

from golden.numbers.datatypes import DataType, get, names

__all__ = ["DataType", "get", "names"]
