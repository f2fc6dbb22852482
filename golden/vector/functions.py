"""The functions of the vector unit, and what a command of ``golden.core.commands`` does to scratch memory.

Every sum and product is one of ``golden.vector.arithmetic``. The results of a command may take the place of
its source, or, but for a norm and a rotary embedding, of its operand; otherwise they overlap neither.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.vector.arithmetic import add, flushed, multiply
from golden.vector.norm import norm
from golden.vector.sigmoid import sigmoid

__all__ = ["FUNCTIONS", "apply", "arg_max", "fits", "rotary", "silu_multiply", "turn"]

FUNCTIONS = ("copy", "add", "multiply", "norm", "rotary", "silu_multiply", "arg_max")
"""In the order of their numbers, ``golden.core.commands.Function``."""
_SEGMENTED = ("norm", "rotary")
_UNIT = 16

Array = NDArray[np.float32]


def turn(a: Array, b: Array, cosines: Array, sines: Array) -> tuple[Array, Array]:
    """Pairs (a, b), turned: (a cos - b sin, b cos + a sin)."""
    return add(multiply(a, cosines), -multiply(b, sines)), add(multiply(b, cosines), multiply(a, sines))


def rotary(x: Array, table: Array, segment: int) -> Array:
    """``turn`` the pairs of elements (i, i + D/2) of every segment by angle i.

    Args:
        x: [n], float32, a multiple of ``segment``.
        table: [segment], float32: cosines, then sines.
        segment: elements D, a multiple of 16.
    """
    a, b = np.split(x.reshape(-1, segment), 2, axis=1)
    cosines, sines = np.split(table, 2)
    return np.concatenate(turn(a, b, cosines, sines), axis=1).reshape(-1)


def silu_multiply(a: ArrayLike, b: ArrayLike) -> Array:
    """(a * sigmoid(a)) * b; an a of minus infinity gives NaN, a finite one far below zero a zero."""
    return multiply(multiply(a, sigmoid(a)), b)


def arg_max(x: ArrayLike) -> int:
    """Place of the largest number of [n], the first of equal ones; NaN is below all, all NaN give 0."""
    x = flushed(x)
    numbers = np.flatnonzero(~np.isnan(x))
    return int(numbers[np.argmax(x[numbers])]) if len(numbers) else 0


def fits(fields: Mapping[str, int], size: int) -> bool:
    """Whether a command's fields are right.

    Args:
        fields: "function", "source", "operand", "destination", "elements" and "segment" of the command.
        size: elements of scratch memory.
    """
    if fields["function"] >= len(FUNCTIONS):
        return False
    function, elements = FUNCTIONS[fields["function"]], fields["elements"]
    used = {"source": elements}
    if function != "arg_max":
        used["destination"] = elements
    if function in _SEGMENTED:
        used["operand"] = segment = fields["segment"]
        if segment == 0 or elements % segment:
            return False
    elif function not in ("copy", "arg_max"):
        used["operand"] = elements
    places = (fields[name] for name in ("source", "operand", "destination", "elements", "segment"))
    if elements == 0 or any(place % _UNIT for place in places):
        return False
    return all(fields[name] + count <= size for name, count in used.items())


def apply(scratch: Array, fields: Mapping[str, int]) -> int | None:
    """Do a command in place.

    Args:
        scratch: float32 [size].
        fields: of a command that ``fits``: "function", "source", "operand", "destination", "elements",
            "segment", and of a norm "epsilon" and "reciprocal", bits of float32.

    Returns:
        The index that an arg-max finds, None of the other functions.
    """
    name, segment = FUNCTIONS[fields["function"]], fields["segment"]

    def vector(field: str, length: int = fields["elements"]) -> Array:
        return scratch[fields[field] : fields[field] + length]

    x = vector("source")
    if name == "arg_max":
        return arg_max(x)
    if name == "copy":
        result = flushed(x)
    elif name == "norm":
        epsilon, reciprocal = np.array([fields["epsilon"], fields["reciprocal"]], np.uint32).view(np.float32)
        result = norm(x, vector("operand", segment), segment, epsilon, reciprocal)
    elif name == "rotary":
        result = rotary(x, vector("operand", segment), segment)
    else:
        result = _PAIRWISE[name](x, vector("operand"))
    vector("destination")[:] = result
    return None


_PAIRWISE = {"add": add, "multiply": multiply, "silu_multiply": silu_multiply}
