"""KVTuner's published table: ``python docs/figures/write_kvtuner.py > docs/figures/kvtuner.json``.

Llama-3.1-8B with KIVI's caches in groups of 32: bits of the table C3.25 and of uniform ones, with all
metadata, and what the bytes of a decode step say about the tokens a second of the paper's Table 8. Presets of
the authors for this model (``FILE.yaml ...`` behind it) are told likewise, without published speeds.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.systems import kvtuner
from golden.systems.kvtuner.tables import Layered
from synth.model import networks

NETWORK = networks.get("llama-3-8b")  # of which Llama-3.1-8B has the shapes
TOKENS = 8192
"""Of all sequences together in each of the paper's three settings: 64 of 128, 16 of 512, 8 of 1,024."""
FLOAT16 = 16
TABLES = {
    "K8V8": {(8, 8): 32},
    "K8V4": {(8, 4): 32},
    "K4V4": {(4, 4): 32},
    "K4V2": {(4, 2): 32},
    "C3.25": {(4, 2): 20, (4, 4): 6, (2, 2): 4, (8, 4): 2},
}
"""How many layers have which bits of keys and values; bits and bytes do not depend on their order."""
PUBLISHED = {
    "K8V8": (3836, 1102, 549),
    "K8V4": (4193, 1205, 597),
    "K4V4": (4567, 1275, 632),
    "K4V2": (4697, 1304, 645),
    "C3.25": (4652, 1296, 641),
}
"""Tokens a second of the paper's Table 8, in its three settings."""


def table(counts: Mapping[tuple[int, int], int]) -> NDArray[np.int64]:
    """Bits by layer, [L, 2]."""
    return np.array([pair for pair, count in counts.items() for _ in range(count)])


def stored(bits: NDArray[np.int64]) -> float:
    """Bits of an element with its share of scales and minima, without the window of 32 float16 tokens."""
    return Layered(tuple(kvtuner.schemes(bits, "kivi"))).bits_per_element(NETWORK.head)


def step_bytes(bits: float, tokens: int = TOKENS) -> float:
    """What a decode step reads: float16 weights once, and the caches of all sequences."""
    elements = 2 * NETWORK.layers * NETWORK.kv_width * tokens
    return (FLOAT16 * NETWORK.parameters + bits * elements) / 8


def tokens_for(gain: float, bits: float, base: float) -> int:
    """Tokens in the caches at which ``bits`` instead of ``base`` make a step so many times as fast."""
    weights, slope = step_bytes(0), step_bytes(1, 1) - step_bytes(0)
    return round(weights * (gain - 1) / (slope * (base - gain * bits)))


def row(name: str, bits: NDArray[np.int64], base: float) -> dict[str, Any]:
    """What is told of a table, ``base`` being the stored bits of K8V8."""
    own = stored(bits)
    found = {
        "name": name,
        "bits": float(bits.mean()),
        "stored_bits": own,
        "smaller_than_float16": FLOAT16 / own,
        "smaller_than_k8v8": base / own,
        "speed_of_bytes": step_bytes(base) / step_bytes(own),
    }
    if name in PUBLISHED:
        rates = zip(PUBLISHED[name], PUBLISHED["K8V8"], strict=True)
        found["speed_published"] = [rate / eight for rate, eight in rates]
        if own < base:
            found["tokens_for_that_speed"] = tokens_for(found["speed_published"][0], own, base)
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", type=Path, metavar="FILE.yaml")
    tables = {name: table(counts) for name, counts in TABLES.items()}
    tables |= {path.stem: kvtuner.load(path) for path in parser.parse_args(argv).presets}
    base = stored(tables["K8V8"])
    print(json.dumps([row(name, bits, base) for name, bits in tables.items()], indent=1))


if __name__ == "__main__":
    main()
