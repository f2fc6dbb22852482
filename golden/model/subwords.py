"""Tokenizers of the ``tokenizers`` library: a folder's ``tokenizer.json``, or the vocabulary of a GGUF.

The library is optional; what needs it says so in one line.
"""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from golden import optional

__all__ = ["SPLITS", "Subwords"]

_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDING = r"(?i:'(?:[sdmt]|re|ve|ll))"

SPLITS = {
    "llama-bpe": (rf"{_ENDING}|{_WORD}|\p{{N}}{{1,3}}|{_OTHERS}", False),
    "qwen2": (rf"{_ENDING}|{_WORD}|\p{{N}}|{_OTHERS}", True),
}
"""Byte-level pairs of a GGUF by ``tokenizer.ggml.pre``: how text is split into words, and whether it is first
brought to Unicode's composed form."""

_SPECIAL = (3, 4)
"""Types of a GGUF's tokens that are no ordinary text: control, user-defined."""


class Subwords:
    """A tokenizer of the library; names of control tokens in a text are ordinary text.

    Args:
        own: the library's tokenizer.
        begin: ids put before every text, beside those that the library's tokenizer puts there.
    """

    def __init__(self, own: Any, begin: Sequence[int] = ()) -> None:
        own.encode_special_tokens = True
        own.no_padding()
        own.no_truncation()
        self._own, self._begin = own, list(begin)

    @classmethod
    def read(cls, path: Path, text: str | None = None) -> "Subwords":
        """Read a ``tokenizer.json``, or the text of one that the file at ``path`` embeds.

        Raises:
            ValueError: not such a file, or the library is missing.
        """
        tokenizer = _library(path).Tokenizer
        try:
            return cls(tokenizer.from_file(str(path)) if text is None else tokenizer.from_str(text))
        except Exception as error:  # the library has no type of its own
            raise ValueError(f"{path}: must hold a tokenizer.json ({error})") from None

    @classmethod
    def byte_level(cls, path: Path, metadata: dict[str, Any]) -> "Subwords":
        """Byte-level pairs of a GGUF whose ``tokenizer.ggml.pre`` is in ``SPLITS``.

        Raises:
            ValueError: the library is missing.
        """
        library = _library(path)
        about = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
        pattern, composed = SPLITS[about["pre"]]
        merges = [tuple(merge.split(" ")) for merge in about["merges"]]
        vocabulary = {token: number for number, token in enumerate(about["tokens"])}
        # Llama 3 takes a word that is a token as it is, whatever its pairs.
        own = library.Tokenizer(library.models.BPE(vocabulary, merges, ignore_merges=not composed))
        if composed:
            own.normalizer = library.normalizers.NFC()
        split = library.pre_tokenizers.Split(library.Regex(pattern), "isolated")
        letters = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        own.pre_tokenizer = library.pre_tokenizers.Sequence([split, letters])
        own.decoder = library.decoders.ByteLevel()
        kinds = zip(about["tokens"], about.get("token_type", ()), strict=False)
        own.add_special_tokens([token for token, kind in kinds if kind in _SPECIAL])
        begins = about.get("add_bos_token", about["pre"] == "llama-bpe") and "bos_token_id" in about
        return cls(own, [about["bos_token_id"]] if begins else [])

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with the marks of its begin that the model wants."""
        return [*self._begin, *self._own.encode(text).ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, without control tokens; bytes that are not UTF-8 become the replacement character."""
        return self._own.decode(list(ids), skip_special_tokens=True)

    def control(self, name: str) -> int:
        """Id of the control token ``<|name|>``.

        Raises:
            ValueError: there is none.
        """
        if (found := self._own.token_to_id(token := f"<|{name}|>")) is None:
            raise ValueError(f"control token {token!r} must be in the vocabulary")
        return found


def _library(path: Path) -> Any:
    return importlib.import_module(optional.TOKENIZERS.need(f"the tokenizer of {path}"))
