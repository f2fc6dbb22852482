"""Operations on vectors of float32 in scratch memory: norms, rotary embedding, SiLU, sums, the largest."""
