"""Attention on packed pages: what stands around the array."""
