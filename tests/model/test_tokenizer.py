"""Tokenizers: against recorded ids of another implementation, and there and back on any text."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from golden.checkpoint import Checkpoint
from golden.model import tokenizer
from golden.model.capture import manual
from golden.model.tokenizer import ByteLevel, Pieces

REFERENCE = json.loads(Path(__file__).with_name("tokens_reference.json").read_text())


@pytest.fixture(scope="module")
def byte_level(smollm2_file: Checkpoint) -> ByteLevel:
    found = tokenizer.of(smollm2_file)
    assert isinstance(found, ByteLevel)
    return found


@pytest.mark.llm
@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: repr(case["text"]))
def test_byte_level_reference(byte_level: ByteLevel, case: dict) -> None:
    assert byte_level.encode(case["text"]) == case["ids"]


@pytest.mark.llm
def test_byte_level_there_and_back(byte_level: ByteLevel) -> None:
    text = manual(100_000)
    ids = byte_level.encode(text)
    assert byte_level.decode(ids) == text
    assert 20_000 < len(ids) < 40_000


@pytest.mark.llm
def test_byte_level_any_text(byte_level: ByteLevel) -> None:
    characters = strategies.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0x3FFFF)

    @hypothesis.given(strategies.text(characters, max_size=60))
    def check(text: str) -> None:
        assert byte_level.decode(byte_level.encode(text)) == text

    check()
    with pytest.raises(ValueError, match=r"text '.*' has byte 0xf1, which no token stands for"):
        byte_level.encode("\U00040000")


@pytest.mark.llm
def test_control_tokens(byte_level: ByteLevel) -> None:
    """Their names in a text are ordinary characters; the token itself is had by name."""
    assert byte_level.control("im_start") == 1
    assert byte_level.decode([1]) == "<|im_start|>"
    assert 1 not in byte_level.encode("<|im_start|>")
    with pytest.raises(ValueError, match=re.escape("control token '<|nothing|>' must be in the vocabulary")):
        byte_level.control("nothing")


@pytest.mark.quick
def test_byte_level_merges_by_rank() -> None:
    """The pair of the lowest rank goes first, wherever it is; digits and words never merge."""
    small = ByteLevel(["a", "b", "ab", "bb", "aab", "1", "11", "Ġ"], ["b b", "a b", "a ab", "1 1"])
    assert [small.tokens[number] for number in small.encode("aabb")] == ["a", "a", "bb"]
    assert [small.tokens[number] for number in small.encode("aab")] == ["aab"]
    assert [small.tokens[number] for number in small.encode("11")] == ["1", "1"]
    assert [small.tokens[number] for number in small.encode("a 1")] == ["a", "Ġ", "1"]


@pytest.mark.quick
def test_pieces_of_stories(stories_file: Checkpoint) -> None:
    """Ids of llama2.c for the begin of its sample."""
    pieces = tokenizer.of(stories_file)
    text = "Once upon a time, there was a little girl named Lily."
    ids = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426]
    assert pieces.encode(text) == ids
    assert pieces.decode(ids) == text


@pytest.mark.quick
def test_pieces_by_score() -> None:
    """The pair of the best score merges first, the left one of equals; what has no piece stays bytes."""
    scored = {" ": -9, "a": -9, "b": -9, "ab": -3, "ba": -2, "aba": -1, "bb": -3}
    controls = [(b"<byte>", 0.0)] * 259
    words = Pieces(controls + [(piece.encode(), score) for piece, score in scored.items()])
    names = [" ", "a", "b", "ab", "ba", "aba", "bb"]
    for text, wanted in {
        "ab": [" ", "ab"],
        "aab": [" ", "a", "ab"],
        "abab": [" ", "aba", "b"],
        "abb": [" ", "ab", "b"],
        "bbb": [" ", "bb", "b"],
    }.items():
        assert [names[number - 259] for number in words.encode(text)[1:]] == wanted
    assert words.encode("½a") == [1, 259, 3 + 0xC2, 3 + 0xBD, 260]


@pytest.mark.quick
def test_pieces_there_and_back(tiny_file: Checkpoint) -> None:
    words = tokenizer.of(tiny_file)
    assert isinstance(words, Pieces)
    for sample in ("Once upon a time, there was a little girl.", "", " blank", "漢 <0x41>\n½", "<s></s>"):
        assert words.decode(words.encode(sample)) == sample
    assert len(words.encode("the sea is in me")) < 16


@pytest.mark.quick
def test_missing_tokenizers(tiny_file: Checkpoint, tmp_path: Path) -> None:
    elsewhere = replace(tiny_file, path=tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"must hold a tokenizer: tok320.bin or tokenizer.bin"):
        tokenizer.of(elsewhere)
    (tmp_path / "tokenizer.bin").write_bytes(struct.pack("<ifi", 1, 0.0, 1) + b"a")
    with pytest.raises(ValueError, match="size 13 bytes is too small for 320 pieces"):
        tokenizer.of(elsewhere)
    other = Checkpoint(tmp_path / "x.gguf", "gguf", {"tokenizer.ggml.model": "llama"}, ())
    with pytest.raises(
        ValueError, match=r"tokenizer \('llama', None\) must be 'gpt2' with one of smollm, llama-bpe, qwen2"
    ):
        tokenizer.of(other)
