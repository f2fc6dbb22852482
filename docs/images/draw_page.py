"""The picture of attention's page: ``python docs/images/draw_page.py`` writes ``docs/images/page.png``."""

from pathlib import Path

from hw.config import preset
from synth.model import page_picture

if __name__ == "__main__":
    spans = page_picture.played(preset("edge").changed(attention=True))
    page_picture.draw(spans, Path(__file__).with_name("page.png"))
