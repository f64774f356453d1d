"""What a played fleet leaves behind: requests by window, ledger lines and bytes, calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.fleet import assumptions as known
from benchmarks.fleet.simulation import DONE, FATES
from trackverse_cli.leases import BEAT_SECONDS
from trackverse_cli.ledger.entries import (
    ClipsEntry,
    EndEntry,
    RunEntry,
    VideoEntry,
    encode_line,
)
from trackverse_cli.pace import allowed_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.fleet.simulation import Fleet

NOW: Final = 1_795_378_979.559211
VIDEO_ID, DIGEST = "demo_ntsc_2", "951c780889555d8a65ef319ef2a9e633"
MESSAGES: Final = {
    "permanent": "Video unavailable. This video has been removed by the uploader",
    "access": "Private video. Sign in if you've been granted access to this video",
    "geo": "The uploader has not made this video available in your country",
    "ambiguous": "Video unavailable",
    "transient": "Giving up after 3 attempts: Read timed out.",
    "throttled": "HTTP Error 429: Too Many Requests",
}
DAY_SECONDS: Final = 86_400.0
WINDOWS: Final = (60.0, 3600.0, DAY_SECONDS)
BIN_SECONDS: Final = 600.0
"""The peak is that of ten minutes, or of one where all of it takes less than a day."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What a turn costs on the pace's folder, by how many ranks wait for it: `room` measures it.

    Attributes:
        eight: calls a turn with eight ranks in the line.
        each: for each rank more.
    """

    eight: float = 81.0
    each: float = 4.7

    def calls(self, waiting: float, addresses: int) -> float:
        """Return the calls of one turn; each rank also lists every address before it chooses."""
        return self.eight + self.each * max(0.0, waiting - 8) + addresses - 1


def line_bytes() -> dict[str, float]:
    """Return the bytes of one line of each kind, with values of the usual length."""
    sizes = {
        "run": RunEntry(
            time=NOW, run="f3dd7fcd68bc", stage="download-tracks", rank=127, world_size=128,
            host="node-0127", pid=112490, version="0.1.0", metadata="3778K-CB8000",
            job="20261122T202247Z-download-tracks-10199",
        ),
        "end": EndEntry(time=NOW),
        "present": VideoEntry(
            time=NOW, video_id=VIDEO_ID, state="present", bytes=74_213_954, width=1280,
            height=720, duration_seconds=338.871201, codec="h264", format_id="136",
            checksum=DIGEST, source_size=(1920, 1080), fps=29.97, upload_date="20181122",
            fetched_bytes=74_213_954, whole_bytes=74_213_954,
        ),
        "evicted": VideoEntry(
            time=NOW, video_id=VIDEO_ID, state="evicted", bytes=74_213_954
        ),
        "clips": ClipsEntry(time=NOW, video_id=VIDEO_ID, recipe="a0ef51dab379", done=[]),
    }  # fmt: skip
    entries: dict[str, Any] = sizes
    for reason, message in MESSAGES.items():
        entries[f"failed {reason}"] = VideoEntry(
            time=NOW, video_id=VIDEO_ID, state="failed", reason=reason, message=message,
            clips=15, tries=1, since=NOW,
        )  # fmt: skip
    return {kind: float(len(encode_line(entry))) for kind, entry in entries.items()}


def clip_bytes() -> float:
    """Return what one clip adds to its video's line."""
    clip = ("f6e8dcfbd76194f0c68904c94d0dae6e", 207, 518_353, DIGEST)
    texts = [
        encode_line(ClipsEntry(time=NOW, video_id=VIDEO_ID, recipe="r", done=[clip] * n))
        for n in (1, 2)
    ]
    return float(len(texts[1]) - len(texts[0]))


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in one played fleet.

    Attributes:
        last_clip_hours: when the last clip stood.
        most_hours: when 99.9 % of the clips that could be had stood.
        settled_hours: when the last video was done or gone for good.
        done: clips that stand.
        gone: clips that cannot be had.
        left: clips that neither.
        requests: over all addresses.
        busiest: requests of the address with most.
        worst_window: requests of the fullest window against what it may hold, over all windows.
        closest: the least distance of two requests of one address, in intervals.
        idle_hours: time in which a mean address sent nothing though it could have.
        lines: of the ledger.
        ledger_bytes: their bytes.
        calls: to the shared file system, by what for.
        calls_a_second: on the mean, until the last clip.
        peak_a_second: in the ten minutes with most.
        peak_changes: those of them that change a folder, without the pace's.
    """

    last_clip_hours: float
    most_hours: float
    settled_hours: float
    done: int
    gone: int
    left: int
    requests: int
    busiest: int
    worst_window: float
    closest: float
    idle_hours: float
    lines: int
    ledger_bytes: float
    calls: dict[str, float]
    calls_a_second: float
    peak_a_second: float
    peak_changes: float


def count(fleet: Fleet, turns: Turns) -> Counts:
    """Return what there is to count."""
    state = np.frombuffer(fleet.state, dtype=np.uint8)
    settled = np.frombuffer(fleet.settled, dtype=np.float64)
    tracks, done = fleet.world.tracks, state == DONE
    last = float(settled[done].max(initial=0.0))
    grants = [np.frombuffer(address.grants, dtype=np.float64) for address in fleet.addresses]
    lines, size = _ledger(fleet, done)
    span = max(last, 1.0)
    waiting = fleet.tally.waited / span / max(1, len(grants))
    a_turn = turns.calls(waiting, len(grants))
    calls = _calls(fleet, done, sum(len(one) for one in grants), a_turn, span, lines)
    peak, changes = _peak(fleet, settled, done, grants, a_turn)
    interval = fleet.addresses[0].terms.rate.interval_seconds if grants else 1.0
    gone = (state != DONE) & (state > 0)
    return Counts(
        last / 3600,
        _most(settled[done], tracks[done]) / 3600,
        float(settled[state > 0].max(initial=0.0)) / 3600,
        int(tracks[done].sum()),
        int(tracks[gone].sum()),
        int(tracks[state == 0].sum()),
        sum(len(one) for one in grants),
        max((len(one) for one in grants), default=0),
        max((worst_window(one, interval) for one in grants), default=0.0),
        min((float(np.diff(one).min()) / interval for one in grants if len(one) > 1), default=0.0),
        _idle(fleet),
        lines,
        size,
        calls,
        sum(calls.values()) / span,
        peak,
        changes,
    )


def _most(when: Any, tracks: Any) -> float:
    order = np.argsort(when)
    reached = np.cumsum(tracks[order])
    if not len(order):
        return 0.0
    return float(when[order[np.searchsorted(reached, 0.999 * reached[-1])]])


def worst_window(times: Any, interval: float) -> float:
    """Return requests against what is allowed, in the fullest window of any length looked at."""
    worst = 0.0
    for window in (interval, 10 * interval, *WINDOWS):
        ends = np.searchsorted(times, times + window, side="right")
        most = int((ends - np.arange(len(times))).max(initial=0))
        worst = max(worst, most / allowed_requests(window, interval))
    return worst


def _idle(fleet: Fleet) -> float:
    hours = []
    for address in fleet.addresses:
        times = address.grants
        unused = times[-1] - len(times) * address.mean_seconds if times else 0.0
        hours.append(unused / 3600)
    return max(0.0, sum(hours) / len(hours)) if hours else 0.0


def _ledger(fleet: Fleet, done: Any) -> tuple[int, float]:
    lines = fleet.tally.lines.copy()
    if fleet.setup.remove_videos:
        lines["evicted"] = lines["clips"]
    size = line_bytes()
    total = sum(size[kind] * number for kind, number in lines.items())
    return sum(lines.values()), total + clip_bytes() * int(fleet.world.tracks[done].sum())


def _sum(calls: known.Calls) -> float:
    return calls.changes + calls.looks


def _calls(
    fleet: Fleet, done: Any, requests: int, a_turn: float, span: float, lines: int
) -> dict[str, float]:
    setup, videos = fleet.setup, int(done.sum())
    clips = int(fleet.world.tracks[done].sum())
    of_clips = clips * _sum(known.STORED_CALLS) + fleet.tally.shards * _sum(known.SHARD_CALLS)
    runs = fleet.tally.lines["run"]
    return {
        "pace": requests * a_turn,
        "clips": of_clips if setup.webdataset else clips * _sum(known.CLIP_CALLS),
        "videos": fleet.tally.lines["present"] * _sum(known.VIDEO_CALLS)
        + (videos * _sum(known.EVICT_CALLS) if setup.remove_videos else 0),
        "leases": (requests + max(videos, requests)) * _sum(known.LEASE_CALLS),
        "signs of life": span / BEAT_SECONDS * setup.world_size * _sum(known.BEAT_CALLS),
        "ledger": float(lines),
        "starts": runs * _sum(known.START_CALLS),
    }


def _peak(
    fleet: Fleet, settled: Any, done: Any, grants: Sequence[Any], a_turn: float
) -> tuple[float, float]:
    setup, tracks = fleet.setup, fleet.world.tracks
    latest = float(settled.max(initial=0.0))
    long = BIN_SECONDS if latest > DAY_SECONDS else BIN_SECONDS / 10
    bins = int(latest // long) + 1
    # Clips of a shard count when it is published: spread over what their cutting can take.
    clip = known.STORED_CALLS if setup.webdataset else known.CLIP_CALLS
    video = known.Calls(1, 1)
    for part in (known.LEASE_CALLS, known.EVICT_CALLS):
        video = known.Calls(video.changes + part.changes, video.looks + part.looks)
    when = (settled[done] // long).astype(np.int64)
    looks: Any = np.bincount(when, tracks[done] * _sum(clip) + _sum(video), bins)
    changes: Any = np.bincount(when, tracks[done] * clip.changes + video.changes, bins)
    for times in grants:
        asked = (times // long).astype(np.int64)
        each = _sum(known.VIDEO_CALLS) + _sum(known.LEASE_CALLS)
        more = known.VIDEO_CALLS.changes + known.LEASE_CALLS.changes
        looks[:bins] += np.bincount(asked, minlength=bins)[:bins] * (each + a_turn)
        changes[:bins] += np.bincount(asked, minlength=bins)[:bins] * more
    beats = setup.world_size / BEAT_SECONDS
    return float(looks.max()) / long + beats, float(changes.max()) / long


assert set(FATES[1:]) <= set(MESSAGES)
