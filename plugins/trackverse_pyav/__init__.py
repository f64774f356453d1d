"""The decoder `pyav`: any video that FFmpeg reads, decoded on the CPU by PyAV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Decoder, DecoderPlugin

if TYPE_CHECKING:
    from pathlib import Path


class PyavSettings(BaseModel):
    """How the decoder `pyav` works."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int = Field(
        1,
        ge=0,
        le=64,
        description="Of one video: more cost a tenth of CPU; 0: as many as cores, up to 4.",
    )


def _open(path: Path, settings: PyavSettings) -> Decoder:
    from trackverse_pyav.decoder import PyavDecoder

    return PyavDecoder(path, settings.threads)


def _summary() -> str:
    from trackverse_pyav import bilinear

    told = "decodes on the CPU by PyAV; crops at parts of a pixel"
    if bilinear.is_there():
        return told
    return f"{told}, more slowly here: its library was not built (no C compiler) or needs AVX2"


@hookimpl
def trackverse_register_decoder() -> DecoderPlugin:
    """Offer the decoder `pyav`."""
    return DecoderPlugin(
        name="pyav",
        summary=_summary(),
        settings=PyavSettings,
        open=_open,
    )
