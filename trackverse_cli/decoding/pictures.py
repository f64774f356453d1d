"""Any decoded frame as 8-bit 4:2:0, and bytes that no encoder wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

TRUSTING = frozenset({"hevc", "vp8", "vp9", "av1"})
"""Codecs whose decoders take any bytes for a picture: holes in them have to be looked for.

A card takes any bytes of every codec.
"""

HOLE_BYTES = 256
"""Zeros in a row: entropy coding gave 29 at most in black videos, a disk loses 512 at once."""

_HOLE = bytes(HOLE_BYTES)


def to_yuv420p(frame: VideoFrame, full_range: bool) -> VideoFrame:
    """Return a frame as 8-bit 4:2:0 with the same range of values, pts and time base.

    Args:
        frame: in any format, in main memory or on a card.
        full_range: whether its values go from 0 to 255; RGB becomes BT.709 in limited range.
    """
    # Videos are decoded beside each other: threads for one frame cost more than they bring.
    how: dict[str, Any] = {"format": "yuv420p", "threads": 1}
    if frame.format.is_rgb:
        how |= {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
    elif full_range:
        how |= {"format": "yuvj420p", "src_color_range": "JPEG", "dst_color_range": "JPEG"}
    plain = frame.reformat(**how)
    plain.pts, plain.time_base = frame.pts, frame.time_base
    return plain


def has_hole(content: bytes) -> bool:
    """Say whether an entropy-coded packet was overwritten by zeros, wholly or in part."""
    return _HOLE in content or not content.strip(b"\0")


def is_sound(packet: Packet[VideoStream], stream: VideoStream, is_by_card: bool) -> bool:
    """Say whether a packet is, as far as can be seen before it is decoded, as it was written."""
    is_trusting = is_by_card or stream.codec_context.codec.canonical_name in TRUSTING
    return not packet.is_corrupt and not (is_trusting and has_hole(bytes(packet)))
