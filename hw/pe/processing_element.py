"""Processing element: one output's group dot product over ``lanes`` multiplications a cycle.

Meaning: ``golden.pe.dot``. BitMoD aligns FP16 mantissas in every lane (HPCA 2025, section IV-B) and keeps
a float accumulator. Here activations arrive aligned and multiplied, so a lane is a choice among wires and the
rest is an integer adder tree.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw import payloads
from hw.config import Config
from hw.numbers.carry_save import compress
from hw.numbers.one_hot import choose
from hw.pe.multiples import multiple_layout

__all__ = ["SUM_LATENCY", "ProcessingElement", "lane_bias"]

SUM_LATENCY = 2
"""Cycles from the terms at the input to their sum at the accumulator's input."""

_CUT = 4
"""Rows of the adder tree that are registered; chosen so that both halves take about the same time."""


def lane_bias(config: Config) -> int:
    """What one cycle adds to the accumulator beside its terms, before the common shift.

    Every lane's sign bit enters the tree inverted, which makes it unsigned and saves all sign extension.
    """
    return config.lanes << config.activation_bits + 3


class ProcessingElement(wiring.Component):
    """Accumulate terms times activations; hand the group's biased dot product over on ``capture``.

    One term a lane and cycle. No stall: the accumulator holds while no ``shift`` is chosen.

    Members:
        terms (in): one term a lane.
        multiples (in): the multiples of every lane's activation.
        shift (in): common shift, one-hot over ``config.shifts``, of the terms ``SUM_LATENCY`` cycles before.
        first (in): those terms open a group.
        capture (in): the accumulator holds a finished group; copy it to ``dot``.
        dot (out): P plus the group's accumulated ``lane_bias``, modulo ``2**product_bits``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "terms": In(data.ArrayLayout(payloads.term, config.lanes)),
                "multiples": In(data.ArrayLayout(multiple_layout(config), config.lanes)),
                "shift": In(len(config.shifts)),
                "first": In(1),
                "capture": In(1),
                "dot": Out(config.product_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        lane_bits = config.activation_bits + 4
        lanes = [Signal(lane_bits, name=f"lane_{lane}") for lane in range(config.lanes)]
        for lane, product in enumerate(lanes):
            m.d.comb += product.eq(_product(m, lane, self.terms[lane], self.multiples[lane], lane_bits))
        negatives = [self.terms[lane].negative for lane in range(config.lanes)]

        width = lane_bits + exact_log2(config.lanes)
        rows = [Signal(width, name=f"row_{row}", reset_less=True) for row in range(_CUT)]
        total = Signal(width, reset_less=True)
        cut = compress(m, [*negatives, *lanes], width, rows=_CUT, name="upper")
        m.d.sync += [row.eq(value) for row, value in zip(rows, cut, strict=True)]
        left, right = compress(m, rows, width, name="lower")
        m.d.sync += total.eq(left + right)

        accumulator = Signal(config.product_bits, reset_less=True)
        shifted = choose(self.shift, [total << shift for shift in config.shifts])
        m.d.sync += accumulator.eq(Mux(self.first, 0, accumulator) + shifted)
        held = Signal(config.product_bits, name="held_dot", reset_less=True)
        with m.If(self.capture):
            m.d.sync += held.eq(accumulator)
        m.d.comb += self.dot.eq(held)
        return m


def _product(m: Module, lane: int, term: data.View, multiples: data.View, width: int) -> Value:
    """One lane: the selected multiple, less one if negative, sign bit inverted.

    A negative term complements the multiple; the missing 1 enters the tree as the term's sign. Selects 1 to 7
    are laid out as FP4 codes, an exponent above a bit that tells three from two.
    """
    odd, exponent, programmable = term.select[0], term.select[1:3], term.select[3]
    base = Signal(multiples.three.shape().width, name=f"base_{lane}")
    m.d.comb += base.eq(Mux(odd, multiples.three, multiples.one << 1))
    chosen = Signal(6, name=f"chosen_{lane}")
    m.d.comb += chosen.eq(
        Cat(
            ~programmable & (exponent == 0) & odd,
            *(~programmable & (exponent == number) for number in (1, 2, 3)),
            programmable & ~odd,
            programmable & odd,
        )
    )
    signed_base = base.as_signed()
    candidates = [multiples.one, signed_base, signed_base << 1, signed_base << 2]
    candidates += [multiples.first, multiples.second]
    extended = [Value.cast(candidate) for candidate in candidates]
    extended = [Cat(value, value[-1].replicate(width))[:width] for value in extended]
    product = Signal(width, name=f"product_{lane}")
    m.d.comb += product.eq(choose(chosen, extended) ^ term.negative.replicate(width))
    return Cat(product[:-1], ~product[-1])
