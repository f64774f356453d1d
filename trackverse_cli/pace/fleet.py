"""How far an address's pace goes: hours, and how many ranks it can feed. Pure arithmetic."""

from __future__ import annotations

import math

SECONDS_OF_WORK_PER_VIDEO = 45.0
"""Core seconds that decoding and cutting a typical video cost, where nothing was measured yet."""

SECONDS_TO_BRING = 15.0
"""What a rank, which brings one video at a time, is taken to need for it: an assumption."""


def hours_for(requests: int, videos_per_hour: float, addresses: int = 1) -> float:
    """Return the hours that so many requests take through so many addresses, all at one pace."""
    return requests / (videos_per_hour * max(1, addresses))


def cores_busy(videos_per_hour: float, seconds_of_work_per_video: float) -> float:
    """Return how many cores the videos of that pace keep busy; the seconds are one core's."""
    return videos_per_hour * seconds_of_work_per_video / 3600.0


def ranks_fed(
    videos_per_hour: float,
    seconds_of_work_per_video: float,
    cores_per_rank: int,
    seconds_to_bring: float = SECONDS_TO_BRING,
) -> int:
    """Return how many ranks the pace can feed, as many at least as it takes to use it up.

    Args:
        videos_per_hour: of all addresses together.
        seconds_of_work_per_video: core seconds.
        cores_per_rank: cores of each rank.
        seconds_to_bring: a video, of which a rank brings one at a time.
    """
    busy = cores_busy(videos_per_hour, seconds_of_work_per_video)
    bringing = videos_per_hour * seconds_to_bring / 3600.0
    return max(1, math.ceil(busy / max(1, cores_per_rank)), math.ceil(bringing))


def feeding_sentence(
    videos_per_hour: float,
    seconds_of_work_per_video: float,
    cores_per_rank: int,
    world_size: int,
    seconds_to_bring: float = SECONDS_TO_BRING,
) -> str:
    """Return one sentence for `plan` and `submit`: what the pace feeds, against what is asked for.

    Args:
        videos_per_hour: of all addresses together.
        seconds_of_work_per_video: core seconds.
        cores_per_rank: cores of each rank.
        world_size: the ranks that are meant.
        seconds_to_bring: a video, of which a rank brings one at a time.
    """
    busy = max(1, math.ceil(cores_busy(videos_per_hour, seconds_of_work_per_video)))
    fed = ranks_fed(videos_per_hour, seconds_of_work_per_video, cores_per_rank, seconds_to_bring)
    cores = "1 core" if busy == 1 else f"{busy} cores"
    fact = f"{videos_per_hour:,.0f} videos an hour keep at most {cores} busy"
    if world_size > fed:
        enough = "1 rank is" if fed == 1 else f"{fed} ranks are"
        return f"{fact}: {enough} enough, the other {world_size - fed} of {world_size} would wait"
    return f"{fact}: enough for {'the rank' if world_size == 1 else f'all {world_size} ranks'}"


def time_text(seconds: float) -> str:
    """Return a duration for a person, rounded up: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    if minutes <= 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
