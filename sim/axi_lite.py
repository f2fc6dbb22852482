"""Registers over AXI4-Lite: a master of cocotbext-axi whose channels pause at random."""

import itertools
import random

from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from sim.domain import reset

__all__ = ["pauses", "read", "start", "write"]


def pauses(density: float):
    """A generator of pauses, drawn from the run's seed."""
    generator = random.Random(random.getrandbits(32))
    return (generator.random() < density for _ in itertools.count())


async def start(dut, density: float):
    """Reset the design and make a master whose five channels pause at random."""
    domain = await reset(dut, cycle_limit=100_000)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus"), dut.clk, dut.rst)
    interfaces = master.write_if, master.read_if
    for interface in interfaces:
        for channel in ("aw_channel", "w_channel", "b_channel", "ar_channel", "r_channel"):
            if density and hasattr(interface, channel):
                getattr(interface, channel).set_pause_generator(pauses(density))
    return domain, master


async def read(master: AxiLiteMaster, offset: int) -> tuple[int, AxiResp]:
    """A word and its response."""
    answer = await master.read(offset, 4)
    return int.from_bytes(answer.data, "little"), answer.resp


async def write(master: AxiLiteMaster, offset: int, value: int) -> AxiResp:
    """Write a word; returns the response."""
    return (await master.write(offset, value.to_bytes(4, "little"))).resp
