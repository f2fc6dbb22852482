"""Write what a testbench of the page writer plays: ``python examples/kv_page.py DIR``.

DIR is what ``python -m hw.generate --block kv_page_writer`` wrote. Beside its Verilog come, in hexadecimal,
the record and the elements of a page of keys, the words that the page must have, and ``sizes.vh``.
``examples/kv_page_tb.v`` plays them.
"""

import json
import sys
from pathlib import Path

import numpy as np

from golden.kv import codings
from golden.kv.formats import Format
from golden.kv.pages import PageLayout

TOP = 1
"""Largest exponent field of any scale or minimum of this head before: the head's first page."""


def payload(port: dict, values: dict[str, int]) -> int:
    """Values in their places, as the manifest has them; fields that are not named are 0."""
    places = {field["name"]: field["offset"] for field in port["fields"]}
    return sum(value << places[name] for name, value in values.items())


def main(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    config = manifest["configuration"]
    tokens, channels = config["kv"]["page_tokens"], config["kv"]["channels"]
    form = Format(rule="native", bits=4, axis="channel", group=32)
    page = PageLayout(form, "key", tokens, channels, config["rows"], config["lanes"])
    keys = np.random.default_rng(1).normal(size=(tokens, channels)).astype(np.float16)
    width = config["memory_bits"] // 8
    packed = page.pack(form.quantize(keys)).tobytes()
    packed = packed.ljust(-(-len(packed) // width) * width, b"\0")

    ports = {port["name"]: port for port in manifest["ports"]}
    record = {
        "form.coding": codings.CODINGS.index(form.coding),
        "form.axis": 1,  # groups of tokens of one channel
        "form.group": 1,  # of 16 << 1 tokens
        "form.channels": channels // 16,
        "top": TOP,
    }
    files = {
        "record": [f"{payload(ports['formats_payload'], record):x}"],
        "elements": [f"{bits:04x}" for bits in keys.view(np.uint16).ravel()],
        "words": [packed[at : at + width][::-1].hex() for at in range(0, len(packed), width)],
    }
    for name, lines in files.items():
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")
    sizes = {f"{name.upper()}_COUNT": len(lines) for name, lines in files.items()}
    sizes |= {
        "RECORD_BITS": ports["formats_payload"]["width"],
        "WORD_BITS": config["memory_bits"],
        "WORDS_BITS": ports["words_payload"]["width"],
        "LAST_BIT": next(f["offset"] for f in ports["words_payload"]["fields"] if f["name"] == "last"),
    }
    (folder / "sizes.vh").write_text(
        "".join(f"localparam {name} = {size};\n" for name, size in sizes.items())
    )
    print(f"{tokens} tokens x {channels} channels in 4 bits: {page.bytes} bytes, {len(files['words'])} words")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
