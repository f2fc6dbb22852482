"""Groups of bit-serial terms, laid out in time for BitMoD's processing element."""

from dataclasses import dataclass

from amaranth.lib import data

from golden.baseline import bitmod_pe as golden
from hw.baseline.bitmod_pe import LATENCY, SLOTS, Term
from sim.packing import codec

__all__ = ["INPUTS", "Cycle", "Group", "Schedule", "schedule"]

Cycle = tuple[tuple[int, ...], tuple[golden.Term, ...], int]
"""Activations, terms and their common place."""


@dataclass(frozen=True)
class Group:
    """A group of one slot: its cycles and its scale."""

    kind: str
    mode: str
    cycles: tuple[Cycle, ...]
    scale: int


IDLE: Cycle = ((0,) * golden.LANES, (golden.Term(0, 0, 0),) * golden.LANES, 0)


@dataclass(frozen=True)
class Schedule:
    """Groups laid out in time.

    Attributes:
        inputs: values of the ports INPUTS in every cycle.
        results: by cycle, the group whose result stands at the output then.
    """

    inputs: list[tuple[int, ...]]
    results: dict[int, Group]


INPUTS = ("activations", "terms", "bsig", "first", "last", "scaling", "scale_bit")


def schedule(given: list[Group]) -> Schedule:
    """Lay groups out in the two slots; one waits with its last cycle while the other's is being scaled."""
    pack_numbers = codec(data.ArrayLayout(16, golden.LANES)).pack
    pack_terms = codec(data.ArrayLayout(Term, golden.LANES)).pack
    waiting = [list(reversed(given[slot::SLOTS])) for slot in range(SLOTS)]
    current: list[tuple[Group, int] | None] = [None] * SLOTS
    cycles: list[tuple[Cycle, bool, bool]] = []
    ends: dict[int, Group] = {}
    free = 0
    while any(waiting) or any(current):
        now = len(cycles)
        slot = now % SLOTS
        group, done = current[slot] or (waiting[slot].pop() if waiting[slot] else None, 0)
        if group is None or (done == len(group.cycles) - 1 and now < free):
            cycles.append((IDLE, False, False))
            continue
        last = done == len(group.cycles) - 1
        cycles.append((group.cycles[done], done == 0, last))
        current[slot] = None if last else (group, done + 1)
        if last:
            ends[now], free = group, now + golden.SCALE_BITS
    scaling = {
        end + LATENCY + bit: group.scale >> golden.SCALE_BITS - 1 - bit & 1
        for end, group in ends.items()
        for bit in range(golden.SCALE_BITS)
    }
    cycles += [(IDLE, False, False)] * (LATENCY + golden.SCALE_BITS + 1)
    inputs = [
        (
            pack_numbers(numbers),
            pack_terms([vars(term) for term in terms]),
            bsig,
            int(first),
            int(last),
            int(cycle in scaling),
            scaling.get(cycle, 0),
        )
        for cycle, ((numbers, terms, bsig), first, last) in enumerate(cycles)
    ]
    return Schedule(inputs, {end + LATENCY + golden.SCALE_BITS: group for end, group in ends.items()})
