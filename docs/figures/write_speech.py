"""Speech for Whisper: ``python docs/figures/write_speech.py wikitext2/test.txt --out DIR``.

Sentences of a text in the form of WikiText, some 22 seconds of them a sound, spoken by flite (Debian
``flite`` 2.2) in four voices that take turns: DIR/00.wav, DIR/01.wav, ..., 16 bits, mono, 16,000 samples a
second. The same text gives the same sounds.
"""

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

COUNT, CHARACTERS = 24, 420
VOICES = ("slt", "rms", "kal16", "awb")
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,.;']{30,200} \.")


def sentences(text: str) -> Iterator[str]:
    """Sentences without unknown words and marks that are not spoken, their blanks as people write them."""
    for line in text.split("\n"):
        for sentence in re.split(r"(?<= \.) ", line.strip()):
            if _PLAIN.fullmatch(sentence):
                yield re.sub(r" (?=[,.;']|n't)", "", sentence)


def passages(text: str) -> list[str]:
    """The first ``COUNT`` passages of whole sentences that follow each other."""
    found, own = [], ""
    for sentence in sentences(text):
        if len(own) + len(sentence) > CHARACTERS:
            found.append(own)
            own = ""
        own = f"{own} {sentence}".strip()
    return found[:COUNT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    flite = shutil.which("flite")
    if flite is None:
        parser.error("flite must be installed: apt install flite")
    options.out.mkdir(parents=True, exist_ok=True)
    for number, passage in enumerate(passages(options.text.read_text(encoding="utf-8"))):
        file = options.out / f"{number:02}.wav"
        subprocess.run([flite, "-voice", VOICES[number % 4], "-t", passage, "-o", file], check=True)
        print(file, passage)


if __name__ == "__main__":
    main()
