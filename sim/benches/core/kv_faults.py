"""KV units among faults: the status says what was wrong, nothing is written, the next command is intact.

Parameters: as of ``kv_units``.
"""

import random
from typing import Any

import cocotb
import numpy as np

from golden.core.commands import LINE_BYTES, Status
from golden.core.state import HEAD, RECORD, RECORD_BYTES
from golden.kv.formats import Format
from golden.kv.schemes import WINDOW
from sim.benches.core.kv_heads import Head, bits_of
from sim.benches.core.kv_units import CONFIG, MEMORY, PAGE, SHAPE, UNITS, Bench, start
from sim.coverage import Coverage

FIELDS = {field.name: field for field in (*HEAD, *RECORD)}
POSITION = 3 * PAGE - 1
"""The second page is due, one is closed, one is in the window."""
FAULTS = ("head", "record", "page", "outside", "failed", "scratch", "queries")

IMPOSSIBLE = {"append": ("record", "page", "queries"), "close": ("page", "scratch", "queries"), "attend": ()}

coverage = Coverage(
    "core_kv_faults",
    {"fault": FAULTS, "unit": tuple(UNITS)},
    lambda fault, unit: fault in IMPOSSIBLE[unit],
)


_filled: dict[str, tuple[Head, np.ndarray]] = {}


def filled(bench: Bench, unit: str) -> Head:
    """A head whose second page is due, or closed to attend; keys of trits, values of 4 bits."""
    if unit not in _filled:
        channels = CONFIG.kv.channels
        forms = (Format("ternary_scaled", 2, "channel", 32, 0.75), Format("native", 4, "token", 32))
        head = Head(bench.memory, SHAPE, lambda number: forms, channels, PAGE, POSITION + 1)
        bench.fill(head, POSITION + (unit == "attend"))
        _filled[unit] = head, bench.memory.copy()
    head, memory = _filled[unit]
    bench.memory[:] = memory
    return head


def command(head: Head, unit: str) -> dict[str, int]:
    """Fields of an intact command."""
    middle = CONFIG.core.scratch // 2
    if unit == "attend":
        return {"head": head.line, "source": 0, "destination": middle, "queries": 2, "heads": 1, "pitch": 0}
    return {"head": head.line, "side": random.randrange(2)} | ({"source": 16} if unit == "append" else {})


async def refused(bench: Bench, unit: str, fields: dict[str, int], status: Status, fault: str) -> None:
    """Golden says so, the circuit does."""
    assert await bench.check(unit, POSITION, **fields) == status
    coverage.hit(fault=fault, unit=unit)


async def intact(bench: Bench, head: Head, unit: str) -> None:
    """A command without a fault; what it wrote is taken back."""
    before = bench.memory.copy()
    assert await bench.check(unit, POSITION, **command(head, unit)) == Status.DONE
    bench.memory[:] = before


