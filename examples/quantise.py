# %% [markdown]
# # What does each data type do to a matrix?
# A matrix with a few large columns, as weights of language models have them, in types of 1.6 to 4 bits.
# Open this file as a notebook (VS Code, Jupytext) or run it: `python examples/quantise.py`.

# %%
import numpy as np

from golden import layout, weights

rng = np.random.default_rng(0)
matrix = rng.normal(size=(64, 512)) * np.where(rng.random(512) < 0.02, 8.0, 1.0)

# %% [markdown]
# `quantize` chooses scales and codes; `dequantize` gives the very numbers that the accelerator multiplies by.
# Bits are those of the packet, scales and header included.

# %%
TYPES = ("bitmod4", "int4_asym", "fp4", "int4", "bitmod3", "int3_asym", "fp3", "int3", "ternary")
found = {}
for name in TYPES:
    quantized = weights.quantize(matrix, name, group=128)
    error = np.mean((quantized.dequantize() - matrix) ** 2) / np.mean(matrix**2)
    bits = 8 * len(layout.pack(quantized, rows=8, lanes=16)) / matrix.size
    found[name] = bits, error
    print(f"{name:10} {bits:5.2f} bits a weight   relative squared error {error:.2e}")

# %% [markdown]
# Fewer bits, more error, but types of equal bits differ: BitMoD chooses a special value for each group.
# Smaller groups help too, for more bits.

# %%
for group in (128, 64, 32, 16):
    quantized = weights.quantize(matrix, "bitmod3", group=group)
    error = np.mean((quantized.dequantize() - matrix) ** 2) / np.mean(matrix**2)
    bits = 8 * len(layout.pack(quantized, rows=8, lanes=16)) / matrix.size
    print(f"bitmod3 in groups of {group:3} {bits:5.2f} bits a weight   relative squared error {error:.2e}")
