"""Vector unit: after every command the whole scratch memory equal to golden's, bit for bit."""

import random
from typing import Any

import cocotb
import numpy as np

from golden import vector
from golden.core.commands import Opcode
from hw.config import Config
from hw.vector.payloads import Status, done, operands
from sim import context
from sim.benches.vector.scratch import ScratchMemory
from sim.coverage import Coverage
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

CONFIG = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["commands"]
LANES, SIZE = CONFIG.core.lanes, CONFIG.core.scratch
SHAPE = operands(Opcode.VECTOR)
ALL_FIELDS = tuple(name for name, _ in SHAPE)
NAMES = vector.FUNCTIONS
coverage = Coverage(
    "vector",
    {"function": NAMES, "numbers": ("usual", "any"), "place": ("in_place", "apart")},
    lambda function, numbers, place: function == "arg_max" and place == "in_place",
)
coverage_refused = Coverage("vector_refused", {"function": (*NAMES, "none")})


class Bench:
    """The unit with its memory and streams."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.memory = ScratchMemory(domain, LANES, SIZE)
        self.commands = StreamSource(domain, "commands", SHAPE, where.source)
        self.done = StreamSink(domain, "done", done, where.sink, where.sink_waits)
        self.largest = domain.reader("largest")

    async def run(self, fields: dict[str, int]) -> int:
        """Do a command, compare, and give the cycles that it took."""
        wanted = self.memory.elements.copy()
        fits, index = vector.fits(fields, SIZE), None
        if fits:
            index = vector.apply(wanted, fields)
        begin = self.domain.cycle
        self.commands.send(dict.fromkeys(ALL_FIELDS, 0) | fields | {"opcode": Opcode.VECTOR})
        (answer,) = await self.done.receive(1)
        cycles = self.domain.cycle - begin
        await self.domain.cycles(3)
        assert answer == {"status": Status.DONE if fits else Status.BAD_FIELD, "bytes": 0}, (answer, fields)
        found = self.memory.elements.view(np.uint32)
        wrong = np.flatnonzero(found != wanted.view(np.uint32))
        assert len(wrong) == 0, (
            f"{NAMES[fields['function']]} {fields}: {len(wrong)} wrong, element {wrong[0]} is "
            f"{found[wrong[0]]:08x}, not {wanted.view(np.uint32)[wrong[0]]:08x}"
        )
        if index is not None:
            assert self.largest() == index, (self.largest(), index)
        return cycles


def usual(count: int) -> np.ndarray:
    """As in a model."""
    return np.float32(
        np.random.default_rng(random.getrandbits(32)).normal(0, random.choice((0.01, 1, 20)), count)
    )


def anything(count: int) -> np.ndarray:
    """Every pattern, with many NaN, infinities, zeros and subnormals."""
    rng = np.random.default_rng(random.getrandbits(32))
    bits = rng.integers(0, 1 << 32, count, np.uint32)
    fields = rng.choice([0, 1, 64, 120, 127, 133, 134, 190, 254, 255], count).astype(np.uint32) << 23
    bits = np.where(rng.random(count) < 0.5, bits & 0x807FFFFF | fields, bits)
    few = rng.choice([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x3F800000], count)
    return np.where(rng.random(count) < 0.1, few, bits).astype(np.uint32).view(np.float32)


def random_command(function: int) -> dict[str, int]:
    """One that fits: regions apart, or the results in the place of the source."""
    name = NAMES[function]
    longest = min(SIZE // 3 // 16, 12)
    segments = name in ("norm", "rotary")
    units = random.randint(1, longest)
    count = random.randint(1, longest // units) if segments else 1
    elements = 16 * units * count
    second = 16 * units if segments else elements
    regions = [elements, second, elements]
    order = [0, 1, 2]
    random.shuffle(order)
    begins, at = [0, 0, 0], 16 * random.randint(0, (SIZE - sum(regions)) // 16)
    for region in order:
        begins[region] = at
        at += regions[region]
    fields = dict(zip(("source", "operand", "destination"), begins, strict=True))
    if random.random() < 0.5 and name != "arg_max":
        fields["destination"] = fields["source"]
    scalars = {
        "epsilon": random.choice((0x3727C5AC, 0, random.getrandbits(32))),
        "reciprocal": int(np.float32(1 / (16 * units)).view(np.uint32)),
    }
    return fields | scalars | {"function": function, "elements": elements, "segment": 16 * units}


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_command(dut: Any, stalls: str) -> None:
    """Commands of every function on any numbers."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    for number in range(COUNT):
        function = number % len(NAMES)
        kind = random.choice((usual, anything))
        bench.memory.elements[:] = kind(SIZE)
        fields = random_command(function)
        await bench.run(fields)
        place = "in_place" if fields["source"] == fields["destination"] else "apart"
        coverage.hit(function=NAMES[function], numbers=kind.__name__.replace("anything", "any"), place=place)


