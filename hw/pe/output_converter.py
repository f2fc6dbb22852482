"""Output converter: a fixed-point sum to FP16, BF16 or FP32, rounded once to nearest even.

Meaning: ``golden.pe.output_converter``. Two things keep the circuit small:

* A negative value is only inverted. The one that its magnitude lacks joins the increment of rounding, so the
  fraction meets a single carry chain; what is shifted in from below is the sign.
* One left shifter serves normal and subnormal results: it stops where the exponent field would fall below 1.
  Its first level moves by steps of 16 places, also downwards; the finer ones move the value back up.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.pe.output_converter import FORMATS
from hw import payloads
from hw.config import Config
from hw.numbers.pipeline import hold

__all__ = ["LATENCY", "OutputConverter"]

LATENCY = 2
"""Cycles, with ``advance``, from the inputs to ``result`` and ``overflow``."""

_EXPONENT_BITS = 11
_FP16, _BF16, _FP32 = FORMATS["fp16"], FORMATS["bf16"], FORMATS["fp32"]
_WINDOW_BITS = _FP32.precision + 1
_FIELD_BITS = _FP32.exponent_bits + 1
_FINE_LEVELS = 4
_LATE_LEVELS = 2  # fine ones behind the first register
_STEP = 1 << _FINE_LEVELS
_LOWEST = -2  # steps; further down nothing of the value reaches the window

_Choice = dict[str, Value]  # of the format, one line each


@dataclass
class _Shift:
    """A value on its way through the levels of the shifter.

    Attributes:
        window: leading bits; the places that the remaining levels can still bring into the result.
        sticky: the magnitude has a one below the window.
        free: the exponent does not limit the remaining levels.
        room: otherwise, the places that the value may still move.
        negative: sign of the value; that of a negative one is inverted.
    """

    window: Value
    sticky: Value
    free: Value
    room: Value
    negative: Value


class OutputConverter(wiring.Component):
    """Normalise or denormalise, round, pack; one value a cycle.

    The first register stands inside the shifter, the second before the increment of rounding, so
    ``result`` is one carry chain behind a register. The inputs should come straight from registers.

    Members:
        advance (in): the whole pipeline moves; while low, the outputs keep their values.
        value (in): a sum.
        exponent (in): exponent of its lowest bit.
        special (in): the result is a NaN.
        format (in): what to convert to; the code that is no format gives an undefined result.
        result (out): bit pattern; a 16-bit format leaves the high half zero.
        overflow (out): a finite value became infinite.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "advance": In(1),
                "value": In(signed(config.accumulator_bits)),
                "exponent": In(signed(_EXPONENT_BITS)),
                "special": In(1),
                "format": In(payloads.OutputFormat),
                "result": Out(32),
                "overflow": Out(1),
            }
        )
        self._bits = config.accumulator_bits - 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        room = self._room(m)
        shift, moves = self._place(m, room)
        for level in reversed(range(_LATE_LEVELS, _FINE_LEVELS)):
            shift, move = _shift_left(m, shift, level)
            moves.insert(0, move)

        # A field too large for nine bits need only stay above that of infinity, whatever is subtracted.
        # The two leading bits set by themselves count as too large, so that the increment never wraps.
        field = Signal(_FIELD_BITS)
        large = room[_FIELD_BITS:].any() | room[_FIELD_BITS - 2 : _FIELD_BITS].all()
        m.d.comb += field.eq((room[:_FIELD_BITS] + 1) | (large.replicate(2) << _FIELD_BITS - 2))
        high = hold(
            m, self.advance, "high", (field[_LATE_LEVELS:] - Cat(moves))[: _FIELD_BITS - _LATE_LEVELS]
        )
        low = hold(m, self.advance, "low", field[:_LATE_LEVELS])
        form = hold(m, self.advance, "format", self.format.as_value())
        special = hold(m, self.advance, "special", self.special)
        for name in ("window", "sticky", "free", "negative"):
            setattr(shift, name, hold(m, self.advance, name, getattr(shift, name)))
        late_room = Signal(_LATE_LEVELS)
        m.d.comb += late_room.eq(low - 1)
        shift.room = late_room

        moves = []
        for level in reversed(range(_LATE_LEVELS)):
            shift, move = _shift_left(m, shift, level)
            moves.insert(0, move)
        chosen = {"fp16": ~form.any(), "bf16": form[0], "fp32": form[1]}
        code, infinite, last = _exponent(m, high, low, Cat(moves), shift.window[-1], chosen)
        forced = Signal()
        rounds = Signal()
        m.d.comb += [forced.eq(infinite | special), rounds.eq(_rounds_up(m, shift, chosen))]
        overflow = ~special & (infinite | (last & _all_ones(shift.window, chosen) & rounds))

        packed = hold(m, self.advance, "packed", _pack(m, shift, code, forced, special, chosen))
        up = hold(m, self.advance, "up", rounds & ~forced)
        m.d.comb += [
            self.result.eq(Cat(_incremented(m, packed[:-1], up), packed[-1])),
            self.overflow.eq(hold(m, self.advance, "overflow", overflow)),
        ]
        return m

    def _room(self, m: Module) -> Signal:
        """Places by which the exponent lets the value move left: one less than the topmost place's field."""
        room = Signal(signed(_EXPONENT_BITS + 1))
        least = self._bits - 2
        bias = Mux(self.format.as_value().any(), least + _FP32.bias, least + _FP16.bias)
        m.d.comb += room.eq(self.exponent + bias)
        return room

    def _place(self, m: Module, room: Signal) -> tuple[_Shift, list[Value]]:
        """Move up by as many steps as are empty and the exponent allows, or down by those that it demands.

        Returns:
            The value, and whether it moved up by one step, by two, ...
        """
        bits, most, negative = self._bits, self._bits // _STEP, self.value[-1]
        steps, counts = room[_FINE_LEVELS:].as_signed(), range(_LOWEST, most + 1)
        allowed = Signal(len(counts) + 1)
        empty = Signal(len(counts) + 1)
        lines = Signal(len(counts))
        inverted = Signal(bits)
        free = Const(0, 1)
        m.d.comb += [inverted.eq(self.value[:-1] ^ negative.replicate(bits)), empty[: 1 - _LOWEST].eq(-1)]
        for index, count in enumerate([*counts, most + 1]):
            m.d.comb += allowed[index].eq(steps >= count)
            if 0 < count <= most:
                m.d.comb += empty[index].eq(~inverted[-_STEP * count :].any())
            if count > 0:
                free = free | (allowed[index] & ~empty[index])
        possible = allowed & empty
        m.d.comb += lines.eq(possible[:-1] & ~possible[1:])

        window = Signal(_WINDOW_BITS + _STEP - 1)

        def source(place: int) -> Value:
            """What stands ``place`` places below the top: zeros above the value, its sign below."""
            if place < 0:
                return Const(0, 1)
            return inverted[-1 - place] if place < bits else negative

        numbered = list(zip(lines, counts, strict=True))
        for place in range(len(window)):
            choices = [line & source(place + _STEP * count) for line, count in numbered]
            m.d.comb += window[-1 - place].eq(Cat(choices).any())
        sticky = ~allowed[0]
        for line, count in numbered:
            sticky = sticky | (line & self.value[: max(bits - _STEP * count - len(window), 0)].any())
        shift = _Shift(window, sticky, free, room[:_FINE_LEVELS], negative)
        return shift, list(lines[1 - _LOWEST :])


