"""Parameters of the KV-cache engines."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["KvConfig"]


class KvConfig(BaseModel):
    """Parameters of the blocks below ``hw.kv``.

    Attributes:
        word_bits: width W of the memory's words; the wide codec moves W codes a beat.
        lanes: float16 elements that the quantiser and the dequantiser take in a cycle.
        channels: most elements D of a head, a multiple of 16.
        page_tokens: tokens P of a page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    word_bits: Literal[64, 128, 256] = 128
    lanes: Literal[1, 2, 4, 8] = 1
    channels: Annotated[int, Field(ge=16, le=256)] = 128
    page_tokens: Literal[32, 64] = 32

    @field_validator("channels")
    @classmethod
    def _whole_groups(cls, value: int) -> int:
        if value % 16:
            raise ValueError(f"channels {value} must be a multiple of 16, the shortest group")
        return value
