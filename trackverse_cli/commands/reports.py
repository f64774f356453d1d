"""What a person reads at the end of `fetch-meta` and `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from trackverse_cli.commands.options import print_json

if TYPE_CHECKING:
    from trackverse_cli.audit import Audit, Tally
    from trackverse_cli.config import Config
    from trackverse_cli.fetch import FetchResult

BAD_LINES_SHOWN = 5


def print_fetched(result: FetchResult, as_json: bool) -> None:
    """Print what a metadata file holds, and its bad lines."""
    facts = _facts(result)
    if as_json:
        print_json(facts)
        return
    typer.echo(f"{result.path}" + (" (unchanged)" if result.unchanged else ""))
    for key in ("tracks", "videos", "classes", "hours"):
        if key in facts:
            typer.echo(f"  {key:<8} {facts[key]:>12,}")
    typer.echo(f"  {'dialect':<8} {facts['dialect']:>12}")
    for key, told in (
        ("refused", "bad lines, counted as unrecoverable"),
        ("duplicates", "lines that repeat a track or a clip name; the first one counts"),
    ):
        if facts.get(key):
            typer.echo(f"{facts[key]:,} {told}")
    for line in result.refused[:BAD_LINES_SHOWN]:
        typer.echo(f"  line {line.line}: {line.reason}: {line.message}")
    if len(result.refused) > BAD_LINES_SHOWN:
        typer.echo(f"  ... and {len(result.refused) - BAD_LINES_SHOWN:,} more")
    typer.echo(f"use it with --meta {result.name}, or without if it is the only one")


def _facts(result: FetchResult) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "schema": 1,
        "name": result.name,
        "file": str(result.path),
        "unchanged": result.unchanged,
        "dialect": result.dialect,
        "lines": result.lines,
        "tracks": result.tracks,
        "refused": len(result.refused),
    }
    if result.index is not None:
        manifest = result.index.manifest
        facts |= {
            "videos": manifest.videos,
            "classes": manifest.classes,
            "hours": round(manifest.hours, 2),
            "duplicates": manifest.duplicate_tracks + manifest.duplicate_clips,
        }
    return facts


def print_audit(found: Audit, config: Config) -> None:
    """Print how many of how many, what is missing and why, and what to run next."""
    from rich.console import Console
    from rich.table import Table

    from trackverse_cli.reasons import MEANING

    out = Console()
    table = Table("", "complete", "of", "missing", "damaged", "unrecoverable", box=None)
    for name, tally in (("clips", found.clips), ("videos", found.videos)):
        table.add_row(name, *_numbers(tally))
    out.print(table)
    if found.reasons:
        reasons = Table("clips", "reason", "meaning", box=None)
        for reason, number in found.reasons.most_common():
            reasons.add_row(f"{number:,}", reason, MEANING.get(reason, ""))
        out.print()
        out.print(reasons)
        for reason, told in found.examples.items():
            out.print(f"\n{reason}, for example:", style="dim", highlight=False)
            for sentence in told[:2]:
                out.print(f"  {sentence}", markup=False, highlight=False, style="dim")
    typer.echo()
    typer.echo(_next_step(found, config))


def _numbers(tally: Tally) -> list[str]:
    from trackverse_cli.worklist import State

    states = tally.states
    rest = (State.MISSING, State.DAMAGED, State.UNRECOVERABLE)
    return [
        f"{states[State.COMPLETE]:,}",
        f"{tally.expected:,}",
        *(f"{states[state]:,}" for state in rest),
    ]


def _next_step(found: Audit, config: Config) -> str:
    if found.complete:
        sound = "" if found.level == 0 else " and sound"
        return f"complete: every clip is there{sound}"
    if not found.due_rows:
        return "nothing is left that another run could win; the rest is listed above"
    size = config.settings.submit.of_stage(config.settings.submit.stage)[1]
    return f"next: trackverse submit --world-size {size}"
