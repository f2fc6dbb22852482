"""Cycles of products over their bound: ``python docs/figures/write_cycles.py > docs/figures/cycles.json``.

The bound is the larger of a packet's words and its multiplications; the cycles are those of ``synth.model``,
which its tests hold to the simulated accelerator.
"""

import json

from golden.numbers import datatypes, scales
from golden.weights.packet import Packet
from hw.config import preset
from synth.model.timeline import product_cycles

SHAPES = ((576, 576), (1536, 576), (576, 1536))
WEIGHTS = (
    ("bitmod4", "int8", False, 128),
    ("bitmod3", "int8", False, 128),
    ("int4_asym", "fp16", True, 128),
    ("int4_asym", "fp16", True, 32),
    ("e2m1", "e8m0", False, 32),
    ("int8", "int8", False, 128),
)


def over_bound(outputs: int, inputs: int, dtype: str, scale: str, offset: bool, group: int) -> float:
    """Cycles of a product on ``edge``, header and drain included, over its bound."""
    config = preset("edge")
    product = Packet(
        datatypes.get(dtype), scales.get(scale), outputs, inputs, group, config.rows, config.lanes, offset
    )
    words = -(-product.bits // config.memory_bits)
    sizes = [product.group] * (product.groups - 1) + [product.last_inputs]
    multiplications = product.blocks * sum(map(product.chunks, sizes)) * product.dtype.term_count
    return product_cycles(config, product) / max(words, multiplications)


def main() -> None:
    products = [
        {"shape": shape, "dtype": weights[0], "group": weights[3], "over_bound": over_bound(*shape, *weights)}
        for weights in WEIGHTS
        for shape in SHAPES
    ]
    ratios = [product["over_bound"] for product in products]
    print(json.dumps({"least": min(ratios), "most": max(ratios), "products": products}, indent=2))


if __name__ == "__main__":
    main()
