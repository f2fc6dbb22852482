"""Page writer against golden pages: random ones on every simulator, and what real models cache."""

import dataclasses

import numpy as np
import pytest

from golden.checkpoint import ctranslate2, locate, open_checkpoint
from golden.kv.formats import Format
from golden.model import tokenizer
from golden.model.capture import heard, keys_and_values, manual
from golden.model.llama import Llama
from golden.model.whisper import Whisper
from hw.config import Config, KvConfig, preset
from hw.kv.page_writer import PageWriter
from sim import runner

BENCH = "sim.benches.kv.page_writer"
WIDE = Config(kv=KvConfig(lanes=4))
FORMATS = [
    *(Format("native", bits, "token", 32) for bits in (2, 3, 4)),
    Format("sign", 1),
    Format("ternary_scaled", 2),
]
Cache = list[tuple[np.ndarray, np.ndarray]]


def run(
    config: Config, simulator: str, pages: int, given: list[dict], test_filter: str | None = None
) -> None:
    parameters = {"config": config.model_dump(), "pages": pages, "given": given}
    runner.run(PageWriter(config), BENCH, simulator, parameters, test_filter)


@pytest.fixture(scope="module")
def spoken() -> Cache:
    """Keys and values that SmolLM2 writes for 64 tokens of Python's manual."""
    try:
        checkpoint = open_checkpoint(locate("smollm2"))
    except ValueError as error:
        pytest.skip(str(error))
    return keys_and_values(Llama(checkpoint), tokenizer.of(checkpoint).encode(manual(2000))[:64])


@pytest.fixture(scope="module")
def listened() -> Cache:
    """Cross-attention of Whisper for a gliding tone with echo."""
    try:
        model = Whisper(ctranslate2.read(ctranslate2.locate("whisper-tiny.en")))
    except ValueError as error:
        pytest.skip(str(error))
    time = np.arange(16_000 * 5) / 16_000
    tone = np.sin(2 * np.pi * (200 + 60 * time) * time) * (np.sin(7 * time) > 0)
    return heard(model, tone + 0.3 * np.roll(tone, 3000))


def pages_of(cache: Cache, layers: list[int], pages: int) -> list[dict]:
    """The first pages of every head of some layers, keys per channel and values per token, every format."""
    result = []
    for layer in layers:
        for side, x in zip(("key", "value"), cache[layer], strict=True):
            for head in x[:, : 32 * pages].astype(np.float16):
                for number, page in enumerate(np.split(head, pages)):
                    form = FORMATS[(number + layer + len(result)) % len(FORMATS)]
                    axis = "channel" if side == "key" else "token"
                    form = dataclasses.replace(form, axis=axis, group=32)
                    elements = np.ascontiguousarray(page).view(np.uint16)
                    result.append({"format": dataclasses.asdict(form), "side": side, "elements": elements})
    return result


@pytest.mark.parametrize(
    ("config", "simulator", "pages", "chosen"),
    [
        pytest.param(preset("tiny"), "verilator", 5, None, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 2, "stalls=0|stalls=3", id="tiny-icarus"),
        pytest.param(preset("edge"), "verilator", 1, "stalls=3", id="edge", marks=pytest.mark.slow),
        pytest.param(WIDE, "verilator", 2, None, id="four_lanes"),
    ],
    indirect=["simulator"],
)
def test_random_pages(config: Config, simulator: str, pages: int, chosen: str | None) -> None:
    run(config, simulator, pages, [], chosen)


@pytest.mark.llm
def test_keys_and_values_of_smollm2(simulator: str, spoken: Cache) -> None:
    layers = [0, 11, 29] if simulator == "verilator" else [5]
    given = pages_of(spoken, layers, 2)
    run(preset("edge"), simulator, 1, given if simulator == "verilator" else given[::4], "given")


@pytest.mark.llm
def test_cross_attention_of_whisper(listened: Cache) -> None:
    run(preset("edge"), "verilator", 1, pages_of(listened, [0, 3], 2), "given")
