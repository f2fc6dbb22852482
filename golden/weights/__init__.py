"""Weights: quantised matrices, the search that makes them, and the packets that carry them."""

from golden.weights.quantized import QuantizedWeights, quantize

__all__ = ["QuantizedWeights", "quantize"]
