"""Checkpoints by their short name: see ``golden.model.checkpoint``."""

from golden.model.checkpoint import Checkpoint, Tensor, locate, open_checkpoint

__all__ = ["Checkpoint", "Tensor", "locate", "open_checkpoint"]
