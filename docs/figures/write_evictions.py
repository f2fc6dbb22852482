"""Evicting caches at a quarter of long samples: ``python docs/figures/write_evictions.py stories260K.bin``.

A llama2.c model reads its own samples of 480 tokens; every scheme keeps 128 of them, KVCrush's forms 32 of
these as representatives. What is printed has the form of the results of ``golden.evaluate``.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace

from golden.checkpoint import locate, open_checkpoint
from golden.model import tokenizer
from golden.model.attention import Memory, Plain
from golden.model.llama import Llama
from golden.model.perplexity import losses
from golden.model.sampling import samples
from golden.model.system_memory import SystemMemory
from golden.systems.layers.kvcrush import KVCrush
from golden.systems.registry import SYSTEMS

COUNT, TOKENS = 8, 480
BUDGET, REPRESENTATIVES = 128, 32
SCHEMES = (
    *("h2o", "kvcrush", "kvcrush_refresh", "snapkv", "kvcrush_snapkv", "evict_random"),
    *("h2o_block", "kvcrush_block", "evict_block_random"),
)


def systems() -> Iterator[tuple[str, KVCrush | None]]:
    """The full cache, and the schemes with smaller budgets."""
    yield "none", None
    for name in SCHEMES:
        system = SYSTEMS[name]
        assert isinstance(system, KVCrush)
        representatives = REPRESENTATIVES if system.representatives else 0
        yield name, replace(system, budget=BUDGET, representatives=representatives)


def measured(model: Llama, parts: list, system: KVCrush | None) -> tuple[list, float | None]:
    """Tokens and mean loss of each sample, and bits of an element."""
    made: list[SystemMemory] = []

    def memory(heads: int, channels: int) -> Memory:
        if system is None:
            return Plain(heads, channels)
        made.append(SystemMemory(system.layer(heads, channels)))
        return made[-1]

    windows = [(len(own), float(own.mean())) for own in losses(model, parts, memory)]
    elements = sum(one.layer.closed_elements for one in made)
    return windows, sum(one.layer.bits for one in made) / elements if elements else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a llama2.c .bin")
    checkpoint = open_checkpoint(locate(parser.parse_args().model))
    model = Llama(checkpoint)
    parts = samples(model, tokenizer.begin(checkpoint), COUNT, TOKENS)
    results = []
    for name, system in systems():
        windows, bits = measured(model, parts, system)
        results.append({"setting": {"kv": name}, "kv_bits": bits, "windows": windows})
    title = f"{checkpoint.path.name}, {COUNT} of its own samples of {TOKENS} tokens, {BUDGET} kept"
    print(json.dumps({"title": title, "results": results}, indent=1))


if __name__ == "__main__":
    main()
