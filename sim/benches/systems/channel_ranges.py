"""Channel ranges, selector and channel split: masks and both parts of every token equal to golden."""

import random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.kv.magnitudes import LARGEST
from golden.systems.vidkv import ranges
from hw.config import Config
from hw.kv.payloads import SHORTEST_GROUP, element_beat
from hw.selection.payloads import found_tokens
from hw.systems.payloads import channel_element, head_channels, ranges_request
from sim import context
from sim.benches.systems.channel_keys import KINDS, random_keys
from sim.coverage import Coverage
from sim.errors import ErrorCounter, ErrorPlan
from sim.spacing import SPACINGS, every_pair, send_spaced
from sim.streams import SITUATIONS, Domain, Scoreboard, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["masks"]
LANES = config.kv.lanes
MOST = config.kv.channels // SHORTEST_GROUP

AMOUNTS = ("none", "one", "half", "all", "beyond")
FAULTS = ("none", "clamped", "format", "short", "split_format", "split_short")
coverage = Coverage("channel_ranges", {"keys": KINDS, "anomalous": AMOUNTS})
coverage_rate = Coverage("channel_ranges_rate", {"part": ("keys", "elements")})
coverage_stalls = Coverage("channel_ranges_stalls", {"situation": SITUATIONS})
errors = ErrorPlan("channel_ranges")
split_rate = Coverage("channel_split_rate", {"part": ("elements",)})
split_errors = ErrorPlan("channel_split", ("error_format", "error_short"))
OUTPUTS = {"found": found_tokens, "anomalous": channel_element, "normal": channel_element}

Keys = NDArray[np.float16]