WRONG = {
    "channels": (0, 1, CONFIG.kv.channels // 16 + 2, 255),
    "slots": (0, 3, 6),
    "key_top": (0, 32),
    "value_top": (0, 255),
    "pages": (0, 1),
}
"""Fields of a header, and values that they cannot have."""


def put(bench: Bench, first: int, name: str, value: int) -> None:
    """A field of a header or a record that begins at a byte."""
    field = FIELDS[name]
    place = first + 4 * field.word + field.low // 8
    bench.memory[place : place + field.width // 8] = list(value.to_bytes(field.width // 8, "little"))


@cocotb.test()
@cocotb.parametrize(unit=tuple(UNITS))
async def bad_heads(dut: Any, unit: str) -> None:
    """Every field of a header out of range."""
    bench = await start(dut)
    head = filled(bench, unit)
    whole = bench.memory.copy()
    for name, values in WRONG.items():
        for value in values:
            put(bench, head.line * LINE_BYTES, name, value)
            await refused(bench, unit, command(head, unit), Status.BAD_PAGE, "head")
            bench.memory[:] = whole
    await intact(bench, head, unit)


@cocotb.test()
@cocotb.parametrize(unit=("append", "attend"))
async def beyond_scratch(dut: Any, unit: str) -> None:
    """Vectors that end behind scratch memory; those that end with it are there."""
    bench = await start(dut)
    head = filled(bench, unit)
    fields = command(head, unit)
    for name in ("source", "destination")[: 1 + (unit == "attend")]:
        end = CONFIG.core.scratch - head.channels * fields.get("queries", 1)
        await refused(bench, unit, fields | {name: end + 16}, Status.BAD_FIELD, "scratch")
        before = bench.memory.copy()
        assert await bench.check(unit, POSITION, **(fields | {name: end})) == Status.DONE
        bench.memory[:] = before
    if unit == "attend":
        for queries in (0, CONFIG.kv.queries + 1, 255):
            await refused(bench, unit, fields | {"queries": queries}, Status.BAD_PAGE, "queries")
    await intact(bench, head, unit)


@cocotb.test()
@cocotb.parametrize(unit=("close", "attend"))
async def bad_records(dut: Any, unit: str) -> None:
    """Formats that cannot be, and valid tokens that there are not."""
    bench = await start(dut)
    head = filled(bench, unit)
    whole = bench.memory.copy()
    forms = (6, 7, bits_of(WINDOW) | 3 << 5)
    wrong = {"key_format": forms, "value_format": forms}
    if unit == "attend":
        wrong |= {"first": (PAGE, 255), "last": (PAGE, 255)}
    for name, values in wrong.items():
        for value in values:
            number = 1 if unit == "close" else random.randrange(2)
            put(bench, head.records + number * RECORD_BYTES, name, value)
            side = {"side": int(name == "value_format")} if unit == "close" else {}
            await refused(bench, unit, command(head, unit) | side, Status.BAD_PAGE, "record")
            bench.memory[:] = whole
    await intact(bench, head, unit)


@cocotb.test()
async def damaged_page(dut: Any) -> None:
    """Bytes that are no trits."""
    bench = await start(dut)
    head = filled(bench, "attend")
    first = int(bench.memory[head.records :][:4].view("<u4")[0]) * LINE_BYTES
    layout = SHAPE.layout(Format("ternary_scaled", 2, "channel", 32, 0.75), 0, head.channels)
    kept = bench.memory[first + layout.bytes - 2]
    bench.memory[first + layout.bytes - 2] = 255
    await refused(bench, "attend", command(head, "attend"), Status.BAD_PAGE, "page")
    bench.memory[first + layout.bytes - 2] = kept
    await intact(bench, head, "attend")


@cocotb.test()
@cocotb.parametrize(unit=tuple(UNITS))
async def failing_reads(dut: Any, unit: str) -> None:
    """One read after the other fails, whatever it is for."""
    bench = await start(dut, "both_random")
    head = filled(bench, unit)
    for number in range(1, 60):
        memory, scratch = bench.memory.copy(), bench.scratch.copy()
        bench.store.failing = bench.store.reads + number
        status, written = await bench.run(unit, POSITION, **command(head, unit))
        if bench.store.reads < bench.store.failing:
            assert status == Status.DONE
            assert number > 1 + 2 * (unit != "append")
            bench.memory[:] = memory
            break
        assert (status, written) == (Status.BUS_ERROR, 0)
        assert (bench.memory == memory).all()
        assert (bench.scratch == scratch).all()
        coverage.hit(fault="failed", unit=unit)
    else:
        raise AssertionError("reads have no end")
    bench.store.failing = 0
    await intact(bench, head, unit)


@cocotb.test()
@cocotb.parametrize(unit=tuple(UNITS))
async def memory_ends(dut: Any, unit: str) -> None:
    """Memory that ends before the header, a record, a copy or a page."""
    bench = await start(dut, "both_random")
    head = filled(bench, unit)
    whole = bench.memory.copy()
    ends = {head.line, head.line + 1, head.records // LINE_BYTES + 1}
    for end in (*sorted(ends), *random.sample(range(head.line + 2, head.end), 5)):
        bench.store.content = whole[: end * LINE_BYTES].copy()
        status = await bench.check(unit, POSITION, **command(head, unit))
        assert status in (Status.DONE, Status.OUTSIDE)
        if status == Status.OUTSIDE:
            coverage.hit(fault="outside", unit=unit)
    bench.store.content = whole.copy()
    await intact(bench, head, unit)


def alike(bench: Bench, count: int) -> tuple[dict[str, int], list[int]]:
    """A command that attends with ``count`` heads that are the filled one, and the lines of their headers."""
    head = filled(bench, "attend")
    own = bench.memory[head.line * LINE_BYTES : (head.records // LINE_BYTES + 1) * LINE_BYTES].copy()
    pitch = len(own) // LINE_BYTES
    lines = [head.end + number * pitch for number in range(count)]
    for line in lines:
        bench.memory[line * LINE_BYTES :][: len(own)] = own
    first = CONFIG.core.scratch - count * head.channels
    places = {"source": first, "destination": first, "queries": 1}
    return places | {"head": lines[0], "heads": count, "pitch": pitch}, lines


def spoil(bench: Bench, line: int, fault: str) -> None:
    """One of several heads; what they share stays."""
    records = (line + 1) * LINE_BYTES
    match fault:
        case "head":
            put(bench, line * LINE_BYTES, "slots", 3)
        case "record":
            put(bench, records, "first", PAGE)
        case "outside":
            put(bench, records, random.choice(("keys", "values")), 1 << 30)
        case "page":  # bytes that are no trits
            bench.memory[-PAGE * CONFIG.kv.channels :] = 255
            put(bench, records, "keys", MEMORY // LINE_BYTES - PAGE * CONFIG.kv.channels // LINE_BYTES)


@cocotb.test()
async def faults_among_heads(dut: Any) -> None:
    """The first head with a fault decides, however late it shows; those ahead of it have their outputs."""
    bench = await start(dut, "both_random")
    fields, lines = alike(bench, 3)
    whole = bench.memory.copy()
    kinds = ("head", "record", "outside", "page")
    pairs = [(one, other) for one in kinds for other in (None, *kinds)]
    for number, (fault, behind) in enumerate(pairs):
        victim = number % (3 if behind is None else 2)
        spoil(bench, lines[victim], fault)
        if behind is not None:
            spoil(bench, lines[victim + 1], behind)
        bench.draw()
        wanted = Status.OUTSIDE if fault == "outside" else Status.BAD_PAGE
        await refused(bench, "attend", fields, wanted, fault)
        bench.memory[:] = whole
    for name in ("source", "destination"):
        places = {"source": 0, "destination": 0, name: fields[name] + 16}
        await refused(bench, "attend", fields | places, Status.BAD_FIELD, "scratch")
    assert await bench.check("attend", POSITION, **fields) == Status.DONE


@cocotb.test()
async def failing_reads_among_heads(dut: Any) -> None:
    """One read after the other fails: heads ahead of it have their outputs, and no other one."""
    bench = await start(dut, "both_random")
    fields, _ = alike(bench, 3)
    before, wanted = bench.scratch.copy(), bench.scratch.copy()
    bench.golden("attend", bench.memory, wanted, POSITION, fields)
    begun = []
    for number in range(1, 99):
        bench.scratch[:] = before
        bench.store.failing = bench.store.reads + number
        status, _ = await bench.run("attend", POSITION, **fields)
        if status == Status.DONE:
            break
        assert status == Status.BUS_ERROR
        done = (bench.scratch[fields["source"] :] != before[fields["source"] :]).reshape(3, -1).any(1)
        begun.append(int(done.sum()))
        end = fields["source"] + begun[-1] * ((CONFIG.core.scratch - fields["source"]) // 3)
        assert (bench.scratch[:end] == wanted[:end]).all()
        assert (bench.scratch[end:] == before[end:]).all()
    assert sorted(begun) == begun
    assert set(begun) == {0, 1, 2}


@cocotb.test()
@cocotb.parametrize(unit=tuple(UNITS))
async def reset_forgets(dut: Any, unit: str) -> None:
    """A reset in the middle of a command leaves nothing of it behind."""
    bench = await start(dut)
    head = filled(bench, unit)
    for pause in (1, 9, 40, 300):
        whole = bench.memory.copy()
        bench.begin(unit, POSITION, **command(head, unit))
        await bench.domain.cycles(pause)
        await bench.domain.reset()
        bench.memory[:] = whole
        await intact(bench, head, unit)
