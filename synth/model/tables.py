"""The model's results as tables, for the terminal and for Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from synth import render
from synth.model.corrections import OPPONENTS

__all__ = ["Table", "markdown", "show", "tables"]


_CONTEXTS = (256, 2048, 8192, 32768, 131072)


@dataclass(frozen=True)
class Table:
    """A title, a remark below it, heads and rows of text."""

    title: str
    remark: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(found: dict[str, Any]) -> tuple[Table, ...]:
    """All tables of ``synth.model.evaluation.evaluate``."""
    speed = _corrections(
        found,
        "BitMoD's lossy design by its published model: speedup over FP16, ANT, OliVe",
        "Means over six networks; both: of a prompt of 256 tokens and of it with the tokens generated.",
        {"both": "headline", "prompt": "prefill"},
    )
    energy = _corrections(
        found,
        "The same: speedup of one token; energy of the others over its own",
        "Energy: mean of a prompt and of it with the tokens generated.",
        {"decode": "decode", "energy": "energy"},
    )
    return speed, energy, _areas(found), _decode(found), _memory(found), _contexts(found), _prefill(found)


def _corrections(found: dict[str, Any], title: str, remark: str, tasks: dict[str, str]) -> Table:
    heads = ("mended", *(f"{task} {name}" for task in tasks for name in OPPONENTS))
    rows = tuple(
        (row["name"], *(f"{row[task][name]:.2f}" for task in tasks.values() for name in OPPONENTS))
        for row in found["corrections"]
    )
    return Table(title, remark, heads, rows)


def _areas(found: dict[str, Any]) -> Table:
    areas = found["areas"]
    rows = tuple(
        (
            row["name"],
            "absent" if row["area_per_mac"] is None else f"{row['area_per_mac']:,.0f}",
            row["datatype"] or "",
            "absent" if row["pj_per_mac"] is None else f"{row['pj_per_mac']:.2f}",
        )
        for row in areas["units"]
    )
    return Table(
        f"Areas on {areas['target']}, "
        + (render.areas_only(areas["untimed"]) if areas["untimed"] else f"{areas['period']:g} ns"),
        f"{areas['tiles']} tiles in the area of 768 FP16 MACs; designs without an area keep theirs.",
        ("design", "um2 for MAC/cycle", "data type", "pJ for MAC"),
        rows,
    )


def _over(found: dict[str, Any], label: str) -> dict[str, Any]:
    return next(row for row in found["designs"] if row["label"].startswith(label))


def _decode(found: dict[str, Any]) -> Table:
    slow, rival = (_over(found, label)["decode"]["tokens_per_second"] for label in ("FP16", "BitMoD W3"))
    rows = tuple(
        (
            row["label"],
            f"{row['weight_bits']:.2f}",
            f"{row['kv_bits']:.2f}",
            f"{row['decode']['tokens_per_second']:.2f}",
            f"{row['decode']['tokens_per_second'] / slow:.2f}",
            f"{row['decode']['tokens_per_second'] / rival:.2f}",
        )
        for row in found["designs"]
    )
    return Table(
        f"Decoding {_question(found)}",
        "Bits with all metadata, window included; BitMoD: 3-bit weights, 8-bit cache. Output layers: 4 bits, "
        f"kvloom's {found['question']['head']}.",
        ("design", "weight bits", "KV bits", "tokens /s", "over FP16", "over BitMoD"),
        rows,
    )


def _memory(found: dict[str, Any]) -> Table:
    rows = []
    for row in found["designs"]:
        step = row["decode"]
        moved, array = step["gigabytes"], step["array_joules"]
        rows.append(
            (
                row["label"],
                f"{moved['weight']:.2f}",
                f"{moved['kv']:.2f}",
                f"{step['dram_joules']:.3f}",
                "absent" if array is None else f"{array:.3f}",
                f"{100 * step['memory_share']:.0f} %",
                f"{100 * step['array_share']:.0f} %",
            )
        )
    return Table(
        f"Memory while decoding {_question(found)}",
        "Busy: share of the time.",
        ("design", "weight GB", "KV GB", "memory J", "array J", "memory busy", "array busy"),
        tuple(rows),
    )


def _question(found: dict[str, Any]) -> str:
    question = found["question"]
    return (
        f"{question['model']}, context {question['context']}, batch {question['batch']}, "
        f"{question['bandwidth']:g} GB/s, {question['clock']:g} GHz"
    )


def _contexts(found: dict[str, Any]) -> Table:
    rows = tuple(
        (row["label"], *(f"{row['contexts'][str(context)]:.2f}" for context in _CONTEXTS))
        for row in found["designs"]
    )
    return Table(
        f"Tokens/s by context, {found['question']['model']}, batch {found['question']['batch']}",
        "",
        ("design", *map(_tokens, _CONTEXTS)),
        rows,
    )


def _tokens(count: int) -> str:
    return f"{count // 1024}K" if count >= 1024 else str(count)


def _prefill(found: dict[str, Any]) -> Table:
    question = found["question"]
    slow = _over(found, "FP16")["prefill"]["seconds"]
    rows = tuple(
        (
            row["label"],
            f"{row['macs_per_cycle']:,.0f}",
            f"{row['prefill']['seconds']:.3f}",
            f"{slow / row['prefill']['seconds']:.2f}",
            f"{100 * row['prefill']['memory_share']:.0f} %",
            f"{100 * row['prefill']['array_share']:.0f} %",
            f"{100 * row['prefill']['quantiser_share']:.0f} %",
        )
        for row in found["designs"]
    )
    return Table(
        f"Prompt of {question['prompt']} tokens, {question['model']}, batch {question['batch']}",
        "Writer: the quantisers of new keys and values, one a tile.",
        ("design", "peak MAC/cycle", "seconds", "over FP16", "memory busy", "array busy", "writer busy"),
        rows,
    )


def show(console: Console, found: Iterable[Table]) -> None:
    """Print tables."""
    for table in found:
        rich = RichTable(
            title=table.title,
            caption=table.remark,
            title_justify="left",
            caption_justify="left",
            header_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        for number, head in enumerate(table.heads):
            lines = head.replace(" ", "\n")
            rich.add_column(lines if number else head, justify="right" if number else "left", no_wrap=True)
        for row in table.rows:
            rich.add_row(*row)
        console.print(rich)


def markdown(found: Sequence[Table], corrections: list[dict[str, Any]]) -> str:
    """Markdown of all tables."""
    lines = ["# Performance model", ""]
    for table in found:
        lines += [f"## {table.title}", "", *render.table(table.heads, table.rows), ""]
        if table.remark:
            lines += [table.remark, ""]
    lines += ["## What is mended", ""]
    lines += [f"* {row['name']}: {row['fault']}." for row in corrections]
    return "\n".join([*lines, ""])
