"""Frames that a decoder hears: compressed as the scheme's own functions do it, whoever reads them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from golden.checkpoint import Checkpoint
from golden.kv.schemes import SCHEMES
from golden.model import subjects
from golden.model.attention import Plain, attend
from golden.model.evaluation import Setting
from golden.model.evaluation import evaluate as measure
from golden.model.frame_memory import FrameMemory, store
from golden.model.perplexity import log_softmax
from golden.model.subjects import Sounds
from golden.model.whisper import Memories, Whisper
from golden.systems import vidkv
from golden.systems.layers.vidkv import VidKV
from golden.systems.registry import get

pytestmark = pytest.mark.quick

HEADS, CHANNELS, TOKENS, PROMPT = 2, 32, 204, 2
VIDKV = ["vidkv", "vidkv_plain", "vidkv_kept", "vidkv_published", "vidkv_quarter", "vidkv_protect20"]


def frames(rng: np.random.Generator) -> np.ndarray:
    """Keys and values."""
    return rng.standard_normal((2, HEADS, TOKENS, CHANNELS)).astype(np.float32)


def compressed(name: str, keys: np.ndarray, values: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, ...]:
    """What a scheme's own functions make of them, told the queries [n, H, D] of the prompt."""
    system = get(name)
    if not isinstance(system, VidKV):
        padded = (np.concatenate([x, x[:, -1:].repeat(-TOKENS % 32, 1)], 1) for x in (keys, values))
        formats = (SCHEMES[name].key, SCHEMES[name].value)
        shape = HEADS, -1, 32, CHANNELS
        return tuple(
            form.decode(form.quantize(x.reshape(shape))).reshape(HEADS, -1, CHANNELS)[:, :TOKENS]
            for form, x in zip(formats, padded, strict=True)
        )
    mask = vidkv.channel_mask(keys.astype(np.float16), system.fraction)
    weights = np.exp(np.einsum("nhd,htd->hnt", query, keys) / np.sqrt(CHANNELS))
    drawn = (weights / weights.sum(-1, keepdims=True)).sum((0, 1))
    marks = np.isin(np.arange(TOKENS), np.argsort(-drawn)[: vidkv.protected_count(TOKENS, 0.2)])
    own = vidkv.quantize_keys(keys, mask, transform=system.transform, decode=system.key_decode)
    other = vidkv.quantize_values(values, 0.7, system.decode, protected=marks if system.protect else None)
    return own.decompress(), other.decompress()


def plain(keys: np.ndarray, values: np.ndarray) -> Plain:
    memory = Plain(HEADS, CHANNELS, causal=False)
    memory.append(keys, values)
    return memory


@pytest.mark.parametrize("name", [*VIDKV, "native2", "native4_paged"])
def test_queries_find_compressed_frames(rng: np.random.Generator, name: str) -> None:
    """All of them, the prompt's too; the prompt's alone choose."""
    keys, values = frames(rng)
    query = rng.standard_normal((9, HEADS, CHANNELS)).astype(np.float32)
    memory = Setting(kv=name).frames(HEADS, CHANNELS, PROMPT)
    memory.append(keys, values)
    exact = attend(query, plain(keys, values))
    wanted = attend(query, plain(*compressed(name, keys, values, query[:PROMPT])))
    np.testing.assert_allclose(attend(query, memory), wanted, rtol=0, atol=2e-6)
    assert np.abs(wanted - exact).max(1).min() > 1e-3
    later = query[::-1]
    np.testing.assert_allclose(
        attend(later, memory),
        attend(later, plain(memory.keys, memory.values)),
        rtol=0,
        atol=2e-6,
    )


def test_chance_protects_as_many(rng: np.random.Generator) -> None:
    """Other frames, of as many bits, the same ones again in another run."""
    keys, values = frames(rng)
    query = rng.standard_normal((HEADS, 1, 5, CHANNELS)).astype(np.float32)
    found = {}
    for name in ("vidkv_protect20", "vidkv_protect20_random", "vidkv_protect20_random again"):
        memory = Setting(kv=name.removesuffix(" again")).frames(HEADS, CHANNELS, PROMPT)
        assert isinstance(memory, FrameMemory)
        memory.append(keys, values)
        memory.read(query, 0)
        found[name] = memory
    own, chance, again = found.values()
    assert own.bits == chance.bits
    assert not np.array_equal(own.values, chance.values)
    np.testing.assert_array_equal(own.keys, chance.keys)
    np.testing.assert_array_equal(chance.values, again.values)