@cocotb.test()
async def refused(dut: Any) -> None:
    """Commands that do not fit, and those that just do."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    bench.memory.elements[:] = usual(SIZE)
    most = (1 << 16) - 16
    places = (0, 8, 32, SIZE - 48, SIZE - 32, SIZE, most)
    for function in range(len(NAMES) + 1):
        good = {"function": function, "elements": 48, "segment": 16, "source": 0, "operand": 64}
        good |= {"destination": 128, "epsilon": 0, "reciprocal": 0}
        changes = [{name: place} for name in ("source", "operand", "destination") for place in places]
        changes.remove({"destination": 32})  # overlaps both
        changes += [{name: length} for name in ("elements", "segment") for length in (0, 15, 32, 64, most)]
        for change in changes:
            fields = good | change
            await bench.run(fields)
            if not vector.fits(fields, SIZE):
                coverage_refused.hit(function="none" if function == len(NAMES) else NAMES[function])
    for function in (len(NAMES), 128, 255):
        await bench.run(random_command(0) | {"function": function})


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """After a reset anywhere a command is right, and nothing of the one before is written."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    for number in range(2 * len(NAMES)):
        bench.memory.elements[:] = usual(SIZE)
        bench.commands.send(dict.fromkeys(ALL_FIELDS, 0) | random_command(number % len(NAMES)))
        await bench.domain.cycles(random.randint(1, 200))
        await bench.domain.reset()
        bench.memory.elements[:] = usual(SIZE)
        await bench.run(random_command(random.randrange(len(NAMES))))


SEGMENT_CYCLES = {1: 231, 2: 171, 4: 141}
"""Of a norm's segment, by lanes, beside those of its words."""
PACES = {"copy": 1, "add": 2, "multiply": 2, "norm": 3, "rotary": 2, "silu_multiply": 4, "arg_max": 1}
coverage_rate = Coverage("vector_rate", {"function": NAMES})


@cocotb.test()
async def pace(dut: Any) -> None:
    """Cycles of a command, as documented: so many a word, and the same whatever its length besides."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), "free_running")
    third = SIZE // 3 // 32 * 32
    bench.memory.elements[:] = usual(SIZE)
    for function, name in enumerate(NAMES):
        spent = []
        for elements in (64, 192):
            fields = {"function": function, "source": 0, "operand": third, "destination": 2 * third}
            segment = 16 if name == "rotary" else elements
            fields |= {"elements": elements, "segment": segment, "epsilon": 0, "reciprocal": 0}
            spent.append(await bench.run(fields))
        checked = 8 if name == "rotary" else 0
        assert spent[1] - spent[0] == PACES[name] * 128 // LANES + checked, (name, spent)
        coverage_rate.hit(function=name)
    fields = {"function": NAMES.index("norm"), "source": 0, "operand": third, "destination": 0}
    fields |= {"elements": 192, "epsilon": 0, "reciprocal": 0}
    whole, thirds = [await bench.run(fields | {"segment": segment}) for segment in (192, 64)]
    checked = 2
    assert thirds - whole == 2 * SEGMENT_CYCLES[LANES] + checked, (whole, thirds)
