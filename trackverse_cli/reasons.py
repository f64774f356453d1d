"""The vocabulary of outcomes: why a video or a clip is not there, in one word each."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

UNRECOVERABLE: Final = frozenset(
    {
        "permanent",
        "access",
        "geo",
        "geometry-mismatch",
        "beyond-end",
        "refused-name",
        "invalid-track",
    }
)
"""Reasons that no retry cures: listed by `verify`, never asked for again."""

BLAMELESS: Final = frozenset({"throttled", "offline", "tool", "needs-cookies", "stopped"})
"""Reasons that say nothing about the video itself."""

MEANING: Final = MappingProxyType(
    {
        "permanent": "the video is gone from its host",
        "access": "the video is private or for members only",
        "geo": "the video is not shown in this country",
        "needs-cookies": "the host wants a signed-in session",
        "throttled": "the host asked us to slow down",
        "transient": "the host or the line failed for a moment",
        "offline": "this machine could not reach the host",
        "tool": "the downloader could not read the page or find a format",
        "later": "the video has not been published yet",
        "ambiguous": "the host did not say why",
        "geometry-mismatch": "the boxes do not belong to a video of this shape",
        "beyond-end": "the track lies after the end of the video",
        "refused-name": "the metadata names a file outside the dataset, or no valid id",
        "invalid-track": "the metadata line cannot be used",
        "video-missing": "the video has not been downloaded yet",
        "video-damaged": "the video on disk cannot be read to where the track needs it",
        "not-cut": "the video is there, the clip has not been cut yet",
        "not-tried": "nobody has tried yet",
        "empty-span": "the video has no frame in the time of the track",
        "write-failed": "the file system refused the clip",
        "encoder-failed": "the encoder refused the clip",
        "clip-damaged": "the clip is there but fails its check",
        "other-recipe": "the clip was cut with other settings, or by another program",
    }
)
"""What each reason means, for a person."""
