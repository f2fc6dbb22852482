"""Output converter: a fixed-point sum to FP16, BF16 or FP32, rounded once to nearest even.

Meaning: ``golden.pe.output_converter``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from golden.pe.output_converter import FORMATS
from hw import payloads
from hw.config import Config

__all__ = ["LATENCY", "OutputConverter"]

LATENCY = 4
"""Cycles, with ``advance``, from the inputs to ``result``."""

_EXPONENT_BITS = 11
_WIDEST = FORMATS["fp32"].precision


class OutputConverter(wiring.Component):
    """Sign and magnitude, normalise, denormalise what underflows, round and pack; one value a cycle.

    Members:
        advance (in): the whole pipeline moves.
        value (in): a sum.
        exponent (in): exponent of its lowest bit.
        special (in): the result is a NaN.
        format (in): what to convert to.
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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.config.accumulator_bits
        aside = Cat(self.value[-1], self.special, self.format)

        # The magnitude, and the exponent of its topmost place.
        magnitude = self._hold(m, "magnitude", Mux(self.value < 0, -self.value, self.value)[:bits])
        top = self._hold(m, "top", (self.exponent + (bits - 1))[: _EXPONENT_BITS + 1].as_signed())
        aside = self._hold(m, "aside_magnitude", aside)

        normal, zeros = _normalise(m, magnitude)
        field = Signal(signed(_EXPONENT_BITS + 2))
        m.d.comb += field.eq(top - zeros + self._pick(aside[2:], lambda form: form.bias))
        normal = self._hold(m, "normal", normal)
        field = self._hold(m, "field", field)
        aside = self._hold(m, "aside_normal", aside)

        small = Signal()
        m.d.comb += small.eq(field < 1)
        wanted, amount = Signal(signed(len(field) + 1)), Signal(bits_for(_WIDEST + 1))
        m.d.comb += [wanted.eq(1 - field), amount.eq(Mux(wanted > _WIDEST + 1, _WIDEST + 1, wanted))]
        shifted = _sticky_right(m, normal, Mux(small, amount, 0), _WIDEST + 2)
        shifted = self._hold(m, "shifted", shifted)
        empty = small | ~normal[-1]
        below = self._hold(m, "below", Mux(empty, 0, field - 1)[: _EXPONENT_BITS + 1])
        aside = self._hold(m, "aside_shifted", aside)

        pattern, overflow = self._pack(m, shifted, below, aside)
        m.d.comb += [
            self.result.eq(self._hold(m, "result", pattern)),
            self.overflow.eq(self._hold(m, "overflow", overflow)),
        ]
        return m

    def _hold(self, m: Module, name: str, value: Value) -> Signal:
        """A pipeline register of the value's own shape."""
        held = Signal(value.shape(), name=f"held_{name}", reset_less=True)
        with m.If(self.advance):
            m.d.sync += held.eq(value)
        return held

    def _pick(self, fmt: Value, number) -> Value:
        """A number of the chosen format."""
        picked = Const(number(FORMATS["fp32"]))
        for name, code in (("fp16", payloads.OutputFormat.FP16), ("bf16", payloads.OutputFormat.BF16)):
            picked = Mux(fmt == code.value, number(FORMATS[name]), picked)
        return picked

    def _pack(self, m: Module, shifted: Value, below: Value, aside: Value) -> tuple[Value, Value]:
        """Round and pack in every format, and choose.

        ``below`` is one less than the exponent field, so that the significand's leading one, or the carry of
        rounding, brings the field to its value.
        """
        sign, special, fmt = aside[0], aside[1], aside[2:]
        pattern, overflow = Signal(32), Signal()
        with m.Switch(fmt):
            for name, form in FORMATS.items():
                code = payloads.OutputFormat[name.upper()].value
                with m.Case(code) if name != "fp32" else m.Default():
                    kept, rest = shifted[-form.precision :], shifted[: -form.precision]
                    half, tail = rest[-1], rest[:-1].any()
                    packed = Signal(form.precision + len(below), name=f"packed_{name}")
                    infinite = Signal(name=f"infinite_{name}")
                    m.d.comb += [
                        packed.eq((below << form.precision - 1) + kept + (half & (tail | kept[0]))),
                        infinite.eq(packed >= form.infinity),
                        overflow.eq(infinite & ~special),
                        pattern.eq(
                            Mux(
                                special,
                                form.nan,
                                Mux(infinite, form.infinity, packed[: form.sign_place])
                                | (sign << form.sign_place),
                            )
                        ),
                    ]
        return pattern, overflow


def _normalise(m: Module, magnitude: Value) -> tuple[Value, Value]:
    """Shift the leading one to the top; count the zeros above it. Zero stays zero."""
    current, counted = magnitude, []
    for level in reversed(range(bits_for(len(magnitude) - 1))):
        places = 1 << level
        empty = Signal(name=f"empty{places}")
        moved = Signal(len(magnitude), name=f"moved{places}")
        m.d.comb += [
            empty.eq(~current[-places:].any()),
            moved.eq(Mux(empty, current << places, current)[: len(magnitude)]),
        ]
        counted.append(empty)
        current = moved
    return current, Cat(reversed(counted))


def _sticky_right(m: Module, value: Value, amount: Value, width: int) -> Value:
    """The top ``width`` bits of ``value >> amount``, with everything that falls off in one more bit."""
    current = Signal(width + 1, name="unshifted")
    kept = value[-width:] if len(value) > width else Cat(Const(0, width - len(value)), value)
    lost = value[:-width].any() if len(value) > width else Const(0, 1)
    m.d.comb += current.eq(Cat(lost, kept))
    for level in range(len(amount)):
        places = 1 << level
        moved = Signal(width + 1, name=f"right{places}")
        fallen = current[: places + 1].any()
        m.d.comb += moved.eq(Mux(amount[level], Cat(fallen, current[places + 1 :]), current))
        current = moved
    return current
