"""What goes wrong on the way, and who starts ranks again: the assumptions behind a plan's waits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.errors import UsageError

if TYPE_CHECKING:
    from trackverse_cli.config import Config

START_HOURS: Final = 2.1 / 3600
"""A rank's way to its first video: interpreter, imports, index."""

NODE_NOTICED_HOURS: Final = 360.0 / 3600
"""A lost node: Slurm misses it after 300 s, its lease is waited for another 60 s."""

SECOND_LOOK_HOURS: Final = 24.0
"""A video whose host does not say why it is not there is asked for once more, so much later."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a plan takes to go wrong; as it stands here nothing does. All times are hours.

    Attributes:
        gone: share of the videos that are asked for and cannot be had.
        gone_source: where that comes from: `assumed`, `given` or `measured`.
        unclear: share of which the host does not say why; they are asked for twice.
        failing: share of requests that fail for a moment and are made again.
        throttled_every: mean time from one throttling of an address to the next.
        throttled: mean time for which the host throttles.
        cool_down: the first pause after a throttle.
        longest_cool_down: it doubles up to this.
        longest_wait: a rank ends rather than wait longer for the end of a cool-down.
        node_every: mean time between two failures of the node of a rank.
        queue: mean wait in the scheduler's queue, each time.
        limit: for how long a rank works before its time limit ends it.
        requeues: how often a rank is queued again by itself.
        requeue_delay: how long a rank that stopped early is held back.
        submit_every: somebody runs `submit` again so often, counted from the first.
    """

    gone: float = 0.0
    gone_source: str = "given"
    unclear: float = 0.0
    failing: float = 0.0
    throttled_every: float = math.inf
    throttled: float = 0.0
    cool_down: float = 1.0
    longest_cool_down: float = 8.0
    longest_wait: float = 1 / 6
    node_every: float = math.inf
    queue: float = 0.0
    limit: float = math.inf
    requeues: int = 0
    requeue_delay: float = 0.0
    submit_every: float = 24.0

    def to_json(self) -> dict[str, Any]:
        """Return it as `plan --json` prints it; null where something never happens."""
        return {
            "gone_share": round(self.gone, 4),
            "gone_source": self.gone_source,
            "failing_share": self.failing,
            "throttled_every_hours": _finite(self.throttled_every),
            "throttled_hours": self.throttled,
            "node_every_hours": _finite(self.node_every),
            "queue_hours": round(self.queue, 4),
            "limit_hours": _finite(self.limit),
            "requeues": self.requeues,
            "submit_every_hours": self.submit_every,
        }


NOTHING: Final = Trouble()
"""Nothing goes wrong, and no rank ends before its work does."""

USUAL: Final = Trouble(
    gone=0.20,
    gone_source="assumed",
    unclear=0.02,
    failing=0.02,
    throttled_every=72.0,
    throttled=0.5,
    node_every=264 * 24.0,
    queue=300.0 / 3600,
)
"""What is taken where nobody knows better: all of it is assumed, but for the nodes, which is from
419 unexpected interruptions of 2,048 nodes in 54 days (arXiv 2407.21783, section 3.3.4)."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user of `plan` says instead; None for what he leaves to the plan. 0 hours between
    two troubles, or a share of 0, mean that it does not happen.

    Attributes:
        gone: share.
        failing: share.
        throttled_every: hours.
        node_every: hours.
        queue: hours.
        submit_every: hours.
    """

    gone: float | None = None
    failing: float | None = None
    throttled_every: float | None = None
    node_every: float | None = None
    queue: float | None = None
    submit_every: float | None = None


NOTHING_GIVEN: Final = Given()


def trouble_of(config: Config, executor: str, given: Given = NOTHING_GIVEN) -> Trouble:
    """Return the assumptions of a configuration; what is given wins.

    The pauses are those of `[pace]`. An executor that queues ranks again by itself says so in
    its settings: `max_requeues`, `requeue_delay_seconds`, `signal_seconds` and `limit_seconds`.
    Without them a rank that stopped early waits for the next `submit`, and there is neither a
    queue nor a time limit. Only of YouTube are videos taken to be gone and requests to fail.

    Raises:
        UsageError: what is given is no number.
    """
    from trackverse_cli.download import is_youtube

    settings, usual = config.settings, USUAL
    pace, own = settings.pace, _executor_settings(config, executor)
    found = replace(
        usual,
        cool_down=pace.cool_down_seconds / 3600,
        longest_cool_down=max(pace.cool_down_seconds, pace.longest_cool_down_seconds) / 3600,
        longest_wait=pace.longest_wait_seconds / 3600,
    )
    if not is_youtube(settings.download.url_template):
        found = replace(
            found, gone=0.0, unclear=0.0, failing=0.0, throttled_every=math.inf, throttled=0.0
        )
    if hasattr(own, "max_requeues"):
        limit = float(getattr(own, "limit_seconds", math.inf))
        found = replace(
            found,
            limit=max(60.0, limit - getattr(own, "signal_seconds", 0)) / 3600,
            requeues=int(own.max_requeues),
            requeue_delay=getattr(own, "requeue_delay_seconds", 0) / 3600,
        )
    else:
        found = replace(found, queue=0.0, node_every=math.inf)
    return _overruled(found, given)


def _overruled(found: Trouble, given: Given) -> Trouble:
    changes: dict[str, Any] = {
        name: getattr(given, name)
        for name in Given.__dataclass_fields__
        if getattr(given, name) is not None
    }
    for name, value in changes.items():
        if not math.isfinite(value):
            raise UsageError(
                f"{value} is no number for --{name.replace('_', '-')}; 0 stands for never"
            )
    for name in ("throttled_every", "node_every"):
        if name in changes:
            changes[name] = changes[name] or math.inf
    if changes.get("throttled_every", math.inf) < math.inf:
        changes["throttled"] = USUAL.throttled
    if "gone" in changes:
        changes["gone_source"] = "given"
        changes["unclear"] = min(found.unclear, changes["gone"])
    return replace(found, **changes)


def _executor_settings(config: Config, executor: str) -> Any:
    from trackverse_cli import plugins
    from trackverse_cli.errors import TrackverseError

    try:
        plugin = next(
            found.plugin
            for found in plugins.find_plugins()
            if found.name == executor and found.kind == "executor" and found.plugin is not None
        )
        return plugins.plugin_settings(config, "executor", executor, plugin.settings)
    except (StopIteration, TrackverseError):
        return None  # `submit` will say what is wrong with it


def _finite(hours: float) -> float | None:
    return None if math.isinf(hours) else round(hours, 4)