def _shift_left(m: Module, shift: _Shift, level: int) -> tuple[_Shift, Value]:
    """Move by ``2**level`` places if they are empty and the exponent allows it.

    Returns:
        The value, and whether it moved.
    """
    step, room, lost = 1 << level, shift.room, shift.window[: 1 << level]
    move, sticky, free = (Signal(name=f"{name}_{level}") for name in ("move", "sticky", "free"))
    window = Signal(len(shift.window) - step, name=f"window_{level}")
    m.d.comb += [
        move.eq(~shift.window[-step:].any() & (shift.free | room[level])),
        window.eq(Mux(move, shift.window[:-step], shift.window[step:])),
        sticky.eq(shift.sticky | (~move & Mux(shift.negative, ~lost.all(), lost.any()))),
        free.eq(shift.free | (room[level] & ~move)),
    ]
    return _Shift(window, sticky, free, room[:level], shift.negative), move


def _exponent(
    m: Module, high: Value, low: Value, late: Value, leading: Value, chosen: _Choice
) -> tuple[Value, Value, Value]:
    """Exponent field ``4 * high + low - late``, 0 without a leading one.

    Returns:
        The field, whether it is that of infinity or above, and whether it is the last one before.
    """
    difference = Signal(_LATE_LEVELS + 1)
    code = Signal(_FP32.exponent_bits)
    m.d.comb += difference.eq(low - late)
    rest, borrow = difference[:-1], difference[-1]
    lowered = Cat(high[place] ^ (borrow & ~high[:place].any()) for place in range(len(high)))
    m.d.comb += code.eq(Mux(leading, Cat(rest, lowered), 0))

    # Infinity has the field 4 * q + 3; the late bits, which decide where high is q or q + 1, come last.
    fp16, half, single = chosen["fp16"], _FP16.exponent_bits - 2, _FP32.exponent_bits - 2
    names = ("at", "next", "beyond", "infinite", "last")
    at, after, beyond, infinite, last = (Signal(name=f"field_{name}") for name in names)
    next_fp16 = high[half] & ~high[half + 1 :].any()
    next_fp32 = high[single] & ~high[half:single].any()
    close = ~(late[1] & ~low[1] & (~low[0] | late[0]))  # late <= low + 1
    m.d.comb += [
        at.eq(high[:half].all() & (fp16 | high[half:single].all())),
        after.eq(~high[:half].any() & Mux(fp16, next_fp16, next_fp32)),
        beyond.eq((high[single:].any() | (fp16 & high[half:single].any())) & ~after),
        infinite.eq(leading & (beyond | (after & close) | (at & low.all() & ~late.any()))),
        last.eq(leading & rest[1] & ~rest[0] & Mux(borrow, after, at)),
    ]
    return code, infinite, last


