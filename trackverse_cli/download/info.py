"""What a host says about a video before it is downloaded: is it the one, and can it be had?"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from trackverse_cli.download.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Info = dict[str, Any]
"""One video as yt-dlp describes it."""

_NOT_YET: Final = {
    "is_live": "is being broadcast now",
    "is_upcoming": "has not begun yet",
    "post_live": "was broadcast and is still being prepared",
}
_UPSCALED = "sr"
_METADATA_HOSTS: Final = frozenset(
    {"metadata", "metadata.google.internal", "100.100.100.200", "fd00:ec2::254"}
)
"""Where machines in a cloud are told their secrets, besides the addresses of the own wire."""


def check_info(info: Info, *, incomplete: bool, expected_id: str | None) -> None:
    """Raise for what must not be downloaded.

    Args:
        info: what is known of the video.
        incomplete: whether its formats have not been chosen yet.
        expected_id: the id that the host must name, None where hosts name videos as they like.

    Raises:
        DownloadError: `later` for what is not a finished video yet, `ambiguous` for a list, a
            page that only embeds videos, another video, or another kind of address.
    """
    status = info.get("live_status") or ("is_live" if info.get("is_live") else "")
    if status in _NOT_YET:
        raise DownloadError("later", f"the video {_NOT_YET[status]}")
    if info.get("playlist_index") is not None:
        raise DownloadError("ambiguous", "the host shows a list of videos instead of one")
    if incomplete:
        return
    if expected_id is not None and info.get("id") != expected_id:
        raise DownloadError("ambiguous", f"the host shows another video, {info.get('id')}")
    # What the extractor for unknown pages found otherwise may be any video of the page.
    found = info.get("protocol") in ("http", "https") and not info.get("direct")
    if info.get("extractor_key") == "Generic" and found:
        raise DownloadError("ambiguous", "the host sent a web page instead of a video")
    for wanted in info.get("requested_formats") or [info]:
        check_address(str(wanted.get("url") or ""))


def check_address(url: str, *, at_home: bool = True) -> None:
    """Refuse everything but the web: a host must not make us read this machine's files.

    Args:
        url: where somebody leads.
        at_home: whether addresses of this machine and of its own network are fine too; those
            that a cloud tells its secrets at never are.

    Raises:
        DownloadError: `ambiguous`, for another kind of address.
    """
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
    except ValueError:
        raise DownloadError("ambiguous", "the host leads to an address that is none") from None
    if scheme not in ("http", "https", "data"):
        raise DownloadError(
            "ambiguous", f"the host leads to a {scheme or 'local'}: address, which is refused"
        )
    place = place_of(host)
    if place == "link" or (place == "home" and not at_home):
        raise DownloadError(
            "ambiguous", f"the host leads to {host[:80]!a} inside our network, which is refused"
        )


def place_of(host: str) -> Literal["web", "home", "link"]:
    """Return where a host's name or address lies, by how it is written; nobody is asked.

    Returns:
        `link` for what only the own wire reaches, where clouds tell their secrets; `home` for
        this machine and private networks; else `web`.
    """
    try:
        address = ip_address(host)
    except ValueError:
        try:
            address = ip_address(socket.inet_aton(host))  # also as one number, or in octal
        except (OSError, ValueError):
            name = host.lower().removesuffix(".")
            if name in _METADATA_HOSTS:
                return "link"
            return "home" if name == "localhost" or name.endswith(".localhost") else "web"
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or str(address) in _METADATA_HOSTS:
        return "link"
    return "web" if address.is_global else "home"


def largest_size(formats: Sequence[Info]) -> tuple[int, int] | None:
    """Return the largest (width, height) among the formats that state one; upscaled ones not."""
    sizes = [
        (int(each["width"]), int(each["height"]))
        for each in formats
        if each.get("width")
        and each.get("height")
        and each.get("vcodec") != "none"
        and _UPSCALED not in str(each.get("format_id") or "")
    ]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def is_smaller(info: Info, max_height: int) -> bool:
    """Say whether the chosen format's smaller side is below what was asked for."""
    sides = [int(info[side]) for side in ("width", "height") if info.get(side)]
    return bool(sides) and min(sides) < max_height


def whole_length(status: int, headers: Mapping[str, str]) -> int | None:
    """Return the size in bytes of the whole file that an answer is of, where it says it."""
    if status == 206:
        total = str(headers.get("Content-Range") or "").rpartition("/")[2]
    elif status == 200 and not headers.get("Content-Encoding"):
        total = str(headers.get("Content-Length") or "")
    else:
        total = ""
    return int(total) if total.isdecimal() else None
