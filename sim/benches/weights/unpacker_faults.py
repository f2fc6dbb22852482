"""Unpacker: short, long, illegal and refused packets do no harm to the next one."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import cocotb

from golden.numbers import datatypes, scales
from golden.weights import layout
from golden.weights.packet import HEADER_BITS, HEADER_FIELDS, MAGIC, Packet
from hw.config import Config
from sim.benches.weights.matrices import Expected
from sim.benches.weights.unpacking import Bench, some_weights, start
from sim.coverage import Coverage
from sim.spacing import SPACINGS, every_pair, send_spaced

FAULTS = ("short", "long", "header", "rejected")
SCALES = tuple(entry.name for entry in scales.FORMATS)

STALLS = ("free_running", "both_random")

coverage_faults = Coverage("unpacker_faults", {"fault": FAULTS, "situation": STALLS, "spacing": SPACINGS})


def send_short(bench: Bench, words: list[int], length: int) -> None:
    """The first words of a packet: all its beats come, with zeros for what is missing."""
    width = bench.config.memory_bits
    zeros = [*words[:length], *[0] * (len(words) - length)]
    q = layout.unpack(b"".join(word.to_bytes(width // 8, "little") for word in zeros))
    bench.send(words[:length])
    expected = Expected(bench.config, q, valid_bits=length * width)
    bench.expect(expected)
    assert any(beat["error"] for beat in expected.channels)


@cocotb.test()
@cocotb.parametrize(stalls=STALLS)
async def short_packets(dut: Any, stalls: str) -> None:
    """A packet cut anywhere gives all its beats, with zeros for what is missing, and marks those blocks."""
    bench = await start(dut, stalls)
    width = bench.config.memory_bits
    cuts = 0
    for dtype in ("bitmod4", "int8_asym", "ternary", "int3"):
        whole = bench.words_of(some_weights(bench, dtype, "fp16", False, blocks=3))
        # A header cut before what "-0" stands for is still legal where the type never needs it.
        needed = any(term.select for term in datatypes.get(dtype).special_terms)
        header_words = -(-(HEADER_BITS - 64 * (not needed)) // width)
        lengths = range(header_words, len(whole))
        for length in random.sample(lengths, min(8, len(lengths))):
            send_short(bench, whole, length)
            cuts += 1
        bench.send_intact(some_weights(bench, dtype, "int8", True))
    await bench.finish(short=cuts)


@cocotb.test()
@cocotb.parametrize(stalls=STALLS)
async def long_packets(dut: Any, stalls: str) -> None:
    """Words after a packet's end are dropped, also where they look like a packet."""
    bench = await start(dut, stalls)
    extra = (1, 2, 5)
    for number in extra:
        q = some_weights(bench, random.choice(bench.config.types), random.choice(SCALES), False)
        words = bench.words_of(q)
        bench.send(words + (words * number)[:number])
        bench.expect(Expected(bench.config, q))
    bench.send_intact(some_weights(bench, "int4", "int8", False))
    await bench.finish(long=len(extra))


