"""Proofs about the KV packer and unpacker, on words of 8 bits: for all time, without a bound on the depth.

Everything in the circuits moves in eighths of a beat, granules, and a word of 8 bits makes them one code
long; longer words repeat the same wiring. Control does not depend on codes and is proved for pages of all
codings in turn. Codes are followed one coding at a time; trits with two values at a time, once for each bit,
since nothing but encoder and decoder looks at both bits of a trit, and those are exhausted in test_codings.
"""

import pytest

from hw.kv import packer, unpacker
from hw.kv.payloads import Coding
from sim import formal
from sim.proofs.kv_codec import RoundTrip, codec_config

CONFIG = codec_config(8)
DENSE = [coding for coding in Coding if coding is not Coding.TRITS]


def test_beats_and_ends() -> None:
    """No beat is lost or doubled, ``last`` and coding stay with their beat, the stream rules hold."""
    assert formal.prove(RoundTrip(CONFIG, codes=False)) > 0


@pytest.mark.parametrize("coding", DENSE)
def test_dense_codes(coding: Coding) -> None:
    """What is unpacked is what was packed."""
    assert formal.prove(RoundTrip(CONFIG, codes=True, coding=coding)) > 0


@pytest.mark.parametrize("values", [(0, 1), (0, 2)])
def test_trits(values: tuple[int, ...]) -> None:
    assert formal.prove(RoundTrip(CONFIG, codes=True, coding=Coding.TRITS, trits=values)) > 0


@pytest.mark.long
def test_codes_of_all_codings_in_turn() -> None:
    """The same for pages of all codings behind each other: nothing of one page reaches the next."""
    assert formal.prove(RoundTrip(CONFIG, codes=True, trits=(0, 1)), seconds=900) > 0


def test_lost_end_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packer that forgets the rest of a page."""
    monkeypatch.setattr(packer, "_leaves", lambda phase: False)
    with pytest.raises(formal.Refuted):
        formal.prove(RoundTrip(CONFIG, codes=False))


def test_wrong_granule_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unpacker that takes one granule of trits from the wrong word."""
    monkeypatch.setattr(unpacker, "_unparks", lambda phase, granule: False)
    with pytest.raises(formal.Refuted):
        formal.prove(RoundTrip(CONFIG, codes=True, coding=Coding.TRITS, trits=(0, 1)))


def test_time_limit() -> None:
    with pytest.raises(formal.Undecided):
        formal.prove(RoundTrip(CONFIG, codes=False), seconds=1)
