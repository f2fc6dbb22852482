"""Circuits that one cache system has for itself."""
