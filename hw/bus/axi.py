"""AXI4 (ARM IHI 0022) of a master: INCR bursts of whole words, one id, so that answers come in order."""

from amaranth.hdl import Const, Value
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import exact_log2

__all__ = [
    "ADDRESS_BITS",
    "BORDER",
    "LONGEST",
    "Burst",
    "Response",
    "constants",
    "failed",
    "joined",
    "read_signature",
    "signature",
    "write_signature",
]

ADDRESS_BITS = 40
BORDER = 4096
"""Bytes; no burst may cross a multiple of them."""
LONGEST = 256
"""Words of a burst."""


class Burst(enum.Enum, shape=2):
    """How a burst's addresses follow one another."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(enum.Enum, shape=2):
    """How an access ended."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def failed(response: Value) -> Value:
    """The slave or the interconnect refused."""
    return Value.cast(response)[1]


def _address(letter: str) -> dict[str, Member]:
    members = {
        "id": Out(1),
        "addr": Out(ADDRESS_BITS),
        "len": Out(8),
        "size": Out(3),
        "burst": Out(Burst),
        "prot": Out(3),
        "valid": Out(1),
        "ready": In(1),
    }
    return {f"a{letter}{name}": member for name, member in members.items()}


def _read(bits: int) -> dict[str, Member]:
    return _address("r") | {
        "rid": In(1),
        "rdata": In(bits),
        "rresp": In(Response),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def _write(bits: int) -> dict[str, Member]:
    return _address("w") | {
        "wdata": Out(bits),
        "wstrb": Out(bits // 8),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(Response),
        "bvalid": In(1),
        "bready": Out(1),
    }


def read_signature(bits: int) -> wiring.Signature:
    """The channels ``ar`` and ``r`` with ``bits`` of data, from the master's side; flattens to
    ``name_araddr``, ...
    """
    return wiring.Signature(_read(bits))


def write_signature(bits: int) -> wiring.Signature:
    """The channels ``aw``, ``w`` and ``b``, likewise."""
    return wiring.Signature(_write(bits))


def signature(bits: int) -> wiring.Signature:
    """All five channels."""
    return wiring.Signature(_write(bits) | _read(bits))


def constants(channels: wiring.PureInterface, letter: str, bits: int) -> list[Value]:
    """Assignments of what never changes on ``ar`` or ``aw``: id 0, whole words, addresses that go up, and
    unprivileged secure accesses to data.

    Args:
        channels: of the master.
        letter: ``r`` or ``w``.
        bits: of the data.
    """
    values = {"id": Const(0), "size": exact_log2(bits // 8), "burst": Burst.INCR, "prot": Const(0)}
    return [getattr(channels, f"a{letter}{name}").eq(value) for name, value in values.items()]


def joined(
    reads: wiring.PureInterface, writes: wiring.PureInterface, master: wiring.PureInterface
) -> list[Value]:
    """Assignments that lead the channels of a reader and of a writer out of a component.

    Args:
        reads, writes: ports of submodules, of ``read_signature`` and ``write_signature``.
        master: port of the component, of ``signature``.
    """
    assignments = []
    for inner in reads, writes:
        for name, member in inner.signature.members.items():
            near, far = getattr(inner, name), getattr(master, name)
            assignments.append(far.eq(near) if member.flow is Out else near.eq(far))
    return assignments
