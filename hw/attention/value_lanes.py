"""Lanes of the value sums: a number brought to the grid, and a sum that gains it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.attention import widths
from hw.attention import payloads
from hw.config import Config

__all__ = [
    "AMOUNT_BITS",
    "EXCESS",
    "FRACTION_BITS",
    "MOST_PLACE",
    "TERM_BITS",
    "VALUE_BITS",
    "AddingLane",
    "PlacingLane",
]

FRACTION_BITS = 23
VALUE_BITS = FRACTION_BITS + 2
"""Of a significand of FP32 with its sign; the dot products of a page have no more."""
MOST_PLACE = 15
"""Results are below 2^38 units for 64 tokens of at most 2^8 * 2^(top - 14), so are dot products."""
AMOUNT_BITS = 6
SHARE_BITS = 1 + VALUE_BITS + MOST_PLACE
EXCESS = 1 << SHARE_BITS - 2
"""By which a share with an inverted sign bit is larger."""
TERM_BITS = payloads.TERM_BITS - widths.TERM_EXTRA + 1
"""Of an offset term less ``EXCESS``."""


class PlacingLane(wiring.Component):
    """One number on the grid, in two cycles: moved up by ``MOST_PLACE`` and then down by its amount.

    Members:
        advance (in): both stages take what is before them.
        left, right (in): the number is their difference, modulo what a dot product has, or a result's.
        of_results (in): it is a result.
        amount (in): an ``advance`` after that.
        share (out): bit 0 is the half of a unit; a register.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        width = max(config.product_bits, VALUE_BITS)
        super().__init__(
            {
                "advance": In(1),
                "left": In(width),
                "right": In(width),
                "of_results": In(1),
                "amount": In(AMOUNT_BITS),
                "share": Out(signed(SHARE_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value = Signal(signed(VALUE_BITS), reset_less=True)
        placed = Signal(signed(SHARE_BITS))
        difference = Signal(VALUE_BITS)
        dot_bits = min(self.config.product_bits, VALUE_BITS)
        dot = difference[:dot_bits].as_signed()
        m.d.comb += [
            difference.eq(self.left - self.right),
            placed.eq(Cat(Const(0, MOST_PLACE + 1), value)),
        ]
        with m.If(self.advance):
            m.d.sync += [
                value.eq(Mux(self.of_results, difference.as_signed(), dot)),
                self.share.eq(placed >> self.amount),
            ]
        return m


class AddingLane(wiring.Component):
    """A sum that gains a number and an offset term; combinational.

    Members:
        old (in): the sum before.
        fresh (in): it does not count.
        shifts, shifted (in): what stands for it, bit 0 the half of a unit.
        share (in): of ``PlacingLane``.
        term (in): offset term less ``EXCESS``.
        total (out): all of it, each to the nearest unit, ties up.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "old": In(signed(widths.SUM_BITS)),
                "fresh": In(1),
                "shifts": In(1),
                "shifted": In(signed(widths.SUM_BITS + 1)),
                "share": In(signed(SHARE_BITS)),
                "term": In(signed(TERM_BITS)),
                "total": Out(signed(widths.SUM_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        base = Signal(widths.SUM_BITS)
        unsigned = Signal(widths.SUM_BITS)
        either = Signal(widths.SUM_BITS)
        extended = Signal(signed(widths.SUM_BITS))
        carries = Signal(widths.SUM_BITS - 1)
        half = Signal()
        twice = Signal(widths.SUM_BITS + 1)
        # An inverted sign bit makes a share unsigned; the halves of units take free places.
        m.d.comb += [
            base.eq(Mux(self.shifts, self.shifted[1:], Mux(self.fresh, 0, self.old))),
            half.eq(self.shifts & self.shifted[0]),
            unsigned.eq(Cat(self.share[1:-1], ~self.share[-1])),
            extended.eq(self.term),
            either.eq(base ^ unsigned),
            carries.eq((base & unsigned) | (either & extended)),
            twice.eq(Cat(half, either ^ extended) + Cat(half, self.share[0], carries)),
            self.total.eq(twice[1:]),
        ]
        return m
