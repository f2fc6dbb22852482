"""Exponent keys: the largest exponent of a group, whatever the number format.

A key is the upper eight magnitude bits of an element, of which FP16 keeps five (so a step of its exponent is
8) and BF16 or TF32 all. Keys compare and subtract alike in both formats.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.config import Config
from hw.payloads import EXPONENT_BITS

__all__ = ["KeyQueue", "MaximumKey", "exponent_of", "key_of", "maximum_stages", "queued_groups", "unit_key"]


class MaximumKey(wiring.Component):
    """Largest key of a token column's group, ``stages`` cycles after its last beat.

    Members:
        elements, format (in): of the beat that is accepted.
        valid, closes, unit (in): of the beat accepted ``stages`` cycles ago; ``unit`` stands for key 0.
        key (out): the group's key, in the cycle of ``closes``.
    """

    def __init__(self, config: Config) -> None:
        self.stages = maximum_stages(config)
        super().__init__(
            {
                "elements": In(data.ArrayLayout(config.element_bits, config.activation_lanes)),
                "format": In(1),
                "valid": In(1),
                "closes": In(1),
                "unit": In(EXPONENT_BITS),
                "key": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        keys = []
        for element in self.elements:
            key, special = key_of(element, self.format)
            keys.append(Mux(special, 0, key))
        keys = self._registered(m, "stage0", self._halved(m, "stage0", keys))
        for stage in range(1, self.stages):
            keys = self._halved(m, f"stage{stage}_first", keys)
            keys = self._registered(m, f"stage{stage}", self._halved(m, f"stage{stage}", keys))
        running = Signal(EXPONENT_BITS)
        largest = Signal(EXPONENT_BITS)
        both = [*self._halved(m, "last", keys), running]
        m.d.comb += largest.eq(self._halved(m, "overall", both)[0])
        m.d.comb += self.key.eq(largest | Mux(largest == 0, self.unit, 0))
        with m.If(self.valid):
            m.d.sync += running.eq(Mux(self.closes, 0, largest))
        return m

    def _halved(self, m: Module, name: str, keys: Sequence[Value]) -> list[Value]:
        """The larger one of each pair."""
        larger = []
        for number, (left, right) in enumerate(zip(keys[::2], keys[1::2], strict=False)):
            key = Signal(EXPONENT_BITS, name=f"{name}_larger_{number}")
            m.d.comb += key.eq(Mux(left > right, left, right))
            larger.append(key)
        return larger or list(keys)

    def _registered(self, m: Module, name: str, keys: Sequence[Value]) -> list[Value]:
        names = (f"{name}_held_{number}" for number in range(len(keys)))
        held = [Signal(EXPONENT_BITS, reset_less=True, name=name) for name in names]
        m.d.sync += Cat(held).eq(Cat(keys))
        return held


class KeyQueue(wiring.Component):
    """Keys of the groups between the last beat written and the last beat read.

    Members:
        push, pushed (in): append keys; there must be room.
        head (out): the oldest group's keys.
        pop (in): remove them.
    """

    def __init__(self, config: Config) -> None:
        self.places = queued_groups(config)
        keys = data.ArrayLayout(EXPONENT_BITS, config.columns)
        super().__init__({"push": In(1), "pushed": In(keys), "head": Out(keys), "pop": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = [Signal.like(self.head, reset_less=True, name=f"held_{place}") for place in range(self.places)]
        count = Signal(range(self.places + 1))
        free = Signal(range(self.places + 1))
        m.d.comb += [self.head.eq(held[0]), free.eq(count - self.pop)]
        m.d.sync += count.eq(free + self.push)
        for place, keys in enumerate(held):
            with m.If(self.push & (free == place)):
                m.d.sync += keys.eq(self.pushed)
            if place + 1 < self.places:
                with m.Elif(self.pop):
                    m.d.sync += keys.eq(held[place + 1])
        return m


def maximum_stages(config: Config) -> int:
    """Registered stages of the maximum: one comparison first, two in each of the others."""
    return max(1, -(-exact_log2(config.activation_lanes) // 2))


def queued_groups(config: Config) -> int:
    """Groups that have to be under way so that groups of one beat leave no gap."""
    return maximum_stages(config) + 2


def unit_key(format_: Value) -> Value:
    """The key of exponent 1."""
    return Mux(format_, 1, 8)


def key_of(element: Value, format_: Value) -> tuple[Value, Value]:
    """Key of an element, and whether the element is a NaN or an infinity."""
    upper, lower = element[-6:-1], element[-9:-6] & format_.replicate(3)
    return Cat(lower, upper), upper.all() & (~format_ | lower.all())


def exponent_of(key: Value, format_: Value) -> Value:
    """A key, or the difference of two, as a number of exponent steps."""
    return Mux(format_, key, key[3:])
