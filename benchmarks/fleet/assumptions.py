"""Every number that goes into the simulation, with where it comes from.

What `plan` assumes as well, the simulation takes from `plan.rates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from trackverse_cli import plan

INTERPRETER_SECONDS: Final = 2.0
"""Interpreter, imports (0.6 s of them yt-dlp's) and the opening of the index, on a cold node."""

START_SECONDS: Final = 0.1 + INTERPRETER_SECONDS
"""0.1 s from the imports to a rank's first video: `benchmarks/results/scale.md`."""

RESUME_SECONDS_PER_CLIP: Final = 32e-6
"""A rank that starts again looks at what it has: `verify` by presence in results/ledger.md."""

STANDSTILL_SECONDS: Final = 60.0
"""A rank whose run before died on another node waits for its lease: `leases.attempts`."""

SLURM_NOTICES_SECONDS: Final = 300.0
"""Slurm's default SlurmdTimeout: so long until a lost node's ranks are queued again."""

SIGNAL_SECONDS: Final = 120.0
REQUEUE_DELAY_SECONDS: Final = 3600.0
"""Defaults of the Slurm executor (docs/slurm.md)."""

REFUSED_SECONDS: Final = 2.0
"""Assumed: until a throttled or refused request is answered."""

LOOK_LAG: Final = 0.5
"""How late the next in line sees that it is its turn, in poll distances: measured by `room`."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong; all of it is assumed unless a source is named.

    Attributes:
        permanent: share of the videos that their host has no more.
        access: share that are private by now.
        geo: share that are not shown in this country.
        ambiguous: share of which the host does not say why; they count as gone a day later.
        transient: share of requests that fail for a moment.
        throttle_hours: mean time between two times at which the host throttles an address.
        throttle_minutes: mean time for which it does.
        node_hours: mean time between failures of a node. 264 days: 419 unexpected interruptions
            of 2,048 nodes in 54 days (arXiv 2407.21783, section 3.3.4).
        limit_seconds: time limit of a job, infinite for none.
        queue_seconds: mean wait in the queue, each time.
        max_requeues: how often a rank queues itself again: the Slurm executor's default.
        submit_seconds: so often, counted from the first time, somebody runs `submit` again for
            ranks that ended with something left.
    """

    permanent: float = 0.12
    access: float = 0.05
    geo: float = 0.01
    ambiguous: float = 0.02
    transient: float = 0.02
    throttle_hours: float = 72.0
    throttle_minutes: float = 30.0
    node_hours: float = 264 * 24.0
    limit_seconds: float = 86_400.0
    queue_seconds: float = 300.0
    max_requeues: int = 20
    submit_seconds: float = 86_400.0

    def told(self) -> plan.Trouble:
        """Return the same as `plan` is told it."""
        return plan.Trouble(
            gone=self.permanent + self.access + self.geo + self.ambiguous,
            unclear=self.ambiguous,
            failing=self.transient,
            throttled_every=self.throttle_hours,
            throttled=self.throttle_minutes / 60,
            node_every=self.node_hours,
            queue=self.queue_seconds / 3600,
            limit=(self.limit_seconds - SIGNAL_SECONDS) / 3600,
            requeues=self.max_requeues,
            requeue_delay=REQUEUE_DELAY_SECONDS / 3600,
            submit_every=self.submit_seconds / 3600,
        )


TROUBLE: Final = Trouble()
PLAIN: Final = Trouble(0, 0, 0, 0, 0, math.inf, 0, math.inf, math.inf, 0)
"""Nothing fails and nothing ends a rank."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run the fleet.

    Attributes:
        name: for the table.
        addresses: how many the requests leave through; 0 where all videos are on disk.
        videos_per_hour: of each.
        webdataset: whether clips go into shards.
        remove_videos: whether a video goes once its clips are cut.
        world_size: ranks.
        cores: of each.
        jitter: the default of `[pace]`.
    """

    name: str
    addresses: int
    videos_per_hour: float
    webdataset: bool = True
    remove_videos: bool = True
    world_size: int = 128
    cores: int = 10
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls to the shared file system: those that change a folder, and those that only look.

    Counted with `strace -f` in the two ranks of `trackverse demo` (3 videos, 6 clips, 2026-11-22),
    for each path below the dataset folder, and divided.
    """

    changes: float
    looks: float


LEASE_CALLS: Final = Calls(2, 3)
"""Create and unlink; the link before it, and at the end itself and the one after it. Two of them
for a video that is downloaded and cut (`fence.claim`: download, cut), one for a cut alone."""

VIDEO_CALLS: Final = Calls(5, 45)
"""Create of `.part`, rename to its name, rename into its place, two removals of what may be left;
the looks are 30 stats, 9 opens, 3 listings, 3 mkdir of folders that are there."""

CLIP_CALLS: Final = Calls(2, 29)
"""Create of the temporary file and its rename; 23 stats (most walk the path for planted links),
4.5 opens, 1.7 mkdir of folders that are there."""

STORED_CALLS: Final = Calls(2, 6)
"""A clip for a shard: a temporary file that goes again; read from `outputs.sink`, not counted."""

SHARD_CALLS: Final = Calls(4, 6)
"""Tar and index, each created and renamed: `outputs.writer`."""

BEAT_CALLS: Final = Calls(0, 1)
"""A sign of life: one open, one appended byte, every 10 s: `leases.attempts`."""

EVICT_CALLS: Final = Calls(1, 8)
"""The removal of a video, and the looks for its other places: `rank._evict`."""

START_CALLS: Final = Calls(12, 60)
"""A rank's run: attempt, rank lease, ledger file, probe of the root, marker; twice the demo's."""
