"""Attention on packed pages, as the engine computes it."""
