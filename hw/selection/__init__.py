"""Circuits that choose tokens: what the cache systems share."""
