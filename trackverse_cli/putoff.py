"""Videos that a rank could not begin: another run was at them, or they are still on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.fence import LOOK_SECONDS
from trackverse_cli.leases import Watch, read_attempts
from trackverse_cli.ledger import read_ledger
from trackverse_cli.reasons import UNRECOVERABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trackverse_cli.catalog import Video
    from trackverse_cli.download.patience import Patience
    from trackverse_cli.metadata import Track
    from trackverse_cli.rank import RankRun

ELSEWHERE = "at work elsewhere"

FOLLOW_SECONDS = 5.0
"""Time between two looks for videos that another job brings, and longer where a look is slow."""

_BRINGING = ("download-videos", "download-tracks")

Item = tuple["Video", list["Track"]]


def second_looks(run: RankRun, patience: Patience) -> Iterator[Item]:
    """Yield the videos that another run was at, once it has let go of them or is gone.

    What that run has done meanwhile counts as there; what it is still doing, while it gives
    signs of life, is left to it.
    """
    while run.put_off:
        waiting, run.put_off = run.put_off, []
        _refresh(run, waiting)
        for video, due in waiting:
            left = run.still_due(due)
            if not left:
                continue
            if run.is_alive_elsewhere(video):
                run.summary.not_cut(ELSEWHERE, len(left))
                continue
            yield video, left
        if run.put_off:
            patience.wait(LOOK_SECONDS)


def arrivals(run: RankRun, patience: Patience, idle_seconds: float) -> Iterator[Item]:
    """Yield the videos that were not on disk, as another job brings them.

    Ends when each has come or has failed, and when for `idle_seconds` none came and no run that
    downloads gave a sign of life; the rest then count as missing.
    """
    clock = patience.clock
    watch = Watch(run.layout.runs, clock)
    begun = clock.time()
    lively = clock.monotonic()
    if run.absent:
        logger.info("waiting for {:,} videos that another job brings", len(run.absent))
    while run.absent:
        look = clock.monotonic()
        waiting, run.absent = run.absent, []
        _refresh(run, waiting)
        for video, due in waiting:
            if run.is_here(video.video_id):
                lively = clock.monotonic()
                left = run.still_due(due)
                if left:
                    yield video, left
            elif reason := _lost(run, video.video_id, begun):
                run.summary.not_cut(reason, len(due))
            else:
                run.absent.append((video, due))
        if _is_brought(run, watch):
            lively = clock.monotonic()
        elif clock.monotonic() - lively >= idle_seconds:
            break
        if run.absent:
            patience.wait(max(FOLLOW_SECONDS, 10 * (clock.monotonic() - look)))
    for _, due in run.absent:
        run.summary.not_cut("video-missing", len(due))


def _refresh(run: RankRun, items: Sequence[Item]) -> None:
    ids = {video.video_id for video, _ in items}
    run.refresh(read_ledger(run.layout, ids.__contains__))


def _lost(run: RankRun, video_id: str, begun: float) -> str:
    """Return why a video will not come: gone for good, or failed since this run began."""
    entry = run.worklist.ledger.videos.get(video_id)
    if entry is None or entry.state != "failed":
        return ""
    return entry.reason if entry.reason in UNRECOVERABLE or entry.time >= begun else ""


def _is_brought(run: RankRun, watch: Watch) -> bool:
    """Say whether a run that downloads is alive, as far as this one saw."""
    infos = [info for info in read_attempts(run.layout.runs) if info.stage in _BRINGING]
    gone = [watch.is_gone(info.run) for info in infos]
    return not all(gone)
