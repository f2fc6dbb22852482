"""Designs in one area, time and bytes of a token, and the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from golden.kv.pages import SIDES, PageLayout
from golden.kv.schemes import WINDOW
from synth.model import __main__ as command
from synth.model import areas, system
from synth.model.accelerators import published
from synth.model.kvloom import KV, edge, kvloom, tiles
from synth.model.networks import Network, get
from synth.model.system import Machine

pytestmark = pytest.mark.quick

AREAS = areas.load()
SMALL = Network("small", 3, 256, 4, 2, 64, 512, 3, 1024)


def design(label: str):
    return next(one for one in published(AREAS) if one.label == label)


def test_fp16_moves_its_bytes_and_nothing_else():
    network, context = get("llama-2-7b"), 8192
    step = system.decode(design("FP16 W16 KV16"), network, context)
    weights = sum(count * outputs * (2 * inputs + 2) for count, inputs, outputs in network.linear)
    cached = network.layers * 2 * (context + 1) * 4096 * 2
    assert step.bytes("weight") == weights
    assert step.bytes("kv") == cached
    ends = sum(count * 2 * (inputs + outputs) for count, inputs, outputs in network.linear)
    assert step.bytes("activation") == ends + network.layers * 4 * 4096
    assert step.seconds == pytest.approx((weights + cached + ends + network.layers * 4 * 4096) / 32e9)


def test_faster_memory_leaves_the_array():
    one, network = design("FP16 W16 KV16"), get("llama-2-7b")
    slow, fast = (system.decode(one, network, 256, machine=Machine(rate)) for rate in (32.0, 1e5))
    assert slow.cycles / fast.cycles == pytest.approx(4, rel=0.01)
    halved = system.decode(one, network, 256, machine=Machine(16.0, 0.5))
    assert halved.seconds == pytest.approx(2 * slow.seconds)


@pytest.mark.parametrize("scheme", ["native2_paged", "native3_paged", "native4_paged"])
@pytest.mark.parametrize("context", [64, 200, 517])
def test_bytes_of_a_cache_are_those_of_the_golden_one(scheme: str, context: int, rng: np.random.Generator):
    keys, values = rng.standard_normal((2, SMALL.kv_heads, context, SMALL.head))
    found = KV[scheme]
    assert found is not None
    cache = found.compress(keys, values, page_tokens=64)
    arrays = load(cache.to_bytes())
    wanted = sum(arrays[f"{side}_pages"].nbytes for side in SIDES)
    for side in SIDES:
        codes = cache.window_pages(side).codes
        wanted += codes.shape[0] * codes.shape[1] * PageLayout(WINDOW, side, 64, SMALL.head).bytes
    assert kvloom(AREAS, "bitmod3", scheme).cached(SMALL, context) == wanted


def test_long_prompts_read_their_cache_again():
    """1,024 queries of 2 heads by 1,024 tokens are 4 MiB of scores, of which the buffer holds an eighth."""
    step = system.prefill(design("FP16 W16 KV16"), SMALL, 1024)
    cached = 2 * 1024 * 128 * 2
    assert step.bytes("kv") == SMALL.layers * (8 + 1) * cached


def test_a_token_is_written_and_leaves_the_window():
    """Of 1,000 tokens 15 pages of 64 have left a window of 32; the others are in pages of 8 bits."""
    one, context, head = kvloom(AREAS, "bitmod3", "native2_paged"), 1000, 64
    page, window = 2 * 64 * head * 3 // 8, 2 * 64 * head * 9 // 8
    assert one.cached(SMALL, context) == SMALL.kv_heads * (15 * page + window)
    halves = 2 * 2 * 2 * head  # written, and read when they leave
    written = SMALL.kv_heads * (halves + (page + window) / 64)
    assert one.moved(SMALL, 1, context) == one.cached(SMALL, context) + written


def test_pages_are_read_once_for_all_queries_of_their_head():
    """By eight queries at a time: a token's two, or those of four tokens of a prompt."""
    one = kvloom(AREAS, "bitmod3", "native2_paged")
    written = one.moved(SMALL, 1, 512) - one.cached(SMALL, 512)
    assert one.moved(SMALL, 4, 512) == one.cached(SMALL, 512) + 4 * written
    assert one.moved(SMALL, 256, 512) == 64 * one.cached(SMALL, 512) + 256 * written
    assert one.attention(SMALL, 1, 512, 4) < 4 * one.attention(replace(SMALL, heads=2), 1, 512, 2)


