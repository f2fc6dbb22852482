"""Models and texts of these tests; a test is skipped, with the reason, where its model is missing."""

import os
from pathlib import Path

import pytest

from golden.model import ctranslate2
from golden.model.checkpoint import Checkpoint, locate, open_checkpoint
from golden.model.llama import Llama
from golden.model.whisper import Whisper

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("KVLOOM_SHARED", REPOSITORY.parent / "shared")) / "data"
STORIES = SHARED / "stories260K/stories260K.bin"
TEXT = Path(os.environ.get("KVLOOM_TEXT", SHARED / "wikitext2/test.txt"))


@pytest.fixture(scope="session")
def stories_file() -> Checkpoint:
    """stories260K of llama2.c, tok512.bin beside it."""
    if not STORIES.is_file():
        pytest.skip("stories260K.bin is not in KVLOOM_SHARED or ../shared")
    return open_checkpoint(STORIES)


@pytest.fixture(scope="session")
def stories(stories_file: Checkpoint) -> Llama:
    return Llama(stories_file)


@pytest.fixture(scope="session")
def smollm2_file() -> Checkpoint:
    """SmolLM2-135M-Instruct of the optional package."""
    try:
        return open_checkpoint(locate("smollm2"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Checkpoint) -> Llama:
    return Llama(smollm2_file)


@pytest.fixture(scope="session")
def wikitext() -> str:
    """The begin of WikiText-2's test part, tokenised form."""
    if not TEXT.is_file():
        pytest.skip("WikiText-2 is neither at KVLOOM_TEXT nor in KVLOOM_SHARED")
    return TEXT.read_text(encoding="utf-8")[:40_000]


@pytest.fixture(scope="session")
def whisper_file() -> Checkpoint:
    """Whisper tiny.en of the optional package."""
    try:
        return ctranslate2.read(ctranslate2.locate("whisper-tiny.en"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def whisper(whisper_file: Checkpoint) -> Whisper:
    return Whisper(whisper_file)
