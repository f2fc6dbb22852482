"""Numbers: data types, scale formats, float bit patterns, trits, widths and bounds."""
