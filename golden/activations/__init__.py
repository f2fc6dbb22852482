"""Activations: FP16 or BF16 vectors as integers with one exponent a group."""
