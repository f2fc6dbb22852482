"""Token codes: the elements of a token to codes of 8 bits, a beat every third cycle.

A code lane divides for six cycles, so every element of a beat has two, which take turns; they share the adder
that subtracts the minimum.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.kv.schemes import WINDOW
from hw.config import Config
from hw.kv.appending.token import CODING
from hw.kv.fixed_point import QUOTIENT_BITS
from hw.kv.formats import Kind
from hw.kv.payloads import CODE_BITS, HALF_BITS
from hw.kv.quantising.code_lane import STEP_BITS, CodeLane, group_parameters, steps
from hw.kv.quantising.window_adder import WindowAdder

__all__ = ["LATENCY", "PACE", "SPARE", "TokenCodes"]

_BANKS = 2
_CYCLES = steps(WINDOW.bits) + 1  # of a lane
PACE = _CYCLES // _BANKS
"""Cycles from one beat to the next."""

LATENCY = _CYCLES + 2
"""Cycles from ``read`` to the codes."""

SPARE = QUOTIENT_BITS - STEP_BITS * steps(WINDOW.bits)
"""As ``spare_places`` has it for this format."""


class TokenCodes(wiring.Component):
    """Encode beat after beat.

    Members:
        advance (in): without it everything stands still.
        read (in): the beat is looked up in this cycle; at least ``PACE`` cycles of ``advance`` apart.
        elements (in): the beat, from the next cycle until the next ``read``.
        parameters (in): of its group, in these cycles too.
        valid, codes (out): ``LATENCY`` cycles of ``advance`` after ``read``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        lanes = config.kv.lanes
        super().__init__(
            {
                "advance": In(1),
                "read": In(1),
                "elements": In(data.ArrayLayout(HALF_BITS, lanes)),
                "parameters": In(group_parameters),
                "valid": Out(1),
                "codes": Out(data.ArrayLayout(CODE_BITS, lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stage = Signal(LATENCY)  # bit n: a beat was read n + 1 cycles ago
        loading = Signal()  # bank
        leaving = Signal()
        looks = Signal()
        loads = Signal()
        m.d.comb += [looks.eq(stage[0]), loads.eq(stage[1]), self.valid.eq(stage[-1])]
        with m.If(self.advance):
            m.d.sync += [
                stage.eq((stage << 1) | self.read),
                loading.eq(loading ^ loads),
                leaving.eq(leaving ^ self.valid),
            ]
        for number, element in enumerate(self.elements):
            adder = m.submodules[f"adder_{number}"] = WindowAdder()
            m.d.comb += [adder.offset.eq(self.parameters.offset), adder.look.eq(looks), adder.count.eq(1)]
            for bank in range(_BANKS):
                lane = m.submodules[f"lane_{number}_{bank}"] = CodeLane(self.config)
                m.d.comb += [
                    lane.kind.eq(Kind.AFFINE),
                    lane.coding.eq(CODING),
                    lane.spare.eq(SPARE),
                    lane.element.eq(element),
                    lane.parameters.eq(self.parameters),
                    lane.difference.eq(adder.sum),
                    lane.load.eq(self.advance & loads & (loading == bank)),
                    lane.step.eq(self.advance),
                ]
                if bank == 0:
                    m.d.comb += adder.addend.eq(lane.addend)
                with m.If(leaving == bank):
                    m.d.comb += self.codes[number].eq(lane.code)
        return m
