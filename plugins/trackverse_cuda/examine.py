"""What the cards of this machine can do, found out by trying: `doctor` tells it."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Ability, Damage
from trackverse_cuda import cards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from av import VideoStream

    from trackverse_cuda.settings import CudaSettings

SAMPLES = {
    "H.264": ("libx264", "yuv420p", {}),
    "HEVC": ("libx265", "yuv420p", {"x265-params": "log-level=none"}),
    "10-bit HEVC": ("libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    "VP9": ("libvpx-vp9", "yuv420p", {"cpu-used": "8"}),
}
"""What is tried: the encoder that makes it, its pixel format, and what the encoder is told."""

_SIDE = 256
_FRAMES = 4


def examine(settings: CudaSettings) -> Iterator[Ability]:
    """Yield what each visible card is and does, and why there is none where one is wanted.

    Raises:
        cards.CardError: one is wanted, there is none, and `fall_back` is off.
    """
    if settings.device == "cpu":
        return
    # Torch, which takes seconds to load, is asked only where there may be a card.
    none = cards.count_seen() == 0
    lacking = "no NVIDIA card is here" if none else cards.card_for(settings)[1]
    if lacking:
        if not settings.fall_back:
            raise cards.CardError(lacking)
        yield Ability(f"{lacking}, so the CPU decodes", lacks=True)
    if none:
        return
    import torch

    with tempfile.TemporaryDirectory(prefix="trackverse-card-") as folder:
        samples = _make_samples(Path(folder))
        for card in range(torch.cuda.device_count()):
            yield _ability(card, samples, settings)


def _ability(card: int, samples: Mapping[str, Path], settings: CudaSettings) -> Ability:
    import torch

    try:
        name = torch.cuda.get_device_name(card)
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(card))
        tried = {what: _problem(path, card) for what, path in samples.items()}
        encodes = cards.encoding_context(card) is not None
    except RuntimeError as error:  # torch's errors are RuntimeErrors
        first = str(error).strip().partition("\n")[0]
        return Ability(f"cuda:{card} cannot be used: {first}", lacks=True)
    done = ", ".join(what for what, problem in tried.items() if problem is None)
    does = f"decodes {done}" if done else "decodes nothing"
    if not done:
        does += f": {next(iter(tried.values()), 'there is no video to try it with')}"
    told = f"cuda:{card}, {name}, {free:.1f} of {total:.1f} GiB free: {does}; "
    told += "encodes (NVENC)" if encodes else "no NVENC that opens here"
    return Ability(told, lacks=not done or (settings.nvenc and not encodes))


def _problem(path: Path, card: int) -> str | None:
    """Decode a sample on the card, cut a box out of its frames; return why it cannot, or None."""
    import numpy as np

    from trackverse_cuda.decoder import CudaDecoder
    from trackverse_cuda.settings import CudaSettings

    box, size = np.array([[3.5, 7.25, 201.0, 99.0]]), [(128, 64)]
    decoder: CudaDecoder | None = None
    try:
        decoder = CudaDecoder(path, CudaSettings(device=f"cuda:{card}", fall_back=False))
        count = 0
        for found in decoder.frames([(0.0, float("inf"))]):
            if isinstance(found, Damage):
                return found.message
            count += len([*found.crop(box, size)])
        return None if count == _FRAMES else f"cuda:{card} brings {count} frames of {_FRAMES}"
    except cards.CardError as error:
        return error.why
    except DamagedFileError as error:
        return str(error)
    finally:
        if decoder is not None:
            decoder.close()


def _make_samples(folder: Path) -> dict[str, Path]:
    """Write a short video of each kind that FFmpeg can make here."""
    import av

    made: dict[str, Path] = {}
    for number, (what, (codec, form, options)) in enumerate(SAMPLES.items()):
        path = folder / f"{number}.mp4"
        try:
            with av.open(str(path), "w") as container:
                stream: VideoStream = container.add_stream(codec, Fraction(25), options=options)  # type: ignore[assignment]  # a name known at run time
                stream.width = stream.height = _SIDE
                stream.pix_fmt = form
                for at in range(_FRAMES):
                    frame = av.VideoFrame(_SIDE, _SIDE, form)
                    for plane in frame.planes:
                        plane.update(bytes([16 * at + 64]) * plane.buffer_size)
                    frame.pts = at
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (av.error.FFmpegError, ValueError):
            continue  # an FFmpeg of one's own may lack the encoder; then its codec is not tried
        made[what] = path
    return made
