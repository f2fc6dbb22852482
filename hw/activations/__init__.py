"""Activations: aligner and activation buffer."""
