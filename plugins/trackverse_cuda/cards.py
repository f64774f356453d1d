"""Cards: how many there are, which one is ours, whether it encodes, and who is on it."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from av.codec.hwaccel import HWAccel
    from av.video.frame import CudaContext

    from trackverse_cuda.settings import CudaSettings

RANK_VARIABLES = ("SLURM_LOCALID", "LOCAL_RANK")
"""Where a launcher says which of a machine's processes this one is, the first that is set."""

_DEVICES = Path("/dev")
_MODELS = Path("/proc/driver/nvidia/gpus")
_opening = threading.Lock()
_sessions: dict[int, int] = {}
_told: set[str] = set()


class CardError(LacksError):
    """There is no card for a video, and the CPU may not take over.

    Args:
        why: what is missing.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot work on a card: {why}; [decoder.cuda] fall_back is off")
        self.why = why


def count_seen() -> int | None:
    """Count the cards whose device files are there, or None where a card has none.

    It costs no driver call and loads nothing.
    """
    try:
        names = [one.name for one in _DEVICES.iterdir()]
    except OSError:
        return None
    if sys.platform != "linux" or "dxg" in names:  # Windows reaches its cards in other ways
        return None
    return len([name for name in names if re.fullmatch(r"nvidia\d+", name)])


def models_seen() -> list[str]:
    """Return the models of this machine's cards as NVIDIA's driver for Linux names them."""
    try:
        told = [one.read_text(errors="replace") for one in sorted(_MODELS.glob("*/information"))]
    except OSError:
        return []
    return [found[1] for text in told if (found := re.search(r"^Model:\s*(\S.*?)\s*$", text, re.M))]


def pick(settings: CudaSettings, count: int, environ: Mapping[str, str], pid: int) -> int:
    """Return the number of the card to use, among those that CUDA_VISIBLE_DEVICES leaves.

    Args:
        settings: `device` is auto, cuda or cuda:N.
        count: how many cards are visible, at least 1.
        environ: the environment, with the launcher's local rank.
        pid: what spreads processes over cards where nobody says their rank.

    Raises:
        IndexError: `cuda:N` names a card that is not there; the message says so.
    """
    if settings.device.startswith("cuda"):
        number = int(settings.device.partition(":")[2] or 0)
        if number >= count:
            raise IndexError(f"there is no cuda:{number} here, {count} visible")
        return number
    if settings.rank is not None:
        return settings.rank % count
    ranks = [environ[name] for name in RANK_VARIABLES if environ.get(name, "").isdigit()]
    return (int(ranks[0]) if ranks else pid) % count


def card_for(settings: CudaSettings) -> tuple[int | None, str | None]:
    """Return the card's number, or None and, where one was wanted, why there is none."""
    if settings.device == "cpu":
        return None, None
    import torch

    if torch.version.cuda is None:
        return None, f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return None, "no NVIDIA card or driver can be used here"
    try:
        return pick(settings, torch.cuda.device_count(), os.environ, os.getpid()), None
    except IndexError as error:
        return None, str(error)


def enter(card: int, limit: int) -> bool:
    """Take one of `limit` (0: any number of) places on the card; False if all are taken."""
    with _opening:
        taken = _sessions.get(card, 0)
        if limit and taken >= limit:
            return False
        _sessions[card] = taken + 1
        return True


def leave(card: int) -> None:
    """Give a place on the card back."""
    with _opening:
        _sessions[card] -= 1


def say_once(reason: str, message: str) -> None:
    """Log a warning unless one of the same reason was logged by this process before."""
    with _opening:
        if reason in _told:
            return
        _told.add(reason)
    from loguru import logger

    logger.warning(message)


def ways() -> tuple[bool, bool]:
    """Return whether to share torch's context, in the order that is likelier to work.

    FFmpeg takes a card's primary context only with flags of its own, which holds where it is there
    before torch; after torch it has to share the context that is current on the thread.
    """
    import torch

    torch_first = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch's own gap
    return (True, False) if torch_first else (False, True)


@contextmanager
def acceleration(card: int, shared: bool) -> Iterator[HWAccel]:
    """Give what a video is opened with, within the block, so that its frames stay on the card.

    Args:
        card: its number among the visible ones.
        shared: whether to use torch's context or to ask for the card's primary one.
    """
    from av.codec.hwaccel import HWAccel

    options: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"} if shared else {}
    with current(card) if shared else nullcontext():
        yield HWAccel(
            "cuda", str(card), allow_software_fallback=True, options=options, is_hw_owned=True
        )


@contextmanager
def current(card: int) -> Iterator[None]:
    """Make torch's context on the card the current one of this thread, for a while."""
    import torch

    with torch.cuda.device(card):
        torch.zeros(1, device=f"cuda:{card}")  # a context that nothing uses may not be there yet
        yield


@lru_cache(maxsize=16)
def encoding_context(card: int) -> CudaContext | None:
    """Return what crops on the card are handed to `h264_nvenc` with, or None if it does not open.

    One frame is really encoded: FFmpeg lists the encoder also where the card has none.
    """
    import av
    from av.video.frame import CudaContext

    context = CudaContext(card, primary_ctx=False, current_ctx=True)
    try:
        with current(card):
            packets = _encoded(card, context)
    except (av.error.FFmpegError, RuntimeError, ValueError):
        return None
    return context if packets else None


def _encoded(card: int, context: CudaContext) -> int:
    """Encode one grey frame on the card; return how many packets came out."""
    import av
    import torch

    side = 256
    block = torch.full((side * 3 // 2, side), 128, dtype=torch.uint8, device=f"cuda:{card}")
    chroma = block[side:].view(side // 2, side // 2, 2)
    torch.cuda.synchronize(card)
    frame = av.VideoFrame.from_dlpack((block[:side], chroma), cuda_context=context)
    encoder = av.CodecContext.create("h264_nvenc", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width = encoder.height = side
    encoder.pix_fmt = "cuda"
    encoder.time_base = Fraction(1, 25)
    frame.pts, frame.time_base = 0, encoder.time_base
    return len([*encoder.encode(frame), *encoder.encode(None)])
