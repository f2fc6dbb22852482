"""Affine rules: how each published system turns a group into codes, scale and zero, and how ours does.

The systems share a sketch, asymmetric minimum to maximum, and differ in operation order, in what they keep
as zero and in precision. ``RULES`` has them all, with ``low`` and ``high`` a group's extremes,
``top = 2^b - 1``, ``half = 2^(b-1)`` and rint to nearest even:

=================  ======  ================================================  =================================
rule               works   code                                              decodes to
=================  ======  ================================================  =================================
kivi               fp16    rint(clamp((x - low) / s)), s = (high - low)/top  q * s + low
quanto             fp16    clamp(rint((x - low) / s)), s as kivi             q * s + low
zipcache, mikv     fp16    rint((x - low) / s), s as kivi                    q * s + low
kvtuner            fp16    clamp(rint(x/s - z) + half),                      (q - half + z) * s
                           s = max(high - low, 1e-5)/top,
                           z = rint(low/s) + half
kvtuner_symmetric  fp16    clamp(rint(x/s) + half),                          (q - half) * s
                           s = max(-low, high, 1e-5)/(half - 1)
atom               fp16    clamp(rint(x/s) + z), s as kvtuner,               (q - z) * s
                           z = clamp(rint(-low/s))
qserve             fp32    saturate(rint(x * (1/s) + z), 255) mod 2^b,       (q - z) * s
                           s = fp16((high - low)/top),
                           z = fp16(-top * low/(high - low))
hqq                fp32    clamp(rint(x * r + z)), z = -low * r,             (q - z) * s, s = 1/r
                           r = min(1/(high - low) * top, 2e4)
kvquant            fp32    clamp(rint(r * x - z)), z = low * r,              (q + z) / r; r is kept as scale
                           r = 1/(high - low) * top
native             exact   see below                                         q * s + low, see below
native_symmetric   exact   clamp(rint(x/s), +-(half - 1)) + half, s below    (q - half) * s, likewise
=================  ======  ================================================  =================================

"works" is the precision to which every single operation rounds; a clamp without bounds is to 0..top. Codes
are always unsigned. The r of hqq and kvquant rounds twice, as PyTorch divides a number by a tensor. Sources
are named in ``RULES``. What the publications leave open is settled here:

* a group whose scale is 0 (all elements equal, or a range so small that the scale underflows) has code 0,
  scale 0 and its minimum as zero, and decodes to it whatever the rule; ``kvtuner_symmetric`` has no zero and
  therefore no such exception;
* without a clamp (zipcache, mikv) a subnormal scale can make the quotient exceed ``top``: it saturates;
* a group whose scale or zero overflows its precision is an error.

**native** is meant for silicon: one rounding and no divider. With integers in units of 2^-24, the smallest
float16 (41 bits for an element, sign included, and 41 for a range):

    scale = the range / top, rounded to nearest even to 11 significant bits and to whole units; at least one
            unit unless the range is 0, at most 65504: a finite float16, mantissa m < 2^11 times 2^e units
    code  = (x - low) / scale, rounded to nearest even, at most top
    value = code * scale + low, exact; at most +-65504, which a scale that was rounded up can pass

**native_symmetric** is the same with the largest magnitude in place of the range, half - 1 in place of top
and no minimum.

A circuit needs less than these widths. Scale: the b + 13 leading bits r of the range and one sticky bit for
the rest; the quotient r / top is (r * ceil(2^k / top)) >> k for k = 2b + 13, exact because the error of the
constant, below top / 2^k, times r < 2^(b+13) stays below 1/top; it has at least the 12 bits that rounding
needs, and a remainder joins the sticky bit. Code: of x - low only d, the bits from 2^(e-1) units up (b + 13
bits or less), and a sticky bit for the bits below; b compare-and-subtract steps of d against m * 2^(b-1+1)
.. m * 2 give the quotient and a remainder, which together with the sticky bit decides on rounding.

Here both are float64 divisions followed by a rounding. That is the same: operands are integers below 2^42 in
some unit, so a quotient that is not exactly between two candidates is at least 2^-43 away from there in
relative terms, and float64 errs by less than 2^-53.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["RULES", "Rule"]

_FLOOR = np.float16(1e-5)
_LARGEST_HALF = 65504.0
_UNIT = 2.0**-24


@dataclass(frozen=True)
class Rule:
    """How one system computes.

    Attributes:
        encode: x, low, high and bits to rounded codes, scale and zero.
        decode: codes, scale, zero and bits to values.
        offset: scale, zero and bits to the value that code 0 stands for, in real numbers.
        works: precision of the operations.
        kept: precision of a stored scale and zero.
        source: where the rule is defined.
        has_zero: whether a zero is stored.
        inverted: whether the stored scale is the reciprocal of the step.
        least_bits: fewest bits for which the rule is defined.
    """

    encode: Callable
    decode: Callable
    offset: Callable
    works: type[np.floating]
    kept: type[np.floating]
    source: str
    has_zero: bool = True
    inverted: bool = False
    least_bits: int = 1


def _minimum_to_maximum(x, low, high, bits: int):
    scale = (high - low) / _top(bits)
    return np.rint((x - low) / scale), scale, low


def _kvtuner(x, low, high, bits: int):
    scale = np.maximum(high - low, _FLOOR) / _top(bits)
    zero = np.rint(low / scale) + _half(bits)
    return np.clip(np.rint(x / scale - zero), -_half(bits), _half(bits) - 1) + _half(bits), scale, zero


def _kvtuner_symmetric(x, low, high, bits: int):
    scale = np.maximum(np.maximum(-low, high), _FLOOR) / (_half(bits) - 1)
    codes = np.clip(np.rint(x / scale), -_half(bits), _half(bits) - 1) + _half(bits)
    return codes, scale, np.zeros_like(scale)


def _atom(x, low, high, bits: int):
    scale = np.maximum(high - low, _FLOOR) / _top(bits)
    zero = np.clip(np.rint(-low / scale), 0, _top(bits))
    return np.rint(x / scale) + zero, scale, zero


def _qserve(x, low, high, bits: int):
    scale = ((high - low) / _top(bits)).astype(np.float16)
    zero = (-_top(bits) * low / (high - low)).astype(np.float16)
    rounded = np.rint(x * (1 / scale.astype(np.float32)) + zero.astype(np.float32))
    return np.fmod(np.clip(rounded, 0, 255), _top(bits) + 1), scale, zero


def _reciprocal(low, high, bits: int):
    return 1 / (high - low) * _top(bits)


def _hqq(x, low, high, bits: int):
    reciprocal = np.minimum(_reciprocal(low, high, bits), np.float32(2e4))
    zero = -low * reciprocal
    return np.rint(x * reciprocal + zero), 1 / reciprocal, zero


def _kvquant(x, low, high, bits: int):
    reciprocal = _reciprocal(low, high, bits)
    zero = low * reciprocal
    return np.rint(reciprocal * x - zero), reciprocal, zero


def _native(x, low, high, bits: int):
    quotient = np.minimum((high - low) / _top(bits), _LARGEST_HALF)
    scale = np.maximum(quotient.astype(np.float16), np.where(high > low, _UNIT, 0)).astype(np.float64)
    return np.rint((x - low) / scale), scale, low


def _native_symmetric(x, low, high, bits: int):
    largest = np.maximum(-low, high)
    quotient = (largest / (_half(bits) - 1)).astype(np.float16)
    scale = np.maximum(quotient, np.where(largest > 0, _UNIT, 0)).astype(np.float64)
    steps = np.rint(np.where(scale > 0, x / scale, 0))
    return np.clip(steps, 1 - _half(bits), _half(bits) - 1) + _half(bits), scale, np.zeros_like(scale)


def _top(bits: int) -> int:
    return (1 << bits) - 1


def _half(bits: int) -> int:
    return 1 << bits - 1


def _within_half(decode: Callable) -> Callable:
    """A decoding whose values saturate at the largest float16 numbers."""
    return lambda *stored: np.clip(decode(*stored), -_LARGEST_HALF, _LARGEST_HALF)


def _from_low(codes, scale, zero, bits: int):
    return codes * scale + zero


def _from_zero(codes, scale, zero, bits: int):
    return (codes - zero) * scale


_HALF, _SINGLE = (np.float16, np.float16), (np.float32, np.float32)
_LOW = (_minimum_to_maximum, _from_low, lambda scale, zero, bits: zero, *_HALF)

RULES: dict[str, Rule] = {
    "kivi": Rule(*_LOW, "KIVI (arXiv 2402.02750), section 3; quant/new_pack.py"),
    "kvtuner": Rule(
        _kvtuner,
        lambda codes, scale, zero, bits: (codes - _half(bits) + zero) * scale,
        lambda scale, zero, bits: (zero - _half(bits)) * scale,
        *_HALF,
        "KVTuner (arXiv 2502.04420), VanillaQuantizer",
    ),
    "kvtuner_symmetric": Rule(
        _kvtuner_symmetric,
        lambda codes, scale, zero, bits: (codes - _half(bits)) * scale,
        lambda scale, zero, bits: -_half(bits) * scale,
        *_HALF,
        "KVTuner (arXiv 2502.04420), VanillaQuantizer without asym",
        has_zero=False,
        least_bits=2,
    ),
    "zipcache": Rule(*_LOW, "ZipCache (arXiv 2405.14256), true_tokenwise_quantize"),
    "atom": Rule(
        _atom,
        _from_zero,
        lambda scale, zero, bits: -zero * scale,
        *_HALF,
        "Atom (MLSys 2024), quantize_tensor",
    ),
    "qserve": Rule(
        _qserve,
        _from_zero,
        lambda scale, zero, bits: -zero * scale,
        np.float32,
        np.float16,
        "QServe (arXiv 2405.04532), applyBiasRopeUpdateKVCache",
    ),
    "hqq": Rule(
        _hqq,
        _from_zero,
        lambda scale, zero, bits: -zero * scale,
        *_SINGLE,
        "HQQ, Quantizer.quantize(optimize=False)",
    ),
    "quanto": Rule(*_LOW, "optimum-quanto, MaxOptimizer and quantize_affine; its shift is -zero"),
    "kvquant": Rule(
        _kvquant,
        lambda codes, scale, zero, bits: (codes + zero) / scale,
        lambda scale, zero, bits: zero / scale,
        *_SINGLE,
        "KVQuant (arXiv 2401.18079), quant_fn_zp",
        inverted=True,
    ),
    "mikv": Rule(*_LOW, "MiKV (arXiv 2402.18096), equation 1; float16 is our reading"),
    "native": Rule(
        _native,
        _within_half(_from_low),
        lambda scale, zero, bits: zero,
        np.float64,
        np.float16,
        "this file",
    ),
    "native_symmetric": Rule(
        _native_symmetric,
        _within_half(lambda codes, scale, zero, bits: (codes - _half(bits)) * scale),
        lambda scale, zero, bits: -_half(bits) * scale,
        np.float64,
        np.float16,
        "this file",
        has_zero=False,
        least_bits=2,
    ),
}
