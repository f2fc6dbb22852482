"""Token writer and page closer on one memory: several sequences, layers and heads, in any order."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from hw.config import Config, KvConfig, preset
from hw.kv.page_closer import PageCloser
from hw.kv.token_writer import TokenWriter
from sim import runner

STREAMS = {TokenWriter: ("tokens", "elements", "writes"), PageCloser: ("formats", "copies", "words")}
LONGER = Config(kv=KvConfig(lanes=4, channels=96), memory_bits=128, rows=8, lanes=16)


class Window(wiring.Component):
    """Both with their streams, as a core would have them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.parts = {kind: kind(config) for kind in STREAMS}
        members = {
            name: part.signature.members[name] for kind, part in self.parts.items() for name in STREAMS[kind]
        }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for kind, part in self.parts.items():
            m.submodules[kind.__name__] = part
            for name in STREAMS[kind]:
                connect(m, flipped(getattr(self, name)), getattr(part, name))
        return m


@pytest.mark.parametrize(
    ("config", "simulator", "owners", "tokens"),
    [
        pytest.param(preset("tiny"), "verilator", 9, 100, id="tiny-verilator"),
        pytest.param(preset("tiny"), "icarus", 2, 33, id="tiny-icarus"),
        pytest.param(LONGER, "verilator", 9, 70, id="longer", marks=pytest.mark.long),
    ],
    indirect=["simulator"],
)
def test_any_order(config: Config, simulator: str, owners: int, tokens: int) -> None:
    parameters = {"config": config.model_dump(), "owners": owners, "tokens": tokens}
    runner.run(Window(config), "sim.benches.kv.window", simulator, parameters)
