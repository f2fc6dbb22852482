"""Half reader: the float16 elements of packed pages, damaged ones among them."""

import random
from typing import Any

import cocotb

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.page_reader import ERRORS
from hw.kv.payloads import page_format, value_beat, word
from sim import context
from sim.benches.kv.decoded_pages import values_of
from sim.benches.kv.pages import FORMATS, KINDS, form_fields, random_elements, random_layout, words_of
from sim.pulses import PulseCounter
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, Domain, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
COUNT: int = context.parameters()["pages"]
WIDTH = config.kv.word_bits


class Bench:
    """The half reader with its streams and counters of its errors."""

    def __init__(self, domain: Domain, stalls: str) -> None:
        where = situation(stalls)
        self.domain = domain
        shape = value_beat(config)
        self.board = Scoreboard("elements", shape)
        self.formats = StreamSource(domain, "formats", page_format(config), where.source)
        self.words = StreamSource(domain, "words", word(WIDTH), where.source)
        self.sink = StreamSink(domain, "elements", shape, where.sink, where.sink_waits, self.board.observe)
        self.errors = PulseCounter(domain, ERRORS)
        self.wanted = 0

    def send(self, layout: PageLayout, kind: str, extra: int = 0) -> None:
        """A page of elements of a kind, with ``extra`` words too many or, if negative, too few."""
        page = layout.pack(layout.format.quantize(random_elements(layout, kind)))
        words = words_of(page, WIDTH)
        if extra < 0:
            words = words[:extra]
            page[len(words) * WIDTH // 8 :] = 0
        words += [random.getrandbits(WIDTH) for _ in range(extra)]
        self.formats.send(form_fields(layout))
        last = len(words) - 1
        self.words.send_all({"data": data, "last": number == last} for number, data in enumerate(words))
        values = values_of(layout, layout.unpack(page), config.kv.lanes, extra != 0)
        self.board.expect_all(values)
        self.wanted += len(values)

    async def finish(self, **errors: int) -> None:
        """Wait for every expected beat, see that no other comes, and compare the errors."""
        await self.sink.wait_for(self.wanted)
        await self.words.drained()
        await self.domain.cycles(30)
        self.board.finish()
        self.errors.expect(errors)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def any_page(dut: Any, stalls: str) -> None:
    """Every format, short and long pages in between."""
    bench = Bench(await reset(dut, cycle_limit=2_000_000), stalls)
    for number in range(COUNT):
        rule, bits = FORMATS[number % len(FORMATS)]
        bench.send(random_layout(config, rule, bits), random.choice(tuple(KINDS)))
        bench.send(random_layout(config), "normal", (-1, 2)[number % 2])
    await bench.finish(error_short=-(-COUNT // 2), error_long=COUNT // 2)