def test_the_output_layer_has_bits_of_its_own():
    network = get("llama-3-8b")
    outputs = network.hidden, network.vocabulary
    for head in ("bitmod4", "int8"):
        one = edge("bitmod3", "native2_paged", head)
        own = one.linear(*outputs, 1, head=True)
        assert own == edge(head, "native2_paged").linear(*outputs, 1)
        assert own[1] > one.linear(*outputs, 1)[1]
    assert design("BitMoD W3 KV8").linear(*outputs, 1, head=True) == design("BitMoD W4 KV8").linear(
        *outputs, 1
    )


def test_more_tiles_share_memory():
    """Twice the tiles halve the time where the array decides, and change nothing where memory does."""
    network = get("llama-3-8b")
    one, two = (edge("bitmod4", "native2_paged", count=count) for count in (1, 2))
    assert one.attention(network, 1, 32768, 1) == pytest.approx(
        2 * two.attention(network, 1, 32768, 1), rel=0.01
    )
    assert one.moved(network, 1, 32768) == two.moved(network, 1, 32768)


def test_columns_share_what_is_read():
    """Four queries in four columns take what memory takes, and no longer four times what one takes."""
    network = get("llama-3-8b")
    one, four = (edge("bitmod4", "native2_paged", columns=count) for count in (1, 4))
    assert four.label == "1 edge of 4 columns bitmod4 native2_paged"
    words = one.moved(network, 1, 32768) / (one.config.memory_bits // 8)
    assert one.moved(network, 1, 32768) == four.moved(network, 1, 32768)
    assert four.attention(network, 1, 32768, 1) == pytest.approx(words, rel=0.05)
    assert one.attention(network, 1, 32768, 1) > 2.7 * words


def test_every_product_is_done_once():
    for one in (*published(AREAS), kvloom(AREAS, "bitmod3", "native4_paged")):
        step = system.decode(one, get("llama-3-8b"), 1024, 4)
        wanted = 4 * (get("llama-3-8b").parameters + 32 * 2 * 1024 * 4096)
        assert step.macs == wanted
        assert step.cycles * one.peak * 2 > wanted  # a pass of few bits may be twice as fast as the weights'


def test_fewer_bits_are_faster_where_memory_decides():
    rates = [
        system.decode(kvloom(AREAS, "bitmod3", kv), get("llama-2-7b"), 32768).tokens_per_second
        for kv in ("native8_paged", "native4_paged", "native3_paged", "native2_paged", "native2_token")
    ]
    assert rates == sorted(rates)


def test_figures_of_long_contexts():
    """At least 5 times FP16 and 1.8 times BitMoD with an 8-bit cache, at 32K tokens."""
    rate = {
        one.label: system.decode(one, get("llama-2-7b"), 32768).tokens_per_second
        for one in (
            *published(AREAS),
            *(kvloom(AREAS, "bitmod3", kv) for kv in ("native2_paged", "ternary_folded")),
        )
    }
    for kv in ("native2_paged", "ternary_folded"):
        assert rate[f"kvloom bitmod3 {kv}"] >= 5 * rate["FP16 W16 KV16"]
        assert rate[f"kvloom bitmod3 {kv}"] >= 1.8 * rate["BitMoD W3 KV8"]


def with_units(tmp_path: Path, *units: dict) -> Path:
    content = json.loads(areas.DEFAULT.read_text())
    content["designs"] = [one for one in content["designs"] if one["name"] in ("fp16_mac", "tile")] + list(
        units
    )
    path = tmp_path / "areas.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("rates", [{"bitmod4": 2.0}, {}])
def test_measured_areas_size_the_arrays(rates: dict[str, float], tmp_path: Path):
    assert tiles(AREAS) == int(768 * 2896 / 121344)
    small = {"name": "bitmod_pe", "area": 1448.0, "macs_per_cycle": rates, "energy_per_mac": {"int8": 0.5}}
    other = {"name": "int8_mac", "area": 300.0, "macs_per_cycle": {}}
    path = with_units(tmp_path, small, other)
    found = areas.load(path)
    bitmod = next(one for one in published(found) if one.label == "BitMoD W4 KV8")
    assert bitmod.peak == 2 * (2 * 768 // 32) * 32
    absent = published(areas.load(with_units(tmp_path)))
    assert next(one for one in absent if one.label == "BitMoD W4 KV8").peak == 2048
    path = with_units(tmp_path, small, other)
    assert command.main(["--areas", str(path), "--kv", "native4_paged", "--out", str(tmp_path / "out")]) == 0
    shown = json.loads((tmp_path / "out" / "model.json").read_text())
    by_name = {row["name"]: row for row in shown["areas"]["units"]}
    assert by_name["BitMoD"]["area_per_mac"] == 724
    assert by_name["int8_mac"]["area_per_mac"] == 300
    assert by_name["ANT"]["area_per_mac"] is None
    step = next(row for row in shown["designs"] if row["label"] == "BitMoD W4 KV8")["decode"]
    assert step["array_joules"] == pytest.approx(step["macs"] * 0.5e-12)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "is not readable JSON"),
        ('{"target": "x", "period": 1, "designs": []}', "designs must include fp16_mac"),
        ('{"target": "x", "period": 0, "designs": []}', "period = 0"),
        ('{"target": "x", "period": 1, "designs": [{"name": "a", "area": -1, "macs_per_cycle": {}}]}',
         "designs.0.area = -1"),
    ],
)  # fmt: skip
def test_bad_areas(text: str, part: str, tmp_path: Path, refusal: Callable):
    path = tmp_path / "bad.json"
    path.write_text(text)
    _, message = refusal(command.main, ["--areas", str(path), "--out", str(tmp_path / "out")])
    assert part in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "gpt"], "'gpt' must be one of opt-1.3b"),
        (["--weights", "int9"], "'int9' must be one of binary"),
        (["--kv", "none"], "'none' must be one of native8_paged"),
        (["--kv", "kivi2"], "'kivi2' must be one of native8_paged"),
        (["--head", "int9"], "'int9' must be one of binary"),
        (["--tiles", "0"], "'0' must be an integer of at least 1"),
        (["--context", "0"], "'0' must be an integer of at least 1"),
        (["--bandwidth", "-1"], "'-1' must be a number above 0"),
        (["--clock", "x"], "'x' must be a number above 0"),
        (["--model", "phi-2"], "kv 'native8_paged' has 160 groups in a page of keys, which must be"),
    ],
)
def test_refusals(arguments: list[str], part: str, refusal: Callable):
    _, message = refusal(command.main, arguments)
    assert part in message


