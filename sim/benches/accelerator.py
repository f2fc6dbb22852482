"""Accelerator: packets and vectors over AXI give the golden products, whatever comes between them.

``sim.benches.stories`` decides what is sent and what must come of it; ``Bench`` plays it on the buses.
"""

import itertools
import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
from amaranth.utils import bits_for
from cocotb.triggers import RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from golden.weights.packet import HEADER_BITS, OUTPUTS
from golden.weights.quantized import quantize
from hw.bus import registers
from hw.bus.register_table import Access
from hw.config import Config
from hw.pe.tile import fill_latency, product_cycles
from sim import context
from sim.benches.stories import FAULTS, Story
from sim.benches.weights.matrices import random_weights
from sim.coverage import Coverage
from sim.errors import ErrorPlan
from sim.spacing import SPACINGS
from sim.streams import Domain, reset

config = Config.model_validate(context.parameters()["config"])
GIVEN = context.parameters().get("products", [])
TABLE = context.parameters().get("table", [])
LAYERS = context.parameters().get("layers", [])
THOROUGH = context.parameters().get("thorough", True)
OFFSETS = {register.name: register.offset for register in registers.TABLE}
COUNTERS = tuple(
    register.name
    for register in registers.TABLE
    if register.fields[0].access is Access.COUNTER and register.name != "CYCLES"
)
FLAGS = {
    field.name: 1 << field.low
    for register in registers.TABLE
    for field in register.fields
    if field.access is Access.STICKY
}
"""Of STATUS."""

ACTIVATIONS = ("fp16", "bf16")
STALLS = {
    "none": (0.0, 0.0, 0.0),
    "weights": (0.6, 0.0, 0.0),
    "vectors": (0.0, 0.8, 0.0),
    "results": (0.0, 0.0, 0.9),
    "all": (0.4, 0.4, 0.4),
}
"""Share of paused cycles of weights, activations and results."""

errors = ErrorPlan("accelerator", [*(name for name in COUNTERS if name.startswith("ERROR_")), *FLAGS])
coverage = Coverage("accelerator_types", {"type": config.types, "activations": ACTIVATIONS})
coverage_faults = Coverage("accelerator_faults", {"fault": FAULTS, "stalls": tuple(STALLS)})
coverage_rate = Coverage("accelerator_rate", {"over": ("row blocks", "packets")})


def pauses(density: float) -> Iterator[bool]:
    """Cycles without a beat, drawn from the run's seed."""
    rng = random.Random(random.getrandbits(32))
    return (rng.random() < density for _ in itertools.count())


class Rules:
    """Checks that a result stays as it is until it is taken, and notes when beats come and go."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.first_word = self.last_result = 0
        names = ("tdata", "tkeep", "tlast", "tuser")
        self._payload = [domain.reader(f"results_{name}") for name in names]
        self._handshakes = {
            name: [domain.reader(f"{name}_{part}") for part in ("tvalid", "tready")]
            for name in ("weights", "results")
        }
        self._held: list[int] | None = None
        domain.add(self)

    def step(self) -> None:
        valid, ready = (read() for read in self._handshakes["results"])
        now = [read() for read in self._payload] if valid else None
        assert self._held is None or now == self._held, f"results changed in cycle {self.domain.cycle}"
        self._held = None if ready else now
        if valid and ready:
            self.last_result = self.domain.cycle
        if not self.first_word and all(read() for read in self._handshakes["weights"]):
            self.first_word = self.domain.cycle

    def restart(self) -> None:
        self._held, self.first_word, self.last_result = None, 0, 0

    def status(self) -> str:
        return f"results: last in cycle {self.last_result}" + ", one waits" * (self._held is not None)


class Bench:
    """The buses of an accelerator."""

    def __init__(self, domain: Domain, stalls: str = "none") -> None:
        dut = domain.dut

        def stream(kind: type, name: str) -> Any:
            return kind(AxiStreamBus.from_prefix(dut, name), dut.clk, dut.rst)

        self.domain, self.rules = domain, Rules(domain)
        self.weights = stream(AxiStreamSource, "weights")
        self.activations = stream(AxiStreamSource, "activations")
        self.results = stream(AxiStreamSink, "results")
        self.control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control"), dut.clk, dut.rst)
        ends = (self.weights, self.activations, self.results)
        for end, density in zip(ends, STALLS[stalls], strict=True):
            end.log.setLevel(logging.WARNING)  # a line for each frame otherwise
            if density:
                end.set_pause_generator(pauses(density))

    async def read(self, name: str) -> int:
        """A register."""
        return int.from_bytes((await self.control.read(OFFSETS[name], 4)).data, "little")

    async def set_control(self, activations: str, clear: bool = True) -> None:
        """Choose the format of the next vectors, and clear counters and flags."""
        value = ACTIVATIONS.index(activations) + 2 * clear
        await self.control.write(OFFSETS["CONTROL"], value.to_bytes(4, "little"))

    def send(self, story: Story) -> None:
        """Queue everything."""
        for packet in story.packets:
            self.weights.send_nowait(AxiStreamFrame(packet))
        for vector in story.vectors:
            self.activations.send_nowait(vector)

    async def load_table(self, values: Sequence[int]) -> None:
        """Values of the programmable table; no values, no table."""
        if values:
            dut = self.domain.dut
            source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "table"), dut.clk, dut.rst)
            source.log.setLevel(logging.WARNING)
            await source.send(AxiStreamFrame(bytes(value % 256 for value in values)))
            await source.wait()

    async def reset(self) -> None:
        """Reset the design and forget what was queued, and results that came in the reset's own cycle."""
        await self.domain.reset()
        for end in (self.weights, self.activations, self.results):
            end.clear()

    async def play(self, story: Story, spacing: str = SPACINGS[0]) -> None:
        """Send everything, compare the results, then the counters and flags."""
        await self.set_control(story.activations)
        self.send(story)
        for number, (rows, marks) in enumerate(story.results):
            frame = await self.results.recv(compact=False)
            got = bytes(byte for byte, kept in zip(frame.tdata, frame.tkeep, strict=True) if kept)
            assert got == rows, f"results of packet {number}: {got.hex()}, expected {rows.hex()}"
            marked = [mark for mark, kept in zip(frame.tuser, frame.tkeep, strict=True) if kept]
            assert marked == marks, f"marks of packet {number}: {marked}, expected {marks}"
        while not (self.weights.idle() and self.activations.idle()):
            await self.domain.cycles(8)
        await self.domain.cycles(64)
        left = self.results.count(), self.results.idle()
        assert left == (0, True), "results that nobody expects"
        got = {name: await self.read(name) for name in COUNTERS}
        assert got == {name: story.counts[name] for name in COUNTERS}, (got, story.counts)
        assert await self.read("STATUS") == story.status
        flags = {name: story.status & bit for name, bit in FLAGS.items()}
        errors.reported({name: got[name] for name in COUNTERS if name in errors.names} | flags, spacing)


