"""Page writer: float16 pages, random ones and given ones of real models, to golden bytes."""

import random
from typing import Any

import cocotb
import numpy as np

from golden.kv.formats import Format
from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import element_beat, page_format, word
from hw.kv.quantiser import FLAGS
from sim import context
from sim.benches.kv.pages import KINDS, elements_of, form_fields, random_elements, random_layout, words_of
from sim.pulses import PulseCounter
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
GIVEN: list[dict[str, Any]] = context.parameters().get("given", [])
WIDTH = config.kv.word_bits


class Bench:
    """The writer with its streams, and counters of its flags."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        self.board = Scoreboard("words", word(WIDTH))
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.elements = StreamSource(domain, "elements", element_beat(config), where.source)
        self.sink = StreamSink(domain, "words", word(WIDTH), where.sink, where.sink_waits, self.board.observe)
        self.flags = PulseCounter(domain, FLAGS)
        self.wanted = 0

    def send(self, layout: PageLayout, x: np.ndarray) -> None:
        """A page that becomes what golden says of it."""
        self.formats.send(form_fields(layout))
        self.elements.send_all(elements_of(x, config.kv.lanes))
        words = words_of(layout.pack(layout.format.quantize(x)), WIDTH)
        self.board.expect_all(
            {"data": data, "last": number == len(words) - 1} for number, data in enumerate(words)
        )
        self.wanted += len(words)

    async def finish(self) -> None:
        """Wait for every expected word, see that no other comes and no flag rose."""
        await self.sink.wait_for(self.wanted)
        await self.domain.cycles(30)
        self.board.finish()
        self.flags.expect({})


async def start(dut: Any, stalls: str = "free_running") -> Bench:
    domain = await reset(dut, cycle_limit=20_000_000)
    return Bench(domain, stalls)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_page(dut: Any, stalls: str) -> None:
    """Pages of random formats and elements of every kind."""
    bench = await start(dut, stalls)
    for _ in range(COUNT):
        layout = random_layout(config)
        bench.send(layout, random_elements(layout, random.choice(tuple(KINDS))))
    await bench.finish()


@cocotb.test(skip=not GIVEN)
async def given_pages(dut: Any) -> None:
    """Pages that a model wrote."""
    bench = await start(dut)
    for page in GIVEN:
        x = np.array(page["elements"], np.uint16).view(np.float16)
        form = Format(**page["format"])
        bench.send(PageLayout(form, page["side"], *x.shape, config.rows, config.lanes), x)
    await bench.finish()
