"""Tokenizers of the ``tokenizers`` library: as a folder and as a GGUF carry them."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from golden import optional
from golden.checkpoint import Checkpoint
from golden.model import tokenizer
from golden.model.capture import manual
from golden.model.subwords import SPLITS, Subwords

pytestmark = pytest.mark.quick

tokenizers = pytest.importorskip("tokenizers", reason="the models extra is not installed")

TEXTS = ("I'LL say 12345 things,\n\n  won't I? ", "½ of Ünïcode漢字 e\u0301", "<|im_start|>", "", "\t\r\n x")
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def trained() -> Any:
    """Byte-level pairs learnt from Python's manual."""
    found = tokenizers.Tokenizer(tokenizers.models.BPE())
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, special_tokens=CONTROLS, initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator([manual(60_000)], trainer)
    return found


def gguf(trained: Any, split: str, **changes: Any) -> Checkpoint:
    """What a GGUF carries of it."""
    model = json.loads(trained.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    about = {
        "model": "gpt2",
        "pre": split,
        "tokens": tokens,
        "merges": [" ".join(pair) for pair in model["merges"]],
        "token_type": [3 if token in CONTROLS else 1 for token in tokens],
        "eos_token_id": 2,
    }
    metadata = {f"tokenizer.ggml.{key}": value for key, value in (about | changes).items()}
    return Checkpoint(Path("model.gguf"), "gguf", metadata, ())


def folder(path: Path, text: str, **metadata: Any) -> Checkpoint:
    (path / "tokenizer.json").write_text(text)
    return Checkpoint(path, "huggingface", metadata, ())


def test_a_folder(trained: Any, tmp_path: Path) -> None:
    """The library's ids, no padding nor cutting; names of control tokens are ordinary text."""
    trained = tokenizers.Tokenizer.from_str(trained.to_str())
    plain = {text: trained.encode(text).ids for text in TEXTS}
    trained.enable_truncation(4)
    trained.enable_padding(length=50)
    words = tokenizer.of(folder(tmp_path, trained.to_str()))
    for text in TEXTS:
        assert words.decode(words.encode(text)) == text
        assert text in CONTROLS or words.encode(text) == plain[text]
    assert len(words.encode("<|im_start|>")) > 1
    assert words.control("im_start") == 1
    with pytest.raises(ValueError, match=re.escape("control token '<|nothing|>' must be in the vocabulary")):
        words.control("nothing")


def test_marks_of_a_begin(trained: Any, tmp_path: Path) -> None:
    """As the file says."""
    trained = tokenizers.Tokenizer.from_str(trained.to_str())
    trained.post_processor = tokenizers.processors.TemplateProcessing(
        "<|im_start|> $A", None, [(CONTROLS[1], 1)]
    )
    words = tokenizer.of(folder(tmp_path, trained.to_str()))
    assert words.encode("the sea")[0] == 1
    assert words.decode(words.encode("the sea")) == "the sea"
    for changes, first in (
        ({"bos_token_id": 1}, [1]),
        ({"bos_token_id": 1, "add_bos_token": False}, []),
        ({}, []),
    ):
        assert tokenizer.of(gguf(trained, "llama-bpe", **changes)).encode("") == first


def test_ids_of_begin_and_end(trained: Any, tiny_file: Checkpoint, tmp_path: Path) -> None:
    found = folder(tmp_path, trained.to_str(), bos_token_id=7, eos_token_id=[2, 9])
    assert (tokenizer.begin(found), tokenizer.ends(found)) == (7, {2, 9})
    found = folder(tmp_path, trained.to_str(), bos_token_id=None, eos_token_id=5)
    assert (tokenizer.begin(found), tokenizer.ends(found)) == (5, {5})
    assert tokenizer.ends(gguf(trained, "qwen2", eot_token_id=4)) == {2, 4}
    assert (tokenizer.begin(tiny_file), tokenizer.ends(tiny_file)) == (1, {1, 2})


def test_a_gguf_of_qwen(trained: Any) -> None:
    """The ids of transformers' own tokenizer of the same vocabulary."""
    transformers = pytest.importorskip("transformers", reason="the torch extra is not installed")
    model = json.loads(trained.to_str())["model"]
    pairs = [tuple(pair) for pair in model["merges"]]
    theirs = transformers.Qwen2Tokenizer(vocab=model["vocab"], merges=pairs)
    words = tokenizer.of(gguf(trained, "qwen2"))

    @hypothesis.given(strategies.text(max_size=40) | strategies.sampled_from(TEXTS[:2]))
    def check(text: str) -> None:
        assert words.encode(text) == theirs(text)["input_ids"]

    check()
    assert words.control("im_end") == 2


@pytest.mark.parametrize("name", SPLITS)
def test_how_words_are_split(name: str) -> None:
    """As transformers splits them, which has the patterns in another spelling."""
    pytest.importorskip("transformers", reason="the torch extra is not installed")
    from transformers.convert_slow_tokenizer import TikTokenConverter
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    llama = inspect.signature(TikTokenConverter).parameters["pattern"].default
    own, theirs = (
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(text), "isolated")
        for text in (SPLITS[name][0], {"llama-bpe": llama, "qwen2": PRETOKENIZE_REGEX}[name])
    )

    @hypothesis.given(strategies.text(strategies.sampled_from("aZé漢1٣ '\n\r\tsdmtrevSDL.,-½")))
    def check(text: str) -> None:
        assert own.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)

    check()


def test_an_embedded_file(trained: Any) -> None:
    """A GGUF may hold all of a tokenizer.json."""
    found = gguf(trained, "unheard", **{"huggingface": "x"})
    found.metadata["tokenizer.huggingface.json"] = trained.to_str()
    assert tokenizer.of(found).encode(TEXTS[0]) == trained.encode(TEXTS[0]).ids


def test_what_is_missing(trained: Any, tmp_path: Path, hide: Callable) -> None:
    empty = Checkpoint(tmp_path, "huggingface", {}, ())
    with pytest.raises(ValueError, match=r"must hold a tokenizer: tokenizer.json"):
        tokenizer.of(empty)
    with pytest.raises(ValueError, match=r"must hold a tokenizer.json \("):
        tokenizer.of(folder(tmp_path, "{}"))
    hide(optional.TOKENIZERS)
    for found in (empty, gguf(trained, "qwen2")):
        with pytest.raises(optional.MissingPart, match=re.escape(optional.TOKENIZERS.install)):
            tokenizer.of(found)
    with pytest.raises(optional.MissingPart):
        Subwords.read(tmp_path)
