"""The published cache systems."""
