"""`trackverse merge`: another root's clips, videos and ledger into this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, Workers, plain, print_json

if TYPE_CHECKING:
    from trackverse_cli.merging import Merged, RootTally

SHOWN = 20
_SOURCES = ("all", "needed", "none")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("merge")(merge)


def merge(
    ctx: typer.Context,
    roots: Annotated[list[Path], typer.Argument(help="Other dataset folders.", metavar="ROOT...")],
    any_recipe: Annotated[
        bool,
        typer.Option(
            "--any-recipe", help="Also clips cut otherwise; `verify` tells them from the others."
        ),
    ] = False,
    move: Annotated[bool, typer.Option("--move", help="Remove there what is safe here.")] = False,
    sources: Annotated[
        str | None,
        typer.Option(
            help="Source videos to take: all, needed (with clips left to cut) or none; needed "
            "where [pipeline] remove_videos is set, else all.",
            metavar="WHICH",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write nothing.")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Take over what other copies of the dataset hold.

    Clips, videos and known failures. Each clip is held against the checksum that its own root
    recorded, or decoded where there is none; what is wrong is left out and named. What is sound
    here stays, what is damaged here is replaced. Files are shared with the other root where the
    file system can, else copied. It can be stopped and run again; let nothing else write
    meanwhile.
    """
    config = ctx.obj.config(extract__workers=workers)
    from trackverse_cli.errors import UsageError
    from trackverse_cli.merging import MergeOptions
    from trackverse_cli.merging import merge as merge_roots
    from trackverse_cli.signals import stop_on_signals

    which = sources or ("needed" if config.settings.pipeline.remove_videos else "all")
    if which not in _SOURCES:
        raise UsageError(f"--sources {which!a} is not known; known: {', '.join(_SOURCES)}")
    options = MergeOptions(any_recipe, move, dry_run, which)
    with stop_on_signals() as stop:
        merged = merge_roots(config, roots, options, stop)
    if as_json:
        print_json(merged.to_json())
    else:
        _print(merged)
    raise typer.Exit(merged.exit_code)


def _print(merged: Merged) -> None:
    would = "would be " if merged.dry_run else ""
    for tally in merged.roots:
        typer.echo(plain(tally.root))
        for what, counts in (("clips", tally.clips), ("videos", tally.videos)):
            typer.echo(
                f"  {what}: {counts['brought']:,} {would}brought, {counts['replaced']:,} "
                f"{would}replaced, {counts['there']:,} sound here before, "
                f"{counts['left_out']:,} left out"
            )
        _print_rest(tally, merged.dry_run)
    for one in merged.left_out[:SHOWN]:
        typer.echo(f"left out: {plain(one.what)}: {one.reason}: {plain(one.message)}")
    left = sum(tally.reasons.total() for tally in merged.roots) - len(merged.left_out[:SHOWN])
    if left > 0:
        typer.echo(f"... and {left:,} more; --json names the first thousand")
    typer.echo("next: trackverse verify")


def _print_rest(tally: RootTally, dry_run: bool) -> None:
    if tally.failures:
        typer.echo(f"  {tally.failures:,} permanent failures that were not known here")
    ways = ", ".join(f"{number:,} by {way}" for way, number in tally.how.most_common())
    if tally.bytes:
        typer.echo(f"  {tally.bytes / 1e6:,.1f} MB" + ("" if dry_run else f" ({ways})"))
