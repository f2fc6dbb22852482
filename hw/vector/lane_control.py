"""What the lanes do in a cycle: looked up in the tables of ``hw.vector.routines``."""

from collections.abc import Callable, Mapping

from amaranth.hdl import Module, Signal
from amaranth.hdl._ast import Assign
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.vector.routines import DATA, FOLD, ROOT, STREAMS, TIMER_BITS, Activity, ScalarY, ScalarZ, Step
from hw.vector.vector_lane import ADDING, X, Y, Z

__all__ = ["LaneControl", "choices"]

choices = data.StructLayout(
    {"x": X, "y": Y, "scalar_y": ScalarY, "z": Z, "scalar_z": ScalarZ, "negative": 1, "take_result": 1}
)
"""Factors of the word that is there, and what is added to the product of ``ADDING`` cycles ago."""
_FRESH = 4
"""Squares that begin the sums of a lane."""

_Statements = Callable[[Step], list[Assign]]


class LaneControl(wiring.Component):
    """Registers of the lanes' choices.

    Members:
        activity, timer (in): what the unit does, and for how many cycles.
        chosen (out): for the cycle after that.
    """

    activity: In(Activity)
    timer: In(TIMER_BITS)
    chosen: Out(choices)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chosen = Signal(choices, name="held_choices", reset_less=True)
        m.d.comb += self.chosen.eq(chosen)

        def factors(step: Step) -> list[Assign]:
            return [chosen.x.eq(step.x), chosen.y.eq(step.y), chosen.scalar_y.eq(step.scalar_y)]

        def terms(step: Step) -> list[Assign]:
            return [chosen.z.eq(step.z), chosen.scalar_z.eq(step.scalar_z), chosen.negative.eq(step.negative)]

        m.d.sync += chosen.take_result.eq(1)
        with m.Switch(self.activity):
            for activity, routine in STREAMS.items():
                with m.Case(activity):
                    m.d.sync += chosen.take_result.eq(routine.take_result)
                    self._repeat(m, routine.steps, factors, DATA - 1)
                    self._repeat(m, routine.steps, terms, DATA + ADDING - 1)
            with m.Case(Activity.FOLD):
                self._once(m, FOLD, STREAMS[Activity.SQUARES].steps[0], factors, terms)
            with m.Case(Activity.ROOT):
                self._once(m, ROOT, Step(), factors, terms)

        # The first squares of a round are added to nothing.
        opening = Signal(range(DATA + ADDING + _FRESH))
        begin = DATA + ADDING - 1
        with m.If((self.activity == Activity.SQUARES) & (self.timer == 0)):
            m.d.sync += opening.eq(1)
        with m.Elif(opening == begin + _FRESH):
            m.d.sync += opening.eq(0)
        with m.Elif(opening.any()):
            m.d.sync += opening.eq(opening + 1)
        with m.If((opening >= begin) & (opening < begin + _FRESH)):
            m.d.sync += terms(Step())
        return m

    def _repeat(self, m: Module, steps: tuple[Step, ...], statements: _Statements, ahead: int) -> None:
        """Steps of a stream, in turn, so many cycles after they read."""
        with m.Switch(self.timer[:2]):
            for phase in range(4):
                with m.Case((phase + ahead) % 4):
                    m.d.sync += statements(steps[phase % len(steps)])

    def _once(
        self, m: Module, program: Mapping[int, Step], idle: Step, factors: _Statements, terms: _Statements
    ) -> None:
        """Steps in their cycles, and one in all others."""
        for statements, ahead in ((factors, -1), (terms, ADDING - 1)):
            m.d.sync += statements(idle)
            with m.Switch(self.timer):
                for cycle, step in program.items():
                    with m.Case(cycle + ahead):
                        m.d.sync += statements(step)
