"""Checkpoints: model files of every format, opened by one function, their matrices read one at a time."""

from golden.checkpoint.opening import locate, open_checkpoint
from golden.checkpoint.tensor import Checkpoint, Tensor

__all__ = ["Checkpoint", "Tensor", "locate", "open_checkpoint"]
