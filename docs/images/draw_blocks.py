"""The picture of the README: ``python docs/images/draw_blocks.py > docs/images/blocks.svg``.

Widths are those of the ports of ``edge``. A background of its own lets it read on light and on dark pages.
"""

import math
from collections.abc import Sequence
from html import escape

from amaranth.hdl import Shape

from hw import blocks, config, manifest

WIDTH, HEIGHT = 1000, 626
INK, PAPER, FRAME, MEMORY = "#1f2933", "#ffffff", "#eef2f7", "#fff4d6"
EDGE = f'stroke="{INK}"'
DASHED = f'{EDGE} rx="10" stroke-dasharray="6 4"'
COLOURS = {"numbers": "#dbeafe", "array": "#bfdbfe", "cache": "#d1fae5", "choice": "#ede9fe"}


def port_widths(block: str) -> dict[str, int]:
    """Bits of every port of a block of ``edge``, and of every field of its payload, by ``port.field``."""
    component = blocks.get(block)(config.preset("edge"))
    found = {}
    for path, member, _ in component.signature.flatten(component):
        name = "_".join(map(str, path))
        found[name] = Shape.cast(member.shape).width
        for field in manifest.fields(member.shape):
            count = math.prod(repeat["count"] for repeat in field.get("repeat", ()))
            found[f"{name}.{field['name']}"] = field["width"] * count
    return found


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "middle", style: str = "") -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{INK}" {style}>'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, title: str, note: str, colour: str, height: float = 52) -> str:
    """A block, with what it does below its name."""
    middle = y + height / 2
    return "\n".join(
        [
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}" rx="6" {EDGE}/>',
            text(x + width / 2, middle - 3, title, style='font-weight="600"'),
            text(x + width / 2, middle + 14, note, 11),
        ]
    )


def frame(x: float, y: float, width: float, height: float, title: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="{FRAME}" stroke="#9aa5b1"/>\n'
        + text(x + 12, y + 20, title, 14, "start", 'font-weight="700"')
    )


def arrow(points: Sequence[tuple[float, float]], label: str = "", at: tuple[float, float] = (0, 0)) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    line = (
        f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.6" marker-end="url(#head)"/>'
    )
    return f"{line}\n{text(*at, label, 11)}" if label else line


def accelerator() -> list[str]:
    """From packets and vectors to results."""
    bits = port_widths("accelerator")
    numbers, array = COLOURS["numbers"], COLOURS["array"]
    return [
        frame(210, 14, 776, 188, "accelerator: a packed matrix times FP16 or BF16 vectors"),
        box(330, 48, 120, "unpacker", "codes, scales", numbers),
        box(480, 48, 120, "term encoders", "radix-16 digits", numbers),
        box(330, 128, 120, "aligner", "group exponents", numbers),
        box(480, 128, 120, "vector buffer", "two vectors", numbers),
        box(630, 48, 90, "array", "exact sums", array, 132),
        box(745, 88, 90, "rescaler", "group scales", numbers),
        box(860, 88, 112, "converter", "FP16, BF16, FP32", numbers),
        arrow([(180, 74), (330, 74)], f"AXI4-Stream {bits['weights_tdata']}", (262, 68)),
        arrow([(180, 154), (330, 154)], f"AXI4-Stream {bits['activations_tdata']}", (262, 148)),
        *(arrow([(x, y), (x + 30, y)]) for x in (450, 600) for y in (74, 154)),
        *(arrow([(x, 114), (x + 25, 114)]) for x in (720, 835)),
        arrow([(916, 140), (916, 190)]),
        text(906, 170, f"AXI4-Stream {bits['results_tdata']}", 11, "end"),
        text(972, 34, f"registers: AXI4-Lite {bits['control_wdata']}", 11, "end"),
    ]


def writers() -> list[str]:
    """From tokens to pages."""
    token, closer = port_widths("kv_token_writer"), port_widths("kv_page_closer")
    cache = COLOURS["cache"]
    return [
        frame(210, 214, 776, 136, "KV cache: tokens to pages of 1 to 8 bits"),
        box(370, 262, 160, "kv_token_writer", "8-bit window and copy", cache),
        box(720, 262, 150, "kv_page_closer", "scales, minima, codes", cache),
        arrow([(262, 288), (370, 288)], f"float16, {token['elements_payload.elements']}", (316, 282)),
        text(242, 292, "tokens", 12, style='font-style="italic"'),
        arrow([(530, 288), (560, 288), (560, 330), (180, 330)]),
        text(566, 302, f"{token['writes_payload.data']}, byte enables", 11, "start"),
        arrow([(180, 248), (690, 248), (690, 288), (720, 288)]),
        text(600, 262, f"full copy, {closer['copies_payload.data']}", 11, "start"),
        arrow([(870, 288), (960, 288), (960, 341), (180, 341)]),
        text(914, 282, f"pages, {closer['words_payload.data']}", 11),
    ]


def attention() -> list[str]:
    """From pages and queries to outputs, and what chooses tokens."""
    bits = port_widths("attention")
    numbers, array, cache, choice = (COLOURS[name] for name in ("numbers", "array", "cache", "choice"))
    names = [
        ("page reader", "1 to 8 bits", cache),
        ("folding", "scales join", numbers),
        ("tile", "as above", array),
        ("softmax", "base 2", numbers),
        ("value sums", "51 bits", numbers),
        ("division", "float16", numbers),
    ]
    drawn = [box(322 + 110 * place, 396, 96, *what) for place, what in enumerate(names)]
    queries, output = (bits[name] // 16 for name in ("queries_payload.elements", "outputs_payload.half"))
    return [
        frame(210, 536, 776, 76, "selection"),
        frame(210, 360, 776, 166, "attention: queries and packed pages to outputs, nothing expanded"),
        *drawn,
        *(arrow([(418 + 110 * place, 422), (432 + 110 * place, 422)]) for place in range(5)),
        arrow([(180, 422), (322, 422)], f"words, {bits['words_payload.data']}", (260, 416)),
        text(242, 478, "queries", 12, style='font-style="italic"'),
        arrow([(266, 474), (480, 474), (480, 448)], f"float16, {queries} at a time", (370, 468)),
        arrow([(700, 448), (700, 548)], f"scores, {bits['scores_payload.score']}", (660, 484)),
        arrow([(920, 448), (920, 512)], f"outputs, float16, {output} at a time", (830, 500)),
        text(222, 580, "which tokens deserve bits, or a place at all", 11, "start"),
        box(620, 548, 160, "importance", "attention a token had", choice),
        box(812, 548, 160, "selector", "exact top-k, top-p", choice),
        arrow([(780, 574), (812, 574)]),
        arrow([(620, 592), (180, 592)], "sums", (560, 587)),
    ]


def memory() -> list[str]:
    """What the user adds."""
    places = {"packed weights": 74, "vectors": 154, "copies": 248, "windows, pages": 335, "pages": 422}
    return [
        f'<rect x="14" y="14" width="166" height="598" fill="{MEMORY}" {DASHED}/>',
        text(97, 40, "memory, movers", 14, style='font-weight="700"'),
        text(97, 56, "yours", 12, style='font-style="italic"'),
        *(text(97, y + 4, line, 12) for line, y in places.items()),
        text(97, 596, "sums", 12),
    ]


def draw() -> str:
    """The whole picture, as SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif" role="img">\n'
        "<title>Blocks of kvloom, with the widths and protocols of the preset edge</title>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="{PAPER}"/>'
    )
    return "\n".join([head, *memory(), *accelerator(), *writers(), *attention(), "</svg>"]) + "\n"


if __name__ == "__main__":
    print(draw(), end="")
