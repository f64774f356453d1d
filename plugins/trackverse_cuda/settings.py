"""`[decoder.cuda]`: which card, how many videos on it at once, and what happens without one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CudaSettings(BaseModel):
    """How the decoder `cuda` works."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
        description="Auto: a card by rank; cuda:N: the Nth visible one; "
        "cpu: the same code without a card.",
    )
    rank: int | None = Field(
        None,
        ge=0,
        description="Chooses the card of `auto`, modulo their number; unset: by the launcher.",
    )
    sessions: int = Field(
        0,
        ge=0,
        le=256,
        description="Videos of a process on the card at once; the CPU takes others; 0: no bound.",
    )
    fall_back: bool = Field(
        True, description="Decode on the CPU what the card cannot; false: stop with exit code 3."
    )
    nvenc: bool = Field(
        False, description="Encode on the card too, where it has NVENC and opens it."
    )
    threads: int = Field(
        1,
        ge=0,
        le=64,
        description="Decoding threads of one video on the CPU; 0: as many as cores, up to 4.",
    )
