"""Unpacker: every beat that a packet's numbers call for, whatever the stalls and the packets before.

Expected beats are computed here from ``QuantizedWeights`` and the documented meaning of the payloads, with
nothing of the packed layout in between.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from golden import datatypes, layout, scales
from golden.packet import HEADER_BITS, HEADER_FIELDS, MAGIC, OUTPUTS, Packet
from golden.reach import reach
from golden.weights import QuantizedWeights
from hw import payloads
from hw.config import Config
from sim import context
from sim.coverage import Coverage
from sim.stalls import Pattern
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

ERRORS = ("header", "short", "long")
FAULTS = ("short", "long", "header", "rejected")
SCALES = tuple(entry.name for entry in scales.FORMATS)

coverage_types = Coverage("unpacker_types", {"dtype": datatypes.names(), "offset": (False, True)})
coverage_stalls = Coverage("unpacker_stalls", {"situation": SITUATIONS, "scale": SCALES})
coverage_faults = Coverage("unpacker_faults", {"fault": FAULTS, "situation": ("free_running", "both_random")})


def config_of_run() -> Config:
    """The configuration that the design was built with."""
    return Config.model_validate(context.parameters()["config"])


def random_weights(
    config: Config, dtype: str, scale: str, outputs: int, inputs: int, group: int, offset: bool
) -> QuantizedWeights:
    """A matrix of any bit pattern that the fields hold, drawn from the run's seed."""
    rng = np.random.default_rng(random.getrandbits(32))
    kind, form = datatypes.get(dtype), scales.get(scale)
    per_group = (outputs, -(-inputs // group))
    half = 1 << kind.bits - 1
    zero = kind.asymmetric and not offset
    unsigned = kind.asymmetric and offset and random.random() < 0.5

    def draw(low: int, high: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return rng.integers(low, high + 1, shape).astype(dtype)

    top = (1 << form.mantissa_bits) - 1
    return QuantizedWeights(
        dtype=kind,
        group=group,
        scale_format=form,
        codes=draw(0, len(kind.integers) - 1, (outputs, inputs), np.uint8),
        selector=draw(0, (1 << kind.selector_bits) - 1, per_group, np.uint8),
        scale_mantissa=draw(int(top == 0), max(top, 1), per_group, np.uint16),
        scale_distance=draw(0, (1 << form.distance_bits) - 1, per_group, np.uint8),
        zero_point=draw(half * unsigned + (1 - half) * zero, half * (zero or unsigned), per_group, np.int16),
        offset_mantissa=draw(-2048, 2047, per_group, np.int16) if offset else None,
        offset_distance=draw(0, 31, per_group, np.uint8) if offset else None,
        channel_exponent=draw(-128, 127, (outputs,), np.int16),
    )


class Expected:
    """The beats of one packet, stream by stream, from its numbers.

    ``valid_bits`` is where the packet was cut: row blocks that reach beyond it are marked.
    """

    def __init__(
        self,
        config: Config,
        q: QuantizedWeights,
        output: str = "fp16",
        keep_activations: bool = False,
        valid_bits: int | None = None,
    ) -> None:
        self.config, self.q, self.output, self.valid_bits = config, q, output, valid_bits
        self.has_offset = q.offset_mantissa is not None
        self.reach = reach(config.group, config.activation_bits, q.dtype, q.scale_format, self.has_offset)
        self.packet = Packet(
            q.dtype, q.scale_format, *q.shape, q.group, config.rows, config.lanes, self.has_offset
        )
        lanes = config.lanes
        self.header = {
            "inputs": q.shape[1],
            "groups": q.groups,
            "group_chunks": q.group // lanes,
            "last_chunks": -(-(q.shape[1] - (q.groups - 1) * q.group) // lanes),
            "blocks": self.packet.blocks,
            "keep_activations": int(keep_activations),
        }
        self.chunks = list(self._chunks())
        self.scales = list(self._scales())
        self.channels = list(self._channels())

    def _padded(self, values: np.ndarray | None, block: int, group: int, fill: int) -> list[int]:
        """A group's numbers for the rows of a block."""
        rows = self.config.rows
        if values is None:
            return [0] * rows
        present = values[block * rows : (block + 1) * rows, group].tolist()
        return present + [fill] * (rows - len(present))

    def _format(self) -> dict[str, Any]:
        config, dtype = self.config, self.q.dtype
        first, second = dtype.programming
        return {
            "decoder": config.decoders.index(dtype.decoder),
            "last_term": dtype.term_count - 1,
            "programming": first + 2 * second,
            "specials": [{"negative": one.negative, "select": one.select} for one in dtype.special_terms],
        }

    def _chunks(self) -> Iterator[dict[str, Any]]:
        rows, lanes, q = self.config.rows, self.config.lanes, self.q
        table = np.array([q.dtype.lane(code) for code in range(len(q.dtype.integers))], np.uint8)
        form, last_block = self._format(), self.packet.blocks - 1
        for block, group in itertools.product(range(last_block + 1), range(q.groups)):
            codes = q.codes[block * rows : (block + 1) * rows, group * q.group : (group + 1) * q.group]
            missing = rows - codes.shape[0], -codes.shape[1] % lanes
            carried = table[np.pad(codes, ((0, missing[0]), (0, missing[1])))]
            for start in range(0, carried.shape[1], lanes):
                yield {
                    "codes": carried[:, start : start + lanes].tolist(),
                    "selectors": self._padded(q.selector, block, group, 0),
                    "format": form,
                    "last": int(start + lanes == carried.shape[1]),
                    "final": int(group == q.groups - 1),
                    "finished": int(block == last_block),
                }

    def _scales(self) -> Iterator[dict[str, Any]]:
        q = self.q
        counts = q.dtype.asymmetric and (not self.has_offset or q.zero_point.all())
        zero_fill = 1 << q.dtype.bits - 1 if counts else 0
        for block, group in itertools.product(range(self.packet.blocks), range(q.groups)):
            points = self._padded(q.zero_point, block, group, zero_fill)
            columns = {
                "scale": self._padded(q.scale_mantissa, block, group, int(not q.scale_format.mantissa_bits)),
                "scale_distance": self._padded(q.scale_distance, block, group, 0),
                "zero_point": [point + q.dtype.digit_offset for point in points],
                "offset": self._padded(q.offset_mantissa, block, group, 0),
                "offset_distance": self._padded(q.offset_distance, block, group, 0),
            }
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            yield {"rows": rows, "reach": self.reach, "has_offset": int(self.has_offset)}

    def _channels(self) -> Iterator[dict[str, Any]]:
        q, size = self.q, self.config.rows
        for block in range(self.packet.blocks):
            start = block * size
            exponents = q.channel_exponent[start : start + size].tolist()
            end = HEADER_BITS + (block + 1) * self.packet.block_bits
            yield {
                "rows": [{"exponent": exponent} for exponent in [*exponents, *[0] * size][:size]],
                "count": min(size, q.shape[0] - start),
                "output": OUTPUTS.index(self.output),
                "reach": self.reach,
                "last": int(block == self.packet.blocks - 1),
                "error": int(self.valid_bits is not None and end > self.valid_bits),
            }


class ErrorCounter:
    """Counts the cycles in which each error output is high; an agent of the domain."""

    def __init__(self, domain: Domain) -> None:
        self.counts = dict.fromkeys(ERRORS, 0)
        self._readers = {name: domain.reader(f"error_{name}") for name in ERRORS}
        domain.add(self)

    def step(self) -> None:
        for name, read in self._readers.items():
            self.counts[name] += read()

    def restart(self) -> None:
        self.counts = dict.fromkeys(ERRORS, 0)

    def status(self) -> str:
        return f"errors: {self.counts}"


class Bench:
    """One unpacker with a source, a checked sink on every output and the error counters."""

    def __init__(
        self, dut: Any, domain: Domain, config: Config, stalls: str, chunk_stalls: Pattern | None = None
    ) -> None:
        where = situation(stalls)
        self.dut, self.domain, self.config = dut, domain, config
        shapes = {
            "header": payloads.packet_header(config),
            "chunks": payloads.chunk(config),
            "scales": payloads.group_scales(config),
            "channels": payloads.channels(config),
        }
        self.boards = {name: Scoreboard(name, shape) for name, shape in shapes.items()}
        self.arrivals: dict[str, list[int]] = {name: [] for name in shapes}
        self.words = StreamSource(domain, "words", payloads.word(config), where.source)
        self.sinks = {
            name: StreamSink(
                domain,
                name,
                shape,
                chunk_stalls if name == "chunks" and chunk_stalls else where.sink,
                where.sink_waits,
                self._observer(name),
            )
            for name, shape in shapes.items()
        }
        self.errors = ErrorCounter(domain)
        self.wanted = dict.fromkeys(shapes, 0)

    def _observer(self, name: str) -> Any:
        def observe(bits: int) -> None:
            self.arrivals[name].append(self.domain.cycle)
            self.boards[name].observe(bits)

        return observe

    def send(self, words: list[int]) -> None:
        """Queue a packet of raw words."""
        last = len(words) - 1
        self.words.send_all({"data": word, "last": int(number == last)} for number, word in enumerate(words))

    def expect(self, expected: Expected) -> None:
        """Expect every beat of a packet."""
        for name, board in self.boards.items():
            beats = [expected.header] if name == "header" else getattr(expected, name)
            board.expect_all(beats)
            self.wanted[name] += len(beats)

    def send_intact(
        self, q: QuantizedWeights, output: str = "fp16", keep_activations: bool = False
    ) -> Expected:
        """Queue a packet and expect all of it."""
        self.send(self.words_of(q, output, keep_activations))
        expected = Expected(self.config, q, output, keep_activations)
        self.expect(expected)
        return expected

    def words_of(
        self, q: QuantizedWeights, output: str = "fp16", keep_activations: bool = False
    ) -> list[int]:
        """A packet as words."""
        config = self.config
        buf = layout.pack(q, config.rows, config.lanes, output, keep_activations, config.word_bits)
        size = config.word_bits // 8
        return [int.from_bytes(buf[start : start + size], "little") for start in range(0, len(buf), size)]

    async def finish(self, **errors: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the error counts."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        await self.words.drained()
        await self.domain.cycles(12)
        for board in self.boards.values():
            board.finish()
        assert self.errors.counts == dict.fromkeys(ERRORS, 0) | errors, self.errors.counts


async def start(dut: Any, stalls: str, cycle_limit: int = 30_000) -> Bench:
    domain = await reset(dut, cycle_limit)
    return Bench(dut, domain, config_of_run(), stalls)


def some_weights(bench: Bench, dtype: str, scale: str, offset: bool, blocks: int = 2) -> QuantizedWeights:
    """A small matrix: some row blocks, the last one not full, and a full group and a shorter one."""
    config = bench.config
    group = config.lanes * random.randint(1, min(config.chunks, 3))
    inputs = group + random.randint(1, group)
    outputs = random.randint((blocks - 1) * config.rows + 1, blocks * config.rows)
    return random_weights(config, dtype, scale, outputs, inputs, group, offset)


@cocotb.test()
@cocotb.parametrize(offset=(False, True))
async def every_type(dut: Any, offset: bool) -> None:
    """Packets of all types and scale formats, back to back."""
    bench = await start(dut, "free_running")
    rounds = len(SCALES) if context.parameters()["thorough"] else 1
    for shift, (number, dtype) in itertools.product(range(rounds), enumerate(bench.config.types)):
        q = some_weights(bench, dtype, SCALES[(number + shift) % len(SCALES)], offset)
        bench.send_intact(q, OUTPUTS[number % len(OUTPUTS)], bool(number & 1))
        coverage_types.hit(dtype=dtype, offset=offset)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for scale in SCALES:
        for _ in range(3 if context.parameters()["thorough"] else 1):
            q = some_weights(bench, random.choice(bench.config.types), scale, random.random() < 0.5)
            bench.send_intact(q, random.choice(OUTPUTS), random.random() < 0.5)
            coverage_stalls.hit(situation=stalls, scale=scale)
        # One chunk a row block: every output is as busy as the chunks.
        rows, lanes = bench.config.rows, bench.config.lanes
        bench.send_intact(random_weights(bench.config, "int4_asym", scale, 6 * rows, lanes, lanes, False))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def short_packets(dut: Any, stalls: str) -> None:
    """A packet cut anywhere gives all its beats, with zeros for what is missing, and marks those blocks."""
    bench = await start(dut, stalls)
    width = bench.config.word_bits
    cuts = 0
    for dtype in ("bitmod4", "int8_asym", "ternary", "int3"):
        whole = bench.words_of(some_weights(bench, dtype, "fp16", False, blocks=3))
        # A header cut before its special values is still legal where the type has none.
        header_words = max((HEADER_BITS - 64 * (not datatypes.get(dtype).specials)) // width, 1)
        lengths = range(header_words, len(whole))
        for length in random.sample(lengths, min(8, len(lengths))):
            zeros = [*whole[:length], *[0] * (len(whole) - length)]
            q = layout.unpack(b"".join(word.to_bytes(width // 8, "little") for word in zeros))
            bench.send(whole[:length])
            expected = Expected(bench.config, q, valid_bits=length * width)
            bench.expect(expected)
            assert any(beat["error"] for beat in expected.channels)
            cuts += 1
        bench.send_intact(some_weights(bench, dtype, "int8", True))
    coverage_faults.hit(fault="short", situation=stalls)
    await bench.finish(short=cuts)


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
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
    coverage_faults.hit(fault="long", situation=stalls)
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
    width = config.word_bits
    packed = sum(word << width * number for number, word in enumerate(words))
    offset = 0
    for name, bits in HEADER_FIELDS:
        if name in fields:
            packed &= ~((1 << bits) - 1 << offset)
            packed |= fields[name] << offset
        offset += bits
    return [packed >> width * number & (1 << width) - 1 for number in range(len(words))]


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def illegal_packets(dut: Any, stalls: str) -> None:
    """A packet with an illegal header is dropped whole, and counted once."""
    bench = await start(dut, stalls)
    config, width = bench.config, bench.config.word_bits
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
    for fields in (one_group, empty_last, too_long_last, {"outputs": 0, "blocks": 0}):
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
    coverage_faults.hit(fault="header", situation=stalls)
    await bench.finish(header=count)


@cocotb.test()
@cocotb.parametrize(stalls=("free_running", "both_random"))
async def rejected_packets(dut: Any, stalls: str) -> None:
    """A refused packet gives its header and nothing else."""
    bench = await start(dut, stalls)
    for dtype in ("int4", "ternary", "int8_asym"):
        dut.reject.value = 1
        q = some_weights(bench, dtype, "e4m3", False)
        bench.send(bench.words_of(q))
        bench.boards["header"].expect(Expected(bench.config, q).header)
        bench.wanted["header"] += 1
        await bench.sinks["header"].wait_for(bench.wanted["header"])
        dut.reject.value = 0
        bench.send_intact(some_weights(bench, dtype, "int8", False))
        await bench.finish()
    coverage_faults.hit(fault="rejected", situation=stalls)


def block_cycles(config: Config, packet: Packet, takes: int) -> Iterator[int]:
    """Cycles of each row block without stalls, counted in granules of the words as documented."""
    word = config.word_bits // config.rows
    group = {name: bits // config.rows for name, bits in packet.group_fields(packet.group)}
    selector, codes = group.pop("selector", 0), group.pop("codes")
    scale = sum(group.values())
    consumed = HEADER_BITS // config.rows
    for _ in range(packet.blocks):
        cycles = 1 + (selector > 0) + packet.groups * config.chunks * takes
        consumed += selector
        for number in range(packet.groups):
            last_codes = (
                packet.chunk_bits // config.rows - (takes - 1) * -(-config.lanes // takes) * packet.dtype.bits
            )
            if packet.dtype.name == "ternary":
                last_codes = packet.chunk_bits // config.rows - (takes - 1) * word
            consumed += codes
            following = selector if number < packet.groups - 1 else 0
            begin = (consumed - last_codes) % word
            if scale + selector > min(24, word):
                cycles += 1 + (following > 0)
            elif begin + last_codes + scale + following >= 2 * word:
                cycles += 1
            consumed += scale + following
        consumed += 8
        yield cycles


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """Without stalls chunks and row blocks come as often as documented."""
    bench = await start(dut, "free_running")
    config = bench.config
    window = config.word_bits // config.rows
    for dtype in config.types if context.parameters()["thorough"] else ("bitmod4", "int5_asym", "ternary"):
        kind = datatypes.get(dtype)
        q = random_weights(config, dtype, "int8", 3 * config.rows, 8 * config.group, config.group, False)
        before = {name: len(seen) for name, seen in bench.arrivals.items()}
        expected = bench.send_intact(q)
        await bench.finish()
        chunks = bench.arrivals["chunks"][before["chunks"] :]
        channels = bench.arrivals["channels"][before["channels"] :]
        takes = -(-config.lanes // (window // kind.bits))
        if dtype == "ternary":
            takes = -(-expected.packet.chunk_bits // config.word_bits)
        cycles = list(block_cycles(config, expected.packet, takes))
        assert np.diff(chunks[: config.chunks]).tolist() == [takes] * (config.chunks - 1), dtype
        assert np.diff(channels).tolist() == cycles[1:], dtype
        if window == config.lanes * kind.bits:  # codes fill their words, so words are all that limits
            assert max(cycles) <= expected.packet.block_bits / config.word_bits + 3, dtype


@cocotb.test()
async def reading_hides_behind_use(dut: Any) -> None:
    """A consumer two cycles slower than the reading never waits within a row block, whatever the metadata."""
    config = config_of_run()
    domain = await reset(dut, 30_000)
    period = 2 + -(-config.lanes // (config.word_bits // config.rows // 8))
    accepting = [False] * (period - 1) + [True]
    bench = Bench(
        dut, domain, config, "free_running", lambda _: itertools.cycle(not yes for yes in accepting)
    )
    for dtype in ("int8", "bitmod4", "int6_asym"):
        before = len(bench.arrivals["chunks"])
        inputs = 3 * config.group
        bench.send_intact(random_weights(config, dtype, "int8", config.rows, inputs, config.group, False))
        await bench.finish()
        assert set(np.diff(bench.arrivals["chunks"][before:])) == {period}, dtype


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset in the middle of a packet leaves nothing behind."""
    bench = await start(dut, "free_running")
    q = some_weights(bench, "int8", "fp16", False)
    bench.send(bench.words_of(q)[:-1])
    bench.boards["header"].expect(Expected(bench.config, q).header)
    await bench.sinks["header"].wait_for(1)
    await bench.domain.reset()
    for name in bench.boards:
        assert bench.domain.reader(f"{name}_valid")() == 0, name
    bench.send_intact(some_weights(bench, "int4", "int8", False))
    bench.wanted["header"] += 1
    await bench.finish()
