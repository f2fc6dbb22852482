"""What the benches plan: every error output of a block is to rise, and its rate to be held.

The end of a session checks the plans themselves: it fails where a bin stayed empty.
"""

import functools
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from amaranth.hdl._ir import PortDirection

from hw import blocks, verilog
from hw.accelerator import Accelerator
from hw.bus import registers
from hw.config import preset
from sim import context, errors
from sim.coverage import Coverage
from sim.spacing import SPACINGS

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = preset("tiny")
SHARED = {
    "hw.kv.lane_packer": "hw.kv.packer",
    "hw.systems.channel_split": "hw.systems.channel_ranges",
}
"""Components whose bench is another one's."""


@functools.cache
def ports_of(block: str) -> dict[str, context.Port]:
    """Ports of a block as a bench sees them."""
    component = blocks.get(block)(CONFIG)
    component._MustUse__used = True  # nothing but its ports is of interest
    flat = verilog.ports(component)
    return {name: context.Port(len(value), way == PortDirection.Input) for name, (value, way) in flat.items()}


def benches_of(block: str) -> list[str]:
    """Modules with the benches of a block: the one of its name, and those whose names go on from there."""
    module = blocks.get(block).__module__
    path = Path(*SHARED.get(module, module).replace("hw.", "sim.benches.", 1).split("."))
    found = sorted(REPOSITORY.glob(f"{path}.py")) + sorted(REPOSITORY.glob(f"{path}_*.py"))
    return [".".join(each.relative_to(REPOSITORY).with_suffix("").parts) for each in found]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, Coverage]:
    """The coverage plans that a block's benches declare, by name."""
    block = request.getfixturevalue("block")
    found: dict[str, Coverage] = {}
    declare = Coverage.__init__

    def note(plan: Coverage, name: str, *rest: object, **more: object) -> None:
        declare(plan, name, *rest, **more)
        found[name] = plan

    parameters = defaultdict(lambda: 1, config=CONFIG.model_dump())
    parameters["lanes"] = CONFIG.memory_bits if block == "kv_packer" else CONFIG.kv.lanes
    ports = ports_of(block)
    monkeypatch.setattr(Coverage, "__init__", note)
    monkeypatch.setattr(context, "parameters", lambda: parameters)
    monkeypatch.setattr(context, "ports", lambda: ports)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("sim.benches.")}
    for module in benches_of(block):
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.startswith("sim.benches.")]:
        del sys.modules[name]
    sys.modules.update(before)
    return found


def error_names(block: str) -> tuple[str, ...]:
    """What a block reports: its error outputs, and of the accelerator what its registers count and keep."""
    if blocks.get(block) is not Accelerator:
        return errors.outputs(ports_of(block))
    counted = [register.name for register in registers.TABLE if register.name.startswith("ERROR_")]
    return (*counted, *(field.name for field in sticky_fields()))


def sticky_fields() -> Iterator[registers.Field]:
    for register in registers.TABLE:
        yield from (field for field in register.fields if field.access is registers.Access.STICKY)


def has_handshake(block: str) -> bool:
    """Whether a block can lose cycles; the benches of others compare what comes of every cycle."""
    return any(name.endswith("ready") for name in ports_of(block))


@pytest.mark.parametrize("block", blocks.names())
def test_every_block_has_a_bench(block: str) -> None:
    assert benches_of(block)


@pytest.mark.parametrize("block", [block for block in blocks.names() if error_names(block)])
def test_every_error_is_planned(block: str, plans: dict[str, Coverage]) -> None:
    """With something behind it and with silence, but for numbers out of range, which concern nothing else."""
    planned = plans[f"{block}_errors"].bins
    for spacing in SPACINGS:
        names = {
            name for name in error_names(block) if spacing == "together" or name not in errors.OF_NUMBERS
        }
        assert {error for error, when in planned if when == spacing} == names


@pytest.mark.parametrize("block", [block for block in blocks.names() if has_handshake(block)])
def test_every_rate_is_planned(block: str, plans: dict[str, Coverage]) -> None:
    assert plans[f"{block}_rate"].bins


@pytest.mark.parametrize(
    ("block", "names"),
    [
        ("kv_page_reader", ("error_format", "error_short", "error_long", "error_trits")),
        ("kv_quantiser", ("clamped", "error_format", "error_short", "error_long")),
        ("kv_unpacker", ("error",)),
        ("rescaler", ("overflow",)),
        ("array", ()),
    ],
)
def test_error_outputs_are_found(block: str, names: tuple[str, ...]) -> None:
    assert errors.outputs(ports_of(block)) == names
