"""Weights: packets of packed weights to codes and scales."""
