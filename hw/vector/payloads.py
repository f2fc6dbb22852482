"""What units of the decode core have in common: how they are told what to do, and their scratch memory."""

from amaranth.hdl import Shape, ShapeLike, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.core import commands
from golden.core.commands import COMMAND_BYTES, COMMON, OPERATIONS, Opcode
from hw.config import Config

__all__ = ["Status", "done", "operands", "scratch_read", "scratch_shape", "scratch_write", "unit_members"]


class Status(enum.Enum, shape=8):
    """``golden.core.commands.Status``."""

    locals().update({status.name: status.value for status in commands.Status})


done: ShapeLike = data.StructLayout({"status": Status, "bytes": 32})
"""How a command ended, and the bytes that it wrote to memory."""


def operands(opcode: Opcode) -> ShapeLike:
    """A command as an operation of the table sees it, 512 bits; ``reserved_N`` are those from bit N on."""
    operation = next(each for each in OPERATIONS if each.opcode == opcode)
    own = {(32 * field.word + field.low): field for field in (*COMMON, *operation.fields)}
    members, place = {}, 0
    for first in sorted([*own, *range(0, 8 * COMMAND_BYTES + 1, 32)]):
        if first > place:
            members[f"reserved_{place}"] = data.Field(unsigned(first - place), place)
            place = first
        if first in own and first == place:
            members[own[first].name] = data.Field(unsigned(own[first].width), first)
            place += own[first].width
    return data.FlexibleLayout(8 * COMMAND_BYTES, members)


def scratch_shape(config: Config) -> data.ArrayLayout:
    """A word of scratch memory: ``core.lanes`` float32 elements."""
    return data.ArrayLayout(32, config.core.lanes)


def _address(config: Config) -> Shape:
    return Shape.cast(range(config.core.scratch // config.core.lanes))


def scratch_read(config: Config) -> wiring.Signature:
    """Reads a word of scratch memory a cycle, from the user's side.

    ``data`` comes in the cycle after ``enable`` and stays until the next one.
    """
    return wiring.Signature(
        {"address": Out(_address(config)), "enable": Out(1), "data": In(scratch_shape(config))}
    )


def scratch_write(config: Config) -> wiring.Signature:
    """Writes elements of a word of scratch memory a cycle, from the user's side."""
    return wiring.Signature(
        {
            "address": Out(_address(config)),
            "enables": Out(config.core.lanes),
            "data": Out(scratch_shape(config)),
        }
    )


def unit_members(config: Config, opcode: Opcode) -> dict[str, wiring.Member]:
    """Ports that every unit of the core has: what it is told, and how it ended."""
    return {
        "commands": In(stream.Signature(operands(opcode))),
        "done": Out(stream.Signature(done)),
    }
