"""What a report says in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackverse_cli.probe import Level
from trackverse_cli.reasons import HELD
from trackverse_cli.report.advice import helps
from trackverse_cli.report.tables import lacking
from trackverse_cli.report.text import counted, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.findings import Audit

FIRST = ("needs-cookies", "throttled", "tool", "offline", "other-recipe", "write-failed")
"""Reasons that want something else than another run."""

NAMES_TOLD = 3


def title(catalog: Catalog, part: tuple[int, int] | None) -> str:
    """Return what was looked at: metadata, selection, part; plain text."""
    told = [catalog.name, selection(catalog.selection.describe())]
    if part is not None:
        told.append(f"rank {part[0]} of {part[1]}")
    return ", ".join(filter(None, told))


def selection(described: Mapping[str, Any]) -> str:
    """Return a selection (`Selection.describe`) in words, "" for everything; plain text."""
    told: list[str] = []
    classes = described.get("classes", [])
    if classes:
        more = f" and {len(classes) - NAMES_TOLD:,} more" if len(classes) > NAMES_TOLD else ""
        told.append(f"of {', '.join(classes[:NAMES_TOLD])}{more}")
    if "per_class" in described:
        told.append(f"at most {counted(described['per_class'], 'clip')} of a class")
    if described.get("refill"):
        told.append("refilled")
    if "min_seconds" in described:
        told.append(f"of {described['min_seconds']:g} s or more")
    for key, phrase in (
        ("videos", "videos of"), ("tracks", "tracks of"), ("only", "only what is in"),
        ("exclude_videos_of", "no video of"),
    ):  # fmt: skip
        if key in described:
            told.append(f"{phrase} {described[key]['name']}")
    return ", ".join(told)


def verdict(found: Audit) -> tuple[str, str]:
    """Return the answer in a few words, and in a sentence."""
    clips = found.clips
    done = clips.expected - clips.lacking
    sound = "here" if found.level is Level.PRESENCE else "here and sound"
    if not clips.expected:
        return "Nothing is expected", "The metadata names no clip."
    adopted = f" {found.adopted:,} of them were adopted." if found.adopted else ""
    if found.complete:
        return "Complete", f"All {counted(clips.expected, 'clip')} are {sound}.{adopted}"
    told = f"{done:,} of {counted(clips.expected, 'clip')} are {sound}; {lacking(clips)}.{adopted}"
    if not found.due_rows:
        return "As complete as it can be", told
    return f"{share(done, clips.expected)} complete", told


def at_the_end(found: Audit) -> str:
    """Return what a person may want where no run would win anything more; HTML."""
    held = sum(found.reasons[reason] for reason in HELD)
    told = "" if found.complete else "What is lacking is gone for good; no run can win it. "
    if held:
        told = f"No run wins more; <code>trackverse adopt --redo</code> cuts {held:,} held clips. "
    command = "trackverse verify --manifest holdings.jsonl.gz"
    if not found.clips.expected:
        return "<p>Bring metadata with <code>trackverse fetch-meta</code>.</p>"
    return f"<p>{told}To share or cite exactly what is here: <code>{command}</code></p>"


def before_that(reasons: Mapping[str, int]) -> list[str]:
    """Return what to do before or beside the next run, the most telling first; plain text."""
    met = sorted((one for one in FIRST if reasons.get(one)), key=lambda one: -reasons[one])
    return [f"{one} ({counted(reasons[one], 'clip')}): {helps(one)}" for one in met]
