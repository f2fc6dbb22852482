"""Spans of attention's picture: those of the model that cycles come from, one after the other in a unit."""

import itertools
from pathlib import Path

import pytest

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw.config import preset
from synth.model.attention_timeline import OVERHEADS, Timeline
from synth.model.page_picture import UNITS, Recorder, draw, played

pytestmark = pytest.mark.quick

CONFIG = preset("edge").changed(attention=True)


def test_recording_changes_nothing() -> None:
    """The array is done with each page when the model says so, and that is where its span ends."""
    key = PageLayout(Format("native", 3, "channel", 32), "key", 32, 64, CONFIG.rows, CONFIG.lanes)
    value = PageLayout(Format("native", 3, "token", 32), "value", 32, 64, CONFIG.rows, CONFIG.lanes)
    pages = [(key, value)] * 6
    recorder = Recorder(CONFIG, 4)
    ends = recorder.play(pages, 2)
    assert ends == Timeline(CONFIG, 4, OVERHEADS).play(pages, 2)
    arrays = [span for span in recorder.spans if span.unit == "array" and span.side == 1]
    assert [max(span.ends for span in arrays if span.page == page) for page in range(12)] == ends


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_does_one_thing_at_a_time(unit: str) -> None:
    own = [span for span in played(CONFIG) if span.unit == unit]
    assert all(span.begins < span.ends for span in own)
    assert all(left.ends <= right.begins for left, right in itertools.pairwise(own))


def test_weights_and_codes_take_their_cycles() -> None:
    """By hand: softmax weighs a token of a query a cycle, the array takes 8 x 16 codes."""
    spans = [span for span in played(CONFIG) if span.page == 7]
    cycles = {unit: sum(s.ends - s.begins for s in spans if s.unit == unit) for unit in UNITS}
    assert cycles["softmax"] == 4 * 32
    assert cycles["array"] == 2 * 4 * 128 * 32 // (8 * 16)


def test_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install '.[synth]'")
    draw(played(CONFIG), tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[1:4] == b"PNG"