def _rounds_up(m: Module, shift: _Shift, chosen: _Choice) -> Value:
    """Whether the kept bits need one more: to reach the nearest, or to make the magnitude of inverted ones.

    What an inverted value dropped was zero if all of it is ones, and a half if only its first bit is zero.
    """
    window, negative = shift.window, shift.negative
    names = ("unit", "guard", "any_one", "all_ones", "dropped")
    unit, guard, any_one, all_ones, dropped = (Signal(name=name) for name in names)
    lines = [(chosen[name], form.precision) for name, form in FORMATS.items()]
    both, bf16 = window[: -_FP16.precision - 1], window[-_FP16.precision - 1 : -_BF16.precision - 1]
    m.d.comb += [
        unit.eq(Cat(line & window[-precision] for line, precision in lines).any()),
        guard.eq(Cat(line & window[-precision - 1] for line, precision in lines).any()),
        any_one.eq((~chosen["fp32"] & both.any()) | (chosen["bf16"] & bf16.any())),
        all_ones.eq((chosen["fp32"] | both.all()) & (~chosen["bf16"] | bf16.all())),
        dropped.eq(shift.sticky | Mux(negative, ~all_ones, any_one)),
    ]
    return Mux(dropped, guard, Mux(negative, guard | unit, guard & unit))


def _all_ones(window: Value, chosen: _Choice) -> Value:
    """Whether the fraction is all ones."""
    bf16, fp16, fp32 = (-form.precision for form in (_BF16, _FP16, _FP32))
    more = window[fp16:bf16].all() & (chosen["fp16"] | window[fp32:fp16].all())
    return window[bf16:-1].all() & (chosen["bf16"] | more)


def _pack(m: Module, shift: _Shift, code: Value, forced: Value, special: Value, chosen: _Choice) -> Value:
    """Fields in their places, not yet rounded; ``forced`` makes an infinity, with ``special`` a NaN."""
    packed = Signal(32, name="packed_fields")
    exponent, sign = code | forced.replicate(len(code)), shift.negative & ~special
    together = Const(0, 32)
    for name, form in FORMATS.items():
        line = chosen[name]
        plain = Signal(name=f"plain_{name}")
        m.d.comb += plain.eq(line & ~forced)
        fraction = Mux(plain, shift.window[-form.precision : -1], 0)
        others = Mux(line, Cat(special, exponent[: form.exponent_bits], sign), 0)
        together = together | fraction | others << form.precision - 2
    m.d.comb += packed.eq(together)
    return packed


def _incremented(m: Module, value: Value, carry: Value) -> Value:
    """``value + carry`` by blocks of growing length, so that no carry ripples far."""
    bits: list[Value] = []
    length = 3
    while len(bits) < len(value):
        start = len(bits)
        block = value[start : start + length]
        entering = Signal(name=f"carry_{start}")
        m.d.comb += entering.eq(carry & value[:start].all())
        bits += [block[place] ^ (entering & block[:place].all()) for place in range(len(block))]
        length += 2
    return Cat(bits)
