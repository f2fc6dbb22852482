"""Half reader with BitMoD's data types: the float16 elements of their pages, among pages of other rules."""

import itertools
import random
from typing import Any

import cocotb

from golden.kv.pages import PageLayout
from hw.config import Config
from hw.kv.payloads import page_format, value_beat, word
from sim import context
from sim.benches.kv.bitmod_pages import TYPES, bitmod_layout
from sim.benches.kv.decoded_pages import values_of
from sim.benches.kv.pages import FORMATS, KINDS, PLACES, page_fields, random_elements, random_layout, words_of
from sim.coverage import Coverage
from sim.scoreboard import Scoreboard
from sim.streams import SITUATIONS, StreamSink, StreamSource, reset, situation

config = Config.model_validate(context.parameters()["config"])
WIDTH = config.memory_bits
LANES = config.kv.lanes

coverage = Coverage(
    "kv_bitmod_reader", {"type": TYPES, "side": ("key", "value"), "axis": ("token", "channel")}
)


@cocotb.test()
@cocotb.parametrize(stalls=SITUATIONS)
async def every_place(dut: Any, stalls: str) -> None:
    """Both types, sides and axes, elements of every kind."""
    domain = await reset(dut, cycle_limit=2_000_000)
    where, shape = situation(stalls), value_beat(config)
    board = Scoreboard("elements", shape)
    formats = StreamSource(domain, "formats", page_format(config), where.source)
    words = StreamSource(domain, "words", word(WIDTH), where.source)
    sink = StreamSink(domain, "elements", shape, where.sink, where.sink_waits, board.observe)
    wanted = 0

    def send(layout: PageLayout) -> int:
        page = layout.pack(layout.format.quantize(random_elements(layout, random.choice(tuple(KINDS)))))
        own = words_of(page, WIDTH)
        formats.send(page_fields(config, layout))
        words.send_all({"data": data, "last": place == len(own) - 1} for place, data in enumerate(own))
        values = values_of(layout, layout.unpack(page), LANES, False)
        board.expect_all(values)
        return len(values)

    for name, place in itertools.product(TYPES, PLACES):
        layout = bitmod_layout(config, name, place)
        wanted += send(layout)
        coverage.hit(type=name, side=layout.side, axis=layout.format.axis)
        wanted += send(random_layout(config, *random.choice(FORMATS), short=True))
    await sink.wait_for(wanted)
    await words.drained()
    await domain.cycles(30)
    board.finish()
