"""A programmable table of 16 values: IQ4_NL of a GGUF file by the accelerator, in exact integers."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from amaranth.back import rtlil

from golden.checkpoint import open_checkpoint
from golden.checkpoint.gguf_blocks import IQ4_NL
from golden.matvec import matvec_bits
from golden.numbers import datatypes
from golden.weights import layout
from golden.weights.packet import TABLE_NUMBER
from golden.weights.quantized import QuantizedWeights
from hw.accelerator import Accelerator
from hw.config import preset
from hw.pe.term_encoder import TermEncoder
from sim import runner

CONFIG = preset("tiny").changed(table=True, types=("int4_asym",))
VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""Of GGUF's IQ4_NL."""


def stored(path: Path, codes: np.ndarray, scale: np.ndarray) -> QuantizedWeights:
    """A matrix as a GGUF file has it: blocks of 32, a float16 and the codes j and j + 16 in a byte."""
    rows, inputs = codes.shape
    halves = codes.reshape(rows, inputs // 32, 2, 16)
    packed = (halves[:, :, 0] | halves[:, :, 1] << 4).astype(np.uint8)
    numbers = scale.astype("<f2")[..., None].view(np.uint8)
    data = np.concatenate([numbers, packed], -1).reshape(rows, -1)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=gguf.GGMLQuantizationType.IQ4_NL)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_checkpoint(path)["blk.0.ffn_up.weight"].quantized()


@pytest.mark.long
def test_a_file_s_codes_multiply_exactly(tmp_path: Path, rng: np.random.Generator) -> None:
    """Every code with scales of both signs, from the file to FP32 results."""
    rows, inputs = 10, 96
    codes = rng.permuted(np.resize(np.arange(16, dtype=np.uint8), (rows, inputs)), axis=1)
    scale = rng.choice([1.0, -1.0, 2.0, -0.5], (rows, inputs // 32))
    q = stored(tmp_path / "a.gguf", codes, scale)
    np.testing.assert_array_equal(q.codes, codes)
    x = rng.integers(-32, 33, inputs)
    weights = np.array(VALUES)[codes] * np.repeat((2 * scale).astype(int), 32, axis=1)
    exact = (weights @ x / 2).astype(np.float32)
    np.testing.assert_array_equal(exact * 2, weights @ x)
    bits = x.astype(np.float16).view(np.uint16)[None]
    results = exact.view(np.uint32)[None]
    np.testing.assert_array_equal(matvec_bits(q, bits, CONFIG, output="fp32")[0], results)

    packet = layout.pack(q, CONFIG.rows, CONFIG.lanes, "fp32", word_bits=CONFIG.memory_bits)
    product = {"packet": packet.hex(), "vector": bits, "group": q.group, "results": results}
    parameters = {"config": CONFIG.model_dump(), "products": [product], "table": VALUES}
    design = runner.Design.of_type(Accelerator, CONFIG)
    outcome = runner.run(design, "sim.benches.accelerator", "verilator", parameters, "given")
    assert outcome.tests == 1


def test_packets_name_a_table_and_leave_its_values_out(tmp_path: Path) -> None:
    codes = np.resize(np.arange(16, dtype=np.uint8), (4, 64))
    q = stored(tmp_path / "a.gguf", codes, np.array([[1, -1]] * 4))
    packet = layout.pack(q)
    assert packet[2] == TABLE_NUMBER == 31
    again = layout.unpack(packet, IQ4_NL)
    np.testing.assert_array_equal(again.codes, codes)
    np.testing.assert_array_equal(again.dequantize(np.float32), q.dequantize(np.float32))
    last = len(datatypes.names()) - 1
    with pytest.raises(ValueError, match=rf"^dtype 31 must be 0..{last}$"):
        layout.unpack(packet)


def test_nothing_of_it_where_it_is_not_asked_for() -> None:
    """No port, and an encoder in which nothing is named after it."""
    plain = CONFIG.changed(table=False)
    for config, has in ((plain, False), (CONFIG, True)):
        assert ("table" in Accelerator(config).signature.members) == has
        assert ("table" in rtlil.convert(TermEncoder(config))) == has
