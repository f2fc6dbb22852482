"""The datapath's own error on real and random data, and the tool that measures it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from golden import accuracy
from golden.accuracy import Measurement, measure, summarise
from golden.model.checkpoint import Checkpoint, locate, open_checkpoint
from golden.model.layer_inputs import Linear, layer_inputs, sample_tokens

REPOSITORY = Path(__file__).resolve().parents[1]
STORIES = (
    Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared")) / "data/stories260K/stories260K.bin"
)
needs_stories = pytest.mark.skipif(
    not STORIES.is_file(), reason="stories260K.bin is not in KVLOOM_SHARED or ../shared"
)


def errors(linear: Linear, **options: int) -> dict[int, float]:
    """Error by the width of the activations."""
    found = measure(linear, 64, ("bitmod4",), **options)
    return {one.activation_bits: one.error for one in found}


def mean_loss(checkpoint: Checkpoint, tokens: list[int]) -> float:
    """Nats a token that the model's forward pass gives to the text."""
    *_, head = layer_inputs(checkpoint, tokens, output=True)
    logits = head.inputs @ head.weights.T
    logits -= logits.max(-1, keepdims=True)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(tokens)), np.roll(tokens, -1)]
    return float(losses[:-1].mean())


@pytest.mark.quick
def test_random_data() -> None:
    """Gaussian data stay below the target at 12 bits; two bits more make at most a third of the error."""
    rng = np.random.default_rng(7)
    weights, inputs = rng.standard_normal((64, 1024)), rng.standard_normal((4, 1024))
    found = errors(
        Linear("random", weights.astype(np.float32), inputs.astype(np.float32)), accumulator_bits=40
    )
    assert found[12] < accuracy.TARGET
    for width in (10, 12, 14):
        assert found[width] < found[width - 2] / 3
    assert found[16] < found[14]


@pytest.mark.quick
def test_narrow_accumulator() -> None:
    """One large activation takes the small ones' low bits from a narrow accumulator, not from a wide one."""
    rng = np.random.default_rng(8)
    weights, inputs = rng.standard_normal((64, 1024)), rng.standard_normal((4, 1024))
    inputs[:, 5], weights[:, 5] = 1000, 1e-3
    linear = Linear("outlier", weights.astype(np.float32), inputs.astype(np.float32))
    narrow, wide = (errors(linear, accumulator_bits=bits)[16] for bits in (28, 40))
    assert narrow > 4 * wide


@pytest.mark.quick
@needs_stories
def test_forward_pass() -> None:
    """The model foresees its own kind of text: the forward pass is the model's."""
    checkpoint = open_checkpoint(STORIES)
    assert mean_loss(checkpoint, sample_tokens(checkpoint, 45)) == pytest.approx(0.324, abs=0.005)


@pytest.mark.quick
@needs_stories
def test_stories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tool's files hold every layer; inputs of 172 with a few large ones cost most."""
    assert accuracy.main(["--model", str(STORIES), "--accumulator", "40", "--out", str(tmp_path)]) == 0
    assert "bitmod4" in capsys.readouterr().out
    content = json.loads((tmp_path / "accuracy.json").read_text())
    assert len(content["layers"]) == 5 * 7 * len(accuracy.DTYPES) * len(accuracy.ACTIVATION_BITS)
    assert len((tmp_path / "accuracy.md").read_text().splitlines()) == 22
    for summary in content["summary"]:
        if summary["activation_bits"] == 12:
            assert summary["median"] < accuracy.TARGET
            assert summary["worst"] < 3e-3


@pytest.mark.llm
def test_smollm2() -> None:
    """Three blocks of a larger model: the first token's outliers cost most, A = 16 pays for them."""
    try:
        checkpoint = open_checkpoint(locate("smollm2"))
    except ValueError as error:
        pytest.skip(str(error))
    found: list[Measurement] = []
    for linear in layer_inputs(checkpoint, sample_tokens(checkpoint, 16), 3):
        found += measure(linear, 64, ("bitmod4",), (8, 12, 16), accumulator_bits=40)
    medians = {one.activation_bits: one.median for one in summarise(found)}
    worst = {one.activation_bits: one.worst for one in summarise(found)}
    assert medians[12] < 2e-3
    assert medians[8] > 10 * medians[12] > 100 * medians[16]
    assert worst[12] < 1.2e-2
    assert worst[16] < accuracy.TARGET


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "nowhere.gguf"], "'nowhere.gguf' must be an existing file"),
        (["--tokens", "0"], "'0' must be an integer of at least 1"),
        (["--accumulator", "99"], "'99' must be 24..48"),
    ],
)
def test_errors(arguments: list[str], part: str, refusal: Callable) -> None:
    """One line on standard error and exit status 2."""
    _, message = refusal(accuracy.main, arguments)
    assert part in message


@pytest.mark.quick
@needs_stories
def test_too_many_tokens() -> None:
    with pytest.raises(ValueError, match="tokens 999 must be"):
        sample_tokens(open_checkpoint(STORIES), 999)
