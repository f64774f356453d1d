"""What FFmpeg's encoders are told, and whether they open."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackverse_cli.settings import EncodeSettings

_LEANER = {"motion-est": "dia", "partitions": "i4x4,i8x8"}
"""What `veryfast` is changed by: motion is sought in four directions, for macroblocks as a whole.
A sixth less CPU for the same bytes and quality (benchmarks/results/encoders.md)."""


def encoder_options(codec: str, settings: EncodeSettings) -> dict[str, str]:
    """Return what FFmpeg's encoder `codec` is told, by the names of FFmpeg's options."""
    if codec.endswith("_nvenc"):
        # Its presets and its scale of quality are its own; p4 is the middle of p1 to p7.
        quality = {"preset": "p4", "rc": "vbr", "cq": f"{settings.crf:g}", "b": "0"}
        return quality | {"bf": "0", "forced-idr": "1", "no-scenecut": "1"}
    options = {"crf": f"{settings.crf:g}"}
    if settings.preset:
        options["preset"] = settings.preset
    if codec == "libx264":
        # No scene-cut key frames: a seek costs the same everywhere in the clip.
        # No B-frames: a quarter less CPU and quicker reads for a few per cent of bytes
        # (benchmarks/results/encoders.md).
        options |= {"profile": "high", "forced-idr": "1", "sc_threshold": "0", "bf": "0"}
        if settings.preset == "veryfast":
            options |= _LEANER
    elif codec == "libx265":
        # Frames before a key frame that need what stands after it would break a seek.
        quiet = "log-level=error:scenecut=0:open-gop=0"
        options |= {"forced-idr": "1", "x265-params": quiet}
    elif codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors alone; it has no other way to be told
    return options


def problem_of_encoder(settings: EncodeSettings) -> str | None:
    """Return why the encoder does not open with these settings, or None."""
    import av

    try:
        context: Any = av.CodecContext.create(settings.codec, "w")
        context.width, context.height, context.pix_fmt = 320, 240, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
        context.options = encoder_options(settings.codec, settings)
        context.open()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
