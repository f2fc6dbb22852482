"""BitMoD's data types in circuits against golden pages."""

import numpy as np
import pytest

from golden.checkpoint import locate, open_checkpoint
from golden.kv import bitmod
from golden.kv.formats import Format
from golden.model import tokenizer
from golden.model.capture import keys_and_values, manual
from golden.model.llama import Llama
from hw.attention.code_feed import CodeFeed
from hw.config import Config, ConfigurationError, KvConfig, preset
from hw.core.core import Core
from hw.kv.half_reader import HalfReader
from hw.kv.page_writer import PageWriter
from sim import runner

TINY = preset("tiny").model_copy(update={"kv": KvConfig(channels=32, queries=4, bitmod=True)})
FOUR_LANES = TINY.model_copy(update={"kv": TINY.kv.model_copy(update={"lanes": 4})})
WIDE = Config(kv=KvConfig(lanes=4, channels=64, page_tokens=64, bitmod=True))
WRITER = "sim.benches.kv.bitmod_writer"
SOME = "every_place|impossible|cycles"
READER = "sim.benches.kv.bitmod_reader"


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(FOUR_LANES, "verilator", 1, None, id="four_lanes"),
        pytest.param(TINY, "verilator", 2, None, id="tiny-verilator", marks=pytest.mark.long),
        pytest.param(TINY, "icarus", 1, SOME, id="tiny-icarus", marks=pytest.mark.long),
        pytest.param(WIDE, "verilator", 1, None, id="wide", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_written_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    parameters = {"config": config.model_dump(), "pages": pages}
    runner.run(PageWriter(config), WRITER, simulator, parameters, chosen)


@pytest.mark.parametrize(
    ("config", "simulator", "chosen"),
    [
        pytest.param(FOUR_LANES, "verilator", "stalls=(0|3)", id="four_lanes"),
        pytest.param(TINY, "verilator", None, id="tiny-verilator", marks=pytest.mark.long),
        pytest.param(TINY, "icarus", "stalls=0", id="tiny-icarus", marks=pytest.mark.long),
        pytest.param(WIDE, "verilator", "stalls=3", id="wide", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_read_pages(config: Config, simulator: str, chosen: str | None) -> None:
    runner.run(HalfReader(config), READER, simulator, {"config": config.model_dump()}, chosen)


def test_who_refuses_them() -> None:
    with pytest.raises(ConfigurationError, match=r"^kv.bitmod of a core must be false$"):
        Core(TINY)
    message = r"^rows 32 must be at most 16 for attention with kv.bitmod$"
    with pytest.raises(ConfigurationError, match=message):
        CodeFeed(preset("paper").changed(kv=TINY.kv.model_dump()))
    message = r"^types must include bitmod3, bitmod4 for keys and values$"
    types = tuple(name for name in TINY.types if not name.startswith("bitmod"))
    with pytest.raises(ConfigurationError, match=message):
        CodeFeed(TINY.changed(types=types))


@pytest.mark.llm
@pytest.mark.long
def test_keys_and_values_of_smollm2() -> None:
    """Near the exhaustive search in golden, and golden's pages by the circuit."""
    try:
        checkpoint = open_checkpoint(locate("smollm2"))
    except ValueError as error:
        pytest.skip(str(error))
    spoken = keys_and_values(Llama(checkpoint), tokenizer.of(checkpoint).encode(manual(2000))[:64])
    for name, bits in bitmod.TYPES.items():
        for axis in ("token", "channel"):
            form, errors = Format(name, bits, axis, 32), np.zeros(2)
            for x in (head.astype(np.float16) for layer in spoken for side in layer for head in side):
                for number, search in enumerate(bitmod.SEARCHES):
                    found = form.decode(bitmod.quantize(x, name, axis, 32, search))
                    errors[number] += np.square(found - x.astype(np.float64)).sum()
            print(f"{name} by {axis}: {100 * (errors[0] / errors[1] - 1):.2f} % above the exhaustive search")
            assert errors[1] <= errors[0] < 1.02 * errors[1]
    given = [
        {"elements": x[0, :32].astype(np.float16).view(np.uint16), "side": side, "axis": axis}
        for side, x in zip(("key", "value"), spoken[11], strict=True)
        for axis in ("token", "channel")
    ]
    config = TINY.changed(kv=TINY.kv.model_copy(update={"channels": 64, "lanes": 4}).model_dump())
    parameters = {"config": config.model_dump(), "pages": 1, "given": given}
    runner.run(PageWriter(config), WRITER, "verilator", parameters, "given")