def illegal_headers(config: Config, packet: Packet) -> Iterator[tuple[str, int]]:
    """Fields of a header and values that make it illegal."""
    yield from (("magic", MAGIC ^ 0x80), ("version", 0), ("version", 2))
    yield from (("dtype", len(datatypes.names())), ("dtype", 255), ("scale", len(SCALES)), ("scale", 255))
    yield from (("output", 3), ("rows", config.rows * 2), ("lanes", config.lanes // 2))
    yield from (("unsigned_codes", 1), ("reserved_flags", 4), ("reserved_byte", 1), ("reserved_end", 1 << 43))
    yield from (("outputs", 0), ("inputs", 0), ("group", 0), ("groups", 0), ("last_inputs", 0), ("blocks", 0))
    yield from (("outputs", packet.outputs + config.rows), ("outputs", packet.outputs | 1 << 31))
    yield from (("blocks", packet.blocks + 1), ("blocks", packet.blocks | 1 << 15))
    yield from (("inputs", packet.inputs + 1), ("inputs", packet.inputs | 1 << 31))
    yield from (("groups", packet.groups + 1), ("groups", packet.groups | 1 << 15))
    yield from (("group", packet.group + 1), ("group", packet.group + config.lanes), ("group", 1 << 15))
    yield from (("last_inputs", packet.last_inputs + 1), ("last_inputs", packet.last_inputs | 1 << 15))


def overwritten(words: list[int], config: Config, fields: dict[str, int]) -> list[int]:
    """A packet with fields of its header replaced."""
    width = config.memory_bits
    packed = sum(word << width * number for number, word in enumerate(words))
    offset = 0
    for name, bits in HEADER_FIELDS:
        if name in fields:
            packed &= ~((1 << bits) - 1 << offset)
            packed |= fields[name] << offset
        offset += bits
    return [packed >> width * number & (1 << width) - 1 for number in range(len(words))]


@cocotb.test()
@cocotb.parametrize(stalls=STALLS)
async def illegal_packets(dut: Any, stalls: str) -> None:
    """A packet with an illegal header is dropped whole, and counted once."""
    bench = await start(dut, stalls)
    config, width = bench.config, bench.config.memory_bits
    count = 0
    q = some_weights(bench, "int4", "int8", False)
    words = bench.words_of(q)
    packet = Packet(q.dtype, q.scale_format, *q.shape, q.group, config.rows, config.lanes)
    for number, (name, value) in enumerate(illegal_headers(config, packet)):
        bench.send(overwritten(words, config, {name: value}))
        count += 1
        if number % 4 == 0:
            bench.send_intact(q)
    longer = config.group + config.lanes
    one_group = {"group": longer, "groups": 1, "inputs": longer, "last_inputs": longer}
    for groups in (config.maximum_inputs // config.group, config.maximum_inputs // config.lanes):
        too_many = {"groups": groups + 1, "inputs": groups * packet.group + packet.last_inputs}
        if too_many["inputs"] > config.maximum_inputs:
            bench.send(overwritten(words, config, too_many))
            count += 1
    empty_last = {"inputs": packet.group * (packet.groups - 1), "last_inputs": 0}
    too_long_last = {"inputs": packet.group * packet.groups + 1, "last_inputs": packet.group + 1}
    multiples = range(config.lanes, longer, config.lanes)
    odd = next((length for length in multiples if length not in config.group_lengths), longer)
    no_length = {"group": odd, "groups": 2, "inputs": odd + 1, "last_inputs": 1}
    for fields in (one_group, empty_last, too_long_last, no_length, {"outputs": 0, "blocks": 0}):
        bench.send(overwritten(words, config, fields))
        count += 1
    signed = bench.words_of(some_weights(bench, "int4", "fp16", True))
    bench.send(overwritten(signed, config, {"unsigned_codes": 1}))
    count += 1
    bench.send([random.getrandbits(width) & ~0xFF])
    bench.send([0])
    count += 2
    if width < HEADER_BITS // 2:
        bench.send(words[: HEADER_BITS // width // 2])
        count += 1
    bench.send_intact(q)
    await bench.finish(header=count)


def packet_of(bench: Bench, fault: str | None, variant: int) -> Callable[[], None]:
    """Sends a small packet, intact or with a fault; ``variant`` numbers the ways in which it can be wrong."""
    config = bench.config
    dtype = "int4" if fault == "header" else random.choice(config.types)  # whose headers are never legal
    scale = SCALES[variant % len(SCALES)]
    q = some_weights(bench, dtype, scale, fault is None and variant % 2 == 1)
    words = bench.words_of(q)
    if fault is None:
        return lambda: bench.send_intact(q)
    if fault == "rejected":
        return lambda: bench.send_refused(q)
    if fault == "header":
        packet = Packet(q.dtype, q.scale_format, *q.shape, q.group, config.rows, config.lanes)
        name, value = list(illegal_headers(config, packet))[variant * 7 % 31]
        return lambda: bench.send(overwritten(words, config, {name: value}))
    if fault == "long":
        extra = (1, 2, len(words))[variant % 3]
        return lambda: (bench.send(words + words[:extra]), bench.expect(Expected(config, q)))
    return lambda: send_short(
        bench, words, (len(words) - 1, -(-HEADER_BITS // config.memory_bits))[variant % 2]
    )


@cocotb.test()
@cocotb.parametrize(stalls=STALLS, spacing=SPACINGS)
async def every_order(dut: Any, stalls: str, spacing: str) -> None:
    """Bad and refused packets after each other and after intact ones, in every order."""
    bench = await start(dut, stalls)
    kinds = every_pair((None, *FAULTS))
    variants = {fault: itertools.count(2 * (spacing == "apart")) for fault in kinds}
    acts = [packet_of(bench, fault, next(variants[fault])) for fault in kinds]
    await send_spaced(bench.domain, (bench.words,), acts, spacing)
    await bench.finish(spacing, **{name: kinds.count(name) for name in ("short", "long", "header")})
    for fault in FAULTS:
        coverage_faults.hit(fault=fault, situation=stalls, spacing=spacing)