def cover(story: Story) -> None:
    """Count the types of a story that came true."""
    for name in story.types:
        coverage.hit(type=name, activations=story.activations)


@cocotb.test()
@cocotb.parametrize(activations=ACTIVATIONS)
async def every_type(dut: Any, activations: str) -> None:
    """Packets of all types back to back, of any shape and output format."""
    bench = Bench(await reset(dut, cycle_limit=200_000))
    names = list(config.types if THOROUGH else random.sample(config.types, 2))
    random.shuffle(names)
    story = Story(config, activations)
    for name in names:
        outputs, inputs = story.size()
        story.product(story.matrix(outputs, inputs, name), story.numbers(inputs), random.choice(OUTPUTS))
    await bench.play(story)
    cover(story)


@cocotb.test()
@cocotb.parametrize(stalls=tuple(STALLS))
async def faults(dut: Any, stalls: str) -> None:
    """Whatever is wrong with a packet or a vector, those behind it are right, and the counters tell."""
    bench = Bench(await reset(dut, cycle_limit=400_000), stalls)
    for activations in ACTIVATIONS if THOROUGH else ACTIVATIONS[:1]:
        story, told = Story(config, activations), list(FAULTS)
        if config.maximum_inputs > 1024 or not THOROUGH:
            told.remove("long_vector")
        random.shuffle(told)
        for fault in told:
            story.tell(fault)
            story.intact(keep=random.randint(0, 1))
        await bench.play(story)
        cover(story)
        for fault in told:
            coverage_faults.hit(fault=fault, stalls=stalls)


@cocotb.test()
async def faults_apart(dut: Any) -> None:
    """Something bad with nothing behind it, until all is quiet: what comes then is right."""
    bench = Bench(await reset(dut, cycle_limit=400_000))
    for fault in FAULTS[2:]:  # the others are none
        story = Story(config)
        story.tell(fault)
        await bench.play(story, "apart")
        story = Story(config)
        story.intact()
        await bench.play(story)


@cocotb.test()
async def flags(dut: Any) -> None:
    """Overflow and special numbers each set their flag, and the other one stays."""
    bench = Bench(await reset(dut))
    for name in FLAGS:
        status = 0
        while status != FLAGS[name]:  # random numbers seldom do not go beyond the format
            story = Story(config)
            getattr(story, name)()
            status = story.status
        await bench.play(story)


@cocotb.test()
async def shared_vector(dut: Any) -> None:
    """Query, key and value of an attention layer: three packets, one vector."""
    bench = Bench(await reset(dut))
    story = Story(config)
    for _ in range(2):
        story.intact(keep=2)
    await bench.play(story)


