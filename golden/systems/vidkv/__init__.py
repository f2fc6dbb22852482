"""VidKV (arXiv 2503.16257): keys at 1.x bits by channel, values as trits, for models that see videos.

Everything is in groups of 32 tokens of one channel of one head; what fills no group stays float16.

**Keys.** The channels of largest range, over all tokens and heads, are *anomalous* and get 2 bits from
minimum to maximum. The n others get 1 bit, after a real Fourier transform across these channels of a token,
whose columns take the place of channels. Transforms of real numbers repeat themselves, so that half of them
suffices: n // 2 + 1 real and (n - 1) // 2 imaginary columns are n columns, 1 bit an element and not 2 as in
the authors' code. A column has the bit F >= 0 and the scale s, its mean magnitude.

==========  =====================  ==========================
decode      a bit of a channel     a bit of a column
==========  =====================  ==========================
scaled      -s, s                  -s, s
published   0, s                   real 0, s; imaginary -s/2, s/2
==========  =====================  ==========================

"published" is the formula as printed and run. It drops the sign, which is a flaw; the imaginary parts say the
same about the half spectrum: of the full one only the Hermitian part comes back as real numbers.

**Values.** Trits by a threshold of gamma mean magnitudes (``golden.kv.ternary``). They decode to themselves
("published": the authors store a scale and do not apply it), times the mean magnitude ("scaled"), or times
the mean of those above the threshold ("kept", the least squared error). Tokens that the text asks for are
protected: a class of their own, compacted, at 2 bits.

Magnitudes of columns can leave float16, so a scale is ``float16 * 2^exponent`` with one exponent for all
columns of a head and group. Two bits are by rule ``native`` unless another is asked for; the authors'
arithmetic is ``kivi``, whose range overflows where the elements of a group are more than 65504 apart.

What circuits work out: ``real_fft``, the transform in fixed point, and ``ranges``, by which they choose.
"""

from golden.systems.vidkv.groups import GROUP
from golden.systems.vidkv.keys import QuantizedKeys, channel_mask, quantize_keys, transform
from golden.systems.vidkv.protection import protected_count, protected_tokens
from golden.systems.vidkv.values import QuantizedValues, quantize_values

__all__ = [
    "GROUP",
    "QuantizedKeys",
    "QuantizedValues",
    "channel_mask",
    "protected_count",
    "protected_tokens",
    "quantize_keys",
    "quantize_values",
    "transform",
]
