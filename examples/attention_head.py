"""Write what a C++ program gives to the attention circuit: ``python examples/attention_head.py DIR``.

DIR is where ``python -m hw.generate --block attention --name head`` wrote. Beside the circuit comes
``golden.h``: pages of keys and values in 4 bits as words of memory, queries, and the outputs that the NumPy
model gives. ``examples/attention_head.cpp`` plays them; ports and places it takes from the emitted macros.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from golden.attention import engine, page, scores
from golden.kv.formats import Format
from golden.kv.pages import SIDES, PageLayout
from hw.config import Config

TOKENS, QUERIES = 90, 4
FORMS = {"key": Format("native", 4, "channel", 32), "value": Format("native", 4, "token", 32)}


def array(name: str, numbers: ArrayLike, bits: int) -> str:
    """An array of C."""
    numbers = np.asarray(numbers)
    sizes = "".join(f"[{size}]" for size in numbers.shape)
    values = ", ".join(f"0x{value:x}" for value in numbers.ravel().tolist())
    return f"static const uint{bits}_t {name}{sizes} = {{{values}}};\n"


def main(folder: Path) -> None:
    manifest = json.loads((folder / "head_attention.json").read_text())["configuration"]
    config = Config.model_validate({name: manifest[name] for name in Config.model_fields})
    span, channels = config.kv.page_tokens, config.kv.channels
    pages = -(-TOKENS // span)
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(QUERIES, channels)).astype(np.float16)
    packed, read, tops = {}, {}, {}
    for side in SIDES:
        form, tokens = FORMS[side], np.zeros((pages * span, channels), np.float16)
        tokens[:TOKENS] = rng.normal(size=(TOKENS, channels))
        quantized = [form.quantize(part) for part in tokens.reshape(pages, span, channels)]
        layout = PageLayout(form, side, span, channels, config.rows, config.lanes)
        packed[side] = [layout.pack(each).view("<u8") for each in quantized]
        read[side] = [page.read(form, each) for each in quantized]
        tops[side] = max(int(form.largest_field(*each[1:])) for each in quantized)

    query = scores.fold(queries)
    state = engine.start(QUERIES, channels, tops["value"])
    for number in range(pages):
        keys, values = (read[side][number] for side in SIDES)
        last = min(span, TOKENS - number * span) - 1
        state, _ = engine.step(state, query, keys, values, config.numerics, tops["key"], 0, last)
    outputs = engine.finish(state, query).values

    counts = {"TOKENS": TOKENS, "QUERIES": QUERIES, "PAGES": pages, "WORDS": len(packed["key"][0])}
    lines = [f"#define {name} {count}\n" for name, count in counts.items()]
    lines += [array("tops", [tops[side] for side in SIDES], 8)]
    lines += [array("words", np.stack([packed[side] for side in SIDES]), 64)]
    lines += [
        array(name, part.view(np.uint16), 16) for name, part in (("queries", queries), ("outputs", outputs))
    ]
    (folder / "golden.h").write_text("#include <stdint.h>\n" + "".join(lines))
    print(f"{QUERIES} queries over {TOKENS} tokens of {channels} channels in {pages} pages of 4 bits")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
