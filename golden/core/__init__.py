"""The decode core: an image of memory in, tokens out."""
