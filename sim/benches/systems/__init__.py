"""Benches of the circuits that one cache system has for itself."""
