"""A survey and the terms -> hours, bytes, files, ranks, what is reached when. Arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.plan.reach import SHARES, Reach, reach, request_places, request_turns
from trackverse_cli.plan.survey import DONE, DUE, GONE
from trackverse_cli.plan.times import Times, times_of
from trackverse_cli.shards import assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trackverse_cli.plan.rates import Rates
    from trackverse_cli.plan.survey import Survey
    from trackverse_cli.plan.terms import PlanTerms

    Ints = NDArray[np.int64]

LEAST_TRIED = 20
"""With fewer videos tried, the share that came says too little."""

MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Storage:
    """What it takes on disk, in the end, videos that are there today and clips included.

    Attributes:
        download_bytes: what has to come.
        clip_bytes: what the clips that are due will take.
        end_bytes: all videos and clips in the end, or the most on the way to it.
        end_files: files and folders of them.
        files_left: files that are still to be made, clips and videos.
    """

    download_bytes: int
    clip_bytes: int
    end_bytes: int
    end_files: int
    files_left: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left, and what it takes.

    Attributes:
        terms: what it was made for.
        rates: what a second costs.
        clips: clips by state: `due`, `complete`, `unrecoverable`, refused lines among the last.
        videos_due: videos that have a due clip.
        requests: those of them that have to be asked for.
        came_share: how many of the videos that were settled so far came, None if too few were.
        classes: classes of the whole catalogue.
        times: how long it takes.
        storage: what it takes on disk.
        reached: what is reached after some of the requests, by order.
    """

    terms: PlanTerms
    rates: Rates
    clips: Mapping[str, int]
    videos_due: int
    requests: int
    came_share: float | None
    classes: int
    times: Times
    storage: Storage
    reached: tuple[Reach, ...]

    def over_quota(self) -> list[str]:
        """Return a sentence for each limit that the end would be over."""
        told = []
        terms, storage = self.terms, self.storage
        way = "" if terms.remove_videos else "set [pipeline] remove_videos, or "
        if terms.quota_files is not None and storage.end_files > terms.quota_files:
            told.append(
                f"{storage.end_files:,} files and folders are over the quota of "
                f"{terms.quota_files:,}: {way}select fewer clips"
            )
        if terms.quota_bytes is not None and storage.end_bytes > terms.quota_bytes:
            told.append(
                f"{storage.end_bytes / 1e9:,.1f} GB are over the quota of "
                f"{terms.quota_bytes / 1e9:,.1f} GB: {way}select fewer clips"
            )
        return told


def make_forecast(
    found: Survey,
    costs: NDArray[np.float64],
    rates: Rates,
    terms: PlanTerms,
    coverage: Ints,
) -> Plan:
    """Return the plan.

    Args:
        found: where everything stands.
        costs: (v,) as the catalogue has them, by which videos are dealt to ranks.
        rates: what a second costs.
        terms: the pace, the ranks and the limits.
        coverage: (v,) all rows by coverage.
    """
    requests = int(found.asked.sum())
    ranks = assign(costs, terms.world_size)
    work = rates.decode * found.decoded_seconds + rates.cut * found.encoded_seconds
    turns = {
        name: request_turns(found.asked, ranks, order)
        for name, order in (("cost", np.arange(len(costs))), ("coverage", coverage))
    }
    tried = found.arrived + found.gone
    came = found.arrived / tried if tried >= LEAST_TRIED else None
    if came is not None and terms.trouble.gone_source == "assumed":
        trouble = replace(
            terms.trouble,
            gone=1.0 - came,
            gone_source=MEASURED,
            unclear=min(terms.trouble.unclear, 1.0 - came),
        )
        terms = replace(terms, trouble=trouble)
    times = times_of(found, rates, work, ranks, turns[terms.order], terms)
    hours_each = (times.makespan_hours - times.waits.last) / requests if requests else 0.0
    numbers = [math.ceil(share * requests) for share in SHARES] if requests else []
    if terms.hours is not None and requests:
        numbers.append(min(requests, int(terms.hours / hours_each)) if hours_each else requests)
    reached: list[Reach] = []
    for name, own in turns.items():
        places = request_places(own, ranks)
        reached += reach(found, places, name, sorted(set(numbers)), hours_each)
    clips = {
        "due": found.clips(DUE),
        "complete": found.clips(DONE),
        "unrecoverable": found.clips(GONE) + found.refused,
    }
    return Plan(
        terms,
        rates,
        clips,
        len(found.due_rows),
        requests,
        came,
        len([name for name in found.names if name]),
        times,
        _storage(found, rates, terms),
        tuple(reached),
    )


def _storage(found: Survey, rates: Rates, terms: PlanTerms) -> Storage:
    download = float(found.length_seconds[found.asked].sum()) * rates.video
    new_clips = float(found.encoded_seconds.sum()) * rates.clip
    done, due = found.clips(DONE), found.clips(DUE)
    new_videos = int((found.asked & ~found.there).sum())
    mean_clip = found.clip_bytes / found.clips_measured if found.clips_measured else 0.0
    known = max(1, found.videos_measured)
    held = found.video_bytes / known * found.videos_there
    if not found.videos_measured:
        held = float(found.length_seconds[found.there].sum()) * rates.video
    videos, files = held + download, found.videos_there + new_videos
    if terms.remove_videos:
        # What is there stays until it is cut; what comes is gone again as fast.
        videos, files = max(held, float(terms.disk_budget or 0)), found.videos_there
    return Storage(
        round(download),
        round(new_clips),
        round(videos + new_clips + done * mean_clip),
        files + done + due + found.folders,
        due + (0 if terms.remove_videos else new_videos),
    )
