"""Rank spacing: from counts by distance to the gaps between chosen tokens."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from hw.systems.distance_table import AMOUNT_BITS, DISTANCES

__all__ = ["RankSpacing", "spacing_cycles"]


def spacing_cycles(amounts: list[int], budget: int) -> int:
    """Cycles from ``starts`` to ``done``.

    Args:
        amounts: candidates of each distance.
        budget: how many are wanted.
    """
    total, division = sum(amounts), AMOUNT_BITS + 1
    stride = total // budget if budget else 0
    room, gap, found = stride * budget, 0, division
    for amount in amounts:
        found += 2
        if room <= amount:
            break
        room -= amount
        if amount > gap:
            gap = stride - 1 - (amount - gap - 1) % stride
            found += division
        else:
            gap -= amount
    return found


class _Phase(enum.Enum, shape=3):
    """What happens."""

    IDLE = 0
    DIVIDE = 1
    STRIDE = 2
    """The number of candidates was divided by the budget."""
    LOOK = 3
    STEP = 4
    GAP = 5
    """The candidates of a distance behind its first chosen one were divided by the stride."""


class RankSpacing(wiring.Component):
    """Walk through the distances in ascending order: every stride-th token is chosen, as many as the budget.

    The rank of a token is the number of those in front of it, in the order of distances. Chosen are the ranks
    0, stride, 2 stride and so on below ``room``, a multiple of the stride; the walk ends at the distance that
    has the last of them. A budget of 0, or above the number of candidates, leaves that number as the
    remainder of the division, and so no room.

    Members:
        starts (in): all candidates are counted.
        candidates (in): how many there are.
        budget (in): how many are wanted.
        amount (in): candidates of the distance ``row`` of the cycle before.
        row (out): the distance that is looked at.
        sets (out): its candidates are counted; ``gap`` is its first gap.
        gap (out): candidates ahead of the next chosen one.
        bounds (out): ``row`` is the last distance, of which ``room`` candidates are within the ranks.
        room (out): ranks of this distance and those behind it.
        longest (out): the gap behind a chosen one.
        some (out): any is chosen.
        done (out): the last cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "starts": In(1),
                "candidates": In(AMOUNT_BITS),
                "budget": In(AMOUNT_BITS),
                "amount": In(AMOUNT_BITS),
                "row": Out(range(DISTANCES)),
                "sets": Out(1),
                "gap": Out(AMOUNT_BITS),
                "bounds": Out(1),
                "room": Out(AMOUNT_BITS),
                "longest": Out(AMOUNT_BITS),
                "some": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        phase = Signal(_Phase)
        divisor = Signal(AMOUNT_BITS, reset_less=True)
        number = Signal(AMOUNT_BITS, reset_less=True)
        rest = Signal(AMOUNT_BITS, reset_less=True)
        step = Signal(range(AMOUNT_BITS), reset_less=True)
        first = Signal(reset_less=True)
        with m.Switch(phase):
            with m.Case(_Phase.IDLE):
                m.d.sync += [number.eq(self.candidates), divisor.eq(self.budget), rest.eq(0), first.eq(1)]
                m.d.sync += [self.row.eq(0), self.gap.eq(0), step.eq(AMOUNT_BITS - 1)]
                with m.If(self.starts):
                    m.d.sync += phase.eq(_Phase.DIVIDE)
            with m.Case(_Phase.DIVIDE):
                self._divide(m, number, rest, divisor)
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.d.sync += phase.eq(Mux(first, _Phase.STRIDE, _Phase.GAP))
            with m.Case(_Phase.STRIDE):
                m.d.sync += [divisor.eq(number), self.longest.eq(number - 1), first.eq(0)]
                m.d.sync += [self.room.eq(self.candidates - rest), self.some.eq(self.candidates != rest)]
                m.d.sync += phase.eq(_Phase.LOOK)
            with m.Case(_Phase.LOOK):
                m.d.sync += [rest.eq(0), step.eq(AMOUNT_BITS - 1), phase.eq(_Phase.STEP)]
            with m.Case(_Phase.STEP):
                self._step(m, phase, number)
            with m.Case(_Phase.GAP):
                m.d.sync += [self.gap.eq(self.longest - rest), self.row.eq(self.row + 1)]
                m.d.sync += phase.eq(_Phase.LOOK)
        return m

    def _divide(self, m: Module, number: Signal, rest: Signal, divisor: Value) -> None:
        """A step: the quotient's bits follow the dividend's out of ``number``."""
        partial = Signal(AMOUNT_BITS + 1)
        less = Signal(AMOUNT_BITS + 2)
        m.d.comb += [partial.eq(Cat(number[-1], rest)), less.eq(partial - divisor)]
        m.d.sync += [rest.eq(Mux(less[-1], partial, less)), number.eq(Cat(~less[-1], number))]

    def _step(self, m: Module, phase: Signal, number: Signal) -> None:
        """Go on to the next distance, at once where none of this one is chosen."""
        beyond = Signal(AMOUNT_BITS + 1)
        ends = Signal()
        m.d.comb += [
            beyond.eq(self.gap - self.amount),
            ends.eq(self.room <= self.amount),
            self.sets.eq(1),
            self.bounds.eq(ends),
            self.done.eq(ends),
        ]
        m.d.sync += [self.room.eq(self.room - self.amount), number.eq(~beyond)]
        with m.If(ends):
            m.d.sync += phase.eq(_Phase.IDLE)
        with m.Elif(beyond[-1]):
            m.d.sync += phase.eq(_Phase.DIVIDE)
        with m.Else():
            m.d.sync += [self.gap.eq(beyond), self.row.eq(self.row + 1), phase.eq(_Phase.LOOK)]
