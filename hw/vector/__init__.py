"""Operations on vectors of float32 in scratch memory."""