def test_bits(rng: np.random.Generator) -> None:
    """Counted by hand: 204 frames are 6 groups and 12 left over, 7 pages."""
    keys, values = frames(rng)
    one = HEADS * CHANNELS
    plain_keys = HEADS * (CHANNELS // 2) * (192 * (2 + 1) + 192 * (1 + 0.5)) + CHANNELS + 16 * 12 * one
    wanted = {
        "native2": 2 * 224 * one * 3,
        "vidkv_plain": plain_keys + one * (192 * (1.6 + 0.5) + 12 * 16),
        "vidkv_published_plain": plain_keys + one * (192 * 1.6 + 12 * 16),
        # 32 frames are protected; of the others 160 fill groups and 12 are left over. A bit says which.
        "vidkv_protect20": plain_keys
        + HEADS * 6 * 8
        + one * (160 * (1.6 + 0.5) + 32 * (2 + 1) + 12 * 16)
        + 204,
    }
    for name, bits in wanted.items():
        memory = Setting(kv=name).frames(HEADS, CHANNELS, PROMPT)
        assert isinstance(memory, FrameMemory)
        memory.append(keys, values)
        memory.read(np.ones((HEADS, 1, 1, CHANNELS), np.float32), 0)
        assert memory.bits == pytest.approx(bits, abs=1), name
        assert memory.closed_elements == 2 * 204 * one


def test_refusals(rng: np.random.Generator) -> None:
    memory = FrameMemory(HEADS, CHANNELS, store(VidKV()), PROMPT)
    memory.append(*frames(rng))
    memory.read(np.ones((HEADS, 1, 1, CHANNELS), np.float32), 0)
    with pytest.raises(ValueError, match="frames must be appended before the first query"):
        memory.append(*frames(rng))
    with pytest.raises(ValueError, match="cache 'mikv' of frames must be one of plain formats or VidKV"):
        Setting(kv="mikv").frames(HEADS, CHANNELS, PROMPT)
    with pytest.raises(ValueError, match="must be those of causal attention"):
        Setting(kv="native4_paged", attention="12").frames(HEADS, CHANNELS, PROMPT)
    with pytest.raises(ValueError, match="ranking 'window' of tokens without order must be"):
        VidKV(protect=20, ranking="window").compress(*frames(rng), np.ones((HEADS, 1, 1, TOKENS), np.float32))


class Listener(Whisper):
    """One layer of cross-attention and nothing else: random frames, queries and output layer."""

    def __init__(self, *_: object) -> None:
        rng = np.random.default_rng(5)
        self.heads, self.channels = HEADS, CHANNELS
        self.embedding = 3 * rng.standard_normal((40, HEADS * CHANNELS)).astype(np.float32)

    def encode(self, spectrogram: np.ndarray) -> np.ndarray:
        return np.random.default_rng(int(spectrogram.sum() * 1000) % 97).standard_normal((2, 2, TOKENS, 32))

    def cross(self, frames: np.ndarray) -> list[tuple[Any, Any]]:
        keys, values = frames.astype(np.float32)
        return [(keys, values)]

    def hidden(self, tokens: Any, memories: list[Memories]) -> np.ndarray:
        query = self.embedding[np.asarray(tokens)].reshape(-1, HEADS, CHANNELS)
        return attend(query, memories[0].cross)


@pytest.mark.parametrize("name", ["vidkv", "vidkv_protect20", "native2"])
def test_sounds_are_heard_compressed(
    name: str, tiny_file: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, bits and errors are those of the compressed frames, not of the full ones."""
    monkeypatch.setattr(subjects, "Whisper", Listener)
    signals = [np.sin(np.arange(1600) * pitch) for pitch in (0.1, 0.3)]
    sounds = Sounds(tiny_file, signals, start=(1, 2), end=40, most=6)
    base, result = (measure(sounds, Setting(kv=kv)) for kv in ("none", name))
    model, errors = Listener(), []
    for sound, said, own, full in zip(
        sounds.spectrograms, sounds.transcripts, result.windows, base.windows, strict=True
    ):
        tokens = [1, 2, *said[:-1]]
        ((keys, values),) = model.cross(model.encode(sound))
        query = model.embedding[tokens].reshape(-1, HEADS, CHANNELS)
        found = compressed(name, keys, values, query[:2])
        errors.append(
            [np.square(x - y).sum() / np.square(y).sum() for x, y in zip(found, (keys, values), strict=True)]
        )
        memories: Any = [SimpleNamespace(cross=plain(*found))]
        logits = log_softmax(model.logits(model.hidden(tokens, memories)[1:]))
        assert own[1] == pytest.approx(-logits[np.arange(len(said)), said].mean(), abs=1e-5)
        assert abs(own[1] - full[1]) > 1e-3
    assert base.frame_errors is None
    assert result.frame_errors == pytest.approx(tuple(np.mean(errors, 0)), rel=1e-4)
    assert result.kv_bits is not None
    assert 2 < result.kv_bits < 4
