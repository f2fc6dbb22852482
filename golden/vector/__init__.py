"""Operations on vectors of float32 in scratch memory: norms, rotary embedding, SiLU, sums, the largest."""

from golden.vector.functions import FUNCTIONS, apply, arg_max, fits, rotary, silu_multiply, turn
from golden.vector.norm import SUMS, norm

__all__ = ["FUNCTIONS", "SUMS", "apply", "arg_max", "fits", "norm", "rotary", "silu_multiply", "turn"]
