"""Numbers: decoders and arithmetic that several rooms share."""
