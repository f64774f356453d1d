"""What a plan is made for: the pace, the ranks and the limits, as the configuration has them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trackverse_cli.errors import ConfigError, UsageError
from trackverse_cli.machine import usable_cores
from trackverse_cli.pace import GUEST_VIDEOS_PER_HOUR, egress_names, rate_of
from trackverse_cli.pacing import account_of, proxies_of, videos_per_hour
from trackverse_cli.plan.rates import LINE_BYTES_PER_SECOND
from trackverse_cli.plan.trouble import NOTHING, NOTHING_GIVEN, Given, Trouble, trouble_of
from trackverse_cli.shards import MAX_WORLD_SIZE

if TYPE_CHECKING:
    from trackverse_cli.config import Config
    from trackverse_cli.plan.order import Order
    from trackverse_cli.settings import Settings

JOB_CORES: Final = 10
"""Cores of a rank where a scheduler gives them and nothing else is said."""

ORDERS: Final[tuple[Order, ...]] = ("cost", "coverage")


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What the arithmetic is told.

    Attributes:
        egresses: a name for each address that requests leave through; at least one.
        videos_per_hour: the pace of each.
        jitter: up to this share of the distance of two requests is added to it.
        share: 0, or the number of hosts that divide every address without seeing each other.
        world_size: ranks that share the work.
        cores_per_rank: cores that each of them cuts with.
        order: in which the videos are asked for.
        remove_videos: whether a video goes once its clips are cut.
        disk_budget: bytes that source videos may take together, None for no limit.
        quota_files: files and folders that the file system allows, None where nobody said.
        quota_bytes: bytes, likewise.
        hours: say what is reached after so many, None for not.
        line: bytes a second that one download gets.
        trouble: what goes wrong, and who starts ranks again.
    """

    egresses: tuple[str, ...] = ("default",)
    videos_per_hour: float = GUEST_VIDEOS_PER_HOUR
    jitter: float = 0.0
    share: int = 0
    world_size: int = 1
    cores_per_rank: int = 1
    order: Order = "cost"
    remove_videos: bool = False
    disk_budget: int | None = None
    quota_files: int | None = None
    quota_bytes: int | None = None
    hours: float | None = None
    line: float = LINE_BYTES_PER_SECOND
    trouble: Trouble = NOTHING

    @property
    def whole_pace(self) -> float:
        """Videos an hour through all addresses together, at most."""
        return self.videos_per_hour * len(self.egresses)

    @property
    def kept_pace(self) -> float:
        """Videos an hour through each address, with the jitter and the margin of every turn."""
        rate = rate_of(self.videos_per_hour, self.jitter)
        mean = rate.interval_seconds * (1 + self.jitter / 2) + rate.margin_seconds
        return 3600.0 / mean


def terms_of(
    config: Config,
    *,
    world_size: int | None = None,
    cores: int | None = None,
    order: str | None = None,
    hours: float | None = None,
    line: float | None = None,
    given: Given = NOTHING_GIVEN,
) -> PlanTerms:
    """Return the terms of a configuration; what is given here wins.

    Raises:
        UsageError: an unknown order, or a world size that cannot be.
    """
    settings = config.settings
    executor, configured = settings.submit.of_stage(settings.submit.stage)
    ranks = configured if world_size is None else world_size
    if not 1 <= ranks <= MAX_WORLD_SIZE:
        raise UsageError(
            f"a world size of {ranks} is not possible; give --world-size from 1 to {MAX_WORLD_SIZE}"
        )
    return PlanTerms(
        egresses=_egresses(config),
        videos_per_hour=videos_per_hour(config),
        jitter=settings.pace.jitter,
        share=settings.pace.share,
        world_size=ranks,
        cores_per_rank=cores or _cores(settings, executor, ranks),
        order=checked_order(order or settings.download.order),
        remove_videos=settings.pipeline.remove_videos,
        disk_budget=settings.pipeline.disk_budget,
        quota_files=settings.dataset.quota_files,
        quota_bytes=settings.dataset.quota_bytes,
        hours=hours,
        line=line or LINE_BYTES_PER_SECOND,
        trouble=trouble_of(config, executor, given),
    )


def checked_order(name: str) -> Order:
    """Return the order of a name.

    Raises:
        UsageError: there is none.
    """
    for order in ORDERS:
        if order == name:
            return order
    raise UsageError(f"no order is called '{name}'; known: {', '.join(ORDERS)}")


def _egresses(config: Config) -> tuple[str, ...]:
    names = egress_names(config.settings.pace.egress, len(proxies_of(config)))
    tag = ""
    # A cookie file that is not here has no tag to show; the ranks will say what is wrong with it.
    with suppress(ConfigError):
        tag = account_of(config.settings.download.cookies)
    return tuple(f"{one}.{tag}" if tag else one for one in names)


def _cores(settings: Settings, executor: str, ranks: int) -> int:
    if settings.extract.workers:
        return settings.extract.workers
    own = settings.executor.get(executor, {}).get("cpus_per_task")
    if isinstance(own, int) and own > 0:
        return own
    return max(1, usable_cores() // ranks) if executor == "local" else JOB_CORES