def test_pages_that_the_engine_does_not_read():
    one, other = (kvloom(AREAS, "bitmod3", kv) for kv in ("native2_paged", "native2_token"))
    with pytest.raises(
        ValueError, match=r"^kv 'native2_paged' has 32 groups in a page of keys, which must be"
    ):
        one.cached(replace(SMALL, head=16), 100)
    with pytest.raises(
        ValueError, match=r"^kv 'native2_token' has groups of 80 in keys, which must be one of"
    ):
        other.cached(replace(SMALL, head=80), 100)
    with pytest.raises(ValueError, match=r"^heads of 256 elements must have at most 128$"):
        one.cached(replace(SMALL, head=256), 100)


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--model", "smollm2-135m", "--context", "2048", "--batch", "2", "--kv", "native4_paged"]
    assert command.main([*arguments, "--weights", "bitmod4", "--out", str(tmp_path / "out")]) == 0
    assert "Areas on Nangate45" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.json", "model.md", "roofline.png", "contexts.png", "areas.png", "speedups.png"}
    found = json.loads((tmp_path / "out" / "model.json").read_text())
    last = found["designs"][-1]
    assert last["label"] == "1 edge bitmod4 native4_paged"
    assert found["designs"][-2]["label"] == "kvloom bitmod4 native4_paged"
    step = system.decode(edge("bitmod4", "native4_paged"), get("smollm2-135m"), 2048, 2)
    assert last["decode"]["tokens_per_second"] == step.tokens_per_second
    text = (tmp_path / "out" / "model.md").read_text()
    assert f"{step.tokens_per_second:.2f}" in text
    assert "1.69" in text
