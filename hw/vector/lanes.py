"""The lanes of the vector unit, with the numbers that they share or keep."""

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.vector.norm import GUESS
from golden.vector.sigmoid import LOG2E
from hw.config import Config
from hw.vector import sigmoid_unit
from hw.vector.lane_control import LaneControl
from hw.vector.payloads import scratch_shape
from hw.vector.routines import (
    DATA,
    FOLD_KEEP,
    FOLD_LAST,
    PLACES,
    ROOT_HALF,
    ROOT_MEAN,
    ROOT_Y,
    TIMER_BITS,
    Activity,
    ScalarY,
    ScalarZ,
)
from hw.vector.sigmoid_unit import SigmoidUnit
from hw.vector.vector_lane import RESULT, VectorLane

__all__ = ["Lanes"]

_Scalars = Mapping[ScalarY, ValueLike] | Mapping[ScalarZ, ValueLike]


class Lanes(wiring.Component):
    """Multiply and add a word a cycle, as the activity wants it.

    Args:
        config: of the accelerator.

    Members:
        activity, timer (in): what the unit does, and for how many cycles.
        round (in): of a norm, the one whose squares are summed.
        epsilon, reciprocal (in): of a norm.
        data (in): a word, ``DATA`` cycles after the step that reads it.
        results (out): ``RESULT`` cycles later.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "activity": In(Activity),
                "timer": In(TIMER_BITS),
                "round": In(range(PLACES // config.core.lanes)),
                "epsilon": In(32),
                "reciprocal": In(32),
                "data": In(scratch_shape(config)),
                "results": Out(data.ArrayLayout(32, config.core.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = control = LaneControl()
        m.d.comb += [control.activity.eq(self.activity), control.timer.eq(self.timer)]
        chosen = control.chosen
        kept = [Signal(32, name=f"kept_{place}", reset_less=True) for place in range(PLACES)]
        scalars_y: Mapping[ScalarY, ValueLike] = {
            ScalarY.ONE: sigmoid_unit.ONE,
            ScalarY.LOG2E: int(LOG2E.view("u4")),
            ScalarY.MINUS_HALF: 0xBF000000,
            ScalarY.RECIPROCAL: self.reciprocal,
            ScalarY.T0: kept[0],
            ScalarY.T1: kept[1],
            ScalarY.T2: kept[2],
        }
        scalars_z: Mapping[ScalarZ, ValueLike] = {
            ScalarZ.ZERO: 0x80000000,
            ScalarZ.EPSILON: self.epsilon,
            ScalarZ.ONE_AND_HALF: 0x3FC00000,
            ScalarZ.T1: kept[1],
            ScalarZ.T3: kept[3],
        }
        scalar_y = self._scalar(m, "scalar_y", chosen.scalar_y, scalars_y)
        scalar_z = self._scalar(m, "scalar_z", chosen.scalar_z, scalars_z)
        lanes: list[VectorLane] = []
        own = kept[PLACES - self.config.core.lanes :]
        for number, place in enumerate(own):
            m.submodules[f"lane_{number}"] = lane = VectorLane()
            m.d.comb += [
                lane.data.eq(self.data[number]),
                lane.kept.eq(place),
                lane.scalar_y.eq(scalar_y),
                lane.scalar_z.eq(scalar_z),
                self.results[number].eq(lane.result),
            ]
            for name in ("x", "y", "z", "negative", "take_result"):
                m.d.comb += getattr(lane, name).eq(chosen[name])
            lanes.append(lane)
        self._sigmoids(m, lanes)
        self._keep(m, kept, own)
        return m

    def _scalar(self, m: Module, name: str, chosen: Value, scalars: _Scalars) -> Value:
        """A number for all lanes."""
        scalar = Signal(32, name=name)
        with m.Switch(chosen):
            for place, value in scalars.items():
                with m.Case(place):
                    m.d.comb += scalar.eq(value)
        return scalar

    def _sigmoids(self, m: Module, lanes: list[VectorLane]) -> None:
        """Results one by one to the sigmoid unit, its factors back to the lanes."""
        m.submodules.sigmoids = sigmoids = SigmoidUnit()
        phase = self.timer[:2]
        following: Value | None = None
        for number in reversed(range(len(lanes))):
            waiting = Signal(32, name=f"waiting_{number}", reset_less=True)
            result = lanes[number].result
            if following is None:
                m.d.sync += waiting.eq(result)
            else:
                m.d.sync += waiting.eq(Mux(phase == (DATA + RESULT) % 4, result, following))
            following = waiting
        m.d.comb += sigmoids.t.eq(following)
        for number, lane in enumerate(lanes):
            x, y = (Signal(32, name=f"factor_{name}_{number}", reset_less=True) for name in "xy")
            with m.If(self.activity != Activity.SILU):
                m.d.sync += x.eq(sigmoid_unit.ONE)
            with m.Elif(phase == (DATA + RESULT + 1 + number + sigmoid_unit.LATENCY) % 4):
                m.d.sync += [x.eq(sigmoids.r), y.eq(sigmoids.u)]
            m.d.comb += [lane.factor_x.eq(x), lane.factor_y.eq(y)]

    def _keep(self, m: Module, kept: list[Signal], own: list[Signal]) -> None:
        """A rotary embedding's a of each lane; a norm's sums, then its half and root."""
        timer, lanes = self.timer, len(own)
        root = self.results[1 % lanes]
        with m.Switch(self.activity):
            with m.Case(Activity.ROTARY), m.If(timer[:2] == DATA % 4):
                for number, place in enumerate(own):
                    m.d.sync += place.eq(self.data[number])
            with m.Case(Activity.FOLD):
                with m.If(timer == FOLD_KEEP):
                    for number, place in enumerate(own):
                        m.d.sync += place.eq(self.results[number])
                with m.Elif(timer == FOLD_LAST):
                    for number, place in enumerate(kept):
                        with m.If(self.round == number // lanes):
                            m.d.sync += place.eq(self.results[number % lanes])
            with m.Case(Activity.ROOT):
                with m.If(timer == ROOT_MEAN):
                    m.d.sync += kept[1].eq(GUESS - (root >> 1))
                with m.Elif(timer == ROOT_HALF):
                    m.d.sync += kept[0].eq(self.results[0])
                with m.Elif((timer == ROOT_Y[0]) | (timer == ROOT_Y[1])):
                    m.d.sync += kept[1].eq(root)
