"""The chart over time as inline SVG; its words are text beside it, so that they stay legible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.report.text import counted, day_text, number, tick_text
from trackverse_cli.report.timeline import DAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.report.timeline import Line, Timeline

WIDTH, HEIGHT = 1000, 300
"""Units of the drawing; it is stretched to the room that there is."""

TICKS = 4
FEW_TICKS_SECONDS = 10.0
"""Of a shorter time only both ends are told."""


def chart(timeline: Timeline) -> Iterator[str]:
    """Yield the lines of clips and videos over time, with what they say in words."""
    span = timeline.end - timeline.begin
    told = [_sentence(timeline.clips, "clip", span), _sentence(timeline.videos, "video", span)]
    spoken = " ".join(told)
    clips, videos = _points(timeline.clips), _points(timeline.videos)
    yield '<figure class="chart">\n<div class="plot">'
    yield '<span class="y top">100 %</span><span class="y mid">50 %</span>'
    yield '<span class="y low">0 %</span>\n'
    yield (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{spoken}">'
    )
    for y in (0, HEIGHT // 2, HEIGHT):
        yield f'<path class="grid" d="M0 {y}H{WIDTH}"/>'
    if timeline.clips.known:
        yield f'<path class="area" d="M0 {HEIGHT}L{clips}L{WIDTH} {HEIGHT}z"/>'
    if timeline.videos.known:
        yield f'<path class="line videos" d="M{videos}"/>'
    if timeline.clips.known:
        yield f'<path class="line clips" d="M{clips}"/>'
    yield "</svg></div>\n"
    ticks = TICKS if span > FEW_TICKS_SECONDS else 2
    times = [timeline.begin + span * tick / (ticks - 1) for tick in range(ticks)]
    below = "".join(f"<span>{tick_text(at, span)}</span>" for at in times)
    yield f'<div class="x">{below}</div>\n'
    yield (
        '<figcaption><span class="key"><i class="key-clips"></i>clips</span> '
        '<span class="key"><i class="key-videos"></i>videos</span> '
        "<span>as a share of what is expected; times in UTC</span></figcaption></figure>\n"
    )
    yield "".join(f"<p>{sentence}</p>\n" for sentence in told)


def _points(line: Line) -> str:
    step = WIDTH / (len(line.shares) - 1)
    pairs = []
    for place, part in enumerate(line.shares.tolist()):
        pairs.append(f"{place * step:.0f} {HEIGHT - HEIGHT * part:.1f}")
    return "L".join(pairs)


def _sentence(line: Line, unit: str, span: float) -> str:
    if line.half is None or line.last is None:
        return f"No {unit} has a time in the ledger."
    told = f"{counted(line.known, unit)}, the last at {day_text(line.last)}"
    if span > DAY_SECONDS:
        told += f", {number(line.last_day)} within the 24 hours before; half by "
        told += day_text(line.half)
    return f"{told}."
