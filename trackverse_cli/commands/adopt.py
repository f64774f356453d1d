"""`trackverse adopt`: what the original scripts or an older version left, taken over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, Rank, Workers, WorldSize, plain, print_json

if TYPE_CHECKING:
    from trackverse_cli.adopting import Adopted

SHOWN = 20
_SOURCES = ("all", "needed", "none")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("adopt")(adopt)


def adopt(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to take over.", metavar="DIR")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write nothing.")
    ] = False,
    redo: Annotated[
        bool, typer.Option("--redo", help="Have clips that fail cut again by the next run.")
    ] = False,
    without_video: Annotated[
        bool,
        typer.Option(
            "--without-video", help="Also clips whose video is not there, their pictures on trust."
        ),
    ] = False,
    move: Annotated[bool, typer.Option("--move", help="Remove there what is safe here.")] = False,
    sources: Annotated[
        str, typer.Option(help="Videos to take: all, needed or none.", metavar="WHICH")
    ] = "all",
    rank: Rank = 0,
    world_size: WorldSize = 1,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Take over what other scripts or an older version left.

    DIR is the root itself or another dataset folder. Each clip is decoded to its end and held
    against its video: frames, times, size, pictures. Good ones count from then on. Those that lack
    their tails, or show something else, are named; in the root they stay as they are until --redo
    has the next run cut them again, and go only when the new clip is ready. Start with --dry-run.
    It can be stopped and run again.
    """
    config = ctx.obj.config(extract__workers=workers)
    from trackverse_cli.adopting import AdoptOptions
    from trackverse_cli.adopting import adopt as adopt_folder
    from trackverse_cli.errors import UsageError
    from trackverse_cli.signals import stop_on_signals

    if sources not in _SOURCES:
        raise UsageError(f"--sources {sources!a} is not known; known: {', '.join(_SOURCES)}")
    options = AdoptOptions(dry_run, redo, move, without_video, sources, rank, world_size)
    with stop_on_signals() as stop:
        told = adopt_folder(config, folder, options, stop)
    if as_json:
        print_json(told.to_json())
    else:
        _print(told)
    raise typer.Exit(told.exit_code)


def _print(told: Adopted) -> None:
    would = "would be " if told.options.dry_run else ""
    by = "an older trackverse or this one" if told.made_by == "trackverse" else "other scripts"
    typer.echo(f"{plain(told.folder)}: made by {by}" + (", in place" if told.in_place else ""))
    for what, counts in (("clips", told.clips), ("videos", told.videos)):
        typer.echo(
            f"  {what}: {counts['adopted']:,} {would}adopted, {counts['there']:,} there before, "
            f"{counts['left_out']:,} left out, {counts['absent']:,} not there"
        )
    if told.unproven:
        typer.echo(f"  {told.unproven:,} of the clips on trust: their videos are not there")
    ways = ", ".join(f"{number:,} by {way}" for way, number in told.how.most_common())
    typer.echo(f"  {told.bytes / 1e6:,.1f} MB" + (f" ({ways})" if ways else ""))
    for reason, number in told.reasons.most_common():
        typer.echo(f"  {number:,} {reason}: {_meaning(reason)}")
    _print_around(told)
    for one in told.left_out[:SHOWN]:
        typer.echo(f"left out: {plain(one.what)}: {one.reason}: {plain(one.message)}")
    left = told.reasons.total() - len(told.left_out[:SHOWN])
    if left > 0:
        typer.echo(f"... and {left:,} more; --json names the first thousand")
    typer.echo(_next(told))


def _print_around(told: Adopted) -> None:
    around = told.around
    if told.unnamed:
        typer.echo(f"  {told.unnamed:,} more clip files that this selection does not name")
    if around.said is not None:
        typer.echo(
            f"  downloaded.txt names {around.said:,} videos, {around.said_missing:,} of them are "
            "not there"
        )
    if around.unfinished:
        typer.echo(f"  {around.unfinished:,} unfinished downloads, left alone")
    if around.others:
        typer.echo(f"  left alone: {', '.join(map(plain, around.others))}")


def _next(told: Adopted) -> str:
    from trackverse_cli.reasons import HELD

    held = sum(told.reasons[reason] for reason in HELD)
    if told.options.dry_run:
        again = f"{told.marked:,} clips would be cut again; " if told.marked else ""
        return f"{again}nothing was written; next: the same without --dry-run"
    if told.marked:
        return f"{told.marked:,} clips are to be cut again; next: trackverse extract-tracks"
    if held and told.in_place:
        return (
            f"{held:,} clips stay as they are; --redo has them cut again; next: trackverse verify"
        )
    return "next: trackverse verify"


def _meaning(reason: str) -> str:
    from trackverse_cli.reasons import MEANING

    return MEANING.get(reason, "")
