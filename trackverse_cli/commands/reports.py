"""What a person reads at the end of `fetch-meta` and `verify`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from trackverse_cli.commands.options import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from trackverse_cli.config import Config
    from trackverse_cli.fetch import FetchResult
    from trackverse_cli.findings import Audit, Tally

BAD_LINES_SHOWN = 5
WORST_SHOWN = 10
STRETCHES_SHOWN = 20
_COLUMNS = ("complete", "of", "missing", "damaged", "unrecoverable")


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


def print_audit(
    found: Audit, config: Config, rank: int | None = None, world_size: int | None = None
) -> None:
    """Print how many of how many, what is missing and why, and what to run next."""
    from rich.console import Console
    from rich.table import Table

    from trackverse_cli.reasons import MEANING

    out = Console()
    table = Table("", *_COLUMNS, box=None)
    for name, tally in (("clips", found.clips), ("videos", found.videos)):
        table.add_row(name, *_numbers(tally))
    out.print(table)
    if found.adopted:
        out.print(f"{found.adopted:,} of the complete clips were adopted", highlight=False)
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
        _print_worst(out, "class", {name or "(none)": t for name, t in found.classes.items()})
        _print_worst(out, "rank", {str(number): t for number, t in found.ranks.items()})
    for _, sentence in found.damaged_videos[:WORST_SHOWN]:
        out.print(f"damaged video: {sentence}", markup=False, highlight=False)
    if found.damaged_videos:
        out.print("`trackverse download-videos` brings damaged videos again", highlight=False)
    typer.echo()
    step = next_step(found, config, rank, world_size)
    if step.command:
        typer.echo(f"next: {step.command}" + (f" ({step.note})" if step.note else ""))
    else:
        typer.echo(step.note)


def _print_worst(out: Console, what: str, tallies: Mapping[str, Tally]) -> None:
    """Print those that lack most; nothing where there is only one."""
    from rich.table import Table
    from rich.text import Text

    if len(tallies) < 2:
        return
    lacking = [name for name, tally in tallies.items() if tally.lacking]
    worst = sorted(lacking, key=lambda name: -tallies[name].lacking)[:WORST_SHOWN]
    table = Table(what, *_COLUMNS, box=None)
    for name in worst:
        # A class may be called anything, also like markup.
        table.add_row(Text(name), *_numbers(tallies[name]))
    out.print()
    out.print(table)
    rest = [tally for name, tally in tallies.items() if name not in worst]
    if rest:
        complete = sum(tally.expected - tally.lacking for tally in rest)
        expected = sum(tally.expected for tally in rest)
        named = f"{len(rest):,} more: {complete:,} of {expected:,} complete"
        out.print(f"and {named}", highlight=False)


def _numbers(tally: Tally) -> list[str]:
    from trackverse_cli.worklist import State

    states = tally.states
    rest = (State.MISSING, State.DAMAGED, State.UNRECOVERABLE)
    return [
        f"{states[State.COMPLETE]:,}",
        f"{tally.expected:,}",
        *(f"{states[state]:,}" for state in rest),
    ]


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do after a `verify`.

    Attributes:
        command: the command to run, or "" where none would win anything.
        note: a sentence about it, or about why there is none.
    """

    command: str
    note: str


def next_step(
    found: Audit, config: Config, rank: int | None = None, world_size: int | None = None
) -> NextStep:
    """Return what to run next."""
    from trackverse_cli.findings import due_ranks

    if found.complete:
        sound = "" if found.level == 0 else " and sound"
        return NextStep("", f"complete: every clip is there{sound}")
    if not found.due_rows:
        told = "nothing is left that another run could win; the rest is listed above"
        return NextStep("", told)
    submit = config.settings.submit
    words = f"trackverse {_same_catalog(found, config)}"
    if rank is not None:
        share = f"--rank {rank} --world-size {found.world_size}"
        return NextStep(f"{words}{submit.stage} {share}", "")
    size = report_world_size(config, world_size)
    again = due_ranks(found.catalog, found.due_rows, size)
    told = f"ranks {_ranges(again)} of {size} have something left" if size > 1 else ""
    return NextStep(f"{words}submit --world-size {size}", told)


def report_world_size(config: Config, world_size: int | None) -> int:
    """Return how many ranks share the work: as asked, or as `submit` would have it."""
    submit = config.settings.submit
    return world_size or submit.of_stage(submit.stage)[1]


def _same_catalog(found: Audit, config: Config) -> str:
    """Return the options that mean the same clips, where they were given as flags."""
    from trackverse_cli.jobs import catalog_words

    given = {"dataset.metadata", "dataset.select"}
    flags = any(config.origins.get(key, "").startswith("flag") for key in given)
    if not flags and not config.selection_flags:
        return ""
    return shlex.join(catalog_words(config, found.catalog)) + " "


def _ranges(ranks: Sequence[int]) -> str:
    """Return `0-2, 5` for 0, 1, 2, 5; after some stretches only how many more there are."""
    stretches: list[tuple[int, int]] = []
    for rank in ranks:
        if stretches and stretches[-1][1] == rank - 1:
            stretches[-1] = (stretches[-1][0], rank)
        else:
            stretches.append((rank, rank))
    shown = stretches[:STRETCHES_SHOWN]
    told = ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in shown)
    left = len(ranks) - sum(b - a + 1 for a, b in shown)
    return f"{told} and {left:,} more" if left else told