@cocotb.test()
async def format_of_a_vector(dut: Any) -> None:
    """A vector has the format that CONTROL held when its first beat was taken."""
    domain = await reset(dut)
    bench, story = Bench(domain), Story(config)
    inputs = 2 * config.group
    q, bits = story.matrix(config.rows, inputs), story.numbers(inputs)
    story.product(q, bits, "fp32")
    bench.activations.send_nowait(story.vectors.pop())
    while not (dut.activations_tvalid.value and dut.activations_tready.value):
        await RisingEdge(dut.clk)
    bench.activations.pause = True
    await domain.cycles(3)
    await bench.set_control("bf16")
    bench.activations.pause = False
    await domain.cycles(2 * config.group // config.activation_lanes + 8)
    await bench.play(story)


@cocotb.test()
async def reset_in_a_product(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    domain = await reset(dut, cycle_limit=200_000)
    bench = Bench(domain)
    for _ in range(4 if THOROUGH else 1):
        story = Story(config)
        story.intact(keep=1)
        bench.send(story)
        await domain.cycles(random.randint(5, 200))
        await bench.reset()
        story = Story(config)
        story.intact()
        await bench.play(story)


async def measured(bench: Bench, dtype: str, blocks: int, packets: int = 1) -> tuple[int, int]:
    """Cycles from the first word to the last result of packets that share a vector, and words of each."""
    story, inputs = Story(config), 4 * config.group
    weights = np.random.default_rng(1).standard_normal((blocks * config.rows, inputs))
    q, bits = quantize(weights, dtype, config.group), story.vector(story.numbers(inputs), config.group)
    for left in reversed(range(packets)):
        story.packets.append(story.pack(q, "fp16", left > 0))
        story.expect(q, bits, "fp16")
    bench.activations.send_nowait(story.vectors.pop())
    await bench.domain.cycles(2 * inputs // config.activation_lanes + 8)
    bench.rules.restart()
    await bench.play(story)
    words = len(story.packets[0]) * 8 // config.memory_bits
    return bench.rules.last_result - bench.rules.first_word + 1, words


def terms_of(dtype: str) -> int:
    """Terms of a data type."""
    return next(entry.term_count for entry in config.datatypes if entry.name == dtype)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """A product takes its formula's cycles, and few more for the packet's header and the pipelines."""
    bench = Bench(await reset(dut))
    blocks, inputs = 4, 4 * config.group
    for dtype in ("bitmod4", "bitmod3"):
        taken, words = await measured(bench, dtype, blocks)
        formula = product_cycles(config, blocks, inputs, terms_of(dtype))
        head = 4 + -(-HEADER_BITS // config.memory_bits) + bits_for(config.chunks)
        shape = f"{blocks * config.rows} x {inputs} {dtype}"
        dut._log.info(
            f"cycles of {shape}: {taken}, in the array {formula}, fill {fill_latency(config)}, "
            f"CYCLES {await bench.read('CYCLES')}, {words} words"
        )
        bound = max(formula, words) + fill_latency(config) + head + 3 * blocks
        assert formula < taken <= bound, (dtype, taken, bound)


@cocotb.test()
async def steady_rate(dut: Any) -> None:
    """Where the array has more to do than the unpacker, every row block takes its groups' cycles.

    Reading the fields between two blocks may cost a cycle more. Every packet takes as long as the one before.
    """
    bench = Bench(await reset(dut))
    dtype, inputs = "e3m2", 4 * config.group
    few, many = [await measured(bench, dtype, blocks) for blocks in (3, 7)]
    wanted = product_cycles(config, 4, inputs, terms_of(dtype))
    assert wanted <= many[0] - few[0] <= wanted + 4, (few, many, wanted)
    two, four = [await measured(bench, dtype, 3, packets) for packets in (2, 4)]
    dut._log.info(f"cycles {few} {many} {two} {four} {wanted}")
    assert four[0] - two[0] == 2 * (two[0] - few[0]), (few, two, four)
    for over in ("row blocks", "packets"):
        coverage_rate.hit(over=over)


@cocotb.test(skip=not LAYERS)
async def layers(dut: Any) -> None:
    """Cycles from the first word to the last result of each layer from outside."""
    domain = await reset(dut, cycle_limit=2_000_000)
    bench = Bench(domain)
    for outputs, inputs, dtype, scale, offset, group in LAYERS:
        story = Story(config)
        q = random_weights(config, dtype, scale, outputs, inputs, group, offset)
        story.product(q, story.numbers(inputs), "fp16")
        bench.activations.send_nowait(story.vectors.pop())
        await domain.cycles(2 * inputs // config.activation_lanes + 16)
        bench.rules.restart()
        await bench.play(story)
        taken = bench.rules.last_result - bench.rules.first_word + 1
        dut._log.info(f"layer {outputs} {inputs} {dtype} {scale} {int(offset)} {group}: {taken} cycles")


@cocotb.test(skip=not GIVEN)
async def given(dut: Any) -> None:
    """Packets, vectors and bit patterns of results from outside."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000))
    await bench.load_table(TABLE)
    story = Story(config)
    for product in GIVEN:
        packet = bytes.fromhex(product["packet"])
        story.packets.append(packet)
        if product["vector"]:
            story.vector(np.array(product["vector"], np.uint16), product.get("group", config.group))
        values = np.array(product["results"], "<u4")
        story.results.append((values.T.tobytes(), [0] * (4 * values.size)))
        story.counts["PACKETS"] += 1
    await bench.play(story)
