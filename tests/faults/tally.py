"""The figures of a sweep, as one object and as a page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.faults.faults import KINDS
from tests.faults.scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def tally(
    results: Sequence[Mapping[str, Any]],
    happened: Sequence[Mapping[str, Any]],
    calls: Mapping[str, int],
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Return what was hit and what was lost."""
    fired = [one for one in results if one["fired"]]
    lost = [one for one in (*fired, *happened) if one["losses"]]
    grid: dict[str, Counter[str]] = {}
    for one in fired:
        grid.setdefault(one["fault"]["scene"], Counter())[one["fault"]["kind"]] += 1
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "calls": dict(calls),
        "injected": len(fired) + sum(one["injected"] for one in happened),
        "not_reached": len(results) - len(fired),
        "points": {name: dict(counts) for name, counts in sorted(grid.items())},
        "happenings": {one["name"]: one["injected"] for one in happened},
        "losses": sum(len(one["losses"]) for one in lost),
        "lost": [
            {
                "fault": _told(one),
                "code": one.get("code"),
                "losses": one["losses"],
                "said": one.get("said", ""),
            }
            for one in lost
        ],
    }


def _told(one: Mapping[str, Any]) -> str:
    fault = one.get("fault")
    return f"{fault['scene']}:{fault['kind']}:{fault['at']}" if fault else str(one["name"])


def render(figures: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    kinds = [kind.name for kind in KINDS]
    commands = {scene.name: scene.command for scene in SCENES}
    lines = [
        "# The fault sweep",
        "",
        f"{figures['injected']:,} faults, {figures['losses']} losses, in {figures['seconds']:,.0f} "
        f"seconds; seed {figures['seed']}.",
        "",
        "Faults at one call of a command, by scene and kind; calls: what the command makes that",
        "change a file when nothing is broken.",
        "",
        "| scene | command | calls | " + " | ".join(kinds) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(kinds),
    ]
    for name, counts in figures["points"].items():
        cells = " | ".join(str(counts.get(kind, 0)) for kind in kinds)
        lines.append(
            f"| {name} | `{commands.get(name, name)}` | {figures['calls'].get(name, 0)} | {cells} |"
        )
    lines += ["", *(f"- {kind.name}: {kind.what}" for kind in KINDS)]
    if figures["happenings"]:
        lines += ["", "| besides | faults |", "| --- | ---: |"]
        lines += [f"| {name} | {count} |" for name, count in figures["happenings"].items()]
    if figures["lost"]:
        lines += ["", "## Losses", ""]
        for one in figures["lost"]:
            lines += [f"- `--only {one['fault']}` (code {one['code']}):"]
            lines += [f"  - {' '.join(loss.split())}" for loss in one["losses"]]
            if one["said"]:
                lines += ["  - it said: " + " / ".join(one["said"].strip().splitlines()[-4:])]
    return "\n".join(lines) + "\n"
