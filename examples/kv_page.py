"""Write what a testbench of a page writes and reads back: ``python examples/kv_page.py DIR``.

DIR is where ``python -m hw.generate --name page`` wrote ``kv_page_writer`` and ``kv_half_reader``. Beside
them come, in hexadecimal, the float16 elements of a page of keys and, as the NumPy model has them, the words
of the page and the values that are left in 4 bits. ``examples/kv_page_tb.v`` plays them; all else it takes
from the macros that were emitted.
"""

import json
import sys
from pathlib import Path

import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import PageLayout


def main(folder: Path) -> None:
    config = json.loads((folder / "page_kv_page_writer.json").read_text())["configuration"]
    tokens, channels = config["kv"]["page_tokens"], config["kv"]["channels"]
    form = Format(rule="native", bits=4, axis="channel", group=32)
    keys = np.random.default_rng(1).normal(size=(tokens, channels)).astype(np.float16)
    quantized = form.quantize(keys)
    page = PageLayout(form, "key", tokens, channels, config["rows"], config["lanes"])
    files = {
        "elements": keys.view(np.uint16).ravel(),
        "words": page.pack(quantized).view(f"<u{config['memory_bits'] // 8}"),
        "values": form.decode_half(quantized).view(np.uint16).ravel(),
    }
    for name, numbers in files.items():
        (folder / f"{name}.hex").write_text("".join(f"{each:x}\n" for each in numbers))
    print(f"{tokens} tokens x {channels} channels in 4 bits: {page.bytes} bytes, {len(files['words'])} words")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
