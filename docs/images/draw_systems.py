"""Pictures of cache systems, what each loses over its bits: ``python docs/images/draw_systems.py``.

It draws the four files of ``docs/figures`` that the pages of the systems quote. ``FILE.json ...`` behind it
are any others that ``golden.evaluate --table --out`` wrote; each becomes a picture of its name, in ``--out``
or in this folder.
"""

import argparse
import json
from pathlib import Path

from golden.model import pictures
from golden.model.evaluation import Result, Setting

FOLDER = Path(__file__).parent
NAMES = ("systems-smollm2", "systems-stories260k", "systems-whisper", "evictions-stories260k")
FILES = [FOLDER.parent / f"figures/{name}.json" for name in NAMES]


def results(rows: list[dict]) -> list[Result]:
    """What was measured, as far as a picture needs it."""
    return [
        Result(
            Setting(**row["setting"]),
            [(count, mean, None) for count, mean, *_ in row["windows"]],
            None,
            row["kv_bits"],
            prepared=0.0,
            seconds=0.0,
            memory=0,
        )
        for row in rows
    ]


def draw(file: Path, folder: Path) -> Path:
    """The picture of a file; its first result is what the others are compared with."""
    found = json.loads(file.read_text())
    own = results(found["results"])
    picture = folder / f"{file.stem}.png"
    pictures.draw(own, own[0], "kv", found["title"], picture)
    return picture


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=FILES, metavar="FILE.json")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    options = parser.parse_args(argv)
    for file in options.files:
        print(draw(file, options.out))


if __name__ == "__main__":
    main()