class Bench:
    """The circuits with their streams; cycles in which elements are taken are noted."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.errors = ErrorCounter(domain, errors)
        self.times: dict[str, list[int]] = {"keys": [], "elements": []}
        shapes = {
            "requests": ranges_request(config),
            "keys": element_beat(config),
            "channels": head_channels(config),
            "elements": channel_element,
        }
        self.sources = {
            name: StreamSource(domain, name, shape, where.source, self.note(name))
            for name, shape in shapes.items()
        }
        self.boards = boards()
        self.sinks = {
            name: StreamSink(domain, name, shape, where.sink, where.sink_waits, self.observe(name))
            for name, shape in OUTPUTS.items()
        }
        self.wanted = dict.fromkeys(OUTPUTS, 0)

    def note(self, name: str) -> Any:
        times = self.times.get(name, [])
        return lambda _: times.append(self.domain.cycle)

    def observe(self, name: str) -> Any:
        return lambda bits: self.boards[name].observe(bits)

    def expect(self, name: str, values: list[dict[str, Any]]) -> None:
        self.boards[name].expect_all(values)
        self.wanted[name] += len(values)

    def send(self, keys: Keys, amount: int, fault: str = "none") -> None:
        """Keys, and their first tokens to be split by the mask of all of them."""
        channels = keys.shape[-1]
        units = 0 if fault == "format" else channels // SHORTEST_GROUP
        self.sources["requests"].send({"channels": units, "anomalous": amount})
        bits = keys.view(np.uint16).reshape(-1, LANES)
        if fault == "clamped":
            bits, keys = with_special(bits, keys)
        sent = bits[:-1] if fault == "short" else bits
        self.sources["keys"].send_all(
            {"elements": beat.tolist(), "last": number == len(sent) - 1} for number, beat in enumerate(sent)
        )
        if fault in ("format", "short"):
            return
        mask = ranges.hardware_mask(keys, amount)
        chosen = np.flatnonzero(mask)
        self.expect(
            "found", [{"count": len(chosen), "first": int(chosen[0]) if len(chosen) else 0, "error": 0}]
        )
        self.split(keys.reshape(-1, channels)[: random.randint(1, 3)], mask, fault)

    def split(self, tokens: Keys, mask: NDArray[np.bool_], fault: str) -> None:
        """Tokens by a mask that is on its way."""
        units = MOST + 1 if fault == "split_format" else len(mask) // SHORTEST_GROUP
        elements = tokens.view(np.uint16).ravel()
        if fault == "split_short":
            elements = elements[: -random.randint(1, len(mask) - 1)]
        self.sources["channels"].send(units)
        self.sources["elements"].send_all(
            {"element": int(half), "last": number == len(elements) - 1}
            for number, half in enumerate(elements)
        )
        if fault == "split_format":
            return
        channels = np.arange(len(elements)) % len(mask)
        for name, wanted in (("anomalous", mask), ("normal", ~mask)):
            final = np.flatnonzero(wanted)[-1:]
            self.expect(
                name,
                [
                    {"element": int(half), "last": bool(channel in final)}
                    for half, channel in zip(elements, channels, strict=True)
                    if wanted[channel]
                ],
            )

    async def reset(self) -> None:
        await self.domain.reset()
        self.boards = boards()
        self.wanted = {name: sink.count for name, sink in self.sinks.items()}

    async def finish(self) -> None:
        """Wait for everything, and see that nothing else comes."""
        for name, sink in self.sinks.items():
            await sink.wait_for(self.wanted[name])
        for source in self.sources.values():
            await source.drained()
        await self.domain.cycles(20)
        for board in self.boards.values():
            board.finish()


def boards() -> dict[str, Scoreboard]:
    return {name: Scoreboard(name, shape) for name, shape in OUTPUTS.items()}


def with_special(bits: NDArray[np.uint16], keys: Keys) -> tuple[NDArray[np.uint16], Keys]:
    """Beats with an infinity or a NaN in them, and what it counts as."""
    bits, keys = bits.copy(), keys.copy()
    place = random.randrange(bits.size)
    bits.flat[place] = random.choice((0x7C00, 0xFC00, 0x7E01, 0xFFFF))
    keys.flat[place] = -LARGEST if bits.flat[place] >> 15 else LARGEST
    return bits, keys


def some_keys(kind: str, amount: str) -> tuple[Keys, int]:
    """Keys of a kind, and how many channels are wanted."""
    coverage.hit(keys=kind, anomalous=amount)
    channels = SHORTEST_GROUP * random.randint(1, MOST)
    keys = random_keys(kind, random.randint(1, 2), random.randint(1, 6), channels)
    most = (2 << (config.kv.channels.bit_length() - 1)) - 1
    amounts = {"none": 0, "one": 1, "half": channels // 2, "all": channels, "beyond": most}
    return keys, amounts[amount]


def any_keys() -> tuple[Keys, int]:
    return some_keys(random.choice(KINDS), random.choice(AMOUNTS))


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    return Bench(await reset(dut, cycle_limit=1_000_000), stalls)


@cocotb.test()
@cocotb.parametrize(kind=KINDS)
async def every_kind(dut: Any, kind: str) -> None:
    bench = await start(dut)
    for _ in range(COUNT):
        for amount in AMOUNTS:
            bench.send(*some_keys(kind, amount))
    await bench.finish()
    bench.errors.expect({})


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def stalls_on_every_port(dut: Any, stalls: str) -> None:
    bench = await start(dut, stalls)
    for _ in range(2):
        bench.send(*any_keys())
    coverage_stalls.hit(situation=stalls)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(spacing=SPACINGS)
async def bad_keys(dut: Any, spacing: str) -> None:
    """What is left out changes nothing of what comes before or after it."""
    bench = await start(dut)
    faults = every_pair(FAULTS)
    acts = [lambda fault=fault: bench.send(*any_keys(), fault) for fault in faults]
    await send_spaced(bench.domain, bench.sources.values(), acts, spacing)
    await bench.finish()
    counts = {f"error_{fault}": faults.count(fault) for fault in FAULTS[2:]}
    bench.errors.expect({**counts, "clamped": faults.count("clamped")}, spacing)
    split_errors.reported(
        {name: counts[name.replace("_", "_split_")] for name in split_errors.names}, spacing
    )


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """A reset anywhere leaves nothing behind."""
    bench = await start(dut, "both_random")
    for _ in range(4):
        bench.send(*any_keys())
        bench.send(*any_keys())
        await bench.domain.cycles(random.randint(1, 1500))
        await bench.reset()
        bench.send(*any_keys())
        await bench.finish()


@cocotb.test()
async def full_throughput(dut: Any) -> None:
    """A beat of keys a cycle and an element a cycle."""
    bench = await start(dut)
    keys = random_keys("loud", 2, 5, config.kv.channels)
    bench.send(keys, config.kv.channels // 2)
    await bench.finish()
    for name, times in bench.times.items():
        assert times[-1] - times[0] == len(times) - 1, name
        coverage_rate.hit(part=name)
    split_rate.hit(part="elements")
