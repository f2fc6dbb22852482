"""A model file's tensors, whatever the format: their names, what they are, and their numbers when asked for.

A tensor costs memory only while its array lives; nothing of its file is kept mapped.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.weights.quantized import QuantizedWeights
from golden.weights.stored import GROUPS, Inexact, Stored

__all__ = ["LINEAR", "Checkpoint", "Tensor"]

LINEAR = "linear"
"""Role of a matrix that a linear layer multiplies by."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a model, which may be several in its file (codes, scales, zero points).

    Attributes:
        name: its name in the file; without the endings of parts.
        shape: its shape, outputs before inputs, experts before both.
        kind: its type in the file, e.g. ``Q4_1``.
        role: ``linear``, or what it is instead, e.g. ``embedding``.
        read: reads its values in the type that NumPy has for them; None where ``codes`` does.
        codes: reads the matrix as the file stores it, where kvloom's numbers may hold that exactly.
        multiplier: one factor for all results of the layer, beside its weights (NVFP4's scale of a tensor).
        permutation: order of the inputs in which ``quantized`` has the columns, or None for the file's.
        expert: gives one matrix of several, by its number.
        parts: names of the tensors of the file that it is made of.
        blocks: the file has codes for it, whether kvloom's numbers hold them or not.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    role: str
    read: Callable[[], NDArray] | None = None
    codes: Callable[[], Stored] | None = None
    multiplier: np.float32 = field(default=np.float32(1))
    permutation: NDArray[np.int32] | None = None
    expert: "Callable[[int], Tensor] | None" = None
    parts: tuple[str, ...] = ()
    blocks: bool = False

    @property
    def linear(self) -> bool:
        """Whether a linear layer multiplies by it; embeddings, norms and routers are others' affair."""
        return self.role == LINEAR

    @property
    def size(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)

    def matrices(self) -> "Iterator[Tensor]":
        """The matrices that it is made of, one by one: itself, or its experts."""
        if self.expert is None:
            yield self
        else:
            yield from (replace(self.expert(number), role=self.role) for number in range(self.shape[0]))

    def array(self) -> NDArray[np.float32]:
        """The tensor as float32, inputs in the file's order; exact for every type up to 32 bits."""
        if self.expert is not None and self.read is None:
            return np.stack([matrix.array() for matrix in self.matrices()])
        if self.codes is None:
            return self._values().astype(np.float32, copy=False)
        values = self.codes().array()
        if self.multiplier != 1:
            values *= self.multiplier
        if self.permutation is not None:
            ordered = np.empty_like(values)
            ordered[:, self.permutation] = values
            values = ordered
        return values.reshape(self.shape)

    def stored(self) -> NDArray:
        """The tensor in its own type where NumPy has that; else float32 for BF16 and other small floats.

        Blocks of codes become float16, or float32 where a value is beyond float16.
        """
        if self.read is not None and not self.blocks:
            values = self._values()
            known = values.dtype.kind in "biu" or values.dtype in (np.float16, np.float32, np.float64)
            return values if known else values.astype(np.float32)
        values = self.array()
        return values if np.abs(values).max(initial=0) > 65504 else values.astype(np.float16)

    def quantized(self, longest: int = GROUPS[0]) -> QuantizedWeights:
        """The matrix exactly, as kvloom's numbers; its inputs in the order of ``permutation``.

        Groups have at most ``longest`` inputs. The weights are ``multiplier`` times the matrix.

        Raises:
            Inexact: the file has no codes for it, or some that kvloom's numbers do not hold; or it is more
                than one matrix (see ``matrices``).
        """
        if len(self.shape) != 2:
            raise Inexact(f"tensor {self.name}: shape {self.shape} must be a matrix")
        if self.codes is None:
            raise Inexact(f"tensor {self.name}: {self.kind} has no exact form")
        try:
            return self.codes().quantized(longest)
        except Inexact as error:
            raise Inexact(f"tensor {self.name}: {error}") from None

    def transposed(self) -> "Tensor":
        """The same with outputs before inputs, where a file has its matrices the other way round."""
        read, expert = self.read, self.expert
        return replace(
            self,
            shape=(*self.shape[:-2], *self.shape[:-3:-1]),
            read=None if read is None else lambda: read().reshape(self.shape).swapaxes(-1, -2),
            expert=None if expert is None else lambda number: expert(number).transposed(),
        )

    def _values(self) -> NDArray:
        if self.read is None:
            raise ValueError(f"tensor {self.name} must have values")
        return self.read().reshape(self.shape)


@dataclass(frozen=True)
class Checkpoint:
    """A model: where it lies, its format, its metadata as found there, and its tensors in their order.

    ``files`` are all its files in their order; none stands for ``path`` alone.
    """

    path: Path
    format: str
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    files: tuple[Path, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of the bytes of its files in their order, read when it is first asked for."""
        digest = hashlib.sha256()
        for path in self.files or (self.path,):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def linears(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Name and float32 ``[outputs, inputs]`` of every linear layer, one by one."""
        for tensor in self.tensors:
            if tensor.linear:
                yield from ((matrix.name, matrix.array()) for matrix in tensor.matrices())

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name."""
        return self._by_name[name]

    def with_roles(self, roles: Callable[[Tensor], str]) -> "Checkpoint":
        """The same with other roles of its tensors."""
        return replace(self, tensors=tuple(replace(tensor, role=roles(tensor)) for tensor in self.tensors))
