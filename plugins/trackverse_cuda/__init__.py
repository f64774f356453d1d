"""The decoder `cuda`: NVDEC through PyAV, all crops of a frame in one pass of torch on the card."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Decoder, DecoderPlugin
from trackverse_cuda.settings import CudaSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.interfaces import Ability

__all__ = ["CudaSettings", "trackverse_register_decoder"]


def _open(path: Path, settings: CudaSettings) -> Decoder:
    from trackverse_cuda.decoder import CudaDecoder

    return CudaDecoder(path, settings)


def _unavailable() -> str | None:
    if find_spec("torch") is None:
        return "torch is not installed; `pip install 'trackverse[torch]'`"
    return None


def _summary() -> str:
    from trackverse_cuda.cards import count_seen, models_seen

    does = "decodes and crops on an NVIDIA card by torch"
    count = count_seen()
    if count is None:
        return does
    if not count:
        return f"{does} (no card here, so on the CPU)"
    models = models_seen()
    # A container may see fewer cards than the machine has.
    named = f", {', '.join(sorted(set(models)))}" if len(models) == count else ""
    return f"{does} (cards here: {count}{named})"


def _examine(settings: CudaSettings) -> Iterator[Ability]:
    from trackverse_cuda.examine import examine

    return examine(settings)


@hookimpl
def trackverse_register_decoder() -> DecoderPlugin:
    """Offer the decoder `cuda`."""
    return DecoderPlugin(
        name="cuda",
        summary=_summary(),
        settings=CudaSettings,
        open=_open,
        unavailable=_unavailable,
        needs_gpu=True,
        sees_changed_bytes=False,
        examine=_examine,
    )
