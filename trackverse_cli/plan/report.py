"""A plan as `plan --json` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackverse_cli.pace import hours_for

if TYPE_CHECKING:
    from trackverse_cli.plan.forecast import Plan

SCHEMA_VERSION = 1

NOT_COUNTED = (
    "the speed of the disk, and of a line that many downloads share",
    "what nobody can know beforehand: hours are means, and a single job is luckier or not",
)
"""What a plan leaves out."""


def split(plan: Plan) -> list[dict[str, Any]]:
    """Return what each address is asked for: requests are shared out evenly."""
    names = plan.terms.egresses
    told = []
    for place, name in enumerate(names):
        own = plan.requests // len(names) + (place < plan.requests % len(names))
        told.append(
            {
                "egress": name,
                "videos_per_hour": plan.terms.videos_per_hour,
                "requests": own,
                "hours": round(hours_for(own, plan.terms.kept_pace), 2),
            }
        )
    return told


def to_json(plan: Plan, name: str, key: str) -> dict[str, Any]:
    """Return the one object of `plan --json`.

    Args:
        plan: the plan.
        name: of the catalogue.
        key: of its selection.
    """
    times, storage, terms, rates = plan.times, plan.storage, plan.terms, plan.rates
    return {
        "schema": SCHEMA_VERSION,
        "metadata": name,
        "selection": key,
        "order": terms.order,
        "clips": dict(plan.clips),
        "videos": {"due": plan.videos_due, "on_disk": plan.videos_due - plan.requests},
        "requests": plan.requests,
        "came_share": None if plan.came_share is None else round(plan.came_share, 4),
        "classes": plan.classes,
        "world_size": terms.world_size,
        "cores_per_rank": terms.cores_per_rank,
        "hours": {
            "together": round(times.makespan_hours, 2),
            "work": round(times.work_hours, 2),
            "pace": round(times.pace_hours, 2),
            "bringing": round(times.bringing_hours, 2),
            "cutting": round(times.slowest_cut_hours, 2),
            "share": round(times.slowest_share_hours, 2),
            "cpu": round(times.cpu_hours, 2),
            "bound": times.bound,
        },
        "waits": {
            "again": round(times.waits.again, 2),
            "cool_downs": round(times.waits.cool_downs, 2),
            "queue": round(times.waits.queue, 2),
            "restarts": round(times.waits.restarts, 2),
            "submit": round(times.waits.turns, 2),
            "of_the_last_videos": round(times.waits.last, 2),
        },
        "assumed": terms.trouble.to_json(),
        "ranks_fed": times.ranks_fed,
        "feeding": times.feeding,
        "egresses": split(plan),
        "bytes": {
            "download": storage.download_bytes,
            "clips": storage.clip_bytes,
            "end": storage.end_bytes,
            "quota": terms.quota_bytes,
        },
        "files": {
            "left": storage.files_left,
            "end": storage.end_files,
            "quota": terms.quota_files,
        },
        "over_quota": plan.over_quota(),
        "rates": {
            "video_bytes_per_second": round(rates.video),
            "video_source": rates.video_source,
            "clip_bytes_per_second": round(rates.clip),
            "clip_source": rates.clip_source,
            "decode_cpu_per_second": rates.decode,
            "cut_cpu_per_second": rates.cut,
            "line_bytes_per_second": round(rates.line),
        },
        "reached": [one.to_json() for one in plan.reached],
        "not_counted": list(NOT_COUNTED),
    }
