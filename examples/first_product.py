"""Write what a testbench of the accelerator plays: ``python examples/first_product.py DIR``.

DIR is what ``python -m hw.generate`` wrote. Beside its Verilog come, as words in hexadecimal, a packet of
4-bit weights, a vector of FP16 activations, the results that the accelerator must give, and ``sizes.vh``.
``examples/accelerator_tb.v`` plays them.
"""

import json
import sys
from pathlib import Path

import numpy as np

from golden import layout, matvec, weights
from hw.config import Config

OUTPUTS, INPUTS = 10, 100


def words(data: bytes, width: int) -> list[str]:
    """Words of ``width`` bits, little endian, as $readmemh reads them; zeros fill the last one up."""
    size = width // 8
    padded = data.ljust(-(-len(data) // size) * size, b"\0")
    return [padded[start : start + size][::-1].hex() for start in range(0, len(padded), size)]


def main(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    config = Config.model_validate({name: manifest["configuration"][name] for name in Config.model_fields})
    rng = np.random.default_rng(1)

    matrix = weights.quantize(rng.normal(size=(OUTPUTS, INPUTS)), "bitmod4", group=config.group)
    packet = layout.pack(matrix, config.rows, config.lanes, output="fp16", word_bits=config.memory_bits)
    vector = rng.normal(size=INPUTS).astype(np.float16)
    results = matvec.matvec(matrix, vector, config, output="fp16").astype(np.float16)

    widths = {port["name"]: port["width"] for port in manifest["ports"]}
    files = {
        "packet": words(packet, widths["weights_tdata"]),
        "vector": words(vector.tobytes(), widths["activations_tdata"]),
        "results": [f"{bits:04x}" for bits in results.view(np.uint16)],
    }
    for name, lines in files.items():
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")
    sizes = {f"{name.upper()}_WORDS": len(lines) for name, lines in files.items()}
    sizes |= {
        "WEIGHT_BITS": widths["weights_tdata"],
        "ACTIVATION_BITS": widths["activations_tdata"],
        "UNITS": widths["results_tdata"] // 32,
    }
    (folder / "sizes.vh").write_text(
        "".join(f"localparam {name} = {size};\n" for name, size in sizes.items())
    )
    print(f"{OUTPUTS} x {INPUTS} in bitmod4: {len(packet)} bytes, {len(results)} results")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
