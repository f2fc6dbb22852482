"""Border search: how much is still wanted, as a selector's bins are looked at, the first ones first.

One subtractor does all of it. What is wanted is kept less 1, so that its sign says that nothing is.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from hw.selection.payloads import MOST_TOKENS, SCORE_BITS, SHARE_BITS

__all__ = ["START_BITS", "SUM_BITS", "WANTED_BITS", "BorderSearch", "Step"]

SUM_BITS = bits_for(MOST_TOKENS * ((1 << SCORE_BITS) - 1))
"""Width of the sum of all scores."""
START_BITS = bits_for(2 * MOST_TOKENS - 1) + 1
"""Width, sign included, of a number of tokens that a request can name, less 1."""
WANTED_BITS = SUM_BITS + 2


class Step(enum.Enum, shape=3):
    """What happens to what is wanted."""

    HOLD = 0
    LOAD = 1
    """It is ``start``."""
    SUBTRACT = 2
    """The mass is taken from it."""
    TAKE = 3
    """The same, unless that is enough."""
    SCALE = 4
    """A step of the product of a sum and a share."""
    DIVIDE = 5
    """A step of the division by a score."""


class BorderSearch(wiring.Component):
    """Subtract masses until too little is left; multiply a sum by a share, divide by a score.

    The product takes ``SHARE_BITS`` steps, bit by bit from the lowest one, each of which halves; and a last
    one that does not. What is below a unit is dropped from the product less the smallest fraction, which
    makes it the product rounded up, less 1. The quotient takes ``SHARE_BITS`` steps; it comes in from below,
    and the ``last`` step removes what is left above it.

    Members:
        step (in): what happens.
        start (in): for ``LOAD``.
        bit (in): of the share.
        last (in): of these steps.
        mass (in): what is subtracted in the next cycle: of a bin; a sum, negative; a divisor, times 2^16.
        takes_mass (in): while low, the one before stays.
        wanted (out): a register.
        enough (out): what is wanted is no more than the mass.
        all (out): it is the mass; of a number of tokens.
    """

    step: In(Step)
    start: In(signed(START_BITS))
    bit: In(1)
    last: In(1)
    mass: In(signed(SUM_BITS + 1))
    takes_mass: In(1)
    wanted: Out(signed(WANTED_BITS))
    enough: Out(1)
    all: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mass = Signal(signed(SUM_BITS + 1), name="held_mass", reset_less=True)
        wanted = Signal(signed(WANTED_BITS), name="held_wanted", reset_less=True)
        doubled = Signal(signed(WANTED_BITS))
        term = Signal.like(mass)
        left = Signal(signed(WANTED_BITS))
        halved = Signal(signed(WANTED_BITS))
        divided = Signal(signed(WANTED_BITS))
        with m.If(self.takes_mass):
            m.d.sync += mass.eq(self.mass)
        m.d.comb += [
            doubled.eq(Mux(self.step == Step.DIVIDE, wanted << 1, wanted)),
            term.eq(Mux((self.step == Step.SCALE) & ~self.bit, 0, mass)),
            left.eq(doubled - term),
            halved.eq(Mux(self.last, left, left >> 1)),
            divided.eq(Mux(left[-1], doubled, left | 1)),
            self.enough.eq(left[-1]),
            self.all.eq(left[: len(self.start)].all()),
            self.wanted.eq(wanted),
        ]
        with m.Switch(self.step):
            with m.Case(Step.LOAD):
                m.d.sync += wanted.eq(self.start)
            with m.Case(Step.SUBTRACT):
                m.d.sync += wanted.eq(left)
            with m.Case(Step.TAKE), m.If(~left[-1]):
                m.d.sync += wanted.eq(left)
            with m.Case(Step.SCALE):
                m.d.sync += wanted.eq(halved)
            with m.Case(Step.DIVIDE):
                m.d.sync += wanted.eq(Mux(self.last, divided[:SHARE_BITS], divided))
        return m
