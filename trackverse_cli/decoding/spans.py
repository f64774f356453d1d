"""Stretches of a video in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIE_SECONDS = 1e-6
"""Times closer than this are the same time."""


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans in order, those that overlap or touch joined."""
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if joined and start <= joined[-1][1] + TIE_SECONDS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined
